//! The memory of all images that are decoded at the same time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::DecodeError;
use super::header::check_size;

/// A limit of the memory for decoding, which all decode threads share. A thread waits until its image
/// has room. An image that needs more than the limit is decoded while no other image is.
#[derive(Debug)]
pub struct DecodeMemory {
    limit: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

impl DecodeMemory {
    /// A limit of `limit` bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: Mutex::new(0), freed: Condvar::new() })
    }

    /// Bytes that are taken now.
    pub fn used(&self) -> u64 {
        *self.lock()
    }

    /// Waits until there is room for `bytes`.
    fn take(&self, bytes: u64) {
        let mut used = self.lock();
        while *used > 0 && used.saturating_add(bytes) > self.limit {
            used = self.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        *used = used.saturating_add(bytes);
    }

    fn free(&self, bytes: u64) {
        *self.lock() -= bytes;
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limits for one image, and the memory that it has taken. The memory is free again when this
/// value is dropped.
#[derive(Debug)]
pub(super) struct Room<'a> {
    max_pixels: u64,
    memory: Option<&'a DecodeMemory>,
    taken: u64,
}

impl<'a> Room<'a> {
    /// Room for an image of at most `max_pixels` pixels. Without `memory`, memory is not limited.
    pub fn new(max_pixels: u64, memory: Option<&'a DecodeMemory>) -> Self {
        Self { max_pixels, memory, taken: 0 }
    }

    /// Pixels per image, at most.
    pub fn max_pixels(&self) -> u64 {
        self.max_pixels
    }

    /// Checks the size of an image, and takes `bytes_per_pixel` bytes of memory per pixel, as
    /// [`Room::take`].
    ///
    /// # Errors
    /// [`DecodeError`] if the image has no pixels or more than allowed.
    pub fn admit(
        &mut self,
        width: u32,
        height: u32,
        bytes_per_pixel: u64,
    ) -> Result<(), DecodeError> {
        check_size(width, height, self.max_pixels)?;
        self.take((u64::from(width) * u64::from(height)).saturating_mul(bytes_per_pixel));
        Ok(())
    }

    /// Waits until there are `bytes` of memory to decode the image. To be called once per image,
    /// before any pixel is decoded: threads that waited for more memory while they hold some could
    /// wait without end.
    pub fn take(&mut self, bytes: u64) {
        debug_assert_eq!(self.taken, 0, "memory is taken once");
        if let Some(memory) = self.memory.filter(|_| self.taken == 0) {
            memory.take(bytes);
            self.taken = bytes;
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.filter(|_| self.taken > 0) {
            memory.free(self.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_waits_until_it_has_room() {
        let memory = DecodeMemory::new(1000);
        let mut first = Room::new(100, Some(&memory));
        first.admit(10, 10, 6).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let mut second = Room::new(100, Some(&memory));
                second.admit(10, 10, 5).unwrap();
                memory.used()
            });
            assert!(!waits.is_finished() && memory.used() == 600);
            drop(first);
            assert_eq!(waits.join().unwrap(), 500);
        });
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn an_image_above_the_limit_is_decoded_alone() {
        let memory = DecodeMemory::new(10);
        let mut large = Room::new(100, Some(&memory));
        large.admit(10, 10, 4).unwrap();
        assert_eq!(memory.used(), 400);
    }

    #[test]
    fn an_image_that_is_refused_takes_nothing() {
        let memory = DecodeMemory::new(10);
        let mut room = Room::new(100, Some(&memory));
        assert!(room.admit(11, 10, 4).is_err() && room.admit(0, 10, 4).is_err());
        assert_eq!(memory.used(), 0);
    }
}
