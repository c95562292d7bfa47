//! Pixels as the input `images` of a session.

use ort::value::{DynValue, Tensor, TensorElementType};

use super::tensors::Shape;
use crate::manifest::{InputSpec, Layout, PixelType};

/// Makes the input `images` from the pixels of preprocessed images.
#[derive(Debug)]
pub struct ImageInput {
    shape: Shape,
    normalise: Option<Normalisation>,
}

impl ImageInput {
    /// The input of a network whose images are preprocessed as in `input`.
    pub fn new(input: &InputSpec) -> Self {
        Self { shape: Shape::of_input(input), normalise: Normalisation::of(input) }
    }

    /// The shape of one image.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The type that the input must have.
    pub fn element_type(&self) -> TensorElementType {
        match self.normalise {
            None => TensorElementType::Uint8,
            Some(_) => TensorElementType::Float32,
        }
    }

    /// The tensor of some images. The error says that an image has a wrong length.
    pub fn tensor(&self, images: &[&[u8]]) -> Result<DynValue, String> {
        self.check(images)?;
        let shape = self.shape.with_rows(images.len());
        let Some(normalise) = &self.normalise else {
            let tensor = Tensor::from_array((shape, images.concat()));
            return Ok(tensor.map_err(|e| e.to_string())?.into_dyn());
        };
        let mut values = Vec::with_capacity(images.len() * self.shape.len());
        images.iter().for_each(|image| normalise.extend(&mut values, image));
        let tensor = Tensor::from_array((shape, values));
        Ok(tensor.map_err(|e| e.to_string())?.into_dyn())
    }

    /// Checks that every image has as many pixel values as the input.
    pub fn check(&self, images: &[&[u8]]) -> Result<(), String> {
        let wanted = self.shape.len();
        let other = images.iter().find(|image| image.len() != wanted);
        other.map_or(Ok(()), |image| {
            Err(format!("an image has {} values; the input has {wanted}", image.len()))
        })
    }
}

/// The normalisation of pixels for a network that does not do it itself.
#[derive(Debug)]
pub struct Normalisation {
    layout: Layout,
    /// By channel: the normalised value of each pixel value.
    tables: Vec<[f32; 256]>,
}

impl Normalisation {
    /// The normalisation of an input. `None` if the network reads pixels.
    pub fn of(input: &InputSpec) -> Option<Self> {
        let table = |(mean, std): (&f32, &f32)| std::array::from_fn(|x| (x as f32 - mean) / std);
        let tables = || input.mean.iter().zip(&input.std).map(table).collect();
        (input.dtype == PixelType::Float32).then(|| Self { layout: input.layout, tables: tables() })
    }

    /// Appends the normalised values of an image.
    pub fn extend(&self, values: &mut Vec<f32>, image: &[u8]) {
        match self.layout {
            Layout::Nchw => {
                let planes = image.chunks_exact((image.len() / self.tables.len()).max(1));
                for (plane, table) in planes.zip(&self.tables) {
                    values.extend(plane.iter().map(|&pixel| table[usize::from(pixel)]));
                }
            }
            Layout::Nhwc => {
                let pixels = image.chunks_exact(self.tables.len());
                let value = |(&pixel, table): (&u8, &[f32; 256])| table[usize::from(pixel)];
                values.extend(pixels.flat_map(|pixel| pixel.iter().zip(&self.tables).map(value)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Channels, Filter, Resize};

    fn input(layout: Layout) -> InputSpec {
        InputSpec {
            width: 2,
            height: 1,
            channels: Channels::Rgb,
            layout,
            dtype: PixelType::Float32,
            resize: Resize::Stretch { filter: Filter::Bilinear, draft: 0 },
            mean: vec![0.0, 10.0, 20.0],
            std: vec![1.0, 2.0, 4.0],
        }
    }

    #[test]
    fn each_channel_has_its_own_mean_and_deviation() {
        for (layout, image) in
            [(Layout::Nchw, [1, 2, 10, 12, 20, 24]), (Layout::Nhwc, [1, 10, 20, 2, 12, 24])]
        {
            let mut values = Vec::new();
            Normalisation::of(&input(layout)).unwrap().extend(&mut values, &image);
            let expected = match layout {
                Layout::Nchw => [1.0, 2.0, 0.0, 1.0, 0.0, 1.0],
                Layout::Nhwc => [1.0, 0.0, 0.0, 2.0, 1.0, 1.0],
            };
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn a_network_that_reads_pixels_needs_no_normalisation() {
        let input = InputSpec { dtype: PixelType::Uint8, ..input(Layout::Nchw) };
        assert!(Normalisation::of(&input).is_none());
        assert_eq!(ImageInput::new(&input).element_type(), TensorElementType::Uint8);
    }
}
