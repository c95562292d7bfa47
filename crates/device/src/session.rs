//! A session whose inputs and outputs are bound for each run.

use std::ops::Range;

use ort::memory::MemoryInfo;
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::DynValue;
use ort::{Error, Result};

use crate::Slab;

/// A session with its binding.
#[derive(Debug)]
pub struct BoundSession {
    session: Session,
    binding: IoBinding,
    host: MemoryInfo<'static>,
}

/// An input of a run.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// All rows of a slab. They are not copied.
    Slab(&'a Slab),
    /// A tensor that owns its memory. It is copied to the device of the session, if that has another
    /// memory.
    Tensor(&'a DynValue),
}

/// The outputs of a run in the memory of the host.
#[derive(Debug)]
pub struct Outputs<'a, 'r> {
    all: &'a SessionOutputs<'r>,
    host: &'a [&'a str],
}

impl Outputs<'_, '_> {
    /// The values of an output.
    ///
    /// # Errors
    /// [`ort::Error`] if `name` is not one of the outputs that were requested for the memory of the
    /// host, or if its values are not float32.
    pub fn floats(&self, name: &str) -> Result<&[f32]> {
        let value = self.host.contains(&name).then(|| self.all.get(name)).flatten();
        let missing = || Error::new(format!("a bug: the output `{name}` was not requested"));
        Ok(value.ok_or_else(missing)?.try_extract_tensor::<f32>()?.1)
    }
}

/// Rows of a slab that an output is written into.
#[derive(Debug)]
pub struct Slots<'a> {
    /// The name of the output.
    pub output: &'a str,
    /// The slab.
    pub slab: &'a mut Slab,
    /// The rows, at least one.
    pub rows: Range<usize>,
}

/// What goes into a run, and where its outputs go.
#[derive(Debug)]
pub struct Run<'a> {
    /// The inputs, by name.
    pub inputs: &'a [(&'a str, Input<'a>)],
    /// The output that is written into rows of a slab, if there is one.
    pub slots: Option<Slots<'a>>,
    /// The names of the outputs that go to the memory of the host.
    pub host: &'a [&'a str],
}

impl BoundSession {
    /// Takes over a session.
    ///
    /// # Errors
    /// [`ort::Error`] if ONNX Runtime has no memory for the binding.
    pub fn new(session: Session) -> Result<Self> {
        let binding = session.create_binding()?;
        Ok(Self { session, binding, host: MemoryInfo::default() })
    }

    /// Runs the session once. `read` receives the outputs in the memory of the host.
    ///
    /// # Errors
    /// [`ort::Error`] if a name is unknown or requested twice, if a shape or a type does not fit, or if
    /// the run fails. The rows of [`Run::slots`] are then undefined.
    pub fn run<R>(&mut self, run: Run<'_>, read: impl FnOnce(&Outputs<'_, '_>) -> R) -> Result<R> {
        self.binding.clear();
        let result = self.bind_and_run(run, read);
        self.binding.clear();
        result
    }

    fn bind_and_run<R>(
        &mut self,
        Run { inputs, slots, host }: Run<'_>,
        read: impl FnOnce(&Outputs<'_, '_>) -> R,
    ) -> Result<R> {
        for &(name, input) in inputs {
            match input {
                Input::Slab(slab) => self.binding.bind_input(name, slab.tensor())?,
                Input::Tensor(tensor) => self.binding.bind_input(name, tensor)?,
            }
        }
        if let Some(Slots { output, slab, rows }) = slots {
            if host.contains(&output) {
                return Err(Error::new(format!("a bug: the output `{output}` is requested twice")));
            }
            self.binding.bind_output(output, slab.rows(rows)?)?;
        }
        for &name in host {
            self.binding.bind_output_to_device(name, &self.host)?;
        }
        let all = self.session.run_binding(&self.binding)?;
        Ok(read(&Outputs { all: &all, host }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    use ort::environment::Environment;
    use ort::value::Tensor;

    use super::*;
    use crate::{Element, Place};

    const PIXELS: usize = 28 * 28;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// A session of the first stage of the shipped bundle.
    fn stage() -> Session {
        static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
        let environment = ENVIRONMENT.get_or_init(|| {
            let installed = root().join(".dorfman/onnxruntime/lib/libonnxruntime.so");
            let library = std::env::var_os("ORT_DYLIB_PATH").map_or(installed, PathBuf::from);
            ort::init_from(library).unwrap().build().unwrap()
        });
        let file = root().join("models/fashion-bag/stage0.onnx");
        Session::builder(environment).unwrap().commit_from_file(file).unwrap()
    }

    fn images(count: usize) -> DynValue {
        let mut random = fastrand::Rng::with_seed(1);
        let pixels: Vec<u8> = (0..count * PIXELS).map(|_| random.u8(..)).collect();
        Tensor::from_array(([count, 1, 28, 28], pixels)).unwrap().into_dyn()
    }

    /// The shape of one row of the stage's features.
    fn row(session: &Session) -> Vec<usize> {
        let features = session.outputs().iter().find(|o| o.name() == "features").unwrap();
        features.dtype().tensor_shape().unwrap().iter().skip(1).map(|&d| d as usize).collect()
    }

    fn values(slab: &Slab) -> &[f32] {
        slab.tensor().try_extract_tensor::<f32>().unwrap().1
    }

    fn run(
        session: &mut BoundSession,
        slab: &mut Slab,
        images: &DynValue,
        rows: Range<usize>,
    ) -> Result<Vec<f32>> {
        let slots = Slots { output: "features", slab, rows };
        let inputs = &[("images", Input::Tensor(images))];
        let run = Run { inputs, slots: Some(slots), host: &["exit"] };
        session.run(run, |outputs| {
            outputs.floats("features").unwrap_err();
            outputs.floats("exit").unwrap().to_vec()
        })
    }

    #[test]
    fn features_are_written_into_their_rows_and_no_others() {
        let session = stage();
        let row = row(&session);
        let width: usize = row.iter().product();
        let new = |slots| Slab::new(&session, Place::Host, Element::Float32, &row, slots).unwrap();
        let (mut first, mut other) = (new(3), new(8));
        assert_eq!(other.bytes(), 8 * width * 4);
        let mut bound = BoundSession::new(stage()).unwrap();
        let images = images(3);
        let exits = run(&mut bound, &mut first, &images, 0..3).unwrap();
        assert_eq!(run(&mut bound, &mut other, &images, 4..7).unwrap(), exits);
        let (wanted, found) = (values(&first), values(&other));
        assert!(wanted.iter().any(|&value| value != 0.0));
        assert_eq!(found[4 * width..7 * width], wanted[..]);
        assert!(found[..4 * width].iter().chain(&found[7 * width..]).all(|&value| value == 0.0));
    }

    #[test]
    fn rows_that_do_not_fit_are_an_error_and_the_session_can_run_again() {
        let session = stage();
        let row = row(&session);
        let mut slab = Slab::new(&session, Place::Host, Element::Float32, &row, 4).unwrap();
        let mut bound = BoundSession::new(stage()).unwrap();
        let images = images(2);
        for rows in [3..5, 4..6, 2..2, 0..3] {
            run(&mut bound, &mut slab, &images, rows.clone()).unwrap_err();
        }
        let mut half = Slab::new(&session, Place::Host, Element::Float16, &row, 4).unwrap();
        run(&mut bound, &mut half, &images, 0..2).unwrap_err();
        let slots = Slots { output: "features", slab: &mut slab, rows: 0..2 };
        let inputs = &[("images", Input::Tensor(&images))];
        let twice = Run { inputs, slots: Some(slots), host: &["features"] };
        bound.run(twice, |_| ()).unwrap_err();
        let unaligned = Place::Cuda { device: 0, alignment: Place::TENSORRT_ALIGNMENT };
        let error = Slab::new(&session, unaligned, Element::Float32, &[65], 4).unwrap_err();
        assert!(error.to_string().contains("260 bytes"), "{error}");
        let without = Run { inputs: &[], slots: None, host: &["exit"] };
        let missing = bound.run(without, |_| ()).unwrap_err();
        assert!(missing.to_string().contains("images"), "{missing}");
        run(&mut bound, &mut slab, &images, 2..4).unwrap();
    }
}
