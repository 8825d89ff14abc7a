//! Bodies that come compressed.
//!
//! What comes out is as long as any body may be and no longer, however little went in: reading stops one byte
//! beyond the limit.

use std::io::{self, Read};

use axum::http::{HeaderMap, header};
use flate2::read::MultiGzDecoder;
use gptoss_api::ApiError;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// The codings that are read, as `accept-encoding` has them.
pub(crate) const CODINGS: &str = "gzip, zstd";
/// Largest window of zstd that is read in any case; RFC 9659 allows senders no larger one. Units: bytes.
const WINDOW_BYTES: u64 = 8 << 20;

/// How a body was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl ContentCoding {
    /// That of a request's body; None when it comes as it is.
    ///
    /// Errors: `Coding`, for another one or for several.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<ContentCoding>, ApiError> {
        let mut given = headers.get_all(header::CONTENT_ENCODING).iter();
        let (Some(coding), None) = (given.next(), given.next()) else {
            return if headers.contains_key(header::CONTENT_ENCODING) {
                Err(ApiError::Coding)
            } else {
                Ok(None)
            };
        };
        match coding.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(ContentCoding::Gzip)),
            "zstd" => Ok(Some(ContentCoding::Zstd)),
            _ => Err(ApiError::Coding),
        }
    }

    /// The body as it was; of `max` bytes at most.
    ///
    /// Errors: `BodyTooLarge`; `Coded`, when it is something else than its coding says.
    pub(crate) fn decoded(self, bytes: &[u8], max: usize) -> Result<Vec<u8>, ApiError> {
        let (coding, whole) = match self {
            ContentCoding::Gzip => ("gzip", gunzipped(bytes, max)),
            ContentCoding::Zstd => ("zstd", unzstd(bytes, max)),
        };
        match whole {
            Err(_) => Err(ApiError::Coded { coding }),
            Ok(whole) if whole.len() > max => Err(ApiError::BodyTooLarge { max }),
            Ok(whole) => Ok(whole),
        }
    }
}

/// Up to one byte more than `max`.
fn gunzipped(bytes: &[u8], max: usize) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    MultiGzDecoder::new(bytes).take(max as u64 + 1).read_to_end(&mut whole)?;
    Ok(whole)
}

/// Up to one byte more than `max`, frame by frame.
fn unzstd(mut bytes: &[u8], max: usize) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    let mut decoder = FrameDecoder::new();
    // A frame that is sent in one piece has a window of its own length.
    decoder.set_max_window_size(WINDOW_BYTES.max(max as u64));
    while !bytes.is_empty() && whole.len() <= max {
        let frame = StreamingDecoder::new_with_decoder(&mut bytes, &mut decoder).map_err(io::Error::other)?;
        frame.take((max + 1 - whole.len()) as u64).read_to_end(&mut whole)?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;
    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    #[test]
    fn what_was_compressed_comes_back_within_the_limit() {
        let bomb = vec![b'a'; 4 << 20];
        for (coding, compress) in
            [(ContentCoding::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (ContentCoding::Zstd, zstd)]
        {
            let packed = compress(b"{\"input\": \"hi\"}");
            assert_eq!(coding.decoded(&packed, 15).unwrap(), b"{\"input\": \"hi\"}");
            assert_eq!(coding.decoded(&packed, 14), Err(ApiError::BodyTooLarge { max: 14 }));
            let twice = [packed.clone(), packed.clone()].concat();
            assert_eq!(coding.decoded(&twice, 100).unwrap().len(), 30);
            let packed_bomb = compress(&bomb);
            assert!(packed_bomb.len() < 20_000, "{}", packed_bomb.len());
            assert_eq!(coding.decoded(&packed_bomb, 1000), Err(ApiError::BodyTooLarge { max: 1000 }));
            for damaged in [&packed[..packed.len() - 3], b"{\"input\": \"hi\"}", &packed[..3]] {
                let found = coding.decoded(damaged, 100);
                assert!(matches!(found, Err(ApiError::Coded { .. })), "{coding:?} {found:?}");
            }
        }
    }

    /// A window of gigabytes in a frame of a few bytes.
    #[test]
    fn a_window_that_is_too_large_is_refused() {
        // The magic number, no flags, a window of 2^41 bytes, an empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 31 << 3, 1, 0, 0];
        assert_eq!(ContentCoding::Zstd.decoded(&frame, 100), Err(ApiError::Coded { coding: "zstd" }));
    }

    #[test]
    fn codings_are_known_by_their_names() {
        let check = |values: &[&'static str], expect: Result<Option<ContentCoding>, ApiError>| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            assert_eq!(ContentCoding::of(&map), expect, "{values:?}");
        };
        check(&[], Ok(None));
        check(&["identity"], Ok(None));
        check(&["GZIP"], Ok(Some(ContentCoding::Gzip)));
        check(&["zstd"], Ok(Some(ContentCoding::Zstd)));
        for other in [&["br"][..], &["gzip, zstd"], &["gzip", "gzip"], &["identity", "gzip"], &[""]] {
            check(other, Err(ApiError::Coding));
        }
    }
}
