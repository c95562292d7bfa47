//! A buffer a thread for decoded pixels: a fresh one for every image would be mapped, faulted in and unmapped again.

use std::cell::Cell;

/// Larger buffers are not kept.
const KEEP: usize = 8 << 20;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer of zeros; nothing of the image before is left in it.
pub(super) fn take(len: usize) -> Vec<u8> {
    let mut buffer = BUFFER.take();
    buffer.clear();
    buffer.resize(len, 0);
    buffer
}

/// Gives a buffer back for the next image.
pub(super) fn give(buffer: Vec<u8>) {
    if buffer.capacity() <= KEEP {
        BUFFER.set(buffer);
    }
}
