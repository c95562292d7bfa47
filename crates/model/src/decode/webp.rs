//! How large the lossy pictures in a WebP file really are (pure).
//!
//! The decoder goes by the canvas that the file's head names, and compares a lossy picture with it only after decoding: a canvas of one
//! pixel could hide a picture of 16383 x 16383.

/// Before the chunks: `RIFF`, a size and `WEBP`.
const FILE_HEAD: usize = 12;

/// Before the chunks in an animation's frame: where it lies, how large it is, how long it stays.
const FRAME_HEAD: usize = 16;

/// Width and height of the largest lossy picture, by its own head.
pub(super) fn largest_lossy(file: &[u8]) -> Option<(u32, u32)> {
    let mut chunks = file.get(FILE_HEAD..)?;
    let mut found = None;
    while let Some(([name @ .., a, b, c, d], body)) = chunks.split_first_chunk::<8>() {
        let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        if name == b"VP8 " {
            found =
                found.max(dimensions(body).map(|(width, height)| (width * height, width, height)));
        }
        // A frame is stepped into, not over, so that its chunks come next. Bodies are padded to an even size.
        let step = if name == b"ANMF" { FRAME_HEAD } else { size.saturating_add(size & 1) };
        chunks = body.get(step..).unwrap_or_default();
    }
    found.map(|(_, width, height)| (width, height))
}

/// The head of a VP8 key frame: three bytes of tag, three of start code, then 14 bits of width and of height.
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
    fn the_largest_picture_counts() {
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
    fn without_a_lossy_picture_there_is_none() {
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
