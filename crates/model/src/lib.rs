//! Bundles: networks on disk, and everything that is needed to run one.
//!
//! - [`Bundle`] reads a bundle's folder and checks its manifest and the checksums of its files.
//! - [`decode`] turns the bytes of an image into the pixels that a bundle's input expects.
//! - [`OnnxNetwork`] runs the stages in ONNX Runtime; it implements
//!   [`dorfman_core::engine::Network`]. When it is created, it checks the inputs and outputs of
//!   every stage against the manifest.
//! - [`Profile`] contains the measured seconds of the stages on a device.
//! - [`LoadedNetwork`] loads a bundle on a provider, with the configured fallback.

mod batching;
mod bundle;
mod calibration;
pub mod cpu;
pub mod decode;
mod exits;
pub mod image_files;
mod load;
pub mod manifest;
mod onnx;
pub mod profile;
mod runtime;
mod validate;

pub use batching::BatchOptions;
pub use bundle::{Bundle, BundleError};
pub use exits::{ExitCalibration, ExitRules};
pub use load::{LoadOptions, LoadedNetwork};
pub use onnx::{OnnxNetwork, OnnxScreen};
pub use profile::Profile;
pub use runtime::{Provider, Runtime, RuntimeError, Target};
