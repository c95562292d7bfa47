//! Preprocessing compared with Pillow's, and what broken images do. `tests/data/decode/make.py` made the images and what is expected of them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use dorfman::config::decode::DecodeConfig;
use dorfman_model::decode::{DecodeFault, Preprocessor};
use dorfman_model::manifest::{Channels, Filter, InputSpec, Layout, Resize};
use proptest::prelude::*;
use serde::Deserialize;

/// `cases.json`.
#[derive(Deserialize)]
struct Cases {
    inputs: HashMap<String, InputSpec>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    file: String,
    lossy: bool,
    inputs: Vec<String>,
}

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/decode").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn cases() -> Cases {
    serde_json::from_slice(&data("cases.json")).unwrap()
}

/// The samples of a binary PGM or PPM as Pillow writes them: three lines of text, then the pixels.
fn samples(pnm: &[u8]) -> &[u8] {
    let end = pnm.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(2).unwrap().0;
    &pnm[end + 1..]
}

/// A tensor back to interleaved levels, in the order RGB.
fn levels(tensor: &[f32], input: &InputSpec) -> Vec<f32> {
    let channels = input.channels.count();
    let pixels = input.width as usize * input.height as usize;
    assert_eq!(tensor.len(), pixels * channels);
    let at = |pixel: usize, channel: usize| {
        let place = if input.channels == Channels::Bgr { channels - 1 - channel } else { channel };
        let value = match input.layout {
            Layout::Nchw => tensor[place * pixels + pixel],
            Layout::Nhwc => tensor[pixel * channels + place],
        };
        value * input.std[place] + input.mean[place]
    };
    (0..pixels).flat_map(|pixel| (0..channels).map(move |channel| at(pixel, channel))).collect()
}

/// Mean and largest distance of a case's tensor from what Pillow made of it.
fn distance(file: &str, image: &[u8], name: &str, input: &InputSpec) -> (f32, f32) {
    let tensor =
        Preprocessor::new(input, DecodeConfig::default().max_pixels).tensor(image).unwrap_or_else(|e| panic!("{file}: {e}"));
    let expected = data(&format!("expected/{file}.{name}.pnm"));
    let (ours, theirs) = (levels(&tensor, input), samples(&expected));
    assert_eq!(ours.len(), theirs.len());
    let distances: Vec<f32> = ours.iter().zip(theirs).map(|(ours, theirs)| (ours - f32::from(*theirs)).abs()).collect();
    (distances.iter().sum::<f32>() / distances.len() as f32, distances.iter().copied().fold(0.0, f32::max))
}

#[test]
fn preprocessing_is_pillows() {
    let Cases { inputs, cases } = cases();
    let mut wrong = Vec::new();
    for case in &cases {
        let image = data(&case.file);
        // A rounding of the resize here and there; JPEG is decoded as Pillow does it. WebP: another inverse DCT and upsampling.
        let (mean_allowed, most_allowed) =
            if case.lossy && case.file.ends_with(".webp") { (0.4, 5.01) } else { (0.03, 1.01) };
        for name in &case.inputs {
            let (mean, most) = distance(&case.file, &image, name, &inputs[name]);
            println!("{:24} {name:14} mean {mean:.3} max {most:.2}", case.file);
            if mean > mean_allowed || most > most_allowed {
                wrong.push(format!("{} to {name}: mean {mean:.3}, max {most:.1}", case.file));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A preprocessor of a small input that allows few pixels.
fn strict(max_pixels: u64, resize: Resize) -> Preprocessor {
    let input = InputSpec {
        width: 32,
        height: 32,
        channels: Channels::Rgb,
        layout: Layout::Nchw,
        resize,
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
    };
    Preprocessor::new(&input, max_pixels)
}

const STRETCH: Resize = Resize::Stretch { filter: Filter::Bilinear };

fn fault(bytes: &[u8]) -> DecodeFault {
    strict(50_000_000, STRETCH).tensor(bytes).unwrap_err().fault
}

#[test]
fn what_is_no_image_is_an_unsupported_format() {
    let documents: [&[u8]; 7] = [
        b"",
        b"\0",
        b"hello, world",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"BM\x3a\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0",
    ];
    for bytes in documents {
        assert_eq!(fault(bytes), DecodeFault::UnsupportedFormat, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_broken_image_is_undecodable() {
    for name in ["rgb.png", "interlaced.png", "still.gif", "lossless.webp", "lossy.webp", "photo-420.jpg"] {
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
fn a_jpeg_may_lack_its_end_but_not_its_rows() {
    let decode = |bytes: &[u8]| strict(50_000_000, STRETCH).tensor(bytes);
    for name in ["photo-420.jpg", "photo-444.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "orientation-6.jpg"] {
        let whole = data(name);
        let tensor = decode(&whole).unwrap();
        assert_eq!(decode(&[&whole[..], b"more"].concat()).unwrap(), tensor, "{name} with more after it");
        for length in [whole.len() * 3 / 4, whole.len() * 9 / 10] {
            assert_eq!(fault(&whole[..length]), DecodeFault::Undecodable, "{name} up to {length}");
        }
        // Between the scans of a progressive image nobody can know whether another one was to come.
        if name != "progressive.jpg" {
            assert_eq!(decode(&whole[..whole.len() - 2]).unwrap(), tensor, "{name} without its end marker");
        }
    }
}

#[test]
fn exif_may_have_its_prefix_in_any_format() {
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
        strict(50_000_000, STRETCH).tensor(&file).unwrap()
    };
    assert_eq!(with(b""), with(b"Exif\0\0"));
}

/// A colour profile of 256 MiB, deflated to a quarter of one.
fn png_with_a_bomb() -> Vec<u8> {
    let mut deflated = flate2::write::ZlibEncoder::new(b"bomb\0\0".to_vec(), flate2::Compression::best());
    for _ in 0..256 {
        deflated.write_all(&[0; 1 << 20]).unwrap();
    }
    let body = [&b"iCCP"[..], &deflated.finish().unwrap()].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let chunk = [&(body.len() as u32 - 4).to_be_bytes()[..], &body, &crc.sum().to_be_bytes()].concat();
    let whole = data("rgb.png");
    [&whole[..33], &chunk, &whole[33..]].concat()
}

#[test]
fn what_nobody_reads_is_not_inflated() {
    let bomb = png_with_a_bomb();
    let grown = peak_growth(|| assert!(strict(50_000_000, STRETCH).tensor(&bomb).is_ok()));
    assert!(grown < 64 << 20, "{grown}");
}

/// The fixtures with their heads changed to claim other sizes.
fn claiming(name: &str, at: usize, claim: &[u8]) -> Vec<u8> {
    let mut bytes = data(name);
    bytes[at..at + claim.len()].copy_from_slice(claim);
    bytes
}

fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = claiming("rgb.png", 16, &[width.to_be_bytes(), height.to_be_bytes()].concat());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

fn jpeg_claiming(side: u16) -> Vec<u8> {
    let whole = data("photo-420.jpg");
    let frame = whole.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    claiming("photo-420.jpg", frame + 5, &[side.to_be_bytes(), side.to_be_bytes()].concat())
}

/// A canvas of one pixel, and in it a picture that says it is far larger.
fn webp_hiding(side: u16) -> Vec<u8> {
    let plain = claiming("lossy.webp", 26, &[side.to_le_bytes(), side.to_le_bytes()].concat());
    let extended = [b"VP8X\x0a\0\0\0", &[0; 10][..], &plain[12..]].concat();
    [b"RIFF", &(extended.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &extended].concat()
}

#[test]
fn the_head_decides_whether_there_are_too_many_pixels() {
    let images = [
        png_claiming(60_000, 60_000),
        png_claiming(u32::MAX >> 1, u32::MAX >> 1),
        jpeg_claiming(60_000),
        claiming("still.gif", 6, &[0x60, 0xea, 0x60, 0xea]),
        claiming("lossy.webp", 26, &[0xff, 0x3f, 0xff, 0x3f]),
        webp_hiding(16383),
    ];
    for image in images {
        assert_eq!(fault(&image), DecodeFault::TooManyPixels, "{}", image[..40].escape_ascii());
    }
    let grown = peak_growth(|| assert!(strict(1_000, STRETCH).tensor(&data("rgb.png")).is_err()));
    assert!(grown < 64 << 20, "{grown}");
    assert_eq!(strict(57 * 43 - 1, STRETCH).tensor(&data("rgb.png")).unwrap_err().fault, DecodeFault::TooManyPixels);
    assert!(strict(57 * 43, STRETCH).tensor(&data("rgb.png")).is_ok());
}

#[test]
fn no_pixels_are_undecodable() {
    for image in [png_claiming(0, 5), claiming("still.gif", 6, &[0, 0, 0, 0])] {
        assert_eq!(fault(&image), DecodeFault::Undecodable);
    }
}

#[test]
fn a_sliver_is_an_image_like_any_other() {
    let black = |width, height| {
        let mut png = std::io::Cursor::new(Vec::new());
        image::GrayImage::new(width, height).write_to(&mut png, image::ImageFormat::Png).unwrap();
        png.into_inner()
    };
    for image in [black(1, 200_000), black(200_000, 1)] {
        for resize in [STRETCH, Resize::ShortSide { short_side: 36, filter: Filter::Bicubic }] {
            let mut tensor = Vec::new();
            let grown = peak_growth(|| tensor = strict(50_000_000, resize).tensor(&image).unwrap());
            assert!(grown < 64 << 20, "{grown}");
            assert!(tensor.len() == 32 * 32 * 3 && tensor.iter().all(|x| *x == 0.0));
        }
    }
}

/// By how much the most memory that this process ever held has grown.
fn peak_growth(work: impl FnOnce()) -> u64 {
    let before = peak();
    work();
    peak().saturating_sub(before)
}

/// The most memory that this process ever held, in bytes; 0 where the system does not say.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |kilobytes| kilobytes.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10)
}

/// A small image of every format, to be broken.
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

/// Bytes overwritten (heads more often than the rest), a piece cut out, the end cut off.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let place = prop_oneof![(0..80usize).boxed(), any::<prop::sample::Index>().prop_map(|i| i.index(1 << 16)).boxed()];
    let writes = prop::collection::vec((place, any::<u8>()), 0..12);
    let cut = prop::option::of((any::<prop::sample::Index>(), 1..64usize));
    (whole(), writes, cut, prop::option::of(any::<prop::sample::Index>())).prop_map(|(mut bytes, writes, cut, end)| {
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
    })
}

/// A tensor of the right size, or a reason that decoding gives. At most 64 MiB for at most 100 000 pixels.
fn survives(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut result = Ok(Vec::new());
    let grown = peak_growth(|| {
        result = strict(100_000, Resize::ShortSide { short_side: 40, filter: Filter::Bicubic }).tensor(bytes)
    });
    prop_assert!(grown < 64 << 20, "{grown} bytes");
    match result {
        Ok(tensor) => prop_assert_eq!(tensor.len(), 32 * 32 * 3),
        Err(error) => {
            let known = [DecodeFault::UnsupportedFormat, DecodeFault::Undecodable, DecodeFault::TooManyPixels];
            prop_assert!(known.contains(&error.fault), "{error}");
            prop_assert!(!error.detail.contains("panicked"), "{error}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_images_do_no_harm(bytes in mutated()) {
        survives(&bytes)?;
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600), head in 0..5usize) {
        let heads: [&[u8]; 5] = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"GIF89a", b"RIFF\xff\0\0\0WEBPVP8"];
        survives(&[heads[head], &bytes].concat())?;
    }
}
