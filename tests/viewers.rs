//! Images are decoded to the pixels that viewers show: compared with Pillow, on 10,000 generated files of
//! all sampling factors, colour types, bit depths, orientations, disposals and blends.
//!
//! `scripts/viewers` generates the files, and prints them with what Pillow shows. With
//! `DORFMAN_VIEWERS_FOLDER`, the files of a folder are compared instead (`make compare-viewers`).

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dorfman_model::decode::{Frame, Preprocessor};
use dorfman_model::manifest::{Channels, Filter, InputSpec, Layout, PixelType, Resize};
use serde::Deserialize;

/// What precedes each file in the output of `scripts/viewers`.
#[derive(Debug, Deserialize)]
struct Head {
    name: String,
    bytes: usize,
    /// Width and height of each frame that Pillow shows.
    frames: Vec<(u32, u32)>,
    /// Why Pillow shows nothing.
    error: Option<String>,
}

impl Head {
    /// The kind of a generated file, or the format of another one by its name.
    fn kind(&self) -> &str {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        name.rsplit_once(if name.contains('.') { '.' } else { '-' })
            .map_or(name, |(kind, end)| if name.contains('.') { end } else { kind })
    }
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The pixels are those that Pillow shows.
    Same,
    /// Pillow shows the file, and the file is refused with a reason.
    Refused,
    /// Pillow does not show the file.
    NotShown,
    /// The pixels are others than those that Pillow shows.
    Other,
}

/// Files of Pillow's test images whose pixels are not those of Pillow, and why.
const KNOWN: [(&str, &str); 13] = [
    ("apng/blend_op_over_near_transparent.png", BLENDED),
    ("apng/dispose_op_previous.png", TAKEN_BACK),
    ("apng/dispose_op_previous_region.png", TAKEN_BACK),
    ("apng/mode_16bit.png", BLENDED),
    ("apng/mode_grayscale_alpha.png", BLENDED),
    ("apng/mode_palette_1bit_alpha.png", BLENDED),
    ("avif/xmp_tags_orientation.avif", XMP),
    ("dispose_bgnd.gif", BACKGROUND),
    ("dispose_bgnd_rgba.gif", BACKGROUND),
    ("exif_imagemagick_orientation.png", "browsers read no EXIF from a text of ImageMagick"),
    ("i_trns.png", "Pillow compares the transparent colour of 16 bits with samples of 8 bits"),
    ("xmp_tags_orientation.png", XMP),
    ("xmp_tags_orientation_exiftool.png", XMP),
];
const BLENDED: &str = "Pillow does not blend partial transparency as the specification says";
const TAKEN_BACK: &str = "in Pillow, a frame that is blended and then taken back stays";
const XMP: &str = "browsers do not read the orientation of XMP";
const BACKGROUND: &str = "Pillow fills the area of a removed frame with the background colour";

/// The mean difference of a frame from that of Pillow, at most, in levels.
const MEAN: f64 = 1.0;

/// Frames per file, at most, as in `scripts/viewers`.
const FRAMES: u32 = 8;

/// A run of `scripts/viewers`.
fn viewers(folder: Option<&str>) -> Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".dorfman/viewers/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run `scripts/setup.sh viewers` (or `make test`, which does)",
        python.display()
    );
    Command::new(python)
        .args(["-m", "viewers.shown"])
        .args(folder)
        .current_dir(root.join("scripts"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The pixels of a frame in its own size: RGB, interleaved.
fn decoded(file: &[u8], number: u32, (width, height): (u32, u32)) -> Result<Vec<u8>, String> {
    let input = InputSpec {
        width,
        height,
        channels: Channels::Rgb,
        layout: Layout::Nhwc,
        resize: Resize::Stretch { filter: Filter::Bilinear, draft: 0 },
        dtype: PixelType::Uint8,
        mean: Vec::new(),
        std: Vec::new(),
    };
    let preprocessor = Preprocessor::new(&input, 100_000_000);
    if number > 0 {
        return preprocessor.frame(file, number).map_err(|e| e.to_string());
    }
    // The first frame must be the same however many frames are wanted.
    let frames = preprocessor.frames(file, FRAMES).map_err(|e| e.to_string())?;
    let Frame { number, pixels } = &frames.decoded[0];
    assert_eq!((*number, pixels), (0, &preprocessor.pixels(file).unwrap()));
    Ok(pixels.clone())
}

fn mean_difference(ours: &[u8], theirs: &[u8]) -> f64 {
    let sum: u64 = ours.iter().zip(theirs).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / theirs.len() as f64
}

/// The pixel with the largest difference, in words.
fn worst_pixel(ours: &[u8], theirs: &[u8], width: usize) -> String {
    let pixels = ours.as_chunks::<3>().0.iter().zip(theirs.as_chunks::<3>().0).enumerate();
    let difference = |a: &[u8; 3], b: &[u8; 3]| (0..3).map(|i| a[i].abs_diff(b[i])).max();
    let worst = pixels.max_by_key(|(_, (a, b))| difference(a, b));
    worst.map_or_else(String::new, |(at, (a, b))| {
        format!("pixel ({}, {}) is {a:?} and not {b:?}", at % width, at / width)
    })
}

/// Compares every frame of a file.
fn compare(head: &Head, file: &[u8], shown: &[Vec<u8>]) -> (Outcome, String) {
    if let Some(error) = &head.error {
        return (Outcome::NotShown, error.clone());
    }
    let mut worst = 0.0;
    for ((number, &size), shown) in (0..).zip(&head.frames).zip(shown) {
        let ours = match decoded(file, number, size) {
            Ok(ours) => ours,
            Err(reason) => return (Outcome::Refused, format!("frame {number}: {reason}")),
        };
        let difference = mean_difference(&ours, shown);
        if difference > MEAN {
            let worst = worst_pixel(&ours, shown, size.0 as usize);
            return (Outcome::Other, format!("frame {number}: {difference:.2} levels; {worst}"));
        }
        worst = f64::max(worst, difference);
    }
    (Outcome::Same, format!("{worst:.3}"))
}

#[test]
fn images_are_decoded_to_the_pixels_that_viewers_show() {
    let folder = std::env::var("DORFMAN_VIEWERS_FOLDER").ok();
    let mut child = viewers(folder.as_deref());
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut table: BTreeMap<String, BTreeMap<Outcome, usize>> = BTreeMap::new();
    let (mut wrong, mut line, mut count) = (Vec::new(), String::new(), 0);
    while output.read_line(&mut line).unwrap() > 0 {
        let head: Head = serde_json::from_str(&line).unwrap();
        line.clear();
        let mut read = |bytes: usize| {
            let mut data = vec![0; bytes];
            output.read_exact(&mut data).unwrap();
            data
        };
        let file = read(head.bytes);
        let pixels = |&(width, height): &(u32, u32)| read(3 * width as usize * height as usize);
        let shown: Vec<Vec<u8>> = head.frames.iter().map(pixels).collect();
        let (outcome, detail) = compare(&head, &file, &shown);
        *table.entry(head.kind().to_owned()).or_default().entry(outcome).or_default() += 1;
        let known = KNOWN.iter().find(|(name, _)| folder.is_some() && head.name.ends_with(name));
        let expected = match (&folder, outcome) {
            (_, Outcome::Other) if known.is_some() => true,
            (_, Outcome::Same) | (Some(_), Outcome::Refused | Outcome::NotShown) => true,
            (None, Outcome::Refused | Outcome::NotShown) | (_, Outcome::Other) => false,
        };
        if !expected || matches!(outcome, Outcome::Refused | Outcome::Other) {
            let why = known.map_or_else(String::new, |(_, why)| format!(" ({why})"));
            println!("{}: {outcome:?}: {detail}{why}", head.name);
        }
        if !expected {
            wrong.push(head.name);
        }
        count += 1;
    }
    assert!(child.wait().unwrap().success());
    for (kind, outcomes) in &table {
        println!("{kind:14} {outcomes:?}");
    }
    assert!(folder.is_some() || count >= 10_000, "{count} files");
    assert!(
        wrong.is_empty(),
        "{} of {count} files: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}
