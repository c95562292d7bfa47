//! Finds BMP files that viewers show differently (pure).

/// The bytes of the header of the file.
const FILE_HEADER: usize = 14;

/// The bytes of the shortest header with a compression and a number of colours.
const INFO_HEADER: u32 = 40;

/// Bytes per colour of the palette.
const ENTRY: u64 = 4;

/// Why viewers show a file differently. `None` if they do not.
pub(super) fn ambiguous(bytes: &[u8]) -> Option<&'static str> {
    let header = Header::read(bytes)?;
    let palette = FILE_HEADER as u64 + u64::from(header.size) + ENTRY * u64::from(header.colours);
    if header.pixels > 0 && u64::from(header.pixels) < palette {
        return Some("the pixels overlap the palette");
    }
    let depth = match header.compression {
        1 => 8,
        2 => 4,
        _ => return None,
    };
    let runs = bytes.get(header.pixels as usize..).unwrap_or_default();
    skips(runs, depth, header.width, header.height).then_some("the runs skip pixels")
}

/// Fields of the headers.
struct Header {
    /// The first byte of the pixels.
    pixels: u32,
    /// The bytes of the second header.
    size: u32,
    width: u32,
    height: u32,
    compression: u32,
    /// Colours of the palette.
    colours: u32,
}

impl Header {
    /// Reads the headers. `None` if they have not all these fields.
    fn read(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let header = Self {
            pixels: long(10)?,
            size: long(14)?,
            width: long(18)?,
            height: long(22)?,
            compression: long(30)?,
            colours: long(46)?,
        };
        (header.size >= INFO_HEADER).then_some(header)
    }
}

/// Whether runs of 4 or 8 bits per pixel leave pixels out: by a jump, or by the end of a row or of the
/// picture that comes too early. Viewers paint such pixels in different colours.
fn skips(runs: &[u8], depth: usize, width: u32, height: u32) -> bool {
    let (mut rest, mut x, mut y) = (runs, 0_u32, 0_u32);
    while let [first, second, after @ ..] = rest {
        rest = after;
        match (*first, *second) {
            (0, 0) if x < width => return true,
            (0, 0) => (x, y) = (0, y + 1),
            // The end of the last row may be left out.
            (0, 1) => return y + u32::from(x >= width) < height,
            (0, 2) => return true,
            (0, pixels) => {
                let len = (usize::from(pixels) * depth).div_ceil(8).next_multiple_of(2);
                rest = rest.get(len..).unwrap_or_default();
                x = x.saturating_add(pixels.into());
            }
            (pixels, _) => x = x.saturating_add(pixels.into()),
        }
    }
    // The decoder refuses runs without an end if rows are missing.
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_leave_pixels_out_are_found() {
        // 3 x 2 pixels of 8 bits.
        let skips = |runs: &[u8]| skips(runs, 8, 3, 2);
        assert!(!skips(&[3, 9, 0, 0, 3, 7, 0, 0, 0, 1]));
        assert!(!skips(&[3, 9, 0, 0, 3, 7, 0, 1]));
        assert!(
            !skips(&[0, 3, 1, 2, 3, 0, 0, 0, 3, 7, 0, 1]),
            "three pixels and a byte of padding"
        );
        assert!(skips(&[2, 9, 0, 0, 3, 7, 0, 1]), "a row ends early");
        assert!(skips(&[3, 9, 0, 0, 0, 1]), "the picture ends early");
        assert!(skips(&[3, 9, 0, 0, 0, 2, 1, 0, 2, 7, 0, 1]), "a jump");
        for end in 0..10 {
            super::skips(&[3, 9, 0, 0, 3, 7, 0, 0, 0, 1][..end], 4, 3, 2);
        }
    }

    #[test]
    fn pixels_must_not_overlap_the_palette() {
        let file = |pixels: u32, colours: u32| {
            let mut bytes = vec![0; 100];
            bytes[10..14].copy_from_slice(&pixels.to_le_bytes());
            bytes[14..18].copy_from_slice(&INFO_HEADER.to_le_bytes());
            bytes[46..50].copy_from_slice(&colours.to_le_bytes());
            bytes
        };
        assert!(ambiguous(&file(54 + 64, 16)).is_none() && ambiguous(&file(54, 0)).is_none());
        assert_eq!(ambiguous(&file(54 + 63, 16)), Some("the pixels overlap the palette"));
        assert!(ambiguous(&file(54, 16)[..49]).is_none());
    }
}
