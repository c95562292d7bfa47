//! Which frames of an animation are decoded (pure).

/// Pixels of all frames of an animation together, at most, up to the last decoded frame. Frames may
/// depend on all frames before them, so an animation of very many frames would take minutes.
const MOST_PIXELS: u64 = 500_000_000;

/// The frames that are wanted of an image. A still image has one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// At most this number of frames, at least 1: the first one, and others at equal distances.
    Sampled(u32),
    /// One frame, by its number from 0.
    Only(u32),
}

impl Wanted {
    /// The numbers of the wanted frames, rising, of an animation with `total` frames of at most `pixels`
    /// pixels each. The last frame is wanted too, unless the frames have more than [`MOST_PIXELS`]
    /// together. Not empty.
    pub fn of(self, total: u32, pixels: u64) -> Vec<u32> {
        let most = match self {
            Wanted::Only(frame) => return vec![frame],
            Wanted::Sampled(most) => most.max(1),
        };
        let affordable = u32::try_from(MOST_PIXELS / pixels.max(1)).unwrap_or(u32::MAX);
        let total = total.min(affordable).max(1);
        let (wanted, last) = (most.min(total), u64::from(total - 1));
        let steps = u64::from(wanted - 1).max(1);
        (0..u64::from(wanted)).map(|step| ((step * last + steps / 2) / steps) as u32).collect()
    }

    /// Whether only the first frame is wanted.
    pub fn only_first(self) -> bool {
        matches!(self, Wanted::Sampled(0 | 1) | Wanted::Only(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_sampled_at_equal_distances() {
        let of = |most: u32, total: u32| Wanted::Sampled(most).of(total, 100);
        assert_eq!(of(4, 1), [0]);
        assert_eq!(of(4, 2), [0, 1]);
        assert_eq!(of(4, 4), [0, 1, 2, 3]);
        assert_eq!(of(4, 10), [0, 3, 6, 9]);
        assert_eq!(of(3, 100), [0, 50, 99]);
        assert_eq!([of(1, 9), of(0, 9), of(4, 0)], [[0]; 3]);
        assert_eq!(Wanted::Only(7).of(9, 100), [7]);
        for total in 1..60 {
            let frames = of(8, total);
            assert!(frames.windows(2).all(|pair| pair[0] < pair[1]), "{frames:?}");
            assert!(frames.len() == total.min(8) as usize && frames[frames.len() - 1] < total);
        }
    }

    #[test]
    fn frames_that_cannot_be_afforded_are_not_sampled() {
        assert_eq!(Wanted::Sampled(3).of(1_000_000, 50_000_000), [0, 5, 9]);
        assert_eq!(Wanted::Sampled(3).of(1_000_000, MOST_PIXELS + 1), [0]);
    }
}
