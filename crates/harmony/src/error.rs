//! What can go wrong in harmony, and whose fault is it?
//!
//! All variants are the caller's fault: a damaged or foreign vocabulary file, a conversation that has no
//! harmony form, ids beyond the vocabulary. Each carries the facts (what, where, expected, found) and its
//! message says what to do. Parsing has no errors: the streaming parser is total and answers with warnings.

/// Everything the fallible functions of this room return.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The vocabulary file is longer than [`crate::limits::TOKENIZER_JSON_BYTES_MAX`].
    #[error("tokenizer.json has {bytes} bytes, more than the {max} that are read; is it the right file?")]
    TokenizerTooLarge {
        /// Length of the file.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The vocabulary file is not the JSON it should be.
    #[error("tokenizer.json is damaged: {source}; fetch the file again")]
    TokenizerSyntax {
        /// What the JSON reader found, with line and column.
        source: serde_json::Error,
    },
    /// The vocabulary file is of a kind that gptoss does not run.
    #[error(
        "tokenizer.json: {field} is {found}, but gptoss reads only {expected}; use a tokenizer of the gpt-oss family"
    )]
    TokenizerUnsupported {
        /// Where in the file.
        field: &'static str,
        /// What is supported there.
        expected: &'static str,
        /// What the file holds.
        found: String,
    },
    /// One token of the vocabulary file is impossible.
    #[error("tokenizer.json: token {token:?} with id {id}: {problem}; fetch the file again")]
    TokenizerToken {
        /// The token as the file spells it.
        token: String,
        /// Its id.
        id: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// One merge of the vocabulary file is impossible.
    #[error("tokenizer.json: merge {index} ({merge:?}): {problem}; fetch the file again")]
    TokenizerMerge {
        /// Position in `model.merges`, from 0.
        index: usize,
        /// The merge as the file spells it.
        merge: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The vocabulary has no token for a single byte, so some text could not be encoded.
    #[error("tokenizer.json: no token for the byte 0x{byte:02x}; a byte-level vocabulary needs all 256")]
    TokenizerMissingByte {
        /// The byte.
        byte: u8,
    },
    /// The vocabulary lacks one of the nine control tokens of harmony.
    #[error(
        "tokenizer.json: added_tokens has no {name}; harmony needs it, use a tokenizer of the gpt-oss family"
    )]
    TokenizerMissingControl {
        /// The literal name of the control token.
        name: &'static str,
    },
    /// An id that the vocabulary gives no text.
    #[error(
        "token {id} at position {index} has no text: the vocabulary has {len} ids and this one is reserved or beyond"
    )]
    UnknownToken {
        /// Position in the caller's list, from 0.
        index: usize,
        /// The id.
        id: u32,
        /// Number of ids of the vocabulary.
        len: usize,
    },
    /// A conversation in JSON form has a wrong or missing field.
    #[error("{path}: expected {expected}, found {found}")]
    Conversation {
        /// Where, as in `messages[3].content[0].text`.
        path: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A tool's message without the tool's name, which is its author in harmony.
    #[error(
        "messages[{message}]: a tool message needs the tool's full name as its author, for example functions.get_weather"
    )]
    ToolWithoutName {
        /// Index of the message.
        message: usize,
    },
    /// System content outside a system message, or developer content outside a developer message.
    #[error(
        "messages[{message}]: {content} may only appear in a {expected} message, found in a {found} message"
    )]
    MisplacedContent {
        /// Index of the message.
        message: usize,
        /// The kind of content.
        content: &'static str,
        /// The role it belongs to.
        expected: &'static str,
        /// The role it was found in.
        found: &'static str,
    },
    /// A parameter schema is nested deeper than [`crate::limits::SCHEMA_DEPTH_MAX`].
    #[error(
        "messages[{message}]: the parameters of tool {tool:?} nest deeper than {max} levels; flatten the schema"
    )]
    SchemaTooDeep {
        /// Index of the message.
        message: usize,
        /// Name of the tool.
        tool: String,
        /// The limit, in levels.
        max: usize,
    },
    /// A parameter schema expands beyond [`crate::limits::SCHEMA_TEXT_BYTES_MAX`] or
    /// [`crate::limits::SCHEMA_NODES_MAX`].
    #[error(
        "messages[{message}]: the parameters of tool {tool:?} expand to more than {max} {unit}; shorten the schema"
    )]
    SchemaTooLarge {
        /// Index of the message.
        message: usize,
        /// Name of the tool.
        tool: String,
        /// The limit.
        max: usize,
        /// What the limit counts: `bytes` or `nodes`.
        unit: &'static str,
    },
}
