//! Decodes every image once, and keeps the tensors in one byte per value.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dorfman_model::cpu::{self, thread_time};
use dorfman_model::decode::Preprocessor;
use dorfman_model::manifest::{InputSpec, Layout};

use crate::labelled::{ImageReader, LabelledImages};
use crate::{LabError, Progress};

/// The share of images that may be undecodable. With more, the data is assumed to be wrong.
const MOST_UNDECODABLE: f64 = 0.03;

/// Preprocessed images. A value is kept as one byte: before normalisation it had one of 256 levels.
#[derive(Debug)]
pub(super) struct Tensors {
    /// The input for which the images were preprocessed.
    pub input: InputSpec,
    /// By image. Empty if it could not be decoded.
    levels: Vec<Vec<u8>>,
    /// CPU milliseconds to read, decode and preprocess an image.
    pub decode_ms: f64,
    /// The images that could not be decoded: name and reason.
    pub undecodable: Vec<(String, String)>,
}

#[derive(Default)]
struct Decoded {
    levels: Vec<(usize, Vec<u8>)>,
    failures: Vec<(usize, String)>,
    time: Duration,
}

/// Work that the decoding threads share.
struct Work<'a> {
    images: &'a LabelledImages,
    input: &'a InputSpec,
    preprocessor: Preprocessor,
    next: AtomicUsize,
    decoded: Mutex<Decoded>,
    progress: &'a dyn Progress,
}

impl Tensors {
    /// Decodes all images on `threads` threads (0: one per core). Images of more than `max_pixels`
    /// pixels are not decoded.
    ///
    /// # Errors
    /// [`LabError`] if the data cannot be read, or if more than 3 % of the images cannot be
    /// decoded.
    pub fn decode(
        images: &LabelledImages,
        input: &InputSpec,
        threads: usize,
        max_pixels: u64,
        progress: &dyn Progress,
    ) -> Result<Self, LabError> {
        let preprocessor = Preprocessor::new(input, max_pixels);
        let (next, decoded) = (AtomicUsize::new(0), Mutex::default());
        let work = Work { images, input, preprocessor, next, decoded, progress };
        progress.begin("decoding", images.images.len() as u64);
        let result = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..cpu::threads(threads)).map(|_| scope.spawn(|| work.run())).collect();
            threads.into_iter().try_for_each(|thread| {
                let panicked = |_| Err(LabError::Bug("a decoding thread panicked".into()));
                thread.join().unwrap_or_else(panicked)
            })
        });
        progress.end();
        result?;
        let decoded = work.decoded.into_inner().unwrap_or_else(PoisonError::into_inner);
        Self::checked(images, input, decoded)
    }

    fn checked(
        images: &LabelledImages,
        input: &InputSpec,
        mut decoded: Decoded,
    ) -> Result<Self, LabError> {
        decoded.failures.sort();
        let all = images.images.len();
        let named = |(i, why): (usize, String)| (images.images[i].name.clone(), why);
        let undecodable: Vec<(String, String)> = decoded.failures.into_iter().map(named).collect();
        if let Some((first, reason)) = undecodable.first()
            && undecodable.len() as f64 > MOST_UNDECODABLE * all as f64
        {
            return Err(LabError::Undecodable {
                failed: undecodable.len(),
                images: all,
                first: first.clone(),
                reason: reason.clone(),
            });
        }
        let decode_ms = 1e3 * decoded.time.as_secs_f64() / decoded.levels.len().max(1) as f64;
        let mut levels = vec![Vec::new(); all];
        decoded.levels.into_iter().for_each(|(i, l)| levels[i] = l);
        Ok(Self { input: input.clone(), levels, decode_ms, undecodable })
    }

    /// Whether an image could be decoded.
    pub fn has(&self, image: usize) -> bool {
        !self.levels[image].is_empty()
    }

    /// The tensor of an image, bit for bit as it was decoded.
    pub fn tensor(&self, image: usize) -> Vec<f32> {
        unpack(&self.input, &self.levels[image])
    }
}

impl Work<'_> {
    /// The work of one thread.
    fn run(&self) -> Result<(), LabError> {
        let mut reader = self.images.reader().map_err(LabError::DataLost)?;
        let own = self.share(&mut reader);
        let mut all = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        all.levels.extend(own.levels);
        all.failures.extend(own.failures);
        all.time += own.time;
        Ok(())
    }

    fn share(&self, reader: &mut ImageReader) -> Decoded {
        let mut own = Decoded::default();
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(image) = self.images.images.get(i) else { return own };
            let start = thread_time();
            let bytes = reader.read(image).map_err(|e| e.to_string());
            let tensor =
                |bytes: Vec<u8>| self.preprocessor.tensor(&bytes).map_err(|e| e.to_string());
            match bytes.and_then(tensor) {
                Ok(tensor) => own.levels.push((i, pack(self.input, &tensor))),
                Err(why) => own.failures.push((i, why)),
            }
            own.time += thread_time() - start;
            self.progress.advance(1);
        }
    }
}

/// The channel of the value at an index of the tensor.
fn channel(input: &InputSpec, index: usize) -> usize {
    match input.layout {
        Layout::Nchw => index / (input.width as usize * input.height as usize),
        Layout::Nhwc => index % input.channels.count(),
    }
}

/// The level of each value, by the inverse of the normalisation.
fn pack(input: &InputSpec, tensor: &[f32]) -> Vec<u8> {
    let level = |(i, &value): (usize, &f32)| {
        let c = channel(input, i);
        value.mul_add(input.std[c], input.mean[c]).round() as u8
    };
    tensor.iter().enumerate().map(level).collect()
}

/// The normalisation, exactly as in [`Preprocessor`].
fn unpack(input: &InputSpec, levels: &[u8]) -> Vec<f32> {
    let table = |(mean, std): (&f32, &f32)| -> [f32; 256] {
        std::array::from_fn(|x| (x as f32 - mean) / std)
    };
    let tables: Vec<[f32; 256]> = input.mean.iter().zip(&input.std).map(table).collect();
    match input.layout {
        Layout::Nchw => {
            let plane = input.width as usize * input.height as usize;
            let planes = levels.chunks_exact(plane).zip(&tables);
            planes.flat_map(|(plane, table)| plane.iter().map(|&l| table[usize::from(l)])).collect()
        }
        Layout::Nhwc => {
            let pixels = levels.chunks_exact(tables.len());
            pixels
                .flat_map(|pixel| {
                    pixel.iter().zip(&tables).map(|(&l, table)| table[usize::from(l)])
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use dorfman_model::manifest::{Channels, Filter, Resize};

    #[test]
    fn a_tensor_is_restored_bit_for_bit() {
        let picture = image::RgbImage::from_fn(16, 16, |x, y| {
            image::Rgb([(16 * y + x) as u8, (17 * x) as u8, 255 - (16 * x + y) as u8])
        });
        let mut bytes = Vec::new();
        picture.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
        for layout in [Layout::Nchw, Layout::Nhwc] {
            for (mean, std) in
                [([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]), ([0.0; 3], [255.0; 3])]
            {
                let input = InputSpec {
                    width: 16,
                    height: 16,
                    channels: Channels::Rgb,
                    layout,
                    resize: Resize::Stretch { filter: Filter::Bilinear, draft: 0 },
                    mean: mean.to_vec(),
                    std: std.to_vec(),
                };
                let tensor = Preprocessor::new(&input, 1_000_000).tensor(&bytes).unwrap();
                assert_eq!(unpack(&input, &pack(&input, &tensor)), tensor);
            }
        }
    }
}
