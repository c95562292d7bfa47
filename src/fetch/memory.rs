//! The memory of images that are fetched and not decoded yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A limit of memory, which all fetches share.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    waiting: VecDeque<Waiting>,
}

/// A fetch that waits for memory.
#[derive(Debug)]
struct Waiting {
    /// Bytes that the fetch holds meanwhile.
    holds: usize,
    wants: usize,
    told: oneshot::Sender<Reserved>,
}

/// A part of the memory. It is free again when this value is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    memory: Arc<Memory>,
    bytes: usize,
    /// The size to which the part last had to wait to grow.
    waited_for: Option<usize>,
}

impl Memory {
    /// A limit of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// A part of 0 bytes.
    pub fn reserve(self: &Arc<Self>) -> Reserved {
        Reserved::new(self, 0)
    }

    /// Gives memory to the fetches that wait longest. If all memory is held by fetches that wait for
    /// more, one of them must go on: the first one gets its memory beyond the limit.
    fn serve(self: &Arc<Self>) {
        let mut given = Vec::new();
        let mut state = self.state();
        state.waiting.retain(|waiting| !waiting.told.is_closed());
        while let Some(first) = state.waiting.front() {
            let held: usize = state.waiting.iter().map(|waiting| waiting.holds).sum();
            let fits = state.used.saturating_add(first.wants) <= self.limit;
            if !fits && held < state.used {
                break;
            }
            let Some(Waiting { wants, told, .. }) = state.waiting.pop_front() else { break };
            state.used = state.used.saturating_add(wants);
            given.push((told, Reserved::new(self, wants)));
        }
        drop(state);
        // If a fetch was given up meanwhile, its part is dropped here, which serves the next.
        for (told, reserved) in given {
            drop(told.send(reserved));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    fn new(memory: &Arc<Memory>, bytes: usize) -> Self {
        Self { memory: Arc::clone(memory), bytes, waited_for: None }
    }

    /// Grows by `bytes`, and waits until there is room.
    pub async fn grow(&mut self, bytes: usize) {
        let holds = self.bytes;
        let Some(turn) = self.try_grow(bytes) else { return };
        self.memory.serve();
        self.waited_for = Some(holds + bytes).filter(|_| holds > 0);
        if let Ok(mut given) = turn.await {
            self.bytes += std::mem::take(&mut given.bytes);
        }
    }

    /// The size to which this part had to wait to grow, if it held memory before.
    pub fn waited_for(&self) -> Option<usize> {
        self.waited_for
    }

    /// Grows by `bytes` at once if there is room, or else waits in the queue.
    fn try_grow(&mut self, bytes: usize) -> Option<oneshot::Receiver<Reserved>> {
        let mut state = self.memory.state();
        let after = state.used.saturating_add(bytes);
        if state.waiting.is_empty() && (after <= self.memory.limit || state.used == self.bytes) {
            state.used = after;
            self.bytes += bytes;
            return None;
        }
        let (told, turn) = oneshot::channel();
        state.waiting.push_back(Waiting { holds: self.bytes, wants: bytes, told });
        Some(turn)
    }

    /// Bytes of this part.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is not needed.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        drop(Self::new(&self.memory, surplus));
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.state().used -= self.bytes;
            self.memory.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Waker};

    use super::*;

    /// Whether a fetch has its memory.
    fn ready(grows: Pin<&mut impl Future<Output = ()>>) -> bool {
        grows.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn part(memory: &Arc<Memory>, bytes: usize) -> Reserved {
        let mut part = memory.reserve();
        assert!(part.try_grow(bytes).is_none());
        part
    }

    #[tokio::test]
    async fn a_fetch_waits_for_memory_in_the_order_of_arrival() {
        let memory = Memory::new(100);
        let held = part(&memory, 80);
        let (mut large, mut small) = (memory.reserve(), memory.reserve());
        let mut large = Box::pin(large.grow(60));
        assert!(!ready(large.as_mut()));
        let mut small = Box::pin(small.grow(10));
        assert!(!ready(small.as_mut()), "it does not overtake");
        drop(held);
        assert!(ready(large.as_mut()));
        assert!(ready(small.as_mut()));
    }

    #[tokio::test]
    async fn fetches_that_all_wait_for_more_go_on_one_after_the_other() {
        let memory = Memory::new(100);
        let (mut first, mut second) = (part(&memory, 50), part(&memory, 50));
        {
            let mut grows = Box::pin(first.grow(50));
            assert!(!ready(grows.as_mut()), "the other one may end");
            let mut waits = Box::pin(second.grow(50));
            assert!(!ready(waits.as_mut()));
            assert!(ready(grows.as_mut()));
            assert!(!ready(waits.as_mut()));
        }
        drop(first);
        second.grow(50).await;
    }

    #[tokio::test]
    async fn a_fetch_that_is_given_up_frees_its_place() {
        let memory = Memory::new(100);
        let held = part(&memory, 100);
        let mut gone = memory.reserve();
        let mut waits = Box::pin(gone.grow(100));
        assert!(!ready(waits.as_mut()));
        drop(held);
        drop(waits);
        drop(gone);
        memory.reserve().grow(100).await;
        assert_eq!(memory.state().used, 0);
    }

    #[test]
    fn an_image_above_the_limit_is_fetched_alone() {
        let memory = Memory::new(10);
        let mut large = part(&memory, 50);
        large.shrink_to(5);
        assert_eq!((large.bytes(), memory.state().used), (5, 5));
    }
}
