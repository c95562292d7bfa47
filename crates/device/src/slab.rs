//! Rows in the memory of a device.

use std::ops::Range;

use half::f16;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::value::{DynTensor, DynValueRefMut, Shape, Tensor, TensorElementType, TensorRefMut};
use ort::{Error, Result};

/// Where a slab is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the memory of the host.
    Host,
    /// In the memory of a GPU.
    Cuda {
        /// The number of the GPU, from 0.
        device: i32,
        /// The alignment of an output in bytes: [`Place::CUDA_ALIGNMENT`] or
        /// [`Place::TENSORRT_ALIGNMENT`].
        alignment: usize,
    },
}

impl Place {
    /// The alignment for CUDA's kernels, which may read and write 16 bytes at once.
    pub const CUDA_ALIGNMENT: usize = 16;
    /// The alignment that TensorRT requires of the address of a tensor (`setTensorAddress` of its
    /// `IExecutionContext`).
    pub const TENSORRT_ALIGNMENT: usize = 256;

    fn alignment(self) -> usize {
        match self {
            Place::Host => 1,
            Place::Cuda { alignment, .. } => alignment,
        }
    }
}

/// The type of a value in a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 16 bits.
    Float16,
    /// 32 bits.
    Float32,
}

impl Element {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Element::Float16 => size_of::<f16>(),
            Element::Float32 => size_of::<f32>(),
        }
    }

    /// The type in ONNX Runtime.
    pub fn onnx(self) -> TensorElementType {
        match self {
            Element::Float16 => TensorElementType::Float16,
            Element::Float32 => TensorElementType::Float32,
        }
    }
}

/// One tensor `[slots, ...]`. A row is the slot of an item or of a merged set.
#[derive(Debug)]
pub struct Slab {
    tensor: DynTensor,
    element: Element,
    row: Vec<usize>,
    slots: usize,
}

impl Slab {
    /// Allocates `slots` rows of the shape `row`. `session` runs on the device of `place`. In host
    /// memory, all values are 0 at first.
    ///
    /// # Errors
    /// [`Error`] if the memory cannot be allocated, if the session has no memory at this place, or if
    /// the bytes of a row are not a multiple of the alignment of `place`.
    pub fn new(
        session: &Session,
        place: Place,
        element: Element,
        row: &[usize],
        slots: usize,
    ) -> Result<Self> {
        let row_bytes = row.iter().product::<usize>() * element.bytes();
        if !row_bytes.is_multiple_of(place.alignment()) {
            return Err(Error::new(format!(
                "the features of an image have {row_bytes} bytes; the provider needs a multiple of \
                 {}",
                place.alignment()
            )));
        }
        let shape = shape_of(slots, row);
        let tensor = match place {
            Place::Host => on_host(element, shape)?,
            Place::Cuda { device, .. } => {
                let kind = (AllocatorType::Device, MemoryType::Default);
                let info = MemoryInfo::new(AllocationDevice::CUDA, device, kind.0, kind.1)?;
                DynTensor::new(&Allocator::new(session, info)?, element.onnx(), shape)?
            }
        };
        Ok(Self { tensor, element, row: row.to_vec(), slots })
    }

    /// Bytes of all rows.
    pub fn bytes(&self) -> usize {
        self.slots * self.row_bytes()
    }

    /// The whole slab.
    pub(crate) fn tensor(&self) -> &DynTensor {
        &self.tensor
    }

    /// Some rows, as an output of a session.
    pub(crate) fn rows(&mut self, rows: Range<usize>) -> Result<DynValueRefMut<'_>> {
        if rows.is_empty() || rows.end > self.slots {
            let message = format!("a bug: rows {rows:?} of a slab of {} rows", self.slots);
            return Err(Error::new(message));
        }
        let offset = rows.start * self.row_bytes();
        let shape = shape_of(rows.len(), &self.row);
        let info = self.tensor.memory_info().to_owned();
        let data = self.tensor.data_ptr_mut().wrapping_byte_add(offset);
        // SAFETY: the rows lie within the tensor, so the memory has the values that the shape and the
        // type describe (invariant 1), on the device that `info` describes (4), with the alignment of
        // the place (5). The result borrows the slab mutably (2, 3).
        let tensor = unsafe {
            match self.element {
                Element::Float16 => TensorRefMut::<f16>::from_raw(info, data, shape)?.into_dyn(),
                Element::Float32 => TensorRefMut::<f32>::from_raw(info, data, shape)?.into_dyn(),
            }
        };
        Ok(tensor)
    }

    fn row_bytes(&self) -> usize {
        self.row.iter().product::<usize>() * self.element.bytes()
    }
}

/// A tensor of zeros. The memory of float32 is not touched before it is used.
fn on_host(element: Element, shape: Shape) -> Result<DynTensor> {
    let values = shape.num_elements();
    Ok(match element {
        Element::Float16 => Tensor::from_array((shape, vec![f16::ZERO; values]))?.upcast(),
        Element::Float32 => Tensor::from_array((shape, vec![0f32; values]))?.upcast(),
    })
}

fn shape_of(rows: usize, row: &[usize]) -> Shape {
    Shape::new(std::iter::once(rows).chain(row.iter().copied()).map(|length| length as i64))
}
