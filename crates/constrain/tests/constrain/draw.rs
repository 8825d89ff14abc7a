//! A sampler without a model.
//!
//! [`Random`] is a small generator with a seed, so that a failure names the seed that repeats it. [`pick`]
//! draws from a mask: evenly, but with a given chance a token that ends something, since among thousands of
//! tokens an even draw would hardly ever end.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gptoss_constrain::{Compiled, Error, Limits, Spec, TokenTable, compile, is_allowed};
use gptoss_harmony::{MultiDigit, Token, Vocab};

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True with this chance in percent.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn choose<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A table of the first ranks, as large as the demo model's vocabulary; built once.
pub fn table() -> &'static Arc<TokenTable> {
    static TABLE: OnceLock<Arc<TokenTable>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let vocab = Arc::new(Vocab::truncated(2020, MultiDigit::Keep));
        TokenTable::new(vocab).expect("the first 256 ranks are the bytes")
    })
}

/// The tests of this program run at once and as one tenant: how long a compilation waits for them says
/// nothing about it.
pub fn limits() -> Limits {
    Limits { compile_wait_max: Duration::from_secs(3_600), ..Limits::default() }
}

pub fn compiled(spec: Spec) -> Result<Arc<Compiled>, Error> {
    compile(table(), spec, &limits())
}

/// The ids in a mask.
pub fn ids(mask: &[u32]) -> Vec<u32> {
    (0..mask.len() as u32 * 32).filter(|&id| is_allowed(mask, id)).collect()
}

/// A token of the mask; with a chance of `percent` one that ends something, if there is one.
pub fn pick(random: &mut Random, vocab: &Vocab, mask: &[u32], percent: usize) -> u32 {
    let allowed = ids(mask);
    assert!(!allowed.is_empty(), "an empty mask before the end");
    let is_control = |id: &u32| match vocab.token(*id) {
        Some(token) => matches!(token, Token::Control(_)),
        None => panic!("an id without meaning is allowed: {id}"),
    };
    let closes = |id: &u32| match vocab.token(*id) {
        Some(Token::Text(text)) => matches!(vocab.bytes(text), [b'"' | b']' | b'}' | b',', ..]),
        _ => false,
    };
    if random.chance(percent) {
        // A published vocabulary has thousands of tokens that close something in JSON, and few control
        // tokens.
        let control: Vec<u32> = allowed.iter().copied().filter(is_control).collect();
        let closing: Vec<u32> = allowed.iter().copied().filter(closes).collect();
        let ending = match (control.is_empty(), closing.is_empty()) {
            (false, false) if random.chance(50) => &control,
            (false, true) => &control,
            _ => &closing,
        };
        if !ending.is_empty() {
            return *random.choose(ending);
        }
    }
    *random.choose(&allowed)
}
