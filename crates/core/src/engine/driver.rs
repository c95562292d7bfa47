//! The loop around an engine: admit items, close groups, run the network, return verdicts.

use std::collections::VecDeque;
use std::time::Instant;

use super::engine::{Engine, EngineError};
use super::item::{ItemPrior, ItemVerdict};
use super::network::Network;

/// What a turn of a [`Driver`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// One part of the network ran once.
    Ran,
    /// No run is possible until another item is admitted, or an open group is closed at `deadline`
    /// or by [`Driver::flush`]. If there is no room ([`Driver::room`]), no item can be admitted
    /// before a group is closed.
    Idle {
        /// The earliest deadline of the open groups. `None` without an open group.
        deadline: Option<Instant>,
    },
    /// The driver is closed and every item has its verdict.
    Done,
}

/// Owns the loop around an engine. Every user of an engine runs it through a driver.
///
/// `N` is the network. `T` is the payload of an item: the engine does not use it, and returns it
/// with the item's verdict.
///
/// # Example
///
/// One positive among eight items, found by 4 > 1:
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use dorfman_core::calibration::Thresholds;
/// use dorfman_core::engine::{
///     BandPlan, BatchSettings, Driver, Engine, ManualClock, ScriptedNetwork, Verdict,
///     scripted_image, single_label_shape,
/// };
/// use dorfman_core::policy::MultiRound;
///
/// // The score of an image is its first byte, in percent.
/// let network = ScriptedNetwork::new(single_label_shape(64, 10, 90));
/// let plan = BandPlan::new(Box::new(MultiRound::new(&[4, 1])?), Thresholds::constant(0.5));
/// let max_wait = Duration::from_millis(200);
/// let settings = BatchSettings { max_batch: 8, preferred_batch: 8, buckets: vec![], max_wait };
/// let clock = ManualClock::new(Instant::now());
/// let mut driver = Driver::new(Engine::new(network, clock, plan, settings));
/// for item in 0..8 {
///     driver.offer(scripted_image(&[if item == 5 { 0.9 } else { 0.1 }]), item);
/// }
/// driver.close();
/// let mut flagged = Vec::new();
/// driver.run_to_end(|item| {
///     if matches!(item.verdict, Verdict::Flagged(_)) {
///         flagged.push(item.payload);
///     }
/// })?;
/// assert_eq!(flagged, [5]);
/// // Two first tests, and four individual tests of the positive group.
/// assert_eq!(driver.engine().stats().tests_by_round, [2, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Driver<N, T> {
    engine: Engine<N, T>,
    /// Items that were offered and are not admitted to the engine yet.
    waiting: VecDeque<Offer<T>>,
    closed: bool,
    flush: bool,
}

struct Offer<T> {
    prior: ItemPrior,
    image: Vec<u8>,
    payload: T,
}

impl<N: Network, T> Driver<N, T> {
    /// A driver of an engine without items.
    pub fn new(engine: Engine<N, T>) -> Self {
        Self { engine, waiting: VecDeque::new(), closed: false, flush: false }
    }

    /// The number of items that can be offered and admitted in the next turn, 0 to
    /// [`Engine::slots`]. An item that is offered beyond this number waits in the driver.
    pub fn room(&self) -> usize {
        self.engine.slots().saturating_sub(self.engine.in_flight() + self.waiting.len())
    }

    /// Offers an item without a known risk or key. `image` is preprocessed: it has the pixel values
    /// that the network's input expects, in its layout.
    pub fn offer(&mut self, image: Vec<u8>, payload: T) {
        self.offer_with(ItemPrior::default(), image, payload);
    }

    /// Offers an item about which something is known. The item waits in the driver until a turn
    /// admits it. `image` is as in [`Driver::offer`].
    pub fn offer_with(&mut self, prior: ItemPrior, image: Vec<u8>, payload: T) {
        self.waiting.push_back(Offer { prior, image, payload });
    }

    /// Declares that no more items will be offered. From then on, a turn that has admitted all
    /// waiting items closes the open groups.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Requests that the open groups are closed, however small they are. Items that the next turn
    /// admits are included: the groups are closed as soon as all of them are ready to be pooled.
    pub fn flush(&mut self) {
        self.flush = true;
    }

    /// Admits waiting items, closes groups that are due, and runs one part of the network once.
    ///
    /// # Errors
    /// [`EngineError`] if the network fails, a policy breaks its contract, or no run is possible
    /// for the items in flight. The driver must then be dropped. Items that are in flight or wait
    /// in the driver get no verdict.
    ///
    /// # Panics
    /// If the rule of the pools has more bands than there are plans ([`Engine::with_pools`]), or a
    /// deadline is too late for an [`Instant`].
    pub fn turn(&mut self) -> Result<Turn, EngineError> {
        let now = self.engine.now();
        while self.engine.has_room() {
            let Some(Offer { prior, image, payload }) = self.waiting.pop_front() else {
                break;
            };
            self.engine.offer(prior, image, payload);
        }
        self.engine.expire(now)?;
        if std::mem::take(&mut self.flush) {
            self.engine.request_flush();
        }
        self.engine.flush_requested()?;
        if self.closed && self.waiting.is_empty() && self.engine.item_stages_are_empty() {
            self.engine.flush()?;
        }
        if self.engine.step()? {
            return Ok(Turn::Ran);
        }
        if self.closed && !self.waiting.is_empty() {
            // Open groups hold all slots. Only closing them makes room for the waiting items.
            self.engine.flush()?;
            if self.engine.step()? {
                return Ok(Turn::Ran);
            }
        }
        if self.is_done() {
            return Ok(Turn::Done);
        }
        Ok(Turn::Idle { deadline: self.engine.deadline() })
    }

    /// Removes and returns the items that have their verdict, in the order of their verdicts. Items
    /// that the caller does not take from the iterator are dropped.
    pub fn verdicts(&mut self) -> impl Iterator<Item = ItemVerdict<T>> + '_ {
        self.engine.verdicts.drain(..)
    }

    /// Takes turns until no run is possible, and calls `each` with every verdict. If the driver was
    /// closed ([`Driver::close`]), every item has its verdict when this function returns `Ok`.
    /// Otherwise it also returns when the driver is idle ([`Turn::Idle`]).
    ///
    /// # Errors
    /// As [`Driver::turn`].
    ///
    /// # Panics
    /// As [`Driver::turn`].
    pub fn run_to_end(&mut self, mut each: impl FnMut(ItemVerdict<T>)) -> Result<(), EngineError> {
        while self.turn()? == Turn::Ran {
            self.verdicts().for_each(&mut each);
        }
        self.verdicts().for_each(&mut each);
        Ok(())
    }

    /// Whether the driver is closed and every item has its verdict.
    pub fn is_done(&self) -> bool {
        self.closed && self.waiting.is_empty() && self.engine.in_flight() == 0
    }

    /// The engine.
    pub fn engine(&self) -> &Engine<N, T> {
        &self.engine
    }

    /// The engine, to warm it up ([`Engine::warm_up`]) or to replace a plan ([`Engine::replan`]).
    pub fn engine_mut(&mut self) -> &mut Engine<N, T> {
        &mut self.engine
    }
}
