//! How large may input be before harmony says no?
//!
//! Every bound of the room has its name, unit and answer here, so that a reader sees them together and a
//! caller can print them. The bounds protect memory and time; none of them is reached by published files or
//! by ordinary conversations.

/// Longest `tokenizer.json` that is read, in bytes (the published one has 27.9 MB). Beyond it:
/// [`crate::Error::TokenizerTooLarge`].
pub const TOKENIZER_JSON_BYTES_MAX: usize = 256 << 20;

/// Most token ids a vocabulary may span (the published one has 201,088). Beyond it:
/// [`crate::Error::TokenizerToken`].
pub const VOCABULARY_TOKENS_MAX: usize = 1 << 21;

/// Longest token of a vocabulary file, in bytes (o200k's longest has 128). Beyond it:
/// [`crate::Error::TokenizerToken`].
pub const TOKEN_BYTES_MAX: usize = 4096;

/// Longest piece that is merged as one, in bytes; longer runs of one kind of character are cut there. Merging
/// takes about 20 bytes of memory per byte of the piece.
pub const PIECE_BYTES_MAX: usize = 1 << 26;

/// Deepest nesting of a tool's parameter schema, in levels, `$ref` included. Beyond it:
/// [`crate::Error::SchemaTooDeep`].
pub const SCHEMA_DEPTH_MAX: usize = 128;

/// Longest text that one tool's schema may render to, in bytes; it stops exponential `$ref` expansion. Beyond
/// it: [`crate::Error::SchemaTooLarge`].
pub const SCHEMA_TEXT_BYTES_MAX: usize = 4 << 20;

/// Longest message header the streaming parser collects, in tokens. A header that is longer without
/// `<|message|>` is closed there and the rest is content, with a warning.
pub const HEADER_TOKENS_MAX: usize = 256;

/// Most schema nodes that one tool's parameters may expand to, `$ref`s included. Beyond it:
/// [`crate::Error::SchemaTooLarge`].
pub const SCHEMA_NODES_MAX: usize = 1 << 17;
