//! The calls of libavif. The invariants are in the documentation of the crate.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use libavif_sys as sys;

use crate::{AvifError, Header, Mirror, Rect};

/// A decoder of libavif, and the file that it reads.
#[derive(Debug)]
pub(crate) struct Handle<'a> {
    raw: NonNull<sys::avifDecoder>,
    bytes: PhantomData<&'a [u8]>,
}

/// Whether the file type box names AVIF.
pub(crate) fn detect(bytes: &[u8]) -> bool {
    let data = sys::avifROData { data: bytes.as_ptr(), size: bytes.len() as _ };
    // SAFETY: the bytes are as long as told (invariant 2).
    unsafe { sys::avifPeekCompatibleFileType(&data) != 0 }
}

impl<'a> Handle<'a> {
    /// A decoder that has parsed the boxes of `bytes`.
    pub fn open(bytes: &'a [u8]) -> Result<Self, AvifError> {
        // SAFETY: the function has no preconditions.
        let raw = NonNull::new(unsafe { sys::avifDecoderCreate() });
        let raw = raw.ok_or_else(|| AvifError::Failed("the decoder has no memory".into()))?;
        let mut handle = Self { raw, bytes: PhantomData };
        let decoder = handle.decoder();
        decoder.codecChoice = sys::AVIF_CODEC_CHOICE_DAV1D;
        decoder.maxThreads = 1;
        // The orientation of an AVIF is in its own boxes.
        decoder.ignoreExif = 1;
        decoder.ignoreXMP = 1;
        // As browsers and Pillow do: old encoders wrote no `pixi` box, and wrong crops are ignored.
        let lenient = sys::AVIF_STRICT_PIXI_REQUIRED | sys::AVIF_STRICT_CLAP_VALID;
        decoder.strictFlags &= !lenient;
        // SAFETY: the handle is alive, and the bytes are as long as told and borrowed for its life
        // (invariants 1 and 2).
        let result = unsafe {
            sys::avifDecoderSetIOMemory(handle.raw.as_ptr(), bytes.as_ptr(), bytes.len() as _)
        };
        handle.ended(result)?;
        // SAFETY: the handle is alive (invariant 1).
        let result = unsafe { sys::avifDecoderParse(handle.raw.as_ptr()) };
        handle.ended(result)?;
        Ok(handle)
    }

    /// What the boxes say.
    pub fn header(&mut self) -> Result<Header, AvifError> {
        let frames = u32::try_from(self.decoder().imageCount).unwrap_or_default();
        let alpha = self.decoder().alphaPresent != 0;
        let image = self.image()?;
        let shown = |flag: sys::avifTransformFlag| image.transformFlags & flag != 0;
        let mirror = match image.imir.axis {
            0 => Mirror::TopBottom,
            _ => Mirror::LeftRight,
        };
        let header = Header {
            width: image.width,
            height: image.height,
            alpha,
            frames,
            crop: shown(sys::AVIF_TRANSFORM_CLAP).then(|| crop(&image)).flatten(),
            // libavif counts anticlockwise.
            quarter_turns: if shown(sys::AVIF_TRANSFORM_IROT) {
                (4 - image.irot.angle % 4) % 4
            } else {
                0
            },
            mirror: shown(sys::AVIF_TRANSFORM_IMIR).then_some(mirror),
        };
        if header.width == 0 || header.height == 0 || frames == 0 {
            return Err(AvifError::Failed("the file has no picture".into()));
        }
        Ok(header)
    }

    /// Lets the decoder refuse frames of more pixels than these sides have.
    pub fn limit(&mut self, width: u32, height: u32) {
        let pixels = u64::from(width) * u64::from(height);
        let decoder = self.decoder();
        decoder.imageSizeLimit =
            u32::try_from(pixels).unwrap_or(u32::MAX).min(decoder.imageSizeLimit);
    }

    /// Decodes a frame. The caller has checked the length of `output` (invariant 4).
    pub fn decode(
        &mut self,
        frame: u32,
        header: &Header,
        output: &mut [u8],
    ) -> Result<(), AvifError> {
        // SAFETY: the handle is alive (invariant 1).
        let result = unsafe { sys::avifDecoderNthImage(self.raw.as_ptr(), frame) };
        self.ended(result)?;
        let image = self.image()?;
        if (image.width, image.height) != (header.width, header.height) {
            return Err(AvifError::Failed("a frame has another size than the header".into()));
        }
        // SAFETY: invariant 5.
        let mut rgb: sys::avifRGBImage = unsafe { std::mem::zeroed() };
        // SAFETY: both structures are alive.
        unsafe { sys::avifRGBImageSetDefaults(&mut rgb, &image) };
        rgb.depth = 8;
        rgb.format =
            if header.alpha { sys::AVIF_RGB_FORMAT_RGBA } else { sys::AVIF_RGB_FORMAT_RGB };
        rgb.pixels = output.as_mut_ptr();
        rgb.rowBytes = header.width * header.samples() as u32;
        // SAFETY: the planes of the image are alive until the next call of the decoder, and the output
        // has the length of the frame (invariants 3 and 4).
        let result = unsafe { sys::avifImageYUVToRGB(&image, &mut rgb) };
        self.ended(result)
    }

    /// The current frame. The copy holds pointers to planes, which the decoder owns, and is not used
    /// after the next call of the decoder.
    fn image(&mut self) -> Result<sys::avifImage, AvifError> {
        let image = self.decoder().image;
        if image.is_null() {
            return Err(AvifError::Failed("the file has no picture".into()));
        }
        // SAFETY: the pointer is not null and points to the decoder's image (invariant 3).
        Ok(unsafe { *image })
    }

    fn decoder(&mut self) -> &mut sys::avifDecoder {
        // SAFETY: the handle is alive, and nothing else refers to it (invariant 1).
        unsafe { self.raw.as_mut() }
    }

    fn ended(&mut self, result: sys::avifResult) -> Result<(), AvifError> {
        if result == sys::AVIF_RESULT_OK {
            return Ok(());
        }
        // SAFETY: the function returns a constant C string for every number.
        let what = unsafe { CStr::from_ptr(sys::avifResultToString(result)) }.to_string_lossy();
        let detail = &self.decoder().diag.error;
        let detail: Vec<u8> =
            detail.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
        let detail = String::from_utf8_lossy(&detail);
        let whole = if detail.is_empty() { what.into() } else { format!("{what}: {detail}") };
        Err(AvifError::Failed(whole))
    }
}

/// The part of a picture that its `clap` box shows. `None` if the box is wrong; viewers then show the
/// whole picture.
fn crop(image: &sys::avifImage) -> Option<Rect> {
    let mut rect = sys::avifCropRect::default();
    // SAFETY: invariant 5.
    let mut diagnostics: sys::avifDiagnostics = unsafe { std::mem::zeroed() };
    // SAFETY: the structures are alive and writable.
    let valid = unsafe {
        sys::avifCropRectConvertCleanApertureBox(
            &mut rect,
            &image.clap,
            image.width,
            image.height,
            image.yuvFormat,
            &mut diagnostics,
        )
    };
    let sys::avifCropRect { x, y, width, height } = rect;
    let inside = |first: u32, side: u32, whole: u32| {
        side > 0 && first.checked_add(side).is_some_and(|end| end <= whole)
    };
    let fits = inside(x, width, image.width) && inside(y, height, image.height);
    (valid != 0 && fits).then_some(Rect { x, y, width, height })
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is alive, and is not used again (invariant 1).
        unsafe { sys::avifDecoderDestroy(self.raw.as_ptr()) };
    }
}
