//! Decodes every image once, and keeps the pixels.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dorfman_model::cpu::{self, thread_time};
use dorfman_model::decode::Preprocessor;
use dorfman_model::manifest::InputSpec;

use crate::labelled::{ImageReader, LabelledImages};
use crate::{LabError, Progress};

/// The share of images that may be undecodable. With more, the data is assumed to be wrong.
const MOST_UNDECODABLE: f64 = 0.03;

/// Preprocessed images.
#[derive(Debug)]
pub(super) struct DecodedImages {
    /// The input for which the images were preprocessed.
    pub input: InputSpec,
    /// By image. Empty if it could not be decoded.
    pixels: Vec<Vec<u8>>,
    /// CPU milliseconds to read, decode and preprocess an image.
    pub decode_ms: f64,
    /// The images that could not be decoded: name and reason.
    pub undecodable: Vec<(String, String)>,
}

/// What one thread has decoded, or all threads together.
#[derive(Default)]
struct Share {
    pixels: Vec<(usize, Vec<u8>)>,
    failures: Vec<(usize, String)>,
    time: Duration,
}

/// Work that the decoding threads share.
struct Work<'a> {
    images: &'a LabelledImages,
    preprocessor: Preprocessor,
    next: AtomicUsize,
    decoded: Mutex<Share>,
    progress: &'a dyn Progress,
}

impl DecodedImages {
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
        let work = Work { images, preprocessor, next, decoded, progress };
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
        mut decoded: Share,
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
        let decode_ms = 1e3 * decoded.time.as_secs_f64() / decoded.pixels.len().max(1) as f64;
        let mut pixels = vec![Vec::new(); all];
        decoded.pixels.into_iter().for_each(|(i, image)| pixels[i] = image);
        Ok(Self { input: input.clone(), pixels, decode_ms, undecodable })
    }

    /// Whether an image could be decoded.
    pub fn has(&self, image: usize) -> bool {
        !self.pixels[image].is_empty()
    }

    /// The pixels of an image.
    pub fn pixels(&self, image: usize) -> &[u8] {
        &self.pixels[image]
    }
}

impl Work<'_> {
    /// The work of one thread.
    fn run(&self) -> Result<(), LabError> {
        let mut reader = self.images.reader().map_err(LabError::DataLost)?;
        let own = self.share(&mut reader);
        let mut all = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        all.pixels.extend(own.pixels);
        all.failures.extend(own.failures);
        all.time += own.time;
        Ok(())
    }

    fn share(&self, reader: &mut ImageReader) -> Share {
        let mut own = Share::default();
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(image) = self.images.images.get(i) else { return own };
            let start = thread_time();
            let bytes = reader.read(image).map_err(|e| e.to_string());
            let pixels =
                |bytes: Vec<u8>| self.preprocessor.pixels(&bytes).map_err(|e| e.to_string());
            match bytes.and_then(pixels) {
                Ok(pixels) => own.pixels.push((i, pixels)),
                Err(why) => own.failures.push((i, why)),
            }
            own.time += thread_time() - start;
            self.progress.advance(1);
        }
    }
}
