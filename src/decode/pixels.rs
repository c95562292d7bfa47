//! Eight-bit pixels, grey or RGB, and how they come from what decoders give (pure).

use image::DynamicImage;

use crate::model::manifest::Channels;

/// An image of one or three 8-bit channels, interleaved.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pixels {
    pub width: u32,
    pub height: u32,
    pub data: Vec<u8>,
}

impl Pixels {
    /// Alpha composited on white, 16 bit to 8, colour to grey or grey to colour.
    pub fn new(image: DynamicImage, channels: Channels) -> Self {
        let (width, height) = (image.width(), image.height());
        let grey = channels == Channels::Grey;
        let (data, colours) = flatten(image);
        let data = match (colours, grey) {
            (1, true) | (3, false) => data,
            (1, false) => data.iter().flat_map(|&x| [x; 3]).collect(),
            _ => data.chunks_exact(3).map(|p| luma(p[0], p[1], p[2])).collect(),
        };
        Self { width, height, data }
    }
}

/// ITU-R 601 luma with Pillow's rounding.
fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// A value composited on white.
fn on_white(x: u8, alpha: u8) -> u8 {
    let (x, alpha) = (u32::from(x), u32::from(alpha));
    ((x * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// Eight bits, no alpha: the samples and how many there are a pixel (1 or 3).
fn flatten(image: DynamicImage) -> (Vec<u8>, usize) {
    let high = |samples: Vec<u16>| -> Vec<u8> { samples.into_iter().map(|x| (x >> 8) as u8).collect() };
    match image {
        DynamicImage::ImageLuma8(i) => (i.into_raw(), 1),
        DynamicImage::ImageRgb8(i) => (i.into_raw(), 3),
        DynamicImage::ImageLumaA8(i) => (composite(&i.into_raw(), 2), 1),
        DynamicImage::ImageRgba8(i) => (composite(&i.into_raw(), 4), 3),
        DynamicImage::ImageLuma16(i) => (high(i.into_raw()), 1),
        DynamicImage::ImageRgb16(i) => (high(i.into_raw()), 3),
        DynamicImage::ImageLumaA16(i) => (composite(&high(i.into_raw()), 2), 1),
        DynamicImage::ImageRgba16(i) => (composite(&high(i.into_raw()), 4), 3),
        other => (other.into_rgb8().into_raw(), 3),
    }
}

/// Samples with alpha last, `samples` a pixel, composited on white.
fn composite(data: &[u8], samples: usize) -> Vec<u8> {
    data.chunks_exact(samples)
        .flat_map(|pixel| pixel[..samples - 1].iter().map(|&x| on_white(x, pixel[samples - 1])))
        .collect()
}

#[cfg(test)]
mod tests {
    use image::{GrayAlphaImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    #[test]
    fn luma_is_pillows() {
        // (r, g, b) -> Image.new("RGB", (1, 1), rgb).convert("L").getpixel((0, 0)) of Pillow 9.4
        for ((r, g, b), l) in [((255, 255, 255), 255), ((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((12, 200, 99), 132)] {
            assert_eq!(luma(r, g, b), l);
        }
    }

    #[test]
    fn alpha_is_composited_on_white() {
        let image = RgbaImage::from_pixel(1, 1, Rgba([0, 100, 255, 128]));
        assert_eq!(Pixels::new(image.into(), Channels::Rgb).data, [127, 177, 255]);
        let image = GrayAlphaImage::from_pixel(1, 1, image::LumaA([9, 0]));
        assert_eq!(Pixels::new(image.into(), Channels::Grey).data, [255]);
    }

    #[test]
    fn sixteen_bits_keep_their_high_byte() {
        let image: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(1, 1, Luma([0xabcd]));
        assert_eq!(Pixels::new(DynamicImage::ImageLuma16(image), Channels::Rgb).data, [0xab; 3]);
    }

    #[test]
    fn colour_becomes_grey_where_grey_is_wanted() {
        let image = RgbImage::from_pixel(2, 1, Rgb([255, 0, 0]));
        assert_eq!(Pixels::new(image.into(), Channels::Grey).data, [76, 76]);
    }
}
