//! Tensors: their shapes, and what goes into a session and comes out of it.

use dorfman_device::{BoundSession, Outputs, Run};
use ort::value::{DynValue, Tensor};

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

/// The input `members`, a matrix of `arity` columns.
pub fn members_tensor(members: &[i64], arity: usize) -> Result<DynValue, String> {
    let shape = [members.len() / arity, arity];
    let tensor = Tensor::from_array((shape, members.to_vec()));
    Ok(tensor.map_err(|e| e.to_string())?.into_dyn())
}

/// Appends the values of an output, which must have `wanted` values.
pub fn append(
    values: &mut Vec<f32>,
    outputs: &Outputs<'_, '_>,
    name: &str,
    wanted: usize,
) -> Result<(), String> {
    let found = outputs.floats(name).map_err(|e| e.to_string())?;
    if found.len() != wanted {
        let found = found.len();
        return Err(format!("output `{name}` has {found} values; {wanted} were expected"));
    }
    values.extend_from_slice(found);
    Ok(())
}

/// Runs a session ([`BoundSession::run`]). With the feature `failpoints`, the fail point `onnx-run`
/// makes it fail.
pub fn run(
    session: &mut BoundSession,
    run: Run<'_>,
    read: impl FnOnce(&Outputs<'_, '_>) -> Result<(), String>,
) -> Result<(), String> {
    #[cfg(feature = "failpoints")]
    fail::fail_point!("onnx-run", |message| Err(message.unwrap_or("fail point".to_owned())));
    session.run(run, read).map_err(|e| e.to_string())?
}
