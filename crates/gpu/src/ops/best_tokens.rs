//! The best tokens of rows of logits.

use crate::Error;
use crate::device::Slice;
use crate::kernels::Kernels;
use crate::ops::{WORD_BYTES, assert_bytes, product};
use crate::recording::Recording;

/// Most tokens that are found.
pub const BEST_TOKENS_MAX: u32 = 64;
/// Logits of a workgroup.
const SPAN: u32 = 2048;
/// Bytes of a token and its rank or logit.
const TOKEN_BYTES: u64 = 2 * WORD_BYTES;
/// Bytes of the sums of a softmax: m and l of all logits, and of those allowed.
const SUMS_BYTES: u64 = 4 * WORD_BYTES;

/// The `count` allowed tokens with the largest logits of each row, the largest first and of equals the lower
/// id, with their logits: `gptoss_model`'s `argmax` (under a mask) and `most_probable`. Where fewer can come
/// (a logit of negative infinity or NaN cannot), the rest is token 2^32 - 1 of negative infinity. Beside
/// them, largest m and sum l of `exp(logit - m)`, of all logits and of those allowed: their logarithm is `m +
/// ln l`.
pub struct BestTokens<'a> {
    /// `[rows, count]` of two words: token, bits of its logit.
    pub tokens: &'a Slice,
    /// `[rows, 4]`: m and l of all, m and l of the allowed.
    pub sums: &'a Slice,
    /// `[rows, V]`
    pub logits: &'a Slice,
    /// `[rows, words]` u32 and words: token t is bit t modulo 32 of word t / 32, and those beyond the last
    /// word are not allowed. Without it all are.
    pub mask: Option<(&'a Slice, u32)>,
    /// At least [`BestTokens::bytes`].
    pub found: &'a Slice,
    /// Likewise.
    pub softmax: &'a Slice,
    /// Rows.
    pub rows: u32,
    /// V
    pub vocab: u32,
    /// From 1 to [`BEST_TOKENS_MAX`].
    pub count: u32,
}

impl BestTokens<'_> {
    /// Bytes of `found` and of `softmax`.
    pub fn bytes(rows: u32, vocab: u32, count: u32) -> [u64; 2] {
        let spans = product([rows, vocab.div_ceil(SPAN)]);
        [spans * u64::from(count) * TOKEN_BYTES, spans * SUMS_BYTES]
    }

    /// Puts the op behind what is recorded.
    ///
    /// Errors: the driver's, when it compiles the kernels.
    /// Panics: when a slice is too short, too many tokens are wanted, or the rows are above the device's
    /// workgroups of a dimension.
    pub fn record(&self, kernels: &Kernels, recording: &mut Recording) -> Result<(), Error> {
        let op = "best_tokens";
        let BestTokens { rows, vocab, count, .. } = *self;
        assert!((1..=BEST_TOKENS_MAX).contains(&count), "{op}: {count} tokens");
        let [found, softmax] = BestTokens::bytes(rows, vocab, count);
        assert_bytes(op, "found", self.found, found);
        assert_bytes(op, "softmax", self.softmax, softmax);
        assert_bytes(op, "tokens", self.tokens, product([rows, count]) * TOKEN_BYTES);
        assert_bytes(op, "sums", self.sums, u64::from(rows) * SUMS_BYTES);
        assert_bytes(op, "logits", self.logits, product([rows, vocab]) * WORD_BYTES);
        let (mask, words) = self.mask.unwrap_or((self.logits, 0));
        if self.mask.is_some() {
            assert!(words > 0, "{op}: a mask of no words");
            assert_bytes(op, "mask", mask, product([rows, words]) * WORD_BYTES);
        }
        let num_spans = vocab.div_ceil(SPAN);
        let slices = [self.logits, mask, self.found, self.softmax];
        let constants = [vocab, count, num_spans, words];
        recording.dispatch(&kernels.get("best_spans")?, &slices, &constants, [num_spans, rows, 1]);
        let slices = [self.logits, self.found, self.softmax, self.tokens, self.sums];
        recording.dispatch(&kernels.get("best_join")?, &slices, &[vocab, count, num_spans], [rows, 1, 1]);
        Ok(())
    }
}
