//! The markers of a JPEG file that libjpeg-turbo does not report (pure).

/// The marker of the end of the image.
pub(super) const EOI: [u8; 2] = [0xff, 0xd9];
/// The marker of a start of scan, which precedes the entropy-coded data.
const SOS: u8 = 0xda;
/// The marker of a segment that may hold EXIF data.
const APP1: u8 = 0xe1;
/// The tables that have markers among those of frames: Huffman tables, JPEG extensions, arithmetic
/// conditioning.
const NO_FRAMES: [u8; 3] = [0xc4, 0xc8, 0xcc];

/// What the segments before the first scan say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Markers<'a> {
    /// The first EXIF block, with its prefix.
    pub exif: Option<&'a [u8]>,
    /// Components of the image. It is 0 without a frame.
    pub frame_components: u8,
    /// Components of the first scan. It is 0 without a scan.
    pub scan_components: u8,
    /// The bytes after the header of the first scan. It is `None` without a scan.
    data: Option<&'a [u8]>,
}

impl<'a> Markers<'a> {
    /// Reads the segments before the first scan.
    pub fn read(bytes: &'a [u8]) -> Self {
        let mut markers = Self::default();
        let mut rest = bytes.get(2..).unwrap_or_default();
        while markers.data.is_none() {
            let Some(after) = markers.segment(rest) else { break };
            rest = after;
        }
        markers
    }

    /// Reads the next segment. Returns the bytes after it.
    fn segment(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        // Any number of fill bytes may precede a marker.
        let at = rest.iter().position(|&b| b != 0xff)?;
        let (marker, after) = (rest[at], &rest[at + 1..]);
        if at == 0 {
            // A marker is missing here. Decoders search for the next one.
            return Some(after);
        }
        match marker {
            // These have no length.
            0x00 | 0x01 | 0xd0..=0xd7 => return Some(after),
            0xd9 => return None,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?]));
        let content = after.get(2..length).unwrap_or_default();
        let after = after.get(length..)?;
        match marker {
            APP1 if content.starts_with(b"Exif\0\0") => {
                self.exif.get_or_insert(content);
            }
            0xc0..=0xcf if !NO_FRAMES.contains(&marker) => {
                self.frame_components = content.get(5).copied().unwrap_or_default();
            }
            SOS => {
                self.scan_components = content.first().copied().unwrap_or_default();
                self.data = Some(after);
            }
            _ => {}
        }
        Some(after)
    }
}

/// Whether the end marker follows the start of the first scan, or ends the file. The two bytes of
/// the marker cannot occur inside entropy-coded data. The marker of an embedded thumbnail is before
/// the first scan, so it does not count.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    let after_scan = || Markers::read(bytes).data;
    bytes.ends_with(&EOI)
        || after_scan().is_some_and(|data| data.windows(2).any(|pair| pair == EOI))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file without pixels: the start marker, a segment with a whole thumbnail, a scan, `end`.
    fn file(end: &[u8]) -> Vec<u8> {
        let head = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9, 0xff, 0xff, SOS, 0, 3, 7];
        [&head[..], &[1, 2, 0xff, 0, 3], end].concat()
    }

    #[test]
    fn only_the_end_marker_after_the_first_scan_counts() {
        assert!(has_end(&file(&EOI)));
        assert!(has_end(&file(&[0xff, 0xd9, b't', b'r', b'a', b'i', b'l'])));
        assert!(!has_end(&file(&[])), "the thumbnail's end is not the image's");
        assert!(!has_end(&file(&[0xff])));
        for cut in 0..file(&[]).len() - 1 {
            has_end(&file(&[])[..cut]);
        }
    }

    #[test]
    fn segments_before_the_first_scan_are_read() {
        let exif = [&[0xff, APP1, 0, 9][..], b"Exif\0\0", &[5]].concat();
        let other = [0xff, APP1, 0, 3, 9];
        let frame = [0xff, 0xc2, 0, 8, 8, 0, 1, 0, 1, 3];
        let tables = [0xff, 0xc4, 0, 3, 1];
        let scan = [0xff, SOS, 0, 3, 1, 42];
        let bytes = [&[0xff, 0xd8], &other[..], &exif, &frame, &tables, &scan].concat();
        let markers = Markers::read(&bytes);
        assert_eq!(markers.exif, Some(&b"Exif\0\0\x05"[..]));
        assert_eq!((markers.frame_components, markers.scan_components), (3, 1));
        assert_eq!(markers.data, Some(&[42][..]));
        for cut in 0..bytes.len() {
            Markers::read(&bytes[..cut]);
        }
    }
}
