//! The tokens that are text, and those of them that may follow inside or between characters.
//!
//! [`TokenTable`] is built once per vocabulary and shared behind an `Arc` by all constraints. It holds what
//! every mask starts from: for each of the eight states of UTF-8 the set of tokens that keep a text valid,
//! ready with the control token that may end it, so that free text costs no work per token; and llguidance's
//! trie of the same tokens for the texts that are not free. Control tokens are never in the trie: no grammar
//! can produce one, whatever it says.

use std::sync::{Arc, OnceLock};

use gptoss_harmony::{Control, Token, Vocab};
use llguidance::{
    ParserFactory,
    toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv},
};

use crate::{bitmask::Bitmask, error::Error, utf8::Utf8};

/// What all constraints of one vocabulary share.
pub struct TokenTable {
    vocab: Arc<Vocab>,
    /// By state: tokens that keep a text valid, whatever state they leave it in.
    text: [Bitmask; 8],
    /// At the border of characters: the text tokens and one ending.
    text_or_end: [(Control, Bitmask); 3],
    /// By state: tokens of continuation bytes alone, which come to a border soonest.
    closing: [Bitmask; 8],
    /// By ending: it alone.
    end_alone: [(Control, Bitmask); 3],
    /// Of grammars; made when the first is compiled, since most turns have none.
    factory: OnceLock<Result<ParserFactory, String>>,
}

impl std::fmt::Debug for TokenTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TokenTable").field("vocab", &self.vocab).finish_non_exhaustive()
    }
}

/// The control tokens that may end a body.
const ENDS: [Control; 3] = [Control::End, Control::Return, Control::Call];

impl TokenTable {
    /// Builds the table: some tens of milliseconds for the published vocabulary. The first grammar adds some
    /// tenths of a second. The work is linear in the bytes of the tokens.
    ///
    /// Errors: a byte of UTF-8 that no token is, which no published vocabulary lacks.
    pub fn new(vocab: Arc<Vocab>) -> Result<Arc<Self>, Error> {
        let text = Utf8::ALL.map(|state| set_of(&vocab, |bytes| state.bytes(bytes).is_some()));
        let closing = Utf8::ALL.map(|state| {
            let is_tail = |byte: &u8| matches!(byte, 0x80..=0xBF);
            set_of(&vocab, |bytes| bytes.iter().all(is_tail) && state.bytes(bytes).is_some())
        });
        check_bytes(&vocab)?;
        let alone = |control| {
            let mut mask = Bitmask::empty(vocab.len());
            mask.insert(vocab.control(control));
            (control, mask)
        };
        let with_text = |control| {
            let mut mask = text[Utf8::Border as usize].clone();
            mask.insert(vocab.control(control));
            (control, mask)
        };
        let (text_or_end, end_alone) = (ENDS.map(with_text), ENDS.map(alone));
        Ok(Arc::new(Self { vocab, text, text_or_end, closing, end_alone, factory: OnceLock::new() }))
    }

    /// The vocabulary that the table was built from.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.vocab
    }

    /// What compiles grammars over these tokens.
    pub(crate) fn factory(&self) -> Result<&ParserFactory, Error> {
        let made = self.factory.get_or_init(|| factory(&self.vocab).map_err(|error| error.to_string()));
        made.as_ref().map_err(|reason| Error::Table { reason: reason.clone() })
    }

    /// The bytes of a text token; `None` for control tokens and ids without meaning.
    pub(crate) fn bytes(&self, token: u32) -> Option<&[u8]> {
        match self.vocab.token(token)? {
            Token::Text(text) => Some(self.vocab.bytes(text)),
            Token::Control(_) => None,
        }
    }

    /// Tokens of these bytes, the longest first; none before a grammar was compiled.
    pub(crate) fn spell(&self, bytes: &[u8]) -> Vec<u32> {
        let factory = self.factory.get().and_then(|made| made.as_ref().ok());
        factory.map_or_else(Vec::new, |factory| factory.tok_env().tok_trie().greedy_tokenize(bytes))
    }

    /// What may follow in free text that ends with `end`.
    pub(crate) fn free(&self, state: Utf8, end: Control) -> &[u32] {
        match state {
            Utf8::Border => of(&self.text_or_end, end).words(),
            inside => self.text[inside as usize].words(),
        }
    }

    /// What may follow in free text that must end with `end` now.
    pub(crate) fn closing(&self, state: Utf8, end: Control) -> &[u32] {
        match state {
            Utf8::Border => of(&self.end_alone, end).words(),
            inside => self.closing[inside as usize].words(),
        }
    }
}

fn of(masks: &[(Control, Bitmask); 3], end: Control) -> &Bitmask {
    let found = masks.iter().find(|(control, _)| *control == end);
    &found.expect("bodies end with a control token of ENDS").1
}

/// The text tokens whose bytes are such.
fn set_of(vocab: &Vocab, is_such: impl Fn(&[u8]) -> bool) -> Bitmask {
    let mut mask = Bitmask::empty(vocab.len());
    for id in 0..vocab.len() as u32 {
        if let Some(Token::Text(text)) = vocab.token(id)
            && is_such(vocab.bytes(text))
        {
            mask.insert(id);
        }
    }
    mask
}

/// With a token for each byte that occurs in UTF-8, every state has a way to a border, so that no mask is
/// empty.
fn check_bytes(vocab: &Vocab) -> Result<(), Error> {
    let mut found = [false; 256];
    for id in 0..vocab.len() as u32 {
        if let Some(Token::Text(text)) = vocab.token(id)
            && let [byte] = vocab.bytes(text)
        {
            found[*byte as usize] = true;
        }
    }
    let is_used = |byte: u8| !matches!(byte, 0xC0 | 0xC1 | 0xF5..=0xFF);
    match (0..=255).find(|&byte| is_used(byte) && !found[byte as usize]) {
        Some(byte) => Err(Error::Vocabulary { byte }),
        None => Ok(()),
    }
}

/// llguidance's view of the vocabulary.
struct Environment {
    vocab: Arc<Vocab>,
    trie: TokTrie,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| self.vocab.encode_ids(text))
    }
}

fn factory(vocab: &Arc<Vocab>) -> Result<ParserFactory, Box<dyn std::error::Error + Send + Sync>> {
    // A token that no UTF-8 text contains is left out: llguidance reads a leading 0xFF as its mark of special
    // tokens.
    let is_possible = |bytes: &[u8]| Utf8::ALL.iter().any(|state| state.bytes(bytes).is_some());
    let words: Vec<Vec<u8>> = (0..vocab.len() as u32)
        .map(|id| match vocab.token(id) {
            Some(Token::Text(text)) if is_possible(vocab.bytes(text)) => vocab.bytes(text).to_vec(),
            _ => Vec::new(),
        })
        .collect();
    // llguidance sets this bit where a text may end; the constraint clears it and sets the ending that
    // belongs to the message.
    let end = TokRxInfo::new(words.len() as u32, vocab.control(Control::Return));
    let trie = TokTrie::from(&end, &words);
    let environment: TokEnv = Arc::new(Environment { vocab: Arc::clone(vocab), trie });
    let slices = llguidance::earley::SlicedBiasComputer::general_slices();
    let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices)?;
    factory.quiet();
    Ok(factory)
}
