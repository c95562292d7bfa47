//! Preprocessing agrees with Pillow's, and broken images are errors. `tests/data/decode/make.py`
//! writes the images and the expected pixels.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use dorfman::config::decode::DecodeConfig;
use dorfman_model::decode::{DecodeFault, Preprocessor};
use dorfman_model::manifest::{Channels, Filter, InputSpec, Layout, PixelType, Resize};
use proptest::prelude::*;
use serde::Deserialize;

/// The contents of `cases.json`.
#[derive(Deserialize)]
struct Cases {
    inputs: HashMap<String, InputSpec>,
    cases: Vec<Case>,
}

/// An image, and the names of the inputs that it is preprocessed for.
#[derive(Deserialize)]
struct Case {
    file: String,
    inputs: Vec<String>,
}

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/decode").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn cases() -> Cases {
    serde_json::from_slice(&data("cases.json")).unwrap()
}

/// The samples of a binary PGM or PPM file. Pillow writes three lines of text before the samples.
fn samples(pnm: &[u8]) -> &[u8] {
    let end = pnm.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(2).unwrap().0;
    &pnm[end + 1..]
}

/// Converts pixels to interleaved values in the order RGB.
fn interleaved(ours: &[u8], input: &InputSpec) -> Vec<u8> {
    let channels = input.channels.count();
    let pixels = input.width as usize * input.height as usize;
    assert_eq!(ours.len(), pixels * channels);
    let at = |pixel: usize, channel: usize| {
        let index = if input.channels == Channels::Bgr { channels - 1 - channel } else { channel };
        match input.layout {
            Layout::Nchw => ours[index * pixels + pixel],
            Layout::Nhwc => ours[pixel * channels + index],
        }
    };
    (0..pixels).flat_map(|pixel| (0..channels).map(move |channel| at(pixel, channel))).collect()
}

/// The mean and the largest difference between the pixels of an image and those of Pillow.
fn difference(file: &str, image: &[u8], name: &str, input: &InputSpec) -> (f32, f32) {
    let ours = Preprocessor::new(input, DecodeConfig::default().max_pixels)
        .pixels(image)
        .unwrap_or_else(|e| panic!("{file}: {e}"));
    let expected = data(&format!("expected/{file}.{name}.pnm"));
    let ours = interleaved(&ours, input);
    let pillows = samples(&expected);
    assert_eq!(ours.len(), pillows.len());
    let differences: Vec<f32> = ours
        .iter()
        .zip(pillows)
        .map(|(ours, pillows)| f32::from(ours.abs_diff(*pillows)))
        .collect();
    let mean = differences.iter().sum::<f32>() / differences.len() as f32;
    (mean, differences.iter().copied().fold(0.0, f32::max))
}

#[test]
fn preprocessing_agrees_with_pillow() {
    let Cases { inputs, cases } = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        let image = data(&case.file);
        // The resize rounds a few levels differently than Pillow's. The decoders are those of Pillow.
        let (mean_limit, largest_limit) = (0.03, 1.01);
        for name in &case.inputs {
            let (mean, largest) = difference(&case.file, &image, name, &inputs[name]);
            println!("{:24} {name:14} mean {mean:.3} max {largest:.2}", case.file);
            if mean > mean_limit || largest > largest_limit {
                wrong.push(format!("{} to {name}: mean {mean:.3}, max {largest:.1}", case.file));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A preprocessor for an input of 32 x 32 pixels that accepts images of at most `max_pixels`.
fn limited(max_pixels: u64, resize: Resize) -> Preprocessor {
    let input = InputSpec {
        width: 32,
        height: 32,
        channels: Channels::Rgb,
        layout: Layout::Nchw,
        resize,
        dtype: PixelType::Uint8,
        mean: Vec::new(),
        std: Vec::new(),
    };
    Preprocessor::new(&input, max_pixels)
}

const STRETCH: Resize = Resize::Stretch { filter: Filter::Bilinear, draft: 0 };

/// The fault of bytes that cannot be decoded.
fn fault(bytes: &[u8]) -> DecodeFault {
    limited(50_000_000, STRETCH).pixels(bytes).unwrap_err().fault
}

#[test]
fn data_in_other_formats_is_an_unsupported_format() {
    let documents: [&[u8]; 6] = [
        b"",
        b"\0",
        b"hello, world",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"\0\0\0\x18ftypheic\0\0\0\0",
    ];
    for bytes in documents {
        assert_eq!(fault(bytes), DecodeFault::UnsupportedFormat, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_broken_image_is_undecodable() {
    for name in
        ["rgb.png", "interlaced.png", "still.gif", "lossless.webp", "lossy.webp", "photo-420.jpg"]
    {
        let whole = data(name);
        for length in [12, 30, whole.len() / 2, whole.len() - 20] {
            assert_eq!(fault(&whole[..length]), DecodeFault::Undecodable, "{name} up to {length}");
        }
    }
    let mut flipped = data("rgb.png");
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    assert_eq!(fault(&flipped), DecodeFault::Undecodable);
}

#[test]
fn a_jpeg_may_lack_its_end_marker_but_none_of_its_rows() {
    let decode = |bytes: &[u8]| limited(50_000_000, STRETCH).pixels(bytes);
    for name in [
        "photo-420.jpg",
        "photo-444.jpg",
        "progressive.jpg",
        "grey.jpg",
        "cmyk.jpg",
        "orientation-6.jpg",
    ] {
        let whole = data(name);
        let pixels = decode(&whole).unwrap();
        assert_eq!(
            decode(&[&whole[..], b"more"].concat()).unwrap(),
            pixels,
            "{name} with bytes after its end"
        );
        for length in [whole.len() * 3 / 4, whole.len() * 9 / 10] {
            assert_eq!(fault(&whole[..length]), DecodeFault::Undecodable, "{name} up to {length}");
        }
        // A progressive image that ends between two scans may be complete, or scans may be missing.
        // The file does not show which.
        if name != "progressive.jpg" {
            assert_eq!(
                decode(&whole[..whole.len() - 2]).unwrap(),
                pixels,
                "{name} without its end marker"
            );
        }
    }
}

#[test]
fn exif_data_of_a_webp_may_have_a_prefix() {
    let plain = data("oriented.webp");
    let at = plain.windows(4).position(|w| w == b"EXIF").unwrap() + 4;
    let length = u32::from_le_bytes(plain[at..at + 4].try_into().unwrap());
    let exif = plain[at + 4..].strip_prefix(b"Exif\0\0").map_or(length, |_| length - 6);
    let block = &plain[plain.len() - (exif + (exif & 1)) as usize..];
    let with = |prefix: &[u8]| {
        let length = (exif + prefix.len() as u32).to_le_bytes();
        let mut file = [&plain[..at], &length, prefix, block].concat();
        let size = (file.len() as u32 - 8).to_le_bytes();
        file[4..8].copy_from_slice(&size);
        limited(50_000_000, STRETCH).pixels(&file).unwrap()
    };
    assert_eq!(with(b""), with(b"Exif\0\0"));
}

/// A PNG with a colour profile of 256 MiB, which is deflated to 0.25 MiB.
fn png_with_a_huge_profile() -> Vec<u8> {
    let mut deflated =
        flate2::write::ZlibEncoder::new(b"bomb\0\0".to_vec(), flate2::Compression::best());
    for _ in 0..256 {
        deflated.write_all(&[0; 1 << 20]).unwrap();
    }
    let body = [&b"iCCP"[..], &deflated.finish().unwrap()].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let chunk =
        [&(body.len() as u32 - 4).to_be_bytes()[..], &body, &crc.sum().to_be_bytes()].concat();
    let whole = data("rgb.png");
    [&whole[..33], &chunk, &whole[33..]].concat()
}

#[test]
fn an_unused_colour_profile_is_not_inflated() {
    let png = png_with_a_huge_profile();
    let grown = peak_growth(|| assert!(limited(50_000_000, STRETCH).pixels(&png).is_ok()));
    assert!(grown < 64 << 20, "{grown}");
}

/// A file of the test data whose header declares another size, in the bytes from `at` on.
fn declaring(name: &str, at: usize, size: &[u8]) -> Vec<u8> {
    let mut bytes = data(name);
    bytes[at..at + size.len()].copy_from_slice(size);
    bytes
}

fn png_declaring(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = declaring("rgb.png", 16, &[width.to_be_bytes(), height.to_be_bytes()].concat());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

fn jpeg_declaring(side: u16) -> Vec<u8> {
    let whole = data("photo-420.jpg");
    let frame = whole.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    declaring("photo-420.jpg", frame + 5, &[side.to_be_bytes(), side.to_be_bytes()].concat())
}

/// A WebP whose canvas has one pixel and whose picture declares `side` x `side` pixels.
fn webp_declaring(side: u16) -> Vec<u8> {
    let plain = declaring("lossy.webp", 26, &[side.to_le_bytes(), side.to_le_bytes()].concat());
    let extended = [b"VP8X\x0a\0\0\0", &[0; 10][..], &plain[12..]].concat();
    [b"RIFF", &(extended.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &extended].concat()
}

#[test]
fn the_header_decides_whether_an_image_has_too_many_pixels() {
    let images = [
        png_declaring(60_000, 60_000),
        png_declaring(u32::MAX >> 1, u32::MAX >> 1),
        jpeg_declaring(60_000),
        declaring("still.gif", 6, &[0x60, 0xea, 0x60, 0xea]),
        declaring("lossy.webp", 26, &[0xff, 0x3f, 0xff, 0x3f]),
    ];
    for image in images {
        assert_eq!(fault(&image), DecodeFault::TooManyPixels, "{}", image[..40].escape_ascii());
    }
    let grown = peak_growth(|| assert!(limited(1_000, STRETCH).pixels(&data("rgb.png")).is_err()));
    assert!(grown < 64 << 20, "{grown}");
    assert_eq!(
        limited(57 * 43 - 1, STRETCH).pixels(&data("rgb.png")).unwrap_err().fault,
        DecodeFault::TooManyPixels
    );
    assert!(limited(57 * 43, STRETCH).pixels(&data("rgb.png")).is_ok());
    // The picture is larger than its canvas, which the header of a still WebP must not declare.
    let webp = webp_declaring(16383);
    let grown = peak_growth(|| assert_eq!(fault(&webp), DecodeFault::Undecodable));
    assert!(grown < 64 << 20, "{grown}");
}

#[test]
fn an_image_without_pixels_is_undecodable() {
    assert_eq!(fault(&png_declaring(0, 5)), DecodeFault::Undecodable);
}

/// As in browsers, the screen of a GIF is at least as large as its first frame.
#[test]
fn a_gif_may_have_a_screen_without_pixels() {
    let decode = |gif: &[u8]| limited(50_000_000, STRETCH).pixels(gif).unwrap();
    let whole = data("still.gif");
    assert_eq!(decode(&declaring("still.gif", 6, &[0, 0, 0, 0])), decode(&whole));
}

#[test]
fn a_file_that_ends_early_is_decoded_on_request() {
    let preprocessor = limited(50_000_000, STRETCH);
    let lenient = limited(50_000_000, STRETCH).with_incomplete(true);
    for name in ["rgb.png", "still.gif", "lossy.webp", "photo-420.jpg", "animated.gif"] {
        let whole = data(name);
        let cut = &whole[..whole.len() * 9 / 10];
        assert_eq!(
            preprocessor.frames(cut, 4).unwrap_err().fault,
            DecodeFault::Undecodable,
            "{name}"
        );
        let (part, all) = (lenient.frames(cut, 4).unwrap(), lenient.frames(&whole, 4).unwrap());
        assert_eq!((part.incomplete, all.incomplete), (true, false), "{name}");
        let (part, all) = (&part.decoded[0].pixels, &all.decoded[0].pixels);
        let same = part.iter().zip(all).take(160).filter(|(a, b)| a.abs_diff(**b) < 3).count();
        assert!(same > 150, "{name}: {same} of the first values are the same");
        assert!(part != all || name == "animated.gif", "{name}");
    }
    for name in ["rgb.png", "still.gif", "lossy.webp"] {
        assert!(lenient.pixels(&data(name)[..30]).is_err(), "{name}: no pixel is there");
    }
}

#[test]
fn frames_of_an_animation_are_sampled() {
    let preprocessor = limited(50_000_000, STRETCH);
    for name in ["animated.gif", "animated.png", "animated-alpha.webp"] {
        let file = data(name);
        let all = preprocessor.frames(&file, 100).unwrap();
        assert!(all.total > 1 && all.decoded.len() == all.total as usize, "{name}");
        assert_ne!(all.decoded[0].pixels, all.decoded[1].pixels, "{name}");
        let ends = preprocessor.frames(&file, 2).unwrap();
        let numbers: Vec<u32> = ends.decoded.iter().map(|frame| frame.number).collect();
        assert_eq!(numbers, [0, all.total - 1], "{name}");
        for frame in &all.decoded {
            let alone = preprocessor.frame(&file, frame.number).unwrap();
            assert!(alone == frame.pixels, "{name}: frame {}", frame.number);
        }
        assert!(preprocessor.frame(&file, all.total).is_err(), "{name}");
    }
}

#[test]
fn images_one_pixel_wide_or_high_are_decoded_in_little_memory() {
    let black = |width, height| {
        let mut png = std::io::Cursor::new(Vec::new());
        image::GrayImage::new(width, height).write_to(&mut png, image::ImageFormat::Png).unwrap();
        png.into_inner()
    };
    for image in [black(1, 200_000), black(200_000, 1)] {
        for resize in
            [STRETCH, Resize::ShortSide { short_side: 36, filter: Filter::Bicubic, draft: 0 }]
        {
            let mut pixels = Vec::new();
            let grown =
                peak_growth(|| pixels = limited(50_000_000, resize).pixels(&image).unwrap());
            assert!(grown < 64 << 20, "{grown}");
            assert!(pixels.len() == 32 * 32 * 3 && pixels.iter().all(|x| *x == 0));
        }
    }
}

/// Runs `work` and returns the growth of the peak memory of this process, in bytes.
fn peak_growth(work: impl FnOnce()) -> u64 {
    let before = peak();
    work();
    peak().saturating_sub(before)
}

/// The peak memory of this process in bytes, or 0 if the system does not report it.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |kilobytes| {
        kilobytes.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    })
}

/// A small valid image of any format.
fn whole() -> impl Strategy<Value = Vec<u8>> {
    let names = [
        "photo-420.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "orientation-6.jpg",
        "rgb.png",
        "interlaced.png",
        "palette-alpha.png",
        "grey-16.png",
        "animated.png",
        "still.gif",
        "animated.gif",
        "transparent.gif",
        "lossy.webp",
        "lossy-alpha.webp",
        "lossless-alpha.webp",
        "animated-alpha.webp",
        "oriented.webp",
    ];
    prop::sample::select(names.map(data).to_vec())
}

/// A damaged image. Bytes are overwritten (in the header more often than in the rest), a piece may
/// be removed, and the end may be cut off.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let position = prop_oneof![
        (0..80usize).boxed(),
        any::<prop::sample::Index>().prop_map(|i| i.index(1 << 16)).boxed()
    ];
    let writes = prop::collection::vec((position, any::<u8>()), 0..12);
    let cut = prop::option::of((any::<prop::sample::Index>(), 1..64usize));
    (whole(), writes, cut, prop::option::of(any::<prop::sample::Index>())).prop_map(
        |(mut bytes, writes, cut, end)| {
            for (at, value) in writes {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            if let Some((from, length)) = cut {
                let from = from.index(bytes.len());
                bytes.drain(from..(from + length).min(bytes.len()));
            }
            if let Some(end) = end {
                bytes.truncate(end.index(bytes.len() + 1));
            }
            bytes
        },
    )
}

/// Checks that decoding gives pixels of the right number or a known fault, and does not panic. An
/// image of at most 100,000 pixels must take at most 64 MiB.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut result = Ok(Vec::new());
    let grown = peak_growth(|| {
        result = limited(
            100_000,
            Resize::ShortSide { short_side: 40, filter: Filter::Bicubic, draft: 0 },
        )
        .pixels(bytes)
    });
    prop_assert!(grown < 64 << 20, "{grown} bytes");
    match result {
        Ok(pixels) => prop_assert_eq!(pixels.len(), 32 * 32 * 3),
        Err(error) => {
            let known = [
                DecodeFault::UnsupportedFormat,
                DecodeFault::Undecodable,
                DecodeFault::TooManyPixels,
            ];
            prop_assert!(known.contains(&error.fault), "{error}");
            prop_assert!(!error.detail.contains("panicked"), "{error}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_images_give_pixels_or_a_fault(bytes in damaged()) {
        check(&bytes)?;
    }

    #[test]
    fn random_bytes_give_pixels_or_a_fault(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        header in 0..5usize,
    ) {
        let headers: [&[u8]; 5] = [
            b"",
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
            b"GIF89a",
            b"RIFF\xff\0\0\0WEBPVP8",
        ];
        check(&[headers[header], &bytes].concat())?;
    }
}
