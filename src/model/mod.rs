//! The network: a bundle read and checked, and its stages as ONNX Runtime sessions.
//!
//! In: a folder ([`Bundle`]). Out: a [`crate::engine::Network`] that scores, and [`crate::retest::Thresholds`] that judge.
//! A bundle that is not exactly what it says (files, checksums, shapes) is refused before the first item is taken.
//! Beside them, what the stages cost on a device ([`Profile`]).

mod bundle;
pub mod manifest;
mod onnx;
mod planning;
pub mod profile;
mod runtime;
mod validate;

pub use bundle::{Bundle, BundleError};
pub use onnx::OnnxNetwork;
pub use profile::Profile;
pub use runtime::{Provider, Runtime, RuntimeError};
