//! Runs sessions of ONNX Runtime whose features stay on the device.
//!
//! A [`Slab`] holds the features of many items in the memory of the device, one row per slot. A
//! [`BoundSession`] reads a whole slab, or other tensors, and writes its features into some rows of
//! another slab. On a GPU, only the images, the slot numbers and the scores then travel between the
//! host and the device. On the CPU the same code runs in host memory.
//!
//! ONNX Runtime has no tensor that is a part of another tensor, so the rows are given to it by a
//! pointer. This is the only `unsafe` code of this crate. Its safety rests on these invariants:
//!
//! 1. The rows lie within the slab: `Slab::rows` checks the range, and the pointer and the length
//!    follow from the slab's own tensor, shape and type.
//! 2. The memory lives as long as the tensor of the rows: the tensor borrows the slab mutably. A
//!    session's binding keeps a second handle of it. [`BoundSession::run`] therefore clears the binding
//!    before it binds anything and before it returns, and the binding is private. [`Outputs`] gives
//!    out only outputs in the memory of the host, so no caller can keep a handle. A handle that
//!    survives a panic is not used again, and dropping it does not touch the memory.
//! 3. Nothing else reads or writes the rows meanwhile: the slab is borrowed mutably, and a slab cannot
//!    be an input of the same run. ONNX Runtime has finished all work on the device when a run returns:
//!    `run_binding` waits for the streams of all execution providers, unless a run option says
//!    otherwise, and no run options are given.
//! 4. The memory description of the rows is that of the slab's tensor, so ONNX Runtime knows on which
//!    device the pointer is valid.
//! 5. The pointer is aligned as the execution provider needs it: [`Slab::new`] refuses rows whose
//!    length is not a multiple of the alignment of their [`Place`].

mod session;
mod slab;

pub use ort::Error;
pub use session::{BoundSession, Input, Outputs, Run, Slots};
pub use slab::{Element, Place, Slab};
