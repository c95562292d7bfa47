//! What the safe interface promises. That pixels agree with Pillow's is tested with the worker's
//! preprocessing, in `tests/decode.rs` of the repository.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use dorfman_jpeg::{Colour, Jpeg, JpegError, Limits, Scale};

const LIMITS: Limits = Limits { scans: 100, memory: 64 << 20 };

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/decode");
    std::fs::read(folder.join(name)).unwrap()
}

fn decode(bytes: &[u8], scale: Scale, limits: Limits) -> Result<Option<String>, JpegError> {
    let jpeg = Jpeg::open(bytes)?;
    let (width, height) = jpeg.size(scale);
    let samples = jpeg.header().colour.samples();
    let mut output = vec![0; width as usize * height as usize * samples];
    jpeg.decode(scale, limits, &mut output)
}

/// A file with bytes between two segments of its header, which libjpeg passes over with a warning.
fn with_stray_bytes(bytes: &[u8]) -> Vec<u8> {
    let first = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    let (head, rest) = bytes.split_at(4 + first);
    [head, &[1, 2, 3], rest].concat()
}

#[test]
fn the_header_tells_size_and_kind() {
    let bytes = file("progressive.jpg");
    let jpeg = Jpeg::open(&bytes).unwrap();
    let header = jpeg.header();
    assert_eq!((header.width, header.height, header.colour), (99, 75, Colour::Rgb));
    assert!(header.progressive);
    assert_eq!(jpeg.size(Scale::Eighth), (13, 10));
    assert_eq!(Jpeg::open(&file("cmyk.jpg")).unwrap().header().colour, Colour::Cmyk);
    assert_eq!(Jpeg::open(&file("grey.jpg")).unwrap().header().colour, Colour::Grey);
}

#[test]
fn an_output_of_another_length_is_refused() {
    let bytes = file("photo-420.jpg");
    for wrong in [-1, 1] {
        let mut output = vec![0; (99 * 75 * 3 + wrong) as usize];
        let decoded = Jpeg::open(&bytes).unwrap().decode(Scale::Full, LIMITS, &mut output);
        assert!(matches!(decoded, Err(JpegError::Output { expected: 22_275, .. })));
    }
}

#[test]
fn damage_that_is_passed_over_is_reported() {
    let bytes = file("photo-420.jpg");
    assert_eq!(decode(&bytes, Scale::Full, LIMITS), Ok(None));
    let cut = decode(&bytes[..bytes.len() / 2], Scale::Half, LIMITS).unwrap();
    assert_eq!(cut.as_deref(), Some("Premature end of JPEG file"));
    let stray = decode(&with_stray_bytes(&bytes), Scale::Full, LIMITS).unwrap().unwrap();
    assert!(stray.starts_with("Corrupt JPEG data: 3 extraneous bytes"), "{stray}");
}

#[test]
fn an_error_after_a_warning_is_an_error() {
    let bytes = file("progressive.jpg");
    for bytes in [with_stray_bytes(&bytes), bytes] {
        let error =
            decode(&bytes, Scale::Full, Limits { scans: 1, ..LIMITS }).unwrap_err().to_string();
        assert!(error.contains("scans"), "{error}");
    }
    for bytes in [&[][..], b"\xff\xd8", b"\xff\xd8\xff\xd9", b"not a JPEG"] {
        assert!(decode(bytes, Scale::Full, LIMITS).is_err());
    }
}

#[test]
fn kinds_that_no_browser_shows_are_refused() {
    let bytes = file("arithmetic.jpg");
    assert!(matches!(Jpeg::open(&bytes), Err(JpegError::Unsupported(_))));
    // The precision of the samples is the first byte of the frame.
    let mut bytes = file("photo-420.jpg");
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 4] = 12;
    assert!(Jpeg::open(&bytes).is_err());
}

#[test]
fn an_image_that_needs_more_memory_is_refused() {
    let bytes = file("large-progressive.jpg");
    let little = Limits { memory: 1, ..LIMITS };
    let error = decode(&bytes, Scale::Eighth, little).unwrap_err().to_string();
    assert!(error.contains("emory"), "{error}");
    assert_eq!(decode(&bytes, Scale::Eighth, LIMITS), Ok(None));
}

/// By default, TurboJPEG copies colour profiles, and the copies count as memory.
#[test]
fn colour_profiles_are_not_copied() {
    let bytes = file("large-progressive.jpg");
    let segment = [&[0xff, 0xe2, 0xff, 0xff][..], &[0; 0xfffd]].concat();
    let (start, rest) = bytes.split_at(2);
    let with_profiles = [start, &segment.repeat(150), rest].concat();
    let limits = Limits { memory: 6 << 20, ..LIMITS };
    assert_eq!(decode(&bytes, Scale::Full, limits), Ok(None));
    assert_eq!(decode(&with_profiles, Scale::Full, limits), Ok(None));
}
