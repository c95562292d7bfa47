//! Bundles: networks on disk, and everything that is needed to run one.
//!
//! - [`Bundle`] reads and checks a bundle's folder. A bundle whose files, checksums or shapes
//!   differ from its manifest is refused before the first item is read.
//! - [`decode`] turns the bytes of an image into the tensor that a bundle's input expects.
//! - [`OnnxNetwork`] runs the stages in ONNX Runtime; it implements
//!   [`dorfman_core::engine::Network`].
//! - [`Profile`] keeps the measured seconds of the stages on a device.
//! - [`LoadedNetwork`] loads a bundle on a provider, with the configured fallback.

mod batching;
mod bundle;
mod calibration;
pub mod cpu;
pub mod decode;
pub mod image_files;
mod load;
pub mod manifest;
mod onnx;
pub mod profile;
mod runtime;
mod validate;

pub use batching::BatchOptions;
pub use bundle::{Bundle, BundleError};
pub use load::{LoadOptions, LoadedNetwork};
pub use onnx::OnnxNetwork;
pub use profile::Profile;
pub use runtime::{Provider, Runtime, RuntimeError};
