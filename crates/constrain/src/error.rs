//! The reasons for which a constraint is refused, or given up.
//!
//! Entry point: [`Error`]. The variants before [`Error::NotAllowed`] come from [`crate::compile()`] and
//! [`crate::TokenTable::new`], before a request is admitted, and are the client's to mend (but `Busy`, which
//! passes); the rest come while tokens are chosen and concern one sequence only. Each says where, what was
//! found, what is expected and what to do.

use crate::spec::Part;

/// What can go wrong between a spec and its last token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The vocabulary cannot spell every text.
    #[error(
        "the vocabulary has no text token for byte 0x{byte:02x}; a constraint needs all bytes of UTF-8: use the tokenizer that belongs to the model"
    )]
    Vocabulary {
        /// The byte.
        byte: u8,
    },
    /// llguidance could not take the vocabulary.
    #[error("the vocabulary cannot be indexed: {reason}")]
    Table {
        /// What it said.
        reason: String,
    },
    /// A tool's name cannot stand in a header.
    #[error("the tool name {name:?} {reason}; rename the tool")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The named tool does not exist.
    #[error("the tool choice names {name:?}, but the tools are: {known}")]
    UnknownTool {
        /// The name.
        name: String,
        /// Those that exist, or `none`.
        known: String,
    },
    /// A call is required and there is nothing to call.
    #[error("a tool call is required, but there are no tools: add tools or choose `auto`")]
    NothingToCall,
    /// Something is beyond a limit.
    #[error("{part} at #{path}: {what} is {found}, at most {max} {unit} are accepted; make it smaller")]
    TooLarge {
        /// Where.
        part: Part,
        /// JSON pointer into the schema; empty for the whole.
        path: String,
        /// Which measure.
        what: &'static str,
        /// Its value, or a bound below it.
        found: u64,
        /// The limit.
        max: u64,
        /// Of what.
        unit: &'static str,
    },
    /// More tools than the limit.
    #[error("{found} tools are offered, at most {max} are accepted; offer fewer")]
    TooManyTools {
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// A schema keyword that cannot be enforced.
    #[error("{part} at #{path}: {keyword:?} cannot be enforced; remove it, or do not ask for strict")]
    Keyword {
        /// Where.
        part: Part,
        /// JSON pointer of the subschema.
        path: String,
        /// The keyword.
        keyword: String,
    },
    /// A schema that is none, or that nothing matches.
    #[error("{part} at #{path}: {reason}; correct the schema there")]
    Schema {
        /// Where.
        part: Part,
        /// JSON pointer of the smallest subschema that is refused by itself.
        path: String,
        /// Why.
        reason: String,
    },
    /// A regular expression or Lark grammar that is none, or that nothing matches.
    #[error("{part}: the {language} is refused: {reason}; correct it")]
    Grammar {
        /// Where.
        part: Part,
        /// `regular expression` or `Lark grammar`.
        language: &'static str,
        /// Why.
        reason: String,
    },
    /// Compilation took too long.
    #[error(
        "the grammars were not compiled within {limit_ms} ms of a processor; simplify the schema or grammar"
    )]
    TooSlow {
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// Too many compilations wait, or the result did not come in time.
    #[error("{max} grammars are being compiled and too many wait for it; try again")]
    Busy {
        /// The limit.
        max: usize,
    },
    /// The compiler of grammars panicked.
    #[error("the grammar compiler failed on this request; please report it with its schema")]
    Crashed,
    /// A token that the constraint forbids was committed: the caller did not apply the mask.
    #[error("token {token} is not allowed at position {position} of the completion")]
    NotAllowed {
        /// The token.
        token: u32,
        /// Number of tokens committed before it.
        position: usize,
    },
    /// The grammar met a limit of one mask, or nothing can follow.
    #[error("{part}: the grammar gave up after {position} tokens: {reason}; simplify the schema or grammar")]
    Exhausted {
        /// Where.
        part: Part,
        /// Number of tokens committed.
        position: usize,
        /// Why.
        reason: String,
    },
    /// More tokens were to be taken back than there are.
    #[error("{asked} tokens were to be taken back, but {committed} were committed")]
    Rollback {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        committed: usize,
    },
}
