//! Animations. The invariants are in the documentation of the crate.

use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use libwebp_sys as sys;

use crate::WebPError;

/// The frames of an animation, each drawn on the canvas with the frames before it.
#[derive(Debug)]
pub struct Animation<'a> {
    raw: NonNull<sys::WebPAnimDecoder>,
    /// Bytes of the canvas.
    len: usize,
    frames: u32,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> Animation<'a> {
    /// The frames of a complete file.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, WebPError> {
        let data = sys::WebPData { bytes: bytes.as_ptr(), size: bytes.len() };
        // SAFETY: invariant 5.
        let mut options: sys::WebPAnimDecoderOptions = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is writable.
        if unsafe { sys::WebPAnimDecoderOptionsInit(&mut options) } == 0 {
            return Err(WebPError::Corrupt);
        }
        options.color_mode = sys::WEBP_CSP_MODE::MODE_RGBA;
        options.use_threads = 0;
        // SAFETY: the bytes are as long as told, and are borrowed for the life of the decoder
        // (invariant 2).
        let raw = unsafe { sys::WebPAnimDecoderNew(&data, &options) };
        let raw = NonNull::new(raw).ok_or(WebPError::Corrupt)?;
        let mut animation = Self { raw, len: 0, frames: 0, bytes: PhantomData };
        let mut info = sys::WebPAnimInfo::default();
        // SAFETY: the handle is alive (invariant 1), and the structure is writable.
        if unsafe { sys::WebPAnimDecoderGetInfo(raw.as_ptr(), &mut info) } == 0 {
            return Err(WebPError::Corrupt);
        }
        animation.len = 4 * info.canvas_width as usize * info.canvas_height as usize;
        animation.frames = info.frame_count;
        Ok(animation)
    }

    /// The number of frames.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Draws the next frame. Returns the canvas, row by row, with 4 bytes per pixel: red, green, blue,
    /// alpha. `None` after the last frame.
    ///
    /// # Errors
    /// [`WebPError::Corrupt`] if the frame is damaged.
    pub fn draw_next(&mut self) -> Result<Option<&[u8]>, WebPError> {
        // SAFETY: the handle is alive (invariant 1).
        if unsafe { sys::WebPAnimDecoderHasMoreFrames(self.raw.as_ptr()) } == 0 {
            return Ok(None);
        }
        let (mut canvas, mut time) = (null_mut(), 0);
        // SAFETY: the handle is alive, and the bytes of the file too (invariants 1 and 2).
        let drawn =
            unsafe { sys::WebPAnimDecoderGetNext(self.raw.as_ptr(), &mut canvas, &mut time) };
        if drawn == 0 || canvas.is_null() {
            return Err(WebPError::Corrupt);
        }
        // SAFETY: the canvas has this length, and nothing changes it as long as it is borrowed
        // (invariant 4).
        Ok(Some(unsafe { std::slice::from_raw_parts(canvas, self.len) }))
    }
}

impl Drop for Animation<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is alive, and is not used again (invariant 1).
        unsafe { sys::WebPAnimDecoderDelete(self.raw.as_ptr()) };
    }
}
