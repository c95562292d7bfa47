//! The flagged images on one sheet, for whoever would rather look: rightly flagged ones framed green, the others red.

use std::path::Path;

use image::{DynamicImage, Rgb, RgbImage, imageops};

use super::super::CliError;
use super::stream::Stream;
use crate::sink::message::FlagRecord;

const TILE: u32 = 64;
const FRAME: u32 = 3;
const COLUMNS: u32 = 16;
const RIGHT: Rgb<u8> = Rgb([40, 160, 70]);
const WRONG: Rgb<u8> = Rgb([210, 50, 50]);

/// Writes the sheet, the most suspicious first.
pub(super) fn write(path: &Path, stream: &Stream, flagged: &[FlagRecord]) -> Result<(), CliError> {
    let mut flagged: Vec<&FlagRecord> = flagged.iter().collect();
    flagged.sort_by(|a, b| b.score.total_cmp(&a.score));
    let cell = TILE + 2 * FRAME + 2;
    let rows = (flagged.len() as u32).div_ceil(COLUMNS).max(1);
    let mut sheet = RgbImage::from_pixel(COLUMNS * cell, rows * cell, Rgb([255; 3]));
    let failed = |e: image::ImageError| CliError::Failed(format!("{}: {e}", path.display()));
    for (n, flag) in flagged.iter().enumerate() {
        let Some(item) = stream.item(&flag.id) else { continue };
        let image = tile(image::open(&item.path).map_err(failed)?);
        let colour = if item.positive { RIGHT } else { WRONG };
        let mut tile = RgbImage::from_pixel(TILE + 2 * FRAME, TILE + 2 * FRAME, colour);
        imageops::replace(&mut tile, &image, i64::from(FRAME), i64::from(FRAME));
        let (x, y) = (n as u32 % COLUMNS * cell + 1, n as u32 / COLUMNS * cell + 1);
        imageops::replace(&mut sheet, &tile, i64::from(x), i64::from(y));
    }
    sheet.save(path).map_err(failed)
}

/// The middle of an image. A small one keeps its pixels as they are.
fn tile(image: DynamicImage) -> RgbImage {
    let small = image.width().max(image.height()) < TILE;
    let filter = if small { imageops::FilterType::Nearest } else { imageops::FilterType::Triangle };
    image.resize_to_fill(TILE, TILE, filter).to_rgb8()
}
