//! The calls of TurboJPEG. The invariants are in the documentation of the crate.

use std::ffi::CStr;
use std::ptr::NonNull;

use turbojpeg_sys as sys;

use crate::{JpegError, Limits};

/// A decoder of TurboJPEG, and the file that it reads.
#[derive(Debug)]
pub(crate) struct Handle<'a> {
    raw: NonNull<std::ffi::c_void>,
    bytes: &'a [u8],
}

// SAFETY: all state of a decoder is behind its handle (invariant 1). The messages of its errors are
// in the memory of the thread that has called it, and are copied before another call.
unsafe impl Send for Handle<'_> {}

/// A call that has not ended well.
#[derive(Debug)]
pub(crate) struct Failed {
    pub message: String,
    /// Whether libjpeg has warned. A fatal error may have followed.
    pub warning: bool,
}

impl<'a> Handle<'a> {
    /// A decoder of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Result<Self, JpegError> {
        // SAFETY: `tj3Init` has no preconditions.
        let raw = unsafe { sys::tj3Init(sys::TJINIT_TJINIT_DECOMPRESS as i32) };
        let out_of_memory = || JpegError::Failed("the decoder has no memory".into());
        let raw = NonNull::new(raw.cast()).ok_or_else(out_of_memory)?;
        let mut handle = Self { raw, bytes };
        // By default, TurboJPEG copies colour profiles. A file of empty segments of profiles would
        // take 24 times its bytes.
        handle.set(sys::TJPARAM_TJPARAM_SAVEMARKERS, 0);
        Ok(handle)
    }

    /// Reads the header of the file.
    pub fn read_header(&mut self) -> Result<(), Failed> {
        let (raw, bytes) = (self.raw(), self.bytes);
        // SAFETY: the handle is alive, and the bytes are as long as told (invariants 1 and 2).
        let code = unsafe { sys::tj3DecompressHeader(raw, bytes.as_ptr(), bytes.len() as _) };
        self.ended(code)
    }

    /// Limits what decoding may take.
    pub fn limit(&mut self, limits: Limits) {
        let mebibytes = i32::try_from(limits.memory.div_ceil(1 << 20)).unwrap_or(i32::MAX);
        // 0 would be no limit.
        self.set(sys::TJPARAM_TJPARAM_MAXMEMORY, mebibytes.max(1));
        self.set(sys::TJPARAM_TJPARAM_SCANLIMIT, i32::from(limits.scans.max(1)));
    }

    /// Decodes the image at `1 / divisor`. The caller has checked the length of `output`
    /// (invariant 3).
    pub fn decode(
        &mut self,
        divisor: u32,
        format: sys::TJPF,
        output: &mut [u8],
    ) -> Result<(), Failed> {
        let factor = sys::tjscalingfactor { num: 1, denom: divisor as i32 };
        // SAFETY: the handle is alive (invariant 1).
        let code = unsafe { sys::tj3SetScalingFactor(self.raw(), factor) };
        self.ended(code)?;
        let (raw, bytes) = (self.raw(), self.bytes);
        // SAFETY: the handle is alive, the bytes are as long as told, and the output has the length
        // of the image, whose rows follow each other without gaps, as the pitch 0 says (invariants 1
        // to 3).
        let code = unsafe {
            sys::tj3Decompress8(
                raw,
                bytes.as_ptr(),
                bytes.len() as _,
                output.as_mut_ptr(),
                0,
                format,
            )
        };
        self.ended(code)
    }

    /// The value of a parameter. -1 if it is unknown.
    pub fn get(&mut self, parameter: sys::TJPARAM) -> i32 {
        // SAFETY: the handle is alive (invariant 1).
        unsafe { sys::tj3Get(self.raw(), parameter as i32) }
    }

    fn set(&mut self, parameter: sys::TJPARAM, value: i32) {
        // SAFETY: the handle is alive (invariant 1). A value out of range is refused.
        unsafe { sys::tj3Set(self.raw(), parameter as i32, value) };
    }

    fn ended(&mut self, code: i32) -> Result<(), Failed> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the handle is alive (invariant 1). The message is a C string that lives until the
        // next call.
        let (message, code) = unsafe {
            (CStr::from_ptr(sys::tj3GetErrorStr(self.raw())), sys::tj3GetErrorCode(self.raw()))
        };
        let message = message.to_string_lossy().into_owned();
        Err(Failed { message, warning: code == sys::TJERR_TJERR_WARNING as i32 })
    }

    fn raw(&self) -> sys::tjhandle {
        self.raw.as_ptr().cast()
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is alive, and is not used again (invariant 1).
        unsafe { sys::tj3Destroy(self.raw()) };
    }
}
