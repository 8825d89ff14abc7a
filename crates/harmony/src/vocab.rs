//! Which token ids exist, and what is each: text, a control token, or reserved?
//!
//! [`Vocab`] answers that for the published vocabulary ([`Vocab::o200k_harmony`]), for a checkpoint's
//! `tokenizer.json` ([`Vocab::from_tokenizer_json`]) and for the first ranks of o200k ([`Vocab::truncated`]).
//! Text tokens and control tokens are different types: [`Vocab::encode`] makes only [`TextToken`]s, whatever
//! the text says, so nothing a user, a tool or a schema writes can become a `<|start|>`. A vocabulary is
//! immutable and cheap to share behind an `Arc`; it knows nothing of messages.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    bpe::{Bpe, Merges},
    error::Error,
    o200k::{self, MultiDigit},
    split::Pieces,
};

/// The nine control tokens of harmony: a closed set, whose ids come from a [`Vocab`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Control {
    /// `<|startoftext|>`, never rendered.
    StartOfText,
    /// `<|endoftext|>`, padding and a safety stop.
    EndOfText,
    /// `<|return|>`: the model is done with its answer.
    Return,
    /// `<|constrain|>`, before a content type.
    Constrain,
    /// `<|channel|>`, before a channel name.
    Channel,
    /// `<|start|>`, before a header.
    Start,
    /// `<|end|>`, after a message.
    End,
    /// `<|message|>`, between header and content.
    Message,
    /// `<|call|>`: the model waits for a tool.
    Call,
}

impl Control {
    /// All nine, in the order of their published ids.
    pub const ALL: [Self; 9] = [
        Self::StartOfText,
        Self::EndOfText,
        Self::Return,
        Self::Constrain,
        Self::Channel,
        Self::Start,
        Self::End,
        Self::Message,
        Self::Call,
    ];

    /// The literal name, as in `<|start|>`.
    pub fn literal(self) -> &'static str {
        match self {
            Self::StartOfText => "<|startoftext|>",
            Self::EndOfText => "<|endoftext|>",
            Self::Return => "<|return|>",
            Self::Constrain => "<|constrain|>",
            Self::Channel => "<|channel|>",
            Self::Start => "<|start|>",
            Self::End => "<|end|>",
            Self::Message => "<|message|>",
            Self::Call => "<|call|>",
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.literal())
    }
}

/// A token that stands for bytes of text. Only [`Vocab::encode`] and [`Vocab::token`] make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextToken(u32);

impl TextToken {
    /// The token id.
    pub fn id(self) -> u32 {
        self.0
    }
}

/// What a token id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Token {
    /// Bytes of text.
    Text(TextToken),
    /// Structure.
    Control(Control),
}

/// A byte-level BPE vocabulary with the control tokens of harmony.
pub struct Vocab {
    pub(crate) bpe: Bpe,
    /// Ids in the order of [`Control::ALL`].
    pub(crate) controls: [u32; 9],
    len: usize,
}

impl fmt::Debug for Vocab {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Vocab")
            .field("len", &self.len)
            .field("controls", &self.controls)
            .finish_non_exhaustive()
    }
}

impl Vocab {
    /// The published vocabulary, built at the first call (some milliseconds) and shared afterwards.
    pub fn o200k_harmony() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Vocab>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(|| {
            let bpe = Bpe::new(o200k::tokens(), Merges::Ranked, true).expect("o200k has every byte");
            Arc::new(Self::new(bpe, o200k::CONTROLS, o200k::NUM_IDS))
        }))
    }

    /// The first `num_ranks` ranks of o200k, which are a BPE of their own, then the nine control tokens in
    /// the order of [`Control::ALL`].
    ///
    /// Units: `num_ranks` counts ranks before multi-digit tokens are dropped; it is raised to the 256 bytes
    /// and lowered to the 199,998 ranks that exist.
    pub fn truncated(num_ranks: usize, multi_digit: MultiDigit) -> Self {
        let tokens = o200k::first_tokens(num_ranks, multi_digit);
        let num_text = tokens.len() as u32;
        let bpe = Bpe::new(tokens, Merges::Ranked, true).expect("the first 256 ranks are the bytes");
        let controls = std::array::from_fn(|i| num_text + i as u32);
        Self::new(bpe, controls, num_text as usize + Control::ALL.len())
    }

    pub(crate) fn new(bpe: Bpe, controls: [u32; 9], len: usize) -> Self {
        Self { bpe, controls, len }
    }

    /// The same vocabulary with at least `len` ids: a checkpoint's embedding may have more rows than its
    /// tokenizer has tokens. The new ids are reserved.
    pub fn padded_to(mut self, len: usize) -> Self {
        self.len = self.len.max(len);
        self
    }

    /// Number of ids: they are `0..len`.
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary has at least the 256 bytes")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The text as tokens; never a control token. Linear in the text's length, up to a logarithm inside one
    /// piece.
    pub fn encode(&self, text: &str) -> Vec<TextToken> {
        self.encode_ids(text).into_iter().map(TextToken).collect()
    }

    /// The text as token ids.
    pub fn encode_ids(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        self.encode_into(text, &mut ids);
        ids
    }

    /// Appends the text's token ids; returns the queue operations that long pieces took, the deterministic
    /// measure of the work.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) -> u64 {
        Pieces::new(text).map(|piece| self.bpe.encode_piece(piece.as_bytes(), ids)).sum()
    }

    /// What an id stands for; `None` when it is reserved or beyond the vocabulary.
    pub fn token(&self, id: u32) -> Option<Token> {
        if let Some(i) = self.controls.iter().position(|&control| control == id) {
            return Some(Token::Control(Control::ALL[i]));
        }
        (!self.bpe.tokens().of(id).is_empty()).then_some(Token::Text(TextToken(id)))
    }

    /// The id of a token.
    pub fn id(&self, token: Token) -> u32 {
        match token {
            Token::Text(text) => text.0,
            Token::Control(control) => self.control(control),
        }
    }

    /// The id of a control token.
    pub fn control(&self, control: Control) -> u32 {
        self.controls[control as usize]
    }

    /// The bytes of a text token; they need not be whole characters.
    pub fn bytes(&self, token: TextToken) -> &[u8] {
        self.bpe.tokens().of(token.0)
    }

    /// The bytes of a list of ids; control tokens become their literal names.
    ///
    /// Errors: [`Error::UnknownToken`] at the first id that is reserved or beyond the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for (index, &id) in ids.iter().enumerate() {
            bytes.extend_from_slice(match self.token(id) {
                Some(Token::Text(text)) => self.bytes(text),
                Some(Token::Control(control)) => control.literal().as_bytes(),
                None => return Err(Error::UnknownToken { index, id, len: self.len }),
            });
        }
        Ok(bytes)
    }

    /// Where generation stops: `<|return|>`, `<|call|>` and, as a safety, `<|endoftext|>`. Not at `<|end|>`,
    /// which only ends a message.
    pub fn stop_ids(&self) -> [u32; 3] {
        [Control::Return, Control::Call, Control::EndOfText].map(|control| self.control(control))
    }
}
