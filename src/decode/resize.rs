//! Pixels to the network's size, by the manifest's rule.

use std::cell::RefCell;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::pixels::Pixels;
use crate::message::{Failure, Reason};
use crate::model::manifest::{Filter, InputSpec, Resize};

thread_local! {
    /// Keeps its scratch memory from image to image.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Brings pixels to width x height of the input.
pub(super) fn fit(pixels: Pixels, input: &InputSpec) -> Result<Pixels, Failure> {
    match input.resize {
        Resize::Stretch { filter } => resize(pixels, input.width, input.height, filter, input.channels.count()),
        Resize::ShortSide { short_side, filter } => {
            let (width, height) = short_side_size(pixels.width, pixels.height, short_side);
            let resized = resize(pixels, width, height, filter, input.channels.count())?;
            Ok(crop(&resized, input.width, input.height, input.channels.count()))
        }
    }
}

/// The size with the short side at `short`; the long side is rounded down, as torchvision does.
fn short_side_size(width: u32, height: u32, short: u32) -> (u32, u32) {
    let scale = |long: u32, side: u32| (u64::from(short) * u64::from(long) / u64::from(side)).min(u64::from(u32::MAX)) as u32;
    if width <= height { (short, scale(height, width)) } else { (scale(width, height), short) }
}

fn resize(pixels: Pixels, width: u32, height: u32, filter: Filter, channels: usize) -> Result<Pixels, Failure> {
    if (pixels.width, pixels.height) == (width, height) {
        return Ok(pixels);
    }
    let failed = |e: &dyn std::fmt::Display| Failure::new(Reason::Undecodable, format!("not resized: {e}"));
    // A sliver of an image would grow without bound along its long side.
    if u64::from(width) * u64::from(height) > 1 << 28 {
        return Err(Failure::new(Reason::TooManyPixels, format!("{width} x {height} pixels after resizing")));
    }
    let kind = if channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let source = Image::from_vec_u8(pixels.width, pixels.height, pixels.data, kind).map_err(|e| failed(&e))?;
    let mut target = Image::new(width, height, kind);
    let options = ResizeOptions::new().resize_alg(algorithm(filter)).use_alpha(false);
    RESIZER.with_borrow_mut(|resizer| resizer.resize(&source, &mut target, &options)).map_err(|e| failed(&e))?;
    Ok(Pixels { width, height, data: target.into_vec() })
}

fn algorithm(filter: Filter) -> ResizeAlg {
    match filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
    }
}

/// The middle of an image at least as large.
fn crop(pixels: &Pixels, width: u32, height: u32, channels: usize) -> Pixels {
    let left = ((pixels.width - width) / 2) as usize * channels;
    let top = ((pixels.height - height) / 2) as usize;
    let rows = pixels.data.chunks_exact(pixels.width as usize * channels).skip(top).take(height as usize);
    let data = rows.flat_map(|row| &row[left..left + width as usize * channels]).copied().collect();
    Pixels { width, height, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_side_decides_the_size() {
        assert_eq!(short_side_size(640, 480, 256), (341, 256));
        assert_eq!(short_side_size(480, 640, 256), (256, 341));
        assert_eq!(short_side_size(100, 100, 256), (256, 256));
    }

    #[test]
    fn the_crop_is_the_middle() {
        let pixels = Pixels { width: 4, height: 3, data: (0..12).collect() };
        assert_eq!(crop(&pixels, 2, 1, 1).data, [5, 6]);
    }
}
