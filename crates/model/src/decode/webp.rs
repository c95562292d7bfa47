//! Finds the actual size of the lossy pictures in a WebP file (pure).
//!
//! The decoder uses the canvas size in the header of the file. It compares a lossy picture with the
//! canvas only after the picture is decoded. A file with a canvas of one pixel could therefore
//! contain a picture of 16383 x 16383.

/// The bytes before the chunks of a file: `RIFF`, a size and `WEBP`.
const FILE_HEAD: usize = 12;

/// The bytes before the chunks of an animation's frame: its position, size and duration.
const FRAME_HEAD: usize = 16;

/// The width and height of the lossy picture with the most pixels, from the picture's own header.
/// `None` if the file has no lossy picture.
pub(super) fn largest_lossy(file: &[u8]) -> Option<(u32, u32)> {
    let mut chunks = file.get(FILE_HEAD..)?;
    let mut found = None;
    while let Some(([name @ .., a, b, c, d], body)) = chunks.split_first_chunk::<8>() {
        let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        if name == b"VP8 " {
            found =
                found.max(dimensions(body).map(|(width, height)| (width * height, width, height)));
        }
        // The chunks of a frame are read next, so only the frame's header is skipped. Any other
        // body is skipped as a whole; bodies are padded to an even size.
        let step = if name == b"ANMF" { FRAME_HEAD } else { size.saturating_add(size & 1) };
        chunks = body.get(step..).unwrap_or_default();
    }
    found.map(|(_, width, height)| (width, height))
}

/// Width and height in the header of a VP8 key frame. The header has a tag of three bytes, a start
/// code of three bytes, then the width and the height of 14 bits each.
fn dimensions(picture: &[u8]) -> Option<(u32, u32)> {
    let side = |at: usize| {
        Some(u32::from(u16::from_le_bytes([*picture.get(at)?, *picture.get(at + 1)?]) & 0x3fff))
    };
    Some((side(6)?, side(8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len()).unwrap().to_le_bytes();
        let padding = vec![0; body.len() & 1];
        [&name[..], &size, body, &padding].concat()
    }

    fn picture(width: u16, height: u16) -> Vec<u8> {
        let body =
            [&[0, 0, 0, 0x9d, 0x01, 0x2a][..], &width.to_le_bytes(), &height.to_le_bytes(), &[0]]
                .concat();
        chunk(b"VP8 ", &body)
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        [b"RIFF\0\0\0\0WEBP".to_vec(), chunks.concat()].concat()
    }

    #[test]
    fn the_largest_picture_is_found() {
        let frame = |picture: Vec<u8>| {
            chunk(b"ANMF", &[vec![0; FRAME_HEAD], chunk(b"ALPH", b"odd"), picture].concat())
        };
        assert_eq!(largest_lossy(&file(&[picture(30, 40)])), Some((30, 40)));
        assert_eq!(
            largest_lossy(&file(&[chunk(b"VP8X", &[0; 10]), picture(16383, 9)])),
            Some((16383, 9))
        );
        assert_eq!(
            largest_lossy(&file(&[
                frame(picture(2, 2)),
                frame(picture(50, 2)),
                frame(picture(9, 9))
            ])),
            Some((50, 2))
        );
        assert_eq!(largest_lossy(&file(&[picture(0xffff, 0xffff)])), Some((16383, 16383)));
    }

    #[test]
    fn a_file_without_a_lossy_picture_has_no_picture() {
        for bytes in [
            &b""[..],
            b"RIFF",
            &file(&[]),
            &file(&[chunk(b"VP8L", &[0x2f; 9])]),
            &file(&[picture(1, 1)])[..25],
        ] {
            assert_eq!(largest_lossy(bytes), None);
        }
        assert_eq!(largest_lossy(&file(&[[&b"VP8X"[..], &[0xff; 4]].concat()])), None);
    }
}
