//! The orientation in an EXIF block, and other values of a TIFF directory (pure).

use image::metadata::Orientation;

/// The tag of the orientation, in the first directory.
const ORIENTATION: u16 = 0x112;

/// The bytes of an entry of a directory: tag, type, count, value.
const ENTRY: usize = 12;

/// The orientation in an EXIF block, with or without a prefix. With a damaged block the image is still
/// readable and has no orientation.
pub(super) fn orientation(exif: Option<&[u8]>) -> Orientation {
    // This prefix belongs to JPEG, but it occurs in other formats too: Pillow writes it into WebP.
    let block = exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    let value = block.and_then(|block| value(block, ORIENTATION));
    let value = value.and_then(|value| u8::try_from(value).ok());
    value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// The first value of a tag in the first directory of a TIFF block. The standard stores the orientation
/// as SHORT. Viewers also read LONG and BYTE. `None` if there is no such value.
pub(super) fn value(block: &[u8], tag: u16) -> Option<u32> {
    let tiff = Tiff { block, big_endian: block.starts_with(b"MM") };
    if !block.starts_with(b"MM\0\x2a") && !block.starts_with(b"II\x2a\0") {
        return None;
    }
    let directory = tiff.long(4)? as usize;
    let entries = usize::from(tiff.short(directory)?);
    let at = |entry: usize| directory.checked_add(2 + ENTRY * entry);
    let entry = (0..entries)
        .map_while(at)
        .take_while(|&at| at < block.len())
        .find(|&at| tiff.short(at) == Some(tag))?;
    let value = entry.checked_add(8)?;
    match tiff.short(entry + 2)? {
        1 => block.get(value).copied().map(u32::from),
        3 => tiff.short(value).map(u32::from),
        4 => tiff.long(value),
        _ => None,
    }
}

/// A block of TIFF, which EXIF is.
struct Tiff<'a> {
    block: &'a [u8],
    big_endian: bool,
}

impl Tiff<'_> {
    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.block.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = *self.block.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A little-endian block with the entries (tag, type, value).
    fn block(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = b"II\x2a\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, value) in entries {
            bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            bytes.extend([1, *value].map(u32::to_le_bytes).concat());
        }
        bytes
    }

    #[test]
    fn every_type_of_the_orientation_is_read() {
        for kind in [1, 3, 4] {
            let exif = block(&[(0x10f, 3, 9), (ORIENTATION, kind, 6)]);
            assert_eq!(orientation(Some(&exif)), Orientation::Rotate90, "type {kind}");
            let prefixed = [b"Exif\0\0", &exif[..]].concat();
            assert_eq!(orientation(Some(&prefixed)), Orientation::Rotate90);
        }
        let big = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!(orientation(Some(big)), Orientation::Rotate270);
    }

    #[test]
    fn a_block_without_an_orientation_turns_nothing() {
        for kind_and_value in [(2, 6), (3, 0), (3, 9), (4, 262)] {
            let exif = block(&[(ORIENTATION, kind_and_value.0, kind_and_value.1)]);
            assert_eq!(orientation(Some(&exif)), Orientation::NoTransforms, "{kind_and_value:?}");
        }
        let whole = block(&[(ORIENTATION, 3, 6)]);
        for end in 0..18 {
            assert_eq!(orientation(Some(&whole[..end])), Orientation::NoTransforms);
        }
        let far = [&whole[..4], &[0xff; 4], &whole[8..]].concat();
        assert_eq!(orientation(Some(&far)), Orientation::NoTransforms);
        assert_eq!(orientation(None), Orientation::NoTransforms);
    }
}
