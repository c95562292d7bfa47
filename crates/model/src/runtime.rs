//! ONNX Runtime: where its library is, one environment a process, and which provider a session runs
//! on.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::ep;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names the library, for machines where it lies elsewhere.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// Where the library is looked for when neither the configuration nor the environment names it.
const LIBRARY_PLACES: &[&str] = &[
    ".dorfman/onnxruntime/lib/libonnxruntime.so",
    "/usr/local/lib/libonnxruntime.so",
    "/usr/lib/libonnxruntime.so",
];

/// What runs the stages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The CPU.
    #[default]
    Cpu,
    /// NVIDIA GPUs by CUDA; wants an ONNX Runtime built with it.
    Cuda,
    /// NVIDIA GPUs by TensorRT, with CUDA for what it can't run.
    TensorRt,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::TensorRt => "tensorrt",
        })
    }
}

/// Why the runtime can't be had.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no library where it was looked for.
    #[error(
        "the ONNX Runtime library was not found (looked at {looked}): run `scripts/setup.sh onnxruntime`, or name the file in \
         `model.onnxruntime` or in {LIBRARY_VARIABLE}"
    )]
    NotFound {
        /// The places.
        looked: String,
    },
    /// The library is there but can't be used.
    #[error("ONNX Runtime at {}: {message}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A GPU was asked for and can't be had.
    #[error(
        "provider {provider:?} can't be had: {message}. Set `model.provider` to cpu, or `model.allow_cpu` to true to fall back on it"
    )]
    Provider {
        /// Which.
        provider: Provider,
        /// Why.
        message: String,
    },
    /// A stage is no model that the runtime reads.
    #[error("{}: {message}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

/// ONNX Runtime, loaded; cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

/// The process's one environment; its thread pool has the size that the first caller asked for.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library (once a process) with one thread pool of `threads` (0: a thread a core)
    /// that all sessions share and that does not spin: pools that spin against each other halve the
    /// gain of a cut network.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`] and [`RuntimeError::Load`].
    pub fn load(library: Option<&Path>, threads: usize) -> Result<Self, RuntimeError> {
        // The pool's threads take the name of the thread that makes them: theirs is how a profile
        // tells them apart.
        std::thread::scope(|scope| {
            let named = std::thread::Builder::new().name("onnxruntime".into());
            let started = named.spawn_scoped(scope, || Self::load_here(library, threads));
            match started.map(|thread| thread.join()) {
                Ok(Ok(result)) => result,
                _ => Self::load_here(library, threads),
            }
        })
    }

    fn load_here(library: Option<&Path>, threads: usize) -> Result<Self, RuntimeError> {
        let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*runtime {
            return Ok(runtime.clone());
        }
        let path = find(library)?;
        let failed = |message: String| RuntimeError::Load { path: path.clone(), message };
        let builder = ort::init_from(&path).map_err(|e| failed(e.to_string()))?;
        let options = GlobalThreadPoolOptions::default()
            .with_intra_threads(threads)
            .and_then(|o| o.with_spin_control(false))
            .map_err(|e| failed(e.to_string()))?;
        let builder =
            builder.with_name("dorfman").with_telemetry(false).with_global_thread_pool(options);
        let environment = builder.build().map_err(|e| failed(e.to_string()))?;
        Ok(runtime.insert(Self { environment, library: path.clone() }).clone())
    }

    /// The library's file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Its version, such as 1.31.1, or `commit` and a hash where the library's file doesn't tell.
    /// Reads through the file to find it.
    pub fn version(&self) -> String {
        let version =
            File::open(&self.library).ok().and_then(|file| symbol_version(BufReader::new(file)));
        version.unwrap_or_else(|| {
            let commit =
                ort::info().split("git-commit-id=").nth(1).and_then(|rest| rest.split(',').next());
            format!("commit {}", commit.unwrap_or("unknown"))
        })
    }

    /// A session for one stage.
    ///
    /// # Errors
    /// [`RuntimeError::Provider`] if the provider can't be had, [`RuntimeError::Model`] if the file
    /// is no model.
    pub(super) fn session(
        &self,
        path: &Path,
        provider: Provider,
        device: i32,
    ) -> Result<Session, RuntimeError> {
        let unusable = |message: String| RuntimeError::Model { path: path.to_owned(), message };
        let unavailable = |message: String| RuntimeError::Provider { provider, message };
        let builder = Session::builder(&self.environment).map_err(|e| unusable(e.to_string()))?;
        let builder = builder
            .with_optimization_level(GraphOptimizationLevel::Level3)
            .map_err(|e| unusable(e.to_string()))?;
        let cuda = ep::CUDA::default().with_device_id(device).build().error_on_failure();
        let tensorrt = ep::TensorRT::default().with_device_id(device).build().error_on_failure();
        let mut builder = match provider {
            Provider::Cpu => builder,
            Provider::Cuda => {
                builder.with_execution_providers([cuda]).map_err(|e| unavailable(e.to_string()))?
            }
            Provider::TensorRt => builder
                .with_execution_providers([tensorrt, cuda])
                .map_err(|e| unavailable(e.to_string()))?,
        };
        builder.commit_from_file(path).map_err(|e| match provider {
            Provider::Cpu => unusable(e.to_string()),
            _ => unavailable(e.to_string()),
        })
    }
}

/// The version that a library's symbols bear. ONNX Runtime is linked with one; its own call for it
/// is not to be had without `unsafe`.
fn symbol_version(mut library: impl BufRead) -> Option<String> {
    let mut text = Vec::new();
    while library.read_until(0, &mut text).ok()? > 0 {
        let version = text.strip_prefix(b"VERS_").and_then(|v| v.strip_suffix(b"\0"));
        let version = version.and_then(|v| std::str::from_utf8(v).ok());
        if let Some(version) = version.filter(|v| v.starts_with(|c: char| c.is_ascii_digit())) {
            return Some(version.to_owned());
        }
        text.clear();
    }
    None
}

fn find(library: Option<&Path>) -> Result<PathBuf, RuntimeError> {
    if let Some(path) = library {
        return exists(path);
    }
    if let Some(path) = std::env::var_os(LIBRARY_VARIABLE).filter(|v| !v.is_empty()) {
        return exists(Path::new(&path));
    }
    let beside =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("libonnxruntime.so")));
    // A binary in target/release, started from anywhere, finds what set-up put into the checkout.
    let checkout = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.ancestors().nth(3)?.join(LIBRARY_PLACES[0])));
    let tests = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.ancestors().nth(4)?.join(LIBRARY_PLACES[0])));
    let places =
        LIBRARY_PLACES.iter().map(PathBuf::from).chain(beside).chain(checkout).chain(tests);
    let places: Vec<PathBuf> = places.collect();
    places
        .iter()
        .find(|p| p.is_file())
        .cloned()
        .ok_or_else(|| RuntimeError::NotFound { looked: listed(&places) })
}

fn exists(path: &Path) -> Result<PathBuf, RuntimeError> {
    match path.is_file() {
        true => Ok(path.to_owned()),
        false => Err(RuntimeError::NotFound { looked: path.display().to_string() }),
    }
}

fn listed(places: &[PathBuf]) -> String {
    places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_symbols() {
        let library = b"\x7fELF\0\0OrtGetApiBase\0VERS_\0VERS_1.31.1\0libc.so.6\0";
        assert_eq!(symbol_version(&library[..]).as_deref(), Some("1.31.1"));
        assert_eq!(symbol_version(&b"VERS_1.31.1"[..]), None);
    }
}
