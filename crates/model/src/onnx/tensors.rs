//! Tensors: their shapes, and what goes into a session and comes out of it.

use ort::session::{Session, SessionInputs, SessionOutputs};
use ort::value::TensorRef;

use super::images::ImageInput;
use crate::manifest::{InputSpec, Layout};

/// A tensor's shape without its first axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// The shape of a preprocessed image.
    pub fn of_input(input: &InputSpec) -> Self {
        let (h, w, c) = (input.height as usize, input.width as usize, input.channels.count());
        match input.layout {
            Layout::Nchw => Shape(vec![c, h, w]),
            Layout::Nhwc => Shape(vec![h, w, c]),
        }
    }

    /// The number of values of one row.
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }

    /// The shape of a tensor of `rows` rows.
    pub fn with_rows(&self, rows: usize) -> Vec<usize> {
        std::iter::once(rows).chain(self.0.iter().copied()).collect()
    }
}

/// A tensor of f32 values.
pub fn tensor(shape: Vec<usize>, values: &[f32]) -> Result<TensorRef<'_, f32>, String> {
    TensorRef::from_array_view((shape, values)).map_err(|e| e.to_string())
}

/// The values of an output, which must have `wanted` values.
pub fn output<'o>(
    outputs: &'o SessionOutputs,
    name: &str,
    wanted: usize,
) -> Result<&'o [f32], String> {
    let value = outputs.get(name).ok_or_else(|| format!("the output `{name}` is missing"))?;
    let (_, values) = value.try_extract_tensor::<f32>().map_err(|e| e.to_string())?;
    if values.len() != wanted {
        let found = values.len();
        return Err(format!("output `{name}` has {found} values; {wanted} were expected"));
    }
    Ok(values)
}

/// Runs a session whose only input is `images`. `keep` receives the outputs.
pub fn run_images(
    session: &mut Session,
    input: &mut ImageInput,
    images: &[&[u8]],
    keep: impl FnOnce(&SessionOutputs) -> Result<(), String>,
) -> Result<(), String> {
    let images = input.tensor(images)?;
    let outputs = run(session, ort::inputs!["images" => images])?;
    keep(&outputs)
}

/// Runs a session. With the feature `failpoints`, the fail point `onnx-run` makes it fail.
pub fn run<'s, 'i, 'v: 'i, const N: usize>(
    session: &'s mut Session,
    inputs: impl Into<SessionInputs<'i, 'v, N>>,
) -> Result<SessionOutputs<'s>, String> {
    #[cfg(feature = "failpoints")]
    fail::fail_point!("onnx-run", |message| Err(message.unwrap_or("fail point".to_owned())));
    session.run(inputs).map_err(|e| e.to_string())
}
