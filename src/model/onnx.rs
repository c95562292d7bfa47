//! A bundle's stages as ONNX Runtime sessions, and the rows between them.

use ort::session::Session;
use ort::value::{TensorElementType, TensorRef, ValueType};

use super::manifest::{Layout, Manifest, Merge};
use super::{Bundle, Provider, Runtime, RuntimeError};
use crate::engine::{Form, Level, Network, RunError};

/// A network in ONNX Runtime. One thread owns it.
///
/// Rows lie in host memory. On the CPU a stage reads them where they are; on a GPU only the rows that a run names travel.
#[derive(Debug)]
pub struct OnnxNetwork {
    form: Form,
    sessions: Vec<Session>,
    confirm: Option<Session>,
    image: Shape,
    levels: Vec<Store>,
    batch: Vec<f32>,
    compact: Option<Compact>,
}

/// A tensor's shape without its first axis.
#[derive(Debug, Clone, PartialEq)]
struct Shape(Vec<usize>);

impl Shape {
    fn len(&self) -> usize {
        self.0.iter().product()
    }

    fn with(&self, rows: usize) -> Vec<usize> {
        std::iter::once(rows).chain(self.0.iter().copied()).collect()
    }

    /// Whether images have as many values.
    fn check(&self, images: &[&[f32]]) -> Result<(), String> {
        let wanted = self.len();
        let other = images.iter().find(|i| i.len() != wanted);
        other.map_or(Ok(()), |i| Err(format!("an image has {} values, {wanted} are wanted", i.len())))
    }
}

/// The rows of one level.
#[derive(Debug)]
struct Store {
    shape: Shape,
    values: Vec<f32>,
}

/// Scratch for sending only the rows that a run names.
#[derive(Debug, Default)]
struct Compact {
    place: Vec<Option<usize>>,
    members: Vec<i64>,
    values: Vec<f32>,
}

impl OnnxNetwork {
    /// Sessions for all stages and, if the bundle has one, the confirm network; and `rows` rows at level 0 (and as many above as a group of any shape can need).
    ///
    /// # Errors
    /// [`RuntimeError`]: the provider can't be had, or a stage's inputs and outputs are not those of `docs/bundle.md`.
    pub fn new(
        bundle: &Bundle,
        runtime: &Runtime,
        provider: Provider,
        device: i32,
        rows: usize,
    ) -> Result<Self, RuntimeError> {
        let manifest = &bundle.manifest;
        let image = image_shape(manifest);
        let last = manifest.stages.len() - 1;
        let mut sessions = Vec::new();
        for (i, stage) in manifest.stages.iter().enumerate() {
            let path = bundle.dir.join(&stage.file);
            let session = runtime.session(&path, provider, device)?;
            let before = if i == 0 { &image.0 } else { manifest.stages[i - 1].features.as_ref().unwrap_or(&image.0) };
            let after = stage.features.clone().unwrap_or_else(|| vec![manifest.labels.len()]);
            check(&session, i, last, before, &after).map_err(|message| RuntimeError::Model { path, message })?;
            sessions.push(session);
        }
        let confirm = manifest.confirm.as_ref().map(|c| {
            let path = bundle.dir.join(&c.file);
            let session = runtime.session(&path, provider, device)?;
            let checked = check_confirm(&session, &image.0, manifest.labels.len());
            checked.map(|()| session).map_err(|message| RuntimeError::Model { path, message })
        });
        let confirm = confirm.transpose()?;
        let form = form(manifest, rows);
        let shapes = manifest.stages.iter().filter_map(|s| s.features.clone()).map(Shape);
        let shapes: Vec<Shape> = if last == 0 { vec![image.clone()] } else { shapes.collect() };
        let levels = shapes.into_iter().zip(&form.levels);
        let levels = levels.map(|(shape, l)| Store { values: vec![0.0; shape.len() * l.rows], shape }).collect();
        let compact = (provider != Provider::Cpu).then(Compact::default);
        Ok(Self { form, sessions, confirm, image, levels, batch: Vec::new(), compact })
    }

    /// Sends only the rows that a run names, as a GPU does, whatever the provider.
    pub fn with_compaction(mut self) -> Self {
        self.compact = Some(Compact::default());
        self
    }

    /// Bytes that the rows take.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|l| l.values.len() * size_of::<f32>()).sum()
    }

    /// Runs a stage that merges rows of `level`; `keep` gets the output.
    fn run_merging(&mut self, stage: usize, level: usize, members: &[i64], arity: usize) -> Result<Vec<f32>, RunError> {
        let failed = |e: ort::Error| RunError { stage, message: e.to_string() };
        let store = &self.levels[level];
        let (values, members, rows) = match &mut self.compact {
            None => (&store.values[..], members, store.values.len() / store.shape.len()),
            Some(compact) => compact.gather(store, members),
        };
        let name = if self.levels.len() == 1 && self.sessions.len() == 1 { "images" } else { "features" };
        let features = TensorRef::from_array_view((store.shape.with(rows), values)).map_err(failed)?;
        let members = TensorRef::from_array_view(([members.len() / arity, arity], members)).map_err(failed)?;
        let outputs = self.sessions[stage].run(ort::inputs![name => features, "members" => members]).map_err(failed)?;
        let (_, out) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
        Ok(out.to_vec())
    }
}

impl Network for OnnxNetwork {
    fn form(&self) -> &Form {
        &self.form
    }

    fn embed(&mut self, images: &[&[f32]], first: usize) -> Result<(), RunError> {
        let failed = |message: String| RunError { stage: 0, message };
        self.image.check(images).map_err(failed)?;
        let store = &mut self.levels[0];
        let width = store.shape.len();
        let rows = &mut store.values[first * width..][..images.len() * width];
        if self.sessions.len() == 1 {
            rows.chunks_mut(width).zip(images).for_each(|(row, image)| row.copy_from_slice(image));
            return Ok(());
        }
        let keep = |out: &[f32]| rows.copy_from_slice(out);
        let wanted = images.len() * width;
        run_images(&mut self.sessions[0], &self.image, &mut self.batch, images, wanted, keep).map_err(failed)
    }

    fn merge(&mut self, level: usize, members: &[i64], arity: usize, first: usize) -> Result<(), RunError> {
        let out = self.run_merging(level, level - 1, members, arity)?;
        let store = &mut self.levels[level];
        let width = store.shape.len();
        let rows = &mut store.values[first * width..][..members.len() / arity * width];
        if out.len() != rows.len() {
            return Err(RunError {
                stage: level,
                message: format!("{} values came out, {} were expected", out.len(), rows.len()),
            });
        }
        rows.copy_from_slice(&out);
        Ok(())
    }

    fn score(&mut self, members: &[i64], arity: usize, scores: &mut Vec<f32>) -> Result<(), RunError> {
        let stage = self.sessions.len() - 1;
        let out = self.run_merging(stage, self.form.top(), members, arity)?;
        let wanted = members.len() / arity * self.form.labels;
        if out.len() != wanted {
            return Err(RunError { stage, message: format!("{} scores came out, {wanted} were expected", out.len()) });
        }
        scores.extend_from_slice(&out);
        Ok(())
    }

    fn confirm(&mut self, images: &[&[f32]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        let stage = self.form.confirm_stage();
        let failed = |message: String| RunError { stage, message: format!("the confirm network: {message}") };
        let Some(session) = &mut self.confirm else { return Err(failed("the bundle has none".into())) };
        self.image.check(images).map_err(failed)?;
        let keep = |out: &[f32]| scores.extend_from_slice(out);
        let wanted = images.len() * self.form.labels;
        run_images(session, &self.image, &mut self.batch, images, wanted, keep).map_err(failed)
    }
}

/// Runs a session whose only input is `images`; `keep` gets its output, which has `wanted` values. `batch` is scratch.
fn run_images(
    session: &mut Session,
    image: &Shape,
    batch: &mut Vec<f32>,
    images: &[&[f32]],
    wanted: usize,
    keep: impl FnOnce(&[f32]),
) -> Result<(), String> {
    let failed = |e: ort::Error| e.to_string();
    batch.clear();
    images.iter().for_each(|image| batch.extend_from_slice(image));
    let batch = TensorRef::from_array_view((image.with(images.len()), &batch[..])).map_err(failed)?;
    let outputs = session.run(ort::inputs!["images" => batch]).map_err(failed)?;
    let (_, out) = outputs[0].try_extract_tensor::<f32>().map_err(failed)?;
    if out.len() != wanted {
        return Err(format!("{} values came out, {wanted} were expected", out.len()));
    }
    keep(out);
    Ok(())
}

impl Compact {
    /// Copies each row that `members` names once and renumbers them.
    fn gather(&mut self, store: &Store, members: &[i64]) -> (&[f32], &[i64], usize) {
        let width = store.shape.len();
        self.place.clear();
        self.place.resize(store.values.len() / width, None);
        self.members.clear();
        self.values.clear();
        let mut rows = 0;
        for &member in members {
            let row = member as usize;
            let place = *self.place[row].get_or_insert_with(|| {
                self.values.extend_from_slice(&store.values[row * width..][..width]);
                rows += 1;
                rows - 1
            });
            self.members.push(place as i64);
        }
        (&self.values, &self.members, rows)
    }
}

fn image_shape(manifest: &Manifest) -> Shape {
    let input = &manifest.input;
    let (h, w, c) = (input.height as usize, input.width as usize, input.channels.count());
    match input.layout {
        Layout::Nchw => Shape(vec![c, h, w]),
        Layout::Nhwc => Shape(vec![h, w, c]),
    }
}

/// The chain's form. A level above 0 has as many rows as open items can need: an item is in at most 2^(span - 1) sets of those that can
/// share a row, and in no more than 4 that a falling chain of tests asks for.
fn form(manifest: &Manifest, rows: usize) -> Form {
    let last = manifest.stages.len() - 1;
    let mut levels = vec![Level { fan_in: 1, rows, macs: if last == 0 { 0 } else { manifest.stages[0].macs } }];
    let mut span = 1usize;
    for stage in manifest.stages.iter().take(last).skip(1) {
        let fan_in = stage.fan_in.unwrap_or(2);
        span = span.saturating_mul(fan_in);
        let sets = rows * (1 << (span - 1).min(2));
        levels.push(Level { fan_in, rows: sets, macs: stage.macs });
    }
    let repeats = manifest.merge == Merge::Max;
    let confirm_macs = manifest.confirm.as_ref().map(|c| c.macs);
    Form { levels, labels: manifest.labels.len(), score_macs: manifest.stages[last].macs, repeats, confirm_macs }
}

/// Whether a session's inputs and outputs are those of its place in the chain.
fn check(session: &Session, i: usize, last: usize, before: &[usize], after: &[usize]) -> Result<(), String> {
    let float = TensorElementType::Float32;
    let rows = if i == 0 { "images" } else { "features" };
    has(session.inputs(), "input", rows, float, before)?;
    if i > 0 || last == 0 {
        has(session.inputs(), "input", "members", TensorElementType::Int64, &[])?;
    }
    let result = match i {
        _ if i == last => "scores",
        0 => "features",
        // A graph's input and output can't have one name.
        _ => "features_out",
    };
    has(session.outputs(), "output", result, float, after)
}

/// Whether a session's inputs and outputs are those of a confirm network.
fn check_confirm(session: &Session, image: &[usize], labels: usize) -> Result<(), String> {
    let float = TensorElementType::Float32;
    if session.inputs().len() != 1 {
        return Err(format!("has {} inputs, a confirm network has one, `images`", session.inputs().len()));
    }
    has(session.inputs(), "input", "images", float, image)?;
    has(session.outputs(), "output", "scores", float, &[labels])
}

/// Whether a named tensor is there with this type and, after the first axis, this shape. `members` has one free axis more.
fn has(
    outlets: &[ort::value::Outlet],
    kind: &str,
    name: &str,
    ty: TensorElementType,
    shape: &[usize],
) -> Result<(), String> {
    let Some(outlet) = outlets.iter().find(|o| o.name() == name) else {
        let names: Vec<&str> = outlets.iter().map(|o| o.name()).collect();
        return Err(format!("there is no {kind} `{name}`, only {}", names.join(", ")));
    };
    let ValueType::Tensor { ty: found, shape: dims, .. } = outlet.dtype() else {
        return Err(format!("{kind} `{name}` is no tensor"));
    };
    if *found != ty {
        return Err(format!("{kind} `{name}` is of type {found}, must be {ty}"));
    }
    let wanted: Vec<i64> = if name == "members" { vec![-1] } else { shape.iter().map(|&d| d as i64).collect() };
    let fits = dims.len() == wanted.len() + 1
        && dims.iter().skip(1).zip(&wanted).all(|(&found, &wanted)| found < 0 || wanted < 0 || found == wanted);
    if !fits {
        return Err(format!("{kind} `{name}` has shape {dims:?}, the manifest makes it [N, {}]", dims_text(&wanted)));
    }
    Ok(())
}

fn dims_text(dims: &[i64]) -> String {
    dims.iter().map(|d| if *d < 0 { "m".into() } else { d.to_string() }).collect::<Vec<_>>().join(", ")
}
