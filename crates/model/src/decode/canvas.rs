//! The canvas of an animation, on which its frames are drawn one over the other (pure).

use image::metadata::Orientation;

use super::pixels::{Decoded, Samples};

/// Bytes per pixel: red, green, blue, alpha.
const RGBA: usize = 4;

/// A part of the canvas, in pixels. It may reach beyond the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// How a frame is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blend {
    /// Over the canvas, by its transparency.
    Over,
    /// In place of what was there.
    Replace,
}

/// What happens to the area of a frame before the next frame is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposal {
    /// The frame stays.
    Keep,
    /// The area becomes transparent.
    Clear,
    /// The area becomes what it was before the frame.
    Restore,
}

/// The canvas. It is transparent at first.
#[derive(Debug)]
pub(super) struct Canvas {
    width: u32,
    height: u32,
    data: Vec<u8>,
    /// The area to be replaced before the next frame, and by what. No pixels: it becomes transparent.
    pending: Option<(Area, Vec<u8>)>,
}

impl Canvas {
    /// A canvas of `width` x `height` pixels.
    pub fn new(width: u32, height: u32) -> Self {
        let data = Samples::Rgba.buffer(width, height);
        Self { width, height, data, pending: None }
    }

    /// Draws a frame: `pixels` are the rows of `area`, with 4 bytes per pixel. The part of the frame
    /// beyond the canvas is not drawn.
    pub fn draw(&mut self, area: Area, pixels: &[u8], blend: Blend, disposal: Disposal) {
        self.dispose();
        let stride = area.width as usize * RGBA;
        let Some(inside) = self.inside(area) else { return };
        self.pending = match disposal {
            Disposal::Keep => None,
            Disposal::Clear => Some((inside, Vec::new())),
            Disposal::Restore => Some((inside, self.copy(inside))),
        };
        for (row, source) in pixels.chunks_exact(stride).take(inside.height as usize).enumerate() {
            let target = self.row(inside, row);
            let source = &source[..target.len()];
            match blend {
                Blend::Replace => target.copy_from_slice(source),
                Blend::Over => {
                    let (target, source) = (target.as_chunks_mut().0, source.as_chunks().0);
                    target
                        .iter_mut()
                        .zip(source)
                        .for_each(|(under, &over)| *under = blended(*under, over));
                }
            }
        }
    }

    /// What the canvas shows, as the output of a decoder.
    pub fn decoded(&self, orientation: Orientation) -> Decoded {
        let Self { width, height, ref data, .. } = *self;
        Decoded { width, height, samples: Samples::Rgba, data: data.clone(), orientation }
    }

    /// Disposes of the last frame.
    fn dispose(&mut self) {
        let Some((area, before)) = self.pending.take() else { return };
        let stride = area.width as usize * RGBA;
        for row in 0..area.height as usize {
            let target = self.row(area, row);
            match before.get(row * stride..(row + 1) * stride) {
                Some(before) => target.copy_from_slice(before),
                None => target.fill(0),
            }
        }
    }

    /// The part of an area on the canvas. `None` if there is none.
    fn inside(&self, area: Area) -> Option<Area> {
        let width = area.width.min(self.width.checked_sub(area.x)?);
        let height = area.height.min(self.height.checked_sub(area.y)?);
        (width > 0 && height > 0).then_some(Area { width, height, ..area })
    }

    fn copy(&mut self, area: Area) -> Vec<u8> {
        (0..area.height as usize).flat_map(|row| self.row(area, row).to_vec()).collect()
    }

    /// A row of an area that is on the canvas.
    fn row(&mut self, area: Area, row: usize) -> &mut [u8] {
        let first = ((area.y as usize + row) * self.width as usize + area.x as usize) * RGBA;
        &mut self.data[first..first + area.width as usize * RGBA]
    }
}

/// A pixel drawn over another one, by its transparency. The colours are not premultiplied.
fn blended(under: [u8; RGBA], over: [u8; RGBA]) -> [u8; RGBA] {
    let [.., under_alpha] = under;
    let [.., over_alpha] = over;
    if over_alpha == u8::MAX || under_alpha == 0 {
        return over;
    }
    if over_alpha == 0 {
        return under;
    }
    let over_share = u32::from(over_alpha) * 255;
    let under_share = u32::from(under_alpha) * (255 - u32::from(over_alpha));
    let whole = over_share + under_share;
    let mix = |at: usize| {
        let sum = u32::from(over[at]) * over_share + u32::from(under[at]) * under_share;
        ((sum + whole / 2) / whole) as u8
    };
    [mix(0), mix(1), mix(2), ((whole + 127) / 255) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 4] = [255, 0, 0, 255];
    const BLUE: [u8; 4] = [0, 0, 255, 255];
    const NONE: [u8; 4] = [0; 4];

    fn area(x: u32, width: u32) -> Area {
        Area { x, y: 0, width, height: 1 }
    }

    fn shown(canvas: &Canvas) -> Vec<[u8; 4]> {
        canvas.decoded(Orientation::NoTransforms).data.as_chunks().0.to_vec()
    }

    #[test]
    fn a_frame_is_disposed_of_before_the_next_one() {
        for (disposal, left) in
            [(Disposal::Keep, BLUE), (Disposal::Clear, NONE), (Disposal::Restore, RED)]
        {
            let mut canvas = Canvas::new(3, 1);
            canvas.draw(area(0, 2), &[RED; 2].concat(), Blend::Replace, Disposal::Keep);
            canvas.draw(area(1, 2), &[BLUE; 2].concat(), Blend::Over, disposal);
            assert_eq!(shown(&canvas), [RED, BLUE, BLUE]);
            canvas.draw(area(2, 1), &NONE, Blend::Over, Disposal::Keep);
            let last = if disposal == Disposal::Keep { BLUE } else { NONE };
            assert_eq!(shown(&canvas), [RED, left, last], "{disposal:?}");
        }
    }

    #[test]
    fn a_frame_is_drawn_only_on_the_canvas() {
        let mut canvas = Canvas::new(2, 1);
        let outside = Area { x: 1, y: 0, width: 9, height: 7 };
        canvas.draw(outside, &[BLUE; 63].concat(), Blend::Over, Disposal::Restore);
        assert_eq!(shown(&canvas), [NONE, BLUE]);
        canvas.draw(area(2, 1), &RED, Blend::Replace, Disposal::Clear);
        canvas.draw(Area { x: 0, y: 9, width: 1, height: 1 }, &RED, Blend::Over, Disposal::Clear);
        assert_eq!(shown(&canvas), [NONE, NONE]);
    }

    #[test]
    fn transparent_pixels_replace_or_blend() {
        let mut canvas = Canvas::new(1, 1);
        canvas.draw(area(0, 1), &[0, 0, 255, 255], Blend::Over, Disposal::Keep);
        canvas.draw(area(0, 1), &[255, 0, 0, 51], Blend::Over, Disposal::Keep);
        assert_eq!(shown(&canvas), [[51, 0, 204, 255]]);
        canvas.draw(area(0, 1), &[9, 9, 9, 51], Blend::Replace, Disposal::Keep);
        assert_eq!(shown(&canvas), [[9, 9, 9, 51]]);
        assert_eq!(blended([200, 0, 0, 128], [0, 100, 0, 128]), [66, 67, 0, 192]);
    }
}
