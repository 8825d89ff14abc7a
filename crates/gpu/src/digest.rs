//! FNV-1a of 64 bits, by which answers and kernels are known again. Nobody is kept from forging one.

/// Of nothing.
pub(crate) const DIGEST_START: u64 = 0xcbf2_9ce4_8422_2325;

/// With some bytes behind.
pub(crate) fn digest_bytes(digest: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(digest, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(digest_bytes(DIGEST_START, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(digest_bytes(DIGEST_START, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(digest_bytes(digest_bytes(DIGEST_START, b"foo"), b"bar"), 0x8594_4171_f739_67e8);
    }
}
