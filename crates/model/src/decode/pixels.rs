//! Eight-bit pixels, grey or RGB, and their conversion from the output of decoders (pure).

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

/// The output of a decoder: 8 bits per sample, interleaved.
#[derive(Debug, Clone)]
pub(super) struct Decoded {
    pub width: u32,
    pub height: u32,
    pub samples: Samples,
    pub data: Vec<u8>,
    /// The orientation in the file's header, not yet applied.
    pub orientation: Orientation,
}

/// The samples of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Samples {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
}

impl Samples {
    /// The number of samples per pixel.
    pub fn count(self) -> usize {
        match self {
            Samples::Grey => 1,
            Samples::GreyAlpha => 2,
            Samples::Rgb => 3,
            Samples::Rgba => 4,
        }
    }

    /// A buffer for `width` x `height` pixels.
    pub fn buffer(self, width: u32, height: u32) -> Vec<u8> {
        vec![0; width as usize * height as usize * self.count()]
    }

    /// A buffer of transparent pixels, or of white ones without transparency.
    pub fn blank(self, width: u32, height: u32) -> Vec<u8> {
        let transparent = matches!(self, Samples::GreyAlpha | Samples::Rgba);
        let value = if transparent { 0 } else { u8::MAX };
        vec![value; width as usize * height as usize * self.count()]
    }
}

/// An image of one (grey) or three (RGB) 8-bit channels, interleaved, upright.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pixels {
    pub width: u32,
    pub height: u32,
    pub data: Vec<u8>,
}

impl Pixels {
    /// Converts the output of a decoder: composites alpha on white, converts to grey or RGB, and
    /// applies the orientation.
    pub fn new(decoded: Decoded, grey: bool) -> Self {
        let Decoded { width, height, samples, data, orientation } = decoded;
        // The conversion works pixel by pixel, so the orientation can be applied last. There are then
        // usually the fewest samples.
        let data = converted(data, samples, grey);
        let pixels = Self { width, height, data };
        if orientation == Orientation::NoTransforms {
            pixels
        } else {
            pixels.turned(orientation, grey)
        }
    }

    /// Applies an orientation.
    fn turned(self, orientation: Orientation, grey: bool) -> Self {
        let Self { width, height, data } = self;
        let image = if grey {
            GrayImage::from_raw(width, height, data).map(DynamicImage::from)
        } else {
            RgbImage::from_raw(width, height, data).map(DynamicImage::from)
        };
        let mut image = image.unwrap_or_default();
        image.apply_orientation(orientation);
        Self { width: image.width(), height: image.height(), data: image.into_bytes() }
    }
}

/// Samples as grey or RGB, with alpha composited on white. Frees the samples of the decoder.
fn converted(data: Vec<u8>, samples: Samples, grey: bool) -> Vec<u8> {
    match (samples, grey) {
        (Samples::Grey, true) | (Samples::Rgb, false) => data,
        (Samples::Grey, false) => map(&data, |[x]| [x; 3]),
        (Samples::GreyAlpha, true) => map(&data, |[x, a]| [on_white(x, a)]),
        (Samples::GreyAlpha, false) => map(&data, |[x, a]| [on_white(x, a); 3]),
        (Samples::Rgb, true) => map(&data, |[r, g, b]| [luma(r, g, b)]),
        (Samples::Rgba, true) => {
            map(&data, |[r, g, b, a]| [luma(on_white(r, a), on_white(g, a), on_white(b, a))])
        }
        (Samples::Rgba, false) => {
            map(&data, |[r, g, b, a]| [on_white(r, a), on_white(g, a), on_white(b, a)])
        }
    }
}

/// Samples as red, green, blue and alpha.
pub(super) fn rgba(data: &[u8], samples: Samples) -> Vec<u8> {
    match samples {
        Samples::Grey => map(data, |[x]| [x, x, x, u8::MAX]),
        Samples::GreyAlpha => map(data, |[x, a]| [x, x, x, a]),
        Samples::Rgb => map(data, |[r, g, b]| [r, g, b, u8::MAX]),
        Samples::Rgba => data.to_vec(),
    }
}

/// Divides the colours of a picture by its alpha, by which they are multiplied.
pub(super) fn unpremultiply(decoded: &mut Decoded) {
    let divided = |colour: u8, alpha: u8| {
        let (colour, alpha) = (u32::from(colour), u32::from(alpha).max(1));
        ((colour * 255 + alpha / 2) / alpha).min(255) as u8
    };
    match decoded.samples {
        Samples::GreyAlpha => {
            for [x, a] in decoded.data.as_chunks_mut().0 {
                *x = divided(*x, *a);
            }
        }
        Samples::Rgba => {
            for [r, g, b, a] in decoded.data.as_chunks_mut().0 {
                [*r, *g, *b] = [*r, *g, *b].map(|colour| divided(colour, *a));
            }
        }
        Samples::Grey | Samples::Rgb => {}
    }
}

/// The high bytes of samples of 16 bits, in the byte order of this machine.
pub(super) fn high_bytes(data: &[u8]) -> Vec<u8> {
    map(data, |sample| [(u16::from_ne_bytes(sample) >> 8) as u8])
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

/// Converts every pixel of `N` samples to a pixel of `M` samples.
fn map<const N: usize, const M: usize>(data: &[u8], f: impl Fn([u8; N]) -> [u8; M]) -> Vec<u8> {
    data.as_chunks().0.iter().map(|&pixel| f(pixel)).collect::<Vec<_>>().into_flattened()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(samples: Samples, data: &[u8], grey: bool) -> Vec<u8> {
        let width = (data.len() / samples.count()) as u32;
        let data = data.to_vec();
        Pixels::new(
            Decoded { width, height: 1, samples, data, orientation: Orientation::NoTransforms },
            grey,
        )
        .data
    }

    #[test]
    fn luma_equals_that_of_pillow() {
        // (r, g, b) -> Image.new("RGB", (1, 1), rgb).convert("L").getpixel((0, 0)) of Pillow 9.4
        for ((r, g, b), l) in [
            ((255, 255, 255), 255),
            ((255, 0, 0), 76),
            ((0, 255, 0), 150),
            ((0, 0, 255), 29),
            ((12, 200, 99), 132),
        ] {
            assert_eq!(luma(r, g, b), l);
        }
        for x in 0..=255 {
            assert_eq!(luma(x, x, x), x);
        }
    }

    #[test]
    fn compositing_equals_that_of_pillow() {
        // Pillow's C code for Image.alpha_composite on opaque white.
        for x in 0..=255u8 {
            for alpha in 0..=255u8 {
                let blend = u32::from(x) * u32::from(alpha) + 255 * (255 - u32::from(alpha));
                let t = 128 * (blend + 128);
                assert_eq!(u32::from(on_white(x, alpha)), (((t >> 8) + t) >> 8) >> 7);
            }
        }
    }

    #[test]
    fn every_kind_of_pixel_becomes_grey_or_rgb() {
        for (samples, pixel, grey, rgb) in [
            (Samples::Grey, &[7][..], 7, [7; 3]),
            (Samples::GreyAlpha, &[9, 0], 255, [255; 3]),
            (Samples::Rgb, &[255, 0, 0], 76, [255, 0, 0]),
            (Samples::Rgba, &[0, 100, 255, 128], 171, [127, 177, 255]),
        ] {
            assert_eq!(one(samples, &pixel.repeat(3), true), [grey; 3], "{samples:?}");
            assert_eq!(one(samples, &pixel.repeat(3), false), rgb.repeat(3), "{samples:?}");
        }
    }

    #[test]
    fn a_quarter_turn_swaps_width_and_height() {
        let decoded = Decoded {
            width: 3,
            height: 1,
            samples: Samples::Grey,
            data: vec![1, 2, 3],
            orientation: Orientation::Rotate90,
        };
        let turned = Pixels::new(decoded, true);
        assert_eq!((turned.width, turned.height, turned.data), (1, 3, vec![1, 2, 3]));
    }
}
