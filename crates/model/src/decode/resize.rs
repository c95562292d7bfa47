//! Resizes pixels to the size of the network's input, by the rule in the manifest.
//!
//! As in Pillow, an image is resized first horizontally, then vertically, with 8 bits per sample in
//! between. The opposite order differs by many levels where a filter overshoots.

use std::cell::RefCell;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use super::pixels::Pixels;
use super::{DecodeError, DecodeFault};
use crate::manifest::{Filter, InputSpec, Resize};

/// The intermediate image may have this many bytes, even if the source has fewer.
const BETWEEN: u64 = 16 << 20;

thread_local! {
    /// Scratch memory that is reused for the next image of the thread.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    resizer: Resizer,
    between: Vec<u8>,
}

/// The part of a source image that becomes the target, in pixels of the source.
#[derive(Debug, Clone, Copy, PartialEq)]
struct CropBox {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

/// Resizes pixels to width x height of the input. Pixels that already have this size are unchanged.
pub(super) fn fit(pixels: Pixels, input: &InputSpec) -> Result<Pixels, DecodeError> {
    let (part, filter) = match input.resize {
        Resize::Stretch { filter, .. } => (CropBox::whole(&pixels), filter),
        Resize::ShortSide { short_side, filter, .. } => {
            (CropBox::middle(&pixels, short_side, input.width, input.height), filter)
        }
    };
    if (pixels.width, pixels.height) == (input.width, input.height)
        && part == CropBox::whole(&pixels)
    {
        return Ok(pixels);
    }
    let size = (input.width, input.height);
    let resized = SCRATCH.with_borrow_mut(|scratch| match input.channels.count() {
        1 => resample::<U8>(&pixels, part, size, filter, scratch),
        _ => resample::<U8x3>(&pixels, part, size, filter, scratch),
    });
    let data = resized.map_err(|e| {
        DecodeError::new(DecodeFault::Undecodable, format!("the image cannot be resized: {e}"))
    })?;
    Ok(Pixels { width: input.width, height: input.height, data })
}

impl CropBox {
    /// The whole image.
    fn whole(pixels: &Pixels) -> Self {
        Self { left: 0.0, top: 0.0, width: pixels.width.into(), height: pixels.height.into() }
    }

    /// The part of the source that becomes the centre crop of `width` x `height` after the short
    /// side is resized to `short`. This part is cut out of the source before the resize. The pixels
    /// outside the crop are therefore never resized, which matters because the long side of a thin
    /// image may have millions of pixels.
    fn middle(pixels: &Pixels, short: u32, width: u32, height: u32) -> Self {
        let (full_width, full_height) = short_side_size(pixels.width, pixels.height, short);
        let (left, width) = span(pixels.width, full_width, width);
        let (top, height) = span(pixels.height, full_height, height);
        Self { left, top, width, height }
    }
}

/// The size of an image after its short side is resized to `short`. The long side is rounded down,
/// as in torchvision.
fn short_side_size(width: u32, height: u32, short: u32) -> (u64, u64) {
    let scale = |long: u32, side: u32| u64::from(short) * u64::from(long) / u64::from(side);
    if width <= height {
        (short.into(), scale(height, width))
    } else {
        (scale(width, height), short.into())
    }
}

/// The start and the length of a centre crop along one side, in pixels of the source. The side has
/// `source` pixels before the resize and `full` pixels after it, of which the crop keeps `crop`.
fn span(source: u32, full: u64, crop: u32) -> (f64, f64) {
    let scale = f64::from(source) / full as f64;
    let start = ((full - u64::from(crop)) / 2) as f64 * scale;
    // Rounding must not extend the crop past the end.
    (start, (f64::from(crop) * scale).min(f64::from(source) - start))
}

type Resized = Result<Vec<u8>, Box<dyn std::error::Error>>;

/// Resizes a part of `pixels` to `width` x `height` pixels of the type `P`.
fn resample<P: PixelTrait>(
    pixels: &Pixels,
    part: CropBox,
    (width, height): (u32, u32),
    filter: Filter,
    scratch: &mut Scratch,
) -> Resized {
    let source = TypedImageRef::<P>::from_buffer(pixels.width, pixels.height, &pixels.data)?;
    let mut data = vec![0; width as usize * height as usize * P::size()];
    let mut target = TypedImage::<P>::from_buffer(width, height, &mut data)?;
    let (algorithm, support) = algorithm(filter);
    let options = |p: CropBox| {
        ResizeOptions::new()
            .resize_alg(algorithm)
            .use_alpha(false)
            .crop(p.left, p.top, p.width, p.height)
    };
    let (first, last) = rows(part, height, pixels.height, support);
    let size = u64::from(width) * u64::from(last - first) * P::size() as u64;
    // The intermediate image of a tall, thin source would be too large. Such a source is resized in
    // both directions at once, and so is every source with the nearest filter.
    if filter == Filter::Nearest || size > BETWEEN.max(pixels.data.len() as u64) {
        scratch.resizer.resize_typed(&source, &mut target, &options(part))?;
        return Ok(data);
    }
    scratch.between.resize(size as usize, 0);
    let mut between = TypedImage::<P>::from_buffer(width, last - first, &mut scratch.between)?;
    let across = CropBox { top: first.into(), height: (last - first).into(), ..part };
    scratch.resizer.resize_typed(&source, &mut between, &options(across))?;
    let down = CropBox {
        left: 0.0,
        top: part.top - f64::from(first),
        width: width.into(),
        height: part.height,
    };
    scratch.resizer.resize_typed(&between, &mut target, &options(down))?;
    Ok(data)
}

/// The rows of the source that contribute to the target, including those in the reach of the
/// filter: the first row, and the row after the last.
fn rows(part: CropBox, target: u32, source: u32, support: f64) -> (u32, u32) {
    let reach = support * (part.height / f64::from(target)).max(1.0);
    let first = (part.top - reach).floor().max(0.0) as u32;
    let last = (part.top + part.height + reach).ceil().min(source.into()) as u32;
    (first, last)
}

/// The algorithm of a filter, and how far the filter reaches to each side, in pixels before
/// the filter is scaled.
fn algorithm(filter: Filter) -> (ResizeAlg, f64) {
    match filter {
        Filter::Nearest => (ResizeAlg::Nearest, 0.0),
        Filter::Bilinear => (ResizeAlg::Convolution(FilterType::Bilinear), 1.0),
        Filter::Bicubic => (ResizeAlg::Convolution(FilterType::CatmullRom), 2.0),
        Filter::Lanczos3 => (ResizeAlg::Convolution(FilterType::Lanczos3), 3.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Channels, Layout, PixelType};

    fn input(width: u32, height: u32, resize: Resize) -> InputSpec {
        InputSpec {
            width,
            height,
            channels: Channels::Grey,
            layout: Layout::Nchw,
            resize,
            dtype: PixelType::Uint8,
            mean: Vec::new(),
            std: Vec::new(),
        }
    }

    #[test]
    fn the_short_side_decides_the_size() {
        assert_eq!(short_side_size(640, 480, 256), (341, 256));
        assert_eq!(short_side_size(480, 640, 256), (256, 341));
        assert_eq!(short_side_size(100, 100, 256), (256, 256));
        assert_eq!(short_side_size(1, u32::MAX, 1000), (1000, 1000 * u64::from(u32::MAX)));
    }

    #[test]
    fn the_crop_is_centred() {
        let pixels = Pixels { width: 4, height: 3, data: (0..12).collect() };
        let resize = Resize::ShortSide { short_side: 3, filter: Filter::Bilinear, draft: 0 };
        assert_eq!(fit(pixels, &input(2, 1, resize)).unwrap().data, [5, 6]);
    }

    #[test]
    fn an_image_of_the_right_size_is_unchanged() {
        let pixels = Pixels { width: 4, height: 3, data: (0..12).collect() };
        let stretched = fit(
            pixels.clone(),
            &input(4, 3, Resize::Stretch { filter: Filter::Lanczos3, draft: 0 }),
        )
        .unwrap();
        assert_eq!(stretched, pixels);
    }

    #[test]
    fn every_crop_lies_inside_the_source() {
        for (source, short, crop) in [
            (1, 36, 32),
            (3, 7, 7),
            (7, 3, 3),
            (999, 256, 224),
            (50_000_000, 256, 224),
            (640, 512, 1),
        ] {
            let (start, length) = span(source, short, crop);
            assert!(
                start >= 0.0 && length > 0.0 && start + length <= f64::from(source),
                "{source} {short} {crop}"
            );
        }
    }

    #[test]
    fn scratch_memory_stays_small_for_thin_images() {
        for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos3] {
            for (width, height) in [(1, 3_000_000), (3_000_000, 1)] {
                for resize in [
                    Resize::Stretch { filter, draft: 0 },
                    Resize::ShortSide { short_side: 256, filter, draft: 0 },
                ] {
                    let pixels = Pixels { width, height, data: vec![77; 3_000_000] };
                    assert_eq!(
                        fit(pixels, &input(224, 224, resize)).unwrap().data,
                        [77; 224 * 224]
                    );
                    let kept = SCRATCH.with_borrow(|s| {
                        s.between.capacity() + s.resizer.size_of_internal_buffers()
                    });
                    assert!(kept <= 2 * BETWEEN as usize, "{kept}");
                }
            }
        }
    }
}
