//! The one place that compresses and decompresses: a single zstd frame of declared size, bounded before anything is
//! allocated.

use zeroize::Zeroizing;
use zstd::zstd_safe;

use super::{Error, Fault};

/// zstd's own default: captures hardly compress, and manifests do at any level.
const LEVEL: i32 = 3;

/// One frame that declares its size.
pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    zstd::bulk::compress(bytes, LEVEL).map_err(|error| Error::new(Fault::BadZstd, format!("zstd failed: {error}")))
}

/// The content of exactly one frame, at most `limit` bytes. Never grows its buffer, so that no copy is left behind.
pub(super) fn decompress(frame: &[u8], limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let bad = |what: &str| Error::new(Fault::BadZstd, what);
    let declared = zstd_safe::get_frame_content_size(frame).map_err(|_| bad("not a zstd frame"))?;
    let declared = declared.ok_or_else(|| bad("the zstd frame does not declare its size"))?;
    let size = usize::try_from(declared)
        .ok()
        .filter(|size| *size <= limit)
        .ok_or_else(|| Error::new(Fault::TooLarge, format!("decompresses to {declared} bytes, more than {limit}")))?;
    match zstd_safe::find_frame_compressed_size(frame) {
        Ok(length) if length == frame.len() => {}
        Ok(length) => return Err(bad(&format!("bytes follow the zstd frame, which ends at byte {length}"))),
        Err(_) => return Err(bad("the zstd frame is cut short or damaged")),
    }
    let mut content = Zeroizing::new(Vec::with_capacity(size));
    let written = zstd::bulk::Decompressor::new().and_then(|mut zstd| zstd.decompress_to_buffer(frame, &mut *content));
    let written = written.map_err(|_| bad("the zstd frame is damaged"))?;
    (written == size).then_some(content).ok_or_else(|| bad("the zstd frame does not hold what it declares"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(frame: &[u8], limit: usize) -> Fault {
        decompress(frame, limit).unwrap_err().fault
    }

    #[test]
    fn only_one_whole_frame_of_declared_size_is_opened() {
        let frame = compress(&[7; 1000]).unwrap();
        assert_eq!(decompress(&frame, 1000).unwrap().as_slice(), [7; 1000]);
        assert_eq!(fault(&frame, 999), Fault::TooLarge);
        assert_eq!(fault(&[], 10), Fault::BadZstd);
        assert_eq!(fault(b"plain text", 10), Fault::BadZstd);
        assert_eq!(fault(&frame[..frame.len() - 1], 1000), Fault::BadZstd);
        assert_eq!(fault(&[frame.as_slice(), b"x"].concat(), 1000), Fault::BadZstd);
        assert_eq!(fault(&[frame.clone(), frame.clone()].concat(), 2000), Fault::BadZstd);
        // A stream of unknown length, as `zstd` writes it from a pipe.
        let streamed = zstd::stream::encode_all([7_u8; 1000].as_slice(), 3).unwrap();
        assert_eq!(fault(&streamed, 1000), Fault::BadZstd);
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let bomb = compress(&vec![0; 50_000_000]).unwrap();
        assert!(bomb.len() < 5_000);
        assert_eq!(fault(&bomb, 1_000_000), Fault::TooLarge);
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_other_bytes_but_never_a_panic(content: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
            let mut frame = compress(&content).unwrap();
            prop_assert_eq!(&*decompress(&frame, 1 << 20).unwrap(), &content);
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            let _ = decompress(&frame, 1 << 20);
            let _ = decompress(&content, 1 << 20);
        }
    }
}
