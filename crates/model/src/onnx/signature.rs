//! Checks that a model has the inputs and outputs that `docs/bundle.md` describes.

use dorfman_device::Element;
use ort::session::Session;
use ort::value::{TensorElementType, ValueType};

use super::images::ImageInput;

/// The output of a stage with the scores of its early exit.
pub const EXIT: &str = "exit";

/// The name of the output with the features of stage `i`. The input and the output of a graph cannot
/// have the same name.
pub fn features(i: usize) -> &'static str {
    if i == 0 { "features" } else { "features_out" }
}

/// Checks that the inputs and outputs of stage `i` are those in `docs/bundle.md`. Returns the type of
/// its features; that of the last stage, which has none, means nothing.
///
/// `last` is the index of the last stage. `image` is the input of stage 0. `before` has the type and
/// the shape of a row that a later stage reads, and `after` is the shape of a row that the stage
/// writes. The error is a message for users.
pub fn check_stage(
    session: &Session,
    i: usize,
    last: usize,
    image: &ImageInput,
    before: Option<&(Element, Vec<usize>)>,
    after: &[usize],
) -> Result<Element, String> {
    let inputs = session.inputs();
    match before {
        None => has(inputs, "input", "images", image.element_type(), &image.shape().0)?,
        Some((element, row)) => has(inputs, "input", "features", element.onnx(), row)?,
    }
    if i > 0 || last == 0 {
        has(inputs, "input", "members", TensorElementType::Int64, &[])?;
    }
    if i == last {
        has(session.outputs(), "output", "scores", TensorElementType::Float32, after)?;
        return Ok(Element::Float32);
    }
    let half = session.outputs().iter().any(|outlet| {
        let float16 = TensorElementType::Float16;
        outlet.name() == features(i)
            && matches!(outlet.dtype(), ValueType::Tensor { ty, .. } if *ty == float16)
    });
    let element = if half { Element::Float16 } else { Element::Float32 };
    has(session.outputs(), "output", features(i), element.onnx(), after)?;
    Ok(element)
}

/// Checks that a stage has the output of an early exit with `labels` columns. `None`: the manifest
/// has no exit for the stage.
pub fn check_exit(session: &Session, labels: Option<usize>) -> Result<(), String> {
    let Some(labels) = labels else { return Ok(()) };
    has(session.outputs(), "output", EXIT, TensorElementType::Float32, &[labels])
}

/// Checks that the inputs and outputs of a session are those of a network that scores single
/// images. `what` is the kind of network, for messages.
pub fn check_single(
    session: &Session,
    what: &str,
    image: &ImageInput,
    labels: usize,
) -> Result<(), String> {
    let float = TensorElementType::Float32;
    if session.inputs().len() != 1 {
        return Err(format!(
            "has {} inputs; a {what} must have only the input `images`",
            session.inputs().len()
        ));
    }
    has(session.inputs(), "input", "images", image.element_type(), &image.shape().0)?;
    has(session.outputs(), "output", "scores", float, &[labels])
}

/// Checks that the input or output `name` has the type `ty` and, after the first axis, the shape
/// `shape`. `members` has one more axis of any length instead.
fn has(
    outlets: &[ort::value::Outlet],
    kind: &str,
    name: &str,
    ty: TensorElementType,
    shape: &[usize],
) -> Result<(), String> {
    let Some(outlet) = outlets.iter().find(|o| o.name() == name) else {
        let names: Vec<&str> = outlets.iter().map(|o| o.name()).collect();
        return Err(format!(
            "there is no {kind} `{name}`, only {}; export the model with the names in \
             docs/bundle.md",
            names.join(", ")
        ));
    };
    let ValueType::Tensor { ty: found, shape: dims, .. } = outlet.dtype() else {
        let ty = type_name(ty);
        return Err(format!("{kind} `{name}` is not a tensor; export it as a tensor of type {ty}"));
    };
    if *found != ty {
        let hint = match name {
            "images" => ", or correct `dtype` of the input in bundle.json",
            "features" if kind == "input" => ", as the stage before writes it",
            _ => "",
        };
        let (found, wanted) = (type_name(*found), type_name(ty));
        return Err(format!("{kind} `{name}` has type {found}; it must have type {wanted}{hint}"));
    }
    let wanted: Vec<i64> =
        if name == "members" { vec![-1] } else { shape.iter().map(|&d| d as i64).collect() };
    let fits = dims.len() == wanted.len() + 1
        && dims
            .iter()
            .skip(1)
            .zip(&wanted)
            .all(|(&found, &wanted)| found < 0 || wanted < 0 || found == wanted);
    if !fits {
        return Err(format!(
            "{kind} `{name}` has shape {dims:?}; bundle.json requires [N, {}]",
            dims_text(&wanted)
        ));
    }
    Ok(())
}

/// The name of a type in docs/bundle.md, or else that of ONNX Runtime's binding.
fn type_name(ty: TensorElementType) -> String {
    match ty {
        TensorElementType::Uint8 => "uint8".into(),
        TensorElementType::Int64 => "int64".into(),
        TensorElementType::Float16 => "float16".into(),
        TensorElementType::Float32 => "float32".into(),
        other => other.to_string(),
    }
}

fn dims_text(dims: &[i64]) -> String {
    dims.iter()
        .map(|d| if *d < 0 { "m".into() } else { d.to_string() })
        .collect::<Vec<_>>()
        .join(", ")
}
