//! A bundle's stages as ONNX Runtime sessions, and the slots between them.

mod alone;
mod distinct;
mod images;
mod screen;
mod signature;
mod tensors;

use dorfman_core::engine::{Level, Network, NetworkPart, NetworkShape, RunError};
use dorfman_device::{BoundSession, Input, Place, Run, Slab, Slots};

use self::alone::AloneNetwork;
use self::distinct::DistinctSlots;
use self::images::ImageInput;
pub use self::screen::OnnxScreen;
use self::signature::{EXIT, check_exit, check_stage, features};
use self::tensors::{append, members_tensor, run};
use super::manifest::Manifest;
use super::{Bundle, Provider, Runtime, RuntimeError, Target};

/// A network in ONNX Runtime. One thread owns it.
///
/// The slots of a level are one tensor in the memory of the device. A stage reads the slots of its
/// members in place and writes its features into their slots, so features do not travel between the
/// host and a GPU. A network of one stage keeps the pixels of its items in the memory of the host, and
/// the images of a run are copied.
#[derive(Debug)]
pub struct OnnxNetwork {
    shape: NetworkShape,
    sessions: Vec<BoundSession>,
    confirm: Option<AloneNetwork>,
    image: ImageInput,
    /// The slots of a network of one stage. Empty for other networks.
    pixels: Vec<u8>,
    distinct: DistinctSlots,
    /// The slots of all levels of other networks.
    levels: Vec<Slab>,
}

impl OnnxNetwork {
    /// Creates the sessions of all stages and, if the bundle has one, of the confirm network.
    ///
    /// Level 0 has `slots` slots. Each level above has as many slots as the items in these slots can
    /// need.
    ///
    /// # Errors
    /// [`RuntimeError`] if the provider is not available, if a file cannot be loaded, if the inputs
    /// and outputs of a stage differ from those in `docs/bundle.md`, or if the device has too little
    /// memory for the slots.
    pub fn new(
        bundle: &Bundle,
        runtime: &Runtime,
        target: &Target,
        slots: usize,
    ) -> Result<Self, RuntimeError> {
        let manifest = &bundle.manifest;
        let image = ImageInput::new(&manifest.input);
        let shape = shape(manifest, slots);
        let gpu = |alignment| Place::Cuda { device: target.device, alignment };
        let place = match target.provider {
            Provider::Cpu => Place::Host,
            Provider::Cuda => gpu(Place::CUDA_ALIGNMENT),
            Provider::TensorRt => gpu(Place::TENSORRT_ALIGNMENT),
        };
        let last = manifest.stages.len() - 1;
        let (mut sessions, mut levels) = (Vec::new(), Vec::new());
        let mut before = None;
        for (i, stage) in manifest.stages.iter().enumerate() {
            let path = bundle.dir.join(&stage.file);
            let wrong = |message: String| RuntimeError::Model { path: path.clone(), message };
            let session = runtime.session(&path, &stage.sha256, target)?;
            let after = stage.features.clone().unwrap_or_else(|| vec![manifest.labels.len()]);
            let exit = stage.exit.as_ref().map(|_| manifest.labels.len());
            let element = check_stage(&session, i, last, &image, before.as_ref(), &after)
                .and_then(|element| check_exit(&session, exit).map(|()| element))
                .map_err(wrong)?;
            if i < last {
                let slab = Slab::new(&session, place, element, &after, shape.levels[i].slots);
                levels.push(slab.map_err(|e| wrong(no_slots(&e)))?);
                before = Some((element, after));
            }
            sessions.push(BoundSession::new(session).map_err(|e| wrong(e.to_string()))?);
        }
        let confirm = manifest.confirm.as_ref().map(|c| {
            let (file, labels) = ((bundle.dir.join(&c.file), &c.sha256[..]), manifest.labels.len());
            AloneNetwork::new("confirm network", file, &manifest.input, labels, (runtime, target))
        });
        let confirm = confirm.transpose()?;
        let pixels = if last == 0 { vec![0; image.shape().len() * slots] } else { Vec::new() };
        let distinct = DistinctSlots::default();
        Ok(Self { shape, sessions, confirm, image, pixels, distinct, levels })
    }

    /// Bytes of memory that the slots occupy, on the device or in the memory of the host.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(Slab::bytes).sum::<usize>() + self.pixels.len()
    }

    /// The outputs that the stage of `level` has besides its features.
    fn exits(&self, level: usize) -> &'static [&'static str] {
        if self.shape.levels[level].exit { &[EXIT] } else { &[] }
    }

    /// Keeps the pixels of a network of one stage.
    fn keep_pixels(&mut self, images: &[&[u8]], first: usize) -> Result<(), String> {
        self.image.check(images)?;
        let width = self.image.shape().len();
        let slots = &mut self.pixels[first * width..][..images.len() * width];
        slots.chunks_mut(width).zip(images).for_each(|(slot, image)| slot.copy_from_slice(image));
        Ok(())
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
        let members = members_tensor(&self.distinct.members, arity)?;
        let inputs = &[("images", Input::Tensor(&images)), ("members", Input::Tensor(&members))];
        run(&mut self.sessions[0], Run { inputs, slots: None, host: &["scores"] }, |outputs| {
            append(scores, outputs, "scores", wanted)
        })
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
            return self.keep_pixels(images, first).map_err(failed);
        }
        let (host, wanted) = (self.exits(0), images.len() * self.shape.labels);
        let rows = first..first + images.len();
        let images = self.image.tensor(images).map_err(failed)?;
        let slots = Slots { output: features(0), slab: &mut self.levels[0], rows };
        let inputs = &[("images", Input::Tensor(&images))];
        run(&mut self.sessions[0], Run { inputs, slots: Some(slots), host }, |outputs| {
            host.iter().try_for_each(|exit| append(exits, outputs, exit, wanted))
        })
        .map_err(failed)
    }

    fn merge(
        &mut self,
        level: usize,
        members: &[i64],
        arity: usize,
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let failed = |message: String| RunError { part: NetworkPart::Stage(level), message };
        let count = members.len() / arity;
        let (host, wanted) = (self.exits(level), count * self.shape.labels);
        let members = members_tensor(members, arity).map_err(failed)?;
        let (read, written) = self.levels.split_at_mut(level);
        let inputs =
            &[("features", Input::Slab(&read[level - 1])), ("members", Input::Tensor(&members))];
        let rows = first..first + count;
        let slots = Slots { output: features(level), slab: &mut written[0], rows };
        run(&mut self.sessions[level], Run { inputs, slots: Some(slots), host }, |outputs| {
            host.iter().try_for_each(|exit| append(exits, outputs, exit, wanted))
        })
        .map_err(failed)
    }

    fn score(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        let stage = self.sessions.len() - 1;
        let failed = |message: String| RunError { part: NetworkPart::Stage(stage), message };
        let Some(top) = self.levels.last() else {
            return self.score_pixels(members, arity, scores).map_err(failed);
        };
        let wanted = members.len() / arity * self.shape.labels;
        let members = members_tensor(members, arity).map_err(failed)?;
        let inputs = &[("features", Input::Slab(top)), ("members", Input::Tensor(&members))];
        run(&mut self.sessions[stage], Run { inputs, slots: None, host: &["scores"] }, |outputs| {
            append(scores, outputs, "scores", wanted)
        })
        .map_err(failed)
    }

    fn confirm(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        let failed = |message: String| RunError { part: NetworkPart::Confirm, message };
        let Some(network) = &mut self.confirm else {
            return Err(failed("the bundle has no confirm network".into()));
        };
        network.score(images, scores).map_err(failed)
    }
}

/// The message about slots that cannot be allocated.
fn no_slots(error: &dorfman_device::Error) -> String {
    format!("no slots for its features: {error}. If memory is short, lower `engine.slots`")
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
    let repeats = manifest.merge.takes_repeats();
    let confirm_macs = manifest.confirm.as_ref().map(|c| c.macs);
    NetworkShape {
        levels,
        labels: manifest.labels.len(),
        score_macs: manifest.stages[last].macs,
        repeats,
        confirm_macs,
    }
}
