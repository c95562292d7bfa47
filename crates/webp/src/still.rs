//! Still pictures. The invariants are in the documentation of the crate.

use std::ptr::{NonNull, null_mut};

use libwebp_sys as sys;

use crate::{Header, WebPError, error};

/// What the header of `bytes` says.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, WebPError> {
    // SAFETY: invariant 5.
    let mut features: sys::WebPBitstreamFeatures = unsafe { std::mem::zeroed() };
    // SAFETY: the bytes are as long as told, and the structure is writable (invariants 2 and 5).
    let status = unsafe { sys::WebPGetFeatures(bytes.as_ptr(), bytes.len(), &mut features) };
    if let Some(error) = error(status) {
        return Err(error);
    }
    let side = |side: i32| u32::try_from(side).ok().filter(|&side| side > 0);
    Ok(Header {
        width: side(features.width).ok_or(WebPError::Corrupt)?,
        height: side(features.height).ok_or(WebPError::Corrupt)?,
        alpha: features.has_alpha != 0,
        animated: features.has_animation != 0,
    })
}

/// An incremental decoder, which also decodes the start of a file.
struct Decoder(NonNull<sys::WebPIDecoder>);

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the handle is alive, and is not used again (invariant 1).
        unsafe { sys::WebPIDelete(self.0.as_ptr()) };
    }
}

/// Decodes a picture to `output`, whose length the caller has checked (invariant 3). Returns the number
/// of decoded rows.
pub(crate) fn decode(bytes: &[u8], header: &Header, output: &mut [u8]) -> Result<u32, WebPError> {
    let mode =
        if header.alpha { sys::WEBP_CSP_MODE::MODE_RGBA } else { sys::WEBP_CSP_MODE::MODE_RGB };
    let stride = header.width as usize * header.samples();
    // SAFETY: the output is as long as told, is borrowed for the life of the decoder, and has rows of
    // `stride` bytes (invariant 3). A row has at most 65,536 bytes.
    let raw = unsafe { sys::WebPINewRGB(mode, output.as_mut_ptr(), output.len(), stride as i32) };
    let decoder = Decoder(NonNull::new(raw).ok_or(WebPError::NoMemory)?);
    // SAFETY: the handle is alive, and the bytes are as long as told (invariants 1 and 2).
    let status = unsafe { sys::WebPIUpdate(decoder.0.as_ptr(), bytes.as_ptr(), bytes.len()) };
    if let Some(error) = error(status) {
        return Err(error);
    }
    if status == sys::VP8StatusCode::VP8_STATUS_OK {
        return Ok(header.height);
    }
    let mut rows = 0;
    // SAFETY: the handle is alive (invariant 1). Null pointers are skipped.
    let first = unsafe {
        sys::WebPIDecGetRGB(decoder.0.as_ptr(), &mut rows, null_mut(), null_mut(), null_mut())
    };
    let rows = u32::try_from(rows).unwrap_or_default().min(header.height);
    if first.is_null() || rows == 0 { Err(WebPError::EndsEarly) } else { Ok(rows) }
}
