//! A contact sheet of the flagged images. Positive images have a green frame, negative images a red
//! frame.

use std::path::Path;

use dorfman_model::decode::Preprocessor;
use dorfman_model::manifest::{Channels, Filter, InputSpec, Layout, PixelType, Resize};
use image::{Rgb, RgbImage, imageops};

use super::super::CliError;
use super::stream::Stream;
use crate::config::decode::DecodeConfig;
use crate::sink::message::FlagRecord;

const TILE: u32 = 96;
const FRAME: u32 = 3;
const COLUMNS: u32 = 16;
const RIGHT: Rgb<u8> = Rgb([40, 160, 70]);
const WRONG: Rgb<u8> = Rgb([210, 50, 50]);

/// Writes the sheet, by falling score. `side` is the width of the bundle's input in pixels.
pub(super) fn write(
    path: &Path,
    stream: &Stream,
    flagged: &[FlagRecord],
    side: u32,
) -> Result<(), CliError> {
    let mut flagged: Vec<&FlagRecord> = flagged.iter().collect();
    flagged.sort_by(|a, b| b.score.total_cmp(&a.score));
    let tiles = tiles(side);
    let cell = TILE + 2 * FRAME + 2;
    let rows = (flagged.len() as u32).div_ceil(COLUMNS).max(1);
    let mut sheet = RgbImage::from_pixel(COLUMNS * cell, rows * cell, Rgb([255; 3]));
    let failed = |e: image::ImageError| CliError::Failed(format!("{}: {e}", path.display()));
    for (n, flag) in flagged.iter().enumerate() {
        let Some(item) = stream.item(&flag.id) else { continue };
        let image = tile(&tiles, &item.path)?;
        let colour = if item.positive { RIGHT } else { WRONG };
        let mut tile = RgbImage::from_pixel(TILE + 2 * FRAME, TILE + 2 * FRAME, colour);
        imageops::replace(&mut tile, &image, i64::from(FRAME), i64::from(FRAME));
        let x = n as u32 % COLUMNS * cell + 1;
        let y = n as u32 / COLUMNS * cell + 1;
        imageops::replace(&mut sheet, &tile, i64::from(x), i64::from(y));
    }
    sheet.save(path).map_err(failed)
}

/// A preprocessor that decodes as the worker does, resizes and crops to a tile, and keeps colours.
/// Images smaller than a tile are enlarged without interpolation.
fn tiles(side: u32) -> Preprocessor {
    let filter = if side < TILE { Filter::Nearest } else { Filter::Bilinear };
    let input = InputSpec {
        width: TILE,
        height: TILE,
        channels: Channels::Rgb,
        layout: Layout::Nhwc,
        resize: Resize::ShortSide { short_side: TILE, filter, draft: 0 },
        dtype: PixelType::Uint8,
        mean: Vec::new(),
        std: Vec::new(),
    };
    Preprocessor::new(&input, DecodeConfig::default().max_pixels)
}

fn tile(tiles: &Preprocessor, path: &Path) -> Result<RgbImage, CliError> {
    let failed = |what: String| CliError::Failed(format!("{}: {what}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    let pixels = tiles.pixels(&bytes).map_err(|e| failed(e.to_string()))?;
    let image = RgbImage::from_raw(TILE, TILE, pixels);
    image.ok_or_else(|| failed("a bug: a tile has the wrong size".into()))
}
