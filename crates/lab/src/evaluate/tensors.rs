//! Decoding every image once, and keeping the tensors small.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;

use super::super::CliError;
use super::super::labelled::{Labelled, Reader};
use super::super::progress::progress;
use crate::config::decode::DecodeConfig;
use crate::cpu::thread_time;
use crate::decode::Preprocessor;
use crate::model::manifest::{InputSpec, Layout};

/// Share of images that may be undecodable before the data is thought wrong.
const MOST_UNDECODABLE: f64 = 0.03;

/// Preprocessed images, a byte a value: before normalisation there were only 256 levels.
#[derive(Debug)]
pub(super) struct Tensors {
    /// What they were made for.
    pub(super) input: InputSpec,
    levels: Vec<Vec<u8>>,
    /// CPU milliseconds to read, decode and preprocess an image.
    pub(super) decode_ms: f64,
    /// The images that can't be had, and why.
    pub(super) undecodable: Vec<(String, String)>,
}

#[derive(Default)]
struct Done {
    levels: Vec<(usize, Vec<u8>)>,
    failures: Vec<(usize, String)>,
    time: Duration,
}

impl Tensors {
    /// Decodes everything on the threads that `decode` says.
    ///
    /// # Errors
    /// [`CliError::Failed`] if the data can't be read, or more than a few per cent of it not decoded.
    pub(super) fn decode(set: &Labelled, input: &InputSpec, config: &DecodeConfig) -> Result<Self, CliError> {
        let threads = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let preprocessor = Preprocessor::new(input, config);
        let bar = progress("decoding", set.images.len() as u64);
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Done::default()));
        let work = || -> Result<(), String> {
            let mut reader = set.reader()?;
            let own = share(set, &mut reader, (input, &preprocessor), &next, &bar);
            let mut all = done.lock().unwrap_or_else(PoisonError::into_inner);
            all.levels.extend(own.levels);
            all.failures.extend(own.failures);
            all.time += own.time;
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| Err("a decoding thread panicked".into())))
        })
        .map_err(CliError::Failed)?;
        bar.finish_and_clear();
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        Self::checked(set, input, done)
    }

    fn checked(set: &Labelled, input: &InputSpec, mut done: Done) -> Result<Self, CliError> {
        done.failures.sort();
        let named = |(i, why): (usize, String)| (set.images[i].name.clone(), why);
        let undecodable: Vec<(String, String)> = done.failures.into_iter().map(named).collect();
        if undecodable.len() as f64 > MOST_UNDECODABLE * set.images.len() as f64 {
            let (name, why) = &undecodable[0];
            let (failed, all) = (undecodable.len(), set.images.len());
            return Err(CliError::Failed(format!(
                "{failed} of {all} images can't be decoded, the first {name}: {why}"
            )));
        }
        let decode_ms = 1e3 * done.time.as_secs_f64() / done.levels.len().max(1) as f64;
        let mut levels = vec![Vec::new(); set.images.len()];
        done.levels.into_iter().for_each(|(i, l)| levels[i] = l);
        Ok(Self { input: input.clone(), levels, decode_ms, undecodable })
    }

    /// Whether an image could be decoded.
    pub(super) fn has(&self, image: usize) -> bool {
        !self.levels[image].is_empty()
    }

    /// The tensor of an image, bit for bit as it was decoded.
    pub(super) fn tensor(&self, image: usize) -> Vec<f32> {
        unpack(&self.input, &self.levels[image])
    }
}

/// One thread's share of the work.
fn share(
    set: &Labelled,
    reader: &mut Reader,
    (input, preprocessor): (&InputSpec, &Preprocessor),
    next: &AtomicUsize,
    bar: &ProgressBar,
) -> Done {
    let mut done = Done::default();
    loop {
        let i = next.fetch_add(1, Ordering::Relaxed);
        let Some(image) = set.images.get(i) else { return done };
        let start = thread_time();
        match reader.read(image).and_then(|bytes| preprocessor.tensor(&bytes).map_err(|f| f.to_string())) {
            Ok(tensor) => done.levels.push((i, pack(input, &tensor))),
            Err(why) => done.failures.push((i, why)),
        }
        done.time += thread_time() - start;
        bar.inc(1);
    }
}

/// The channel of the value at an index.
fn channel(input: &InputSpec, index: usize) -> usize {
    match input.layout {
        Layout::Nchw => index / (input.width as usize * input.height as usize),
        Layout::Nhwc => index % input.channels.count(),
    }
}

/// The level of each value: the inverse of the normalisation.
fn pack(input: &InputSpec, tensor: &[f32]) -> Vec<u8> {
    let level = |(i, &value): (usize, &f32)| {
        let c = channel(input, i);
        value.mul_add(input.std[c], input.mean[c]).round() as u8
    };
    tensor.iter().enumerate().map(level).collect()
}

/// The normalisation, as in `decode`.
fn unpack(input: &InputSpec, levels: &[u8]) -> Vec<f32> {
    let table = |(mean, std): (&f32, &f32)| -> [f32; 256] { std::array::from_fn(|x| (x as f32 - mean) / std) };
    let tables: Vec<[f32; 256]> = input.mean.iter().zip(&input.std).map(table).collect();
    match input.layout {
        Layout::Nchw => {
            let plane = input.width as usize * input.height as usize;
            let planes = levels.chunks_exact(plane).zip(&tables);
            planes.flat_map(|(plane, table)| plane.iter().map(|&l| table[usize::from(l)])).collect()
        }
        Layout::Nhwc => {
            let pixels = levels.chunks_exact(tables.len());
            pixels.flat_map(|pixel| pixel.iter().zip(&tables).map(|(&l, table)| table[usize::from(l)])).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::model::manifest::{Channels, Filter, Resize};

    #[test]
    fn tensors_come_back_bit_for_bit() {
        let picture = image::RgbImage::from_fn(16, 16, |x, y| {
            image::Rgb([(16 * y + x) as u8, (17 * x) as u8, 255 - (16 * x + y) as u8])
        });
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        for layout in [Layout::Nchw, Layout::Nhwc] {
            for (mean, std) in [([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]), ([0.0; 3], [255.0; 3])] {
                let input = InputSpec {
                    width: 16,
                    height: 16,
                    channels: Channels::Rgb,
                    layout,
                    resize: Resize::Stretch { filter: Filter::Bilinear },
                    mean: mean.to_vec(),
                    std: std.to_vec(),
                };
                let tensor = Preprocessor::new(&input, &DecodeConfig::default()).tensor(&bytes).unwrap();
                assert_eq!(unpack(&input, &pack(&input, &tensor)), tensor);
            }
        }
    }
}
