//! ONNX Runtime: finds and loads its library, and creates sessions on a provider. There is one
//! environment per process.

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

use crate::cpu;

/// The environment variable that names the library's file, for machines that have it in an unusual
/// place.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";

/// The places that are searched if neither the configuration nor the environment names the library.
const LIBRARY_PLACES: &[&str] = &[
    ".dorfman/onnxruntime/lib/libonnxruntime.so",
    "/usr/local/lib/libonnxruntime.so",
    "/usr/lib/libonnxruntime.so",
];

/// The execution provider of ONNX Runtime that runs the stages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The CPU.
    #[default]
    Cpu,
    /// NVIDIA GPUs through CUDA. Requires an ONNX Runtime that was built with CUDA.
    Cuda,
    /// NVIDIA GPUs through TensorRT. CUDA runs the operators that TensorRT cannot run.
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

/// Why ONNX Runtime, a provider or a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The library was not found.
    #[error(
        "the ONNX Runtime library was not found (searched: {looked}): \
         run `scripts/setup.sh onnxruntime`, or name the file in `model.onnxruntime` or in \
         {LIBRARY_VARIABLE}"
    )]
    NotFound {
        /// The paths that were searched, separated by commas.
        looked: String,
    },
    /// The library was found but cannot be loaded.
    #[error(
        "the ONNX Runtime library {} cannot be loaded: {message}. Run `scripts/setup.sh \
         onnxruntime` to install a suitable version, or name another file in `model.onnxruntime`",
        path.display()
    )]
    Load {
        /// The library's file.
        path: PathBuf,
        /// The message of the loader.
        message: String,
    },
    /// The requested GPU provider is not available.
    #[error(
        "provider {provider} is not available: {message}. Set `model.provider` to cpu, or set \
         `model.allow_cpu` to true to fall back to the CPU"
    )]
    Provider {
        /// The requested provider.
        provider: Provider,
        /// The message of the runtime.
        message: String,
    },
    /// A model file of the bundle cannot be loaded, or its inputs or outputs are wrong.
    #[error("model file {}: {message}", path.display())]
    Model {
        /// The model file.
        path: PathBuf,
        /// What is wrong with the file.
        message: String,
    },
}

/// ONNX Runtime after its library was loaded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

/// Where sessions run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// The execution provider.
    pub provider: Provider,
    /// The number of the GPU, from 0. Not used on the CPU.
    pub device: i32,
    /// The folder in which TensorRT keeps the engines that it builds. `None`: it builds them at each
    /// start.
    pub engine_cache: Option<PathBuf>,
}

impl Target {
    /// The same target on the CPU.
    #[must_use]
    pub fn on_cpu(&self) -> Self {
        Self { provider: Provider::Cpu, ..self.clone() }
    }

    /// The folder for the engines of the model file with the SHA-256 `sha256`. Each file has a folder
    /// of its own, so a file that changes gets new engines.
    fn engines(&self, sha256: &str) -> Option<PathBuf> {
        self.engine_cache.as_ref().map(|folder| folder.join(sha256))
    }

    /// TensorRT for a model file.
    fn tensorrt(&self, sha256: &str) -> ep::TensorRT {
        let tensorrt = ep::TensorRT::default().with_device_id(self.device);
        let Some(folder) = self.engines(sha256) else { return tensorrt };
        tensorrt
            .with_engine_cache(true)
            .with_engine_cache_path(folder.display())
            .with_timing_cache(true)
            .with_timing_cache_path(folder.display())
    }
}

/// The environment of the process. The first call of [`Runtime::load`] decides which library is
/// loaded and how many threads the pool has.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library from `library`, or from the usual places if it is `None`.
    ///
    /// All sessions share one pool of `threads` threads (0: one per core, or as the CPU quota of the
    /// container allows). The pool does not spin:
    /// with several pools that spin, the pools compete for the cores, which halves the gain of a
    /// cut network. The library is loaded once per process; later calls return the same runtime and
    /// ignore their arguments.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`] if there is no library, [`RuntimeError::Load`] if the library
    /// cannot be loaded.
    pub fn load(library: Option<&Path>, threads: usize) -> Result<Self, RuntimeError> {
        // The threads of the pool inherit the name of the thread that creates them. CPU time is
        // reported by thread name.
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
            .with_intra_threads(cpu::runtime_threads(threads))
            .and_then(|o| o.with_spin_control(false))
            .map_err(|e| failed(e.to_string()))?;
        let builder =
            builder.with_name("dorfman").with_telemetry(false).with_global_thread_pool(options);
        let environment = builder.build().map_err(|e| failed(e.to_string()))?;
        Ok(runtime.insert(Self { environment, library: path.clone() }).clone())
    }

    /// The file from which the library was loaded.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The version of the library, such as 1.31.1. If the library's file does not contain the
    /// version: `commit` and the hash of its commit. Each call reads the file.
    pub fn version(&self) -> String {
        let version =
            File::open(&self.library).ok().and_then(|file| symbol_version(BufReader::new(file)));
        version.unwrap_or_else(|| {
            let commit =
                ort::info().split("git-commit-id=").nth(1).and_then(|rest| rest.split(',').next());
            format!("commit {}", commit.unwrap_or("unknown"))
        })
    }

    /// A session for the model file `path`, whose SHA-256 is `sha256`.
    ///
    /// # Errors
    /// [`RuntimeError::Provider`] if the provider is a GPU and is not available, or cannot load the
    /// file. [`RuntimeError::Model`] if the provider is the CPU and cannot load the file, or if the
    /// folder for TensorRT's engines cannot be made.
    pub(super) fn session(
        &self,
        path: &Path,
        sha256: &str,
        target: &Target,
    ) -> Result<Session, RuntimeError> {
        let Target { provider, device, .. } = *target;
        let unusable = |message: String| RuntimeError::Model { path: path.to_owned(), message };
        let unavailable = |message: String| RuntimeError::Provider { provider, message };
        let builder = Session::builder(&self.environment).map_err(|e| unusable(e.to_string()))?;
        let builder = builder
            .with_optimization_level(GraphOptimizationLevel::Level3)
            .map_err(|e| unusable(e.to_string()))?;
        let cuda = ep::CUDA::default().with_device_id(device).build().error_on_failure();
        let tensorrt = target.tensorrt(sha256).build().error_on_failure();
        if let (Provider::TensorRt, Some(folder)) = (provider, target.engines(sha256)) {
            let failed = |e| unusable(format!("`model.engine_cache`: {}: {e}", folder.display()));
            std::fs::create_dir_all(&folder).map_err(failed)?;
        }
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

/// The version in a library's symbol versions, such as `VERS_1.31.1`. ONNX Runtime's own function
/// for the version can only be called with `unsafe`.
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

/// The library's file: `library`, the file in [`LIBRARY_VARIABLE`], or the first usual place that
/// has one.
fn find(library: Option<&Path>) -> Result<PathBuf, RuntimeError> {
    if let Some(path) = library {
        return exists(path);
    }
    if let Some(path) = std::env::var_os(LIBRARY_VARIABLE).filter(|v| !v.is_empty()) {
        return exists(Path::new(&path));
    }
    let beside =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("libonnxruntime.so")));
    // A binary in target/release finds the library that scripts/setup.sh installed in the checkout,
    // from any current directory. A test binary is one folder deeper.
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
    if path.is_file() {
        Ok(path.to_owned())
    } else {
        Err(RuntimeError::NotFound { looked: path.display().to_string() })
    }
}

fn listed(places: &[PathBuf]) -> String {
    places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_engines_of_its_own() {
        let options = |cache: Option<&str>, sha256: &str| {
            let target = Target { engine_cache: cache.map(PathBuf::from), ..Target::default() };
            format!("{:?}", target.tensorrt(sha256))
        };
        assert!(options(Some("/cache"), "ab12").contains("/cache/ab12"));
        assert!(!options(None, "ab12").contains("cache"));
    }

    #[test]
    fn the_version_is_read_from_the_symbols() {
        let library = b"\x7fELF\0\0OrtGetApiBase\0VERS_\0VERS_1.31.1\0libc.so.6\0";
        assert_eq!(symbol_version(&library[..]).as_deref(), Some("1.31.1"));
        assert_eq!(symbol_version(&b"VERS_1.31.1"[..]), None);
    }
}
