//! A bundle's stages as ONNX Runtime sessions, and the slots between them.

mod distinct;
mod images;
mod screen;
mod signature;
mod tensors;

use dorfman_core::engine::{Level, Network, NetworkPart, NetworkShape, RunError};
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::TensorRef;

use self::distinct::DistinctSlots;
use self::images::ImageInput;
pub use self::screen::OnnxScreen;
use self::signature::{EXIT, check_exit, check_single, check_stage};
use self::tensors::{Shape, output, run, run_images, tensor};
use super::manifest::{Manifest, Merge};
use super::{Bundle, Provider, Runtime, RuntimeError};

/// A network in ONNX Runtime. One thread owns it.
///
/// Slots are in host memory. On the CPU a stage reads features in place. On a GPU only the slots
/// that are members of a run are copied to the device. A network of one stage keeps pixels, and the
/// images of a run are copied.
#[derive(Debug)]
pub struct OnnxNetwork {
    shape: NetworkShape,
    sessions: Vec<Session>,
    confirm: Option<Session>,
    image: ImageInput,
    /// The slots of a network of one stage. Empty for other networks.
    pixels: Vec<u8>,
    /// The slots of all levels of other networks.
    levels: Vec<SlotStore>,
    distinct: DistinctSlots,
    /// Scratch memory for the slots of a run. `None` where the slots are read in place.
    copied: Option<Vec<f32>>,
}

/// The slots of one level.
#[derive(Debug)]
struct SlotStore {
    shape: Shape,
    values: Vec<f32>,
}

impl OnnxNetwork {
    /// Creates the sessions of all stages and, if the bundle has one, of the confirm network.
    ///
    /// `device` is the number of the GPU, from 0. Level 0 has `slots` slots. Each level above has
    /// as many slots as the items in these slots can need.
    ///
    /// # Errors
    /// [`RuntimeError`] if the provider is not available, if a file cannot be loaded, or if the
    /// inputs and outputs of a stage differ from those in `docs/bundle.md`.
    pub fn new(
        bundle: &Bundle,
        runtime: &Runtime,
        provider: Provider,
        device: i32,
        slots: usize,
    ) -> Result<Self, RuntimeError> {
        let manifest = &bundle.manifest;
        let image = ImageInput::new(&manifest.input);
        let last = manifest.stages.len() - 1;
        let mut sessions = Vec::new();
        for (i, stage) in manifest.stages.iter().enumerate() {
            let path = bundle.dir.join(&stage.file);
            let session = runtime.session(&path, provider, device)?;
            let before = i.checked_sub(1).and_then(|i| manifest.stages[i].features.as_deref());
            let after = stage.features.clone().unwrap_or_else(|| vec![manifest.labels.len()]);
            let exit = stage.exit.as_ref().map(|_| manifest.labels.len());
            check_stage(&session, i, last, &image, before.unwrap_or_default(), &after)
                .and_then(|()| check_exit(&session, exit))
                .map_err(|message| RuntimeError::Model { path, message })?;
            sessions.push(session);
        }
        let confirm = manifest.confirm.as_ref().map(|c| {
            let path = bundle.dir.join(&c.file);
            let session = runtime.session(&path, provider, device)?;
            let checked = check_single(&session, "confirm network", &image, manifest.labels.len());
            checked.map(|()| session).map_err(|message| RuntimeError::Model { path, message })
        });
        let confirm = confirm.transpose()?;
        let shape = shape(manifest, slots);
        let shapes = manifest.stages.iter().filter_map(|s| s.features.clone()).map(Shape);
        let store = |(shape, level): (Shape, &Level)| SlotStore {
            values: vec![0.0; shape.len() * level.slots],
            shape,
        };
        let levels = shapes.zip(&shape.levels).map(store).collect();
        let pixels = if last == 0 { vec![0; image.shape().len() * slots] } else { Vec::new() };
        let copied = (provider != Provider::Cpu).then(Vec::new);
        let distinct = DistinctSlots::default();
        Ok(Self { shape, sessions, confirm, image, pixels, levels, distinct, copied })
    }

    /// Bytes of memory that the slots occupy.
    pub fn bytes(&self) -> usize {
        let features: usize = self.levels.iter().map(|l| l.values.len() * size_of::<f32>()).sum();
        features + self.pixels.len()
    }

    /// Runs a stage that reads slots of `level`. `members` is a matrix `[T, arity]` of slot indices,
    /// row by row. `keep` receives the outputs of the stage.
    fn run_merging(
        &mut self,
        stage: usize,
        level: usize,
        members: &[i64],
        arity: usize,
        keep: impl FnOnce(&SessionOutputs, &mut [SlotStore]) -> Result<(), String>,
    ) -> Result<(), RunError> {
        let failed = |message: String| RunError { part: NetworkPart::Stage(stage), message };
        let (read, written) = self.levels.split_at_mut(level + 1);
        let store = &read[level];
        let (values, members) = match &mut self.copied {
            None => (&store.values[..], members),
            Some(copied) => {
                self.distinct.find(members, store.values.len() / store.shape.len());
                store.copy(&self.distinct.slots, copied);
                (&copied[..], &self.distinct.members[..])
            }
        };
        let rows = values.len() / store.shape.len();
        let features = tensor(store.shape.with_rows(rows), values).map_err(failed)?;
        let members = rows_of(members, arity).map_err(failed)?;
        let inputs = ort::inputs!["features" => features, "members" => members];
        let outputs = run(&mut self.sessions[stage], inputs).map_err(failed)?;
        keep(&outputs, written).map_err(failed)
    }

    /// Runs the only stage of a network that merges pixels. `members` and `scores` are as in
    /// [`Network::score`].
    fn score_pixels(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), String> {
        let (width, wanted) = (self.image.shape().len(), members.len() / arity * self.shape.labels);
        self.distinct.find(members, self.pixels.len() / width);
        let slot = |&slot: &usize| &self.pixels[slot * width..][..width];
        let images: Vec<&[u8]> = self.distinct.slots.iter().map(slot).collect();
        let images = self.image.tensor(&images)?;
        let members: SessionInputValue = rows_of(&self.distinct.members, arity)?.into();
        let inputs = ort::inputs!["images" => images, "members" => members];
        let outputs = run(&mut self.sessions[0], inputs)?;
        scores.extend_from_slice(output(&outputs, "scores", wanted)?);
        Ok(())
    }
}

impl Network for OnnxNetwork {
    fn shape(&self) -> &NetworkShape {
        &self.shape
    }

    fn embed(
        &mut self,
        images: &[&[u8]],
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let failed = |message: String| RunError { part: NetworkPart::Stage(0), message };
        if self.levels.is_empty() {
            self.image.check(images).map_err(failed)?;
            let width = self.image.shape().len();
            let slots = self.pixels[first * width..].chunks_mut(width).zip(images);
            slots.for_each(|(slot, image)| slot.copy_from_slice(image));
            return Ok(());
        }
        let store = &mut self.levels[0];
        let width = store.shape.len();
        let slots = &mut store.values[first * width..][..images.len() * width];
        let exit = self.shape.levels[0].exit.then_some(images.len() * self.shape.labels);
        let keep = |outputs: &SessionOutputs| {
            slots.copy_from_slice(output(outputs, "features", slots.len())?);
            if let Some(wanted) = exit {
                exits.extend_from_slice(output(outputs, EXIT, wanted)?);
            }
            Ok(())
        };
        run_images(&mut self.sessions[0], &mut self.image, images, keep).map_err(failed)
    }

    fn merge(
        &mut self,
        level: usize,
        members: &[i64],
        arity: usize,
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let rows = members.len() / arity;
        let exit = self.shape.levels[level].exit.then_some(rows * self.shape.labels);
        self.run_merging(level, level - 1, members, arity, |outputs, written| {
            let store = &mut written[0];
            let width = store.shape.len();
            let slots = &mut store.values[first * width..][..rows * width];
            slots.copy_from_slice(output(outputs, "features_out", slots.len())?);
            if let Some(wanted) = exit {
                exits.extend_from_slice(output(outputs, EXIT, wanted)?);
            }
            Ok(())
        })
    }

    fn score(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let stage = self.sessions.len() - 1;
        if self.levels.is_empty() {
            let failed = |message: String| RunError { part: NetworkPart::Stage(stage), message };
            return self.score_pixels(members, arity, scores).map_err(failed);
        }
        let wanted = members.len() / arity * self.shape.labels;
        self.run_merging(stage, self.shape.top(), members, arity, |outputs, _| {
            scores.extend_from_slice(output(outputs, "scores", wanted)?);
            Ok(())
        })
    }

    fn confirm(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        let failed = |message: String| RunError { part: NetworkPart::Confirm, message };
        let Some(session) = &mut self.confirm else {
            return Err(failed("the bundle has no confirm network".into()));
        };
        let wanted = images.len() * self.shape.labels;
        let keep = |outputs: &SessionOutputs| {
            scores.extend_from_slice(output(outputs, "scores", wanted)?);
            Ok(())
        };
        run_images(session, &mut self.image, images, keep).map_err(failed)
    }
}

impl SlotStore {
    /// Copies some slots, one after the other.
    fn copy(&self, slots: &[usize], copied: &mut Vec<f32>) {
        let width = self.shape.len();
        copied.clear();
        slots.iter().for_each(|slot| {
            copied.extend_from_slice(&self.values[slot * width..][..width]);
        });
    }
}

/// The input `members`, a matrix of `arity` columns.
fn rows_of(members: &[i64], arity: usize) -> Result<TensorRef<'_, i64>, String> {
    let shape = [members.len() / arity, arity];
    TensorRef::from_array_view((shape, members)).map_err(|e| e.to_string())
}

/// The network's shape with `slots` slots at level 0.
///
/// A level above 0 has as many slots as open items can need. The *span* of a level is the number of
/// items that a full slot of the level covers. An item is in at most 2^(span - 1) of the sets that
/// a slot can hold. The tests of a group are nested sets, which need fewer than two merged sets per
/// item; the factor 4 leaves room for groups that wait. The level therefore has
/// min(2^(span - 1), 4) slots per slot of level 0.
fn shape(manifest: &Manifest, slots: usize) -> NetworkShape {
    let last = manifest.stages.len() - 1;
    let first = &manifest.stages[0];
    let macs = if last == 0 { 0 } else { first.macs };
    let mut levels = vec![Level { fan_in: 1, slots, macs, exit: first.exit.is_some() }];
    let mut span = 1usize;
    for stage in manifest.stages.iter().take(last).skip(1) {
        let fan_in = stage.fan_in.unwrap_or(2);
        span = span.saturating_mul(fan_in);
        let sets = slots * (1 << (span - 1).min(2));
        levels.push(Level { fan_in, slots: sets, macs: stage.macs, exit: stage.exit.is_some() });
    }
    let repeats = manifest.merge == Merge::Max;
    let confirm_macs = manifest.confirm.as_ref().map(|c| c.macs);
    NetworkShape {
        levels,
        labels: manifest.labels.len(),
        score_macs: manifest.stages[last].macs,
        repeats,
        confirm_macs,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// On a GPU, only the slots of a run's members are copied to the device.
    #[test]
    fn copied_slots_score_the_same_as_all_slots() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let bundle = Bundle::open(&root.join("models/fashion-bag")).unwrap();
        let library = root.join(".dorfman/onnxruntime/lib/libonnxruntime.so");
        let library = library.exists().then_some(library);
        let runtime = Runtime::load(library.as_deref(), 2).unwrap();
        let mut network = OnnxNetwork::new(&bundle, &runtime, Provider::Cpu, 0, 64).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let len = bundle.manifest.input.len();
        let images: Vec<Vec<u8>> =
            (0..8).map(|_| (0..len).map(|_| random.u8(..)).collect()).collect();
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        network.embed(&images, 3, &mut Vec::new()).unwrap();
        let slots: Vec<i64> = (3..11).collect();
        for level in 1..=network.shape().item_top() {
            network.merge(level, &slots, 1, 3, &mut Vec::new()).unwrap();
        }
        let members: Vec<i64> = (3..11).rev().collect();
        let mut score = |copied: bool, arity: usize| {
            network.copied = copied.then(Vec::new);
            let mut scores = Vec::new();
            network.score(&members, arity, &mut scores).unwrap();
            scores
        };
        for arity in [1, 4, 8] {
            let all = score(false, arity);
            let copied = score(true, arity);
            let close = all.iter().zip(&copied).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(all.len() == 8 / arity && copied.len() == all.len() && close, "{arity}");
        }
    }
}
