//! Where do the published ranks lie in this program?
//!
//! The build script has written the bytes of all 199,998 ranks and one length per rank; both are embedded
//! here. Taking the first ranks for a small vocabulary reads only those. The ids of the control tokens and
//! the size of the embedding are the published ones.

use std::borrow::Cow;

use crate::bpe::TokenBytes;

/// Whether [`Vocab::truncated`](crate::Vocab::truncated) keeps the tokens of two and more ASCII digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultiDigit {
    /// All ranks stay.
    Keep,
    /// Numbers are read digit by digit; the ids of the remaining ranks close up.
    Drop,
}

/// Rows of the published embedding.
pub(crate) const NUM_IDS: usize = 201_088;

/// Published ids, in the order of [`crate::Control::ALL`]: startoftext, endoftext, return, constrain,
/// channel, start, end, message, call.
pub(crate) const CONTROLS: [u32; 9] =
    [199_998, 199_999, 200_002, 200_003, 200_005, 200_006, 200_007, 200_008, 200_012];

static LENGTHS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/o200k.lengths"));
static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/o200k.bytes"));

/// All ranks, without a copy.
pub(crate) fn tokens() -> TokenBytes {
    TokenBytes::new(Cow::Borrowed(BYTES), LENGTHS.iter().map(|&length| length as usize))
}

/// The first `num_ranks` ranks in rank order, with or without the tokens of several ASCII digits.
pub(crate) fn first_tokens(num_ranks: usize, multi_digit: MultiDigit) -> TokenBytes {
    let mut bytes = Vec::new();
    let mut lengths = Vec::new();
    let mut rest = BYTES;
    for &length in &LENGTHS[..num_ranks.clamp(256, LENGTHS.len())] {
        let (token, after) = rest.split_at(length as usize);
        rest = after;
        let is_multi_digit = token.len() > 1 && token.iter().all(u8::is_ascii_digit);
        if multi_digit == MultiDigit::Keep || !is_multi_digit {
            bytes.extend_from_slice(token);
            lengths.push(token.len());
        }
    }
    TokenBytes::new(Cow::Owned(bytes), lengths.into_iter())
}
