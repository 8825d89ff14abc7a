//! Every bound of this room.
//!
//! | limit | unit | value | answer when hit |
//! |---|---|---|---|
//! | message | bytes | 4 MiB | OUT_OF_RANGE |
//! | request id, cache salt | bytes | 256 | INVALID_ARGUMENT |
//! | stop strings | strings, bytes of each | 16, 1,024 | INVALID_ARGUMENT |
//! | stop token ids | ids | 256 | INVALID_ARGUMENT |
//! | bad words | sequences, tokens of each | 1,024, 64 | INVALID_ARGUMENT |
//! | choices | strings | 1,024 | INVALID_ARGUMENT |
//! | log-probabilities told | tokens | 20 | INVALID_ARGUMENT |
//! | requests of one connection | streams | 1,024 | wait for a place |
//! | connections | connections | 64 | wait for a place |
//! | beginning of a connection over TLS | time | 10 s | closed |
//! | silence of a connection | time | 20 s, then 20 s for an answer | closed |
//!
//! How many requests wait, sampling and grammars are bounded by the rooms that do them.

use std::time::Duration;

/// Longest message of a client: a prompt of a million tokens. Units: bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Longest id of a request. Units: bytes.
pub(crate) const REQUEST_ID_BYTES_MAX: usize = 256;
/// Longest cache salt. Units: bytes.
pub(crate) const SALT_BYTES_MAX: usize = 256;
/// Most stop strings.
pub(crate) const STOP_STRINGS_MAX: usize = 16;
/// Longest stop string. Units: bytes.
pub(crate) const STOP_BYTES_MAX: usize = 1024;
/// Most stop tokens.
pub(crate) const STOP_IDS_MAX: usize = 256;
/// Most sequences of tokens that must not come.
pub(crate) const BAD_WORDS_MAX: usize = 1024;
/// Longest of them. Units: tokens.
pub(crate) const BAD_WORD_TOKENS_MAX: usize = 64;
/// Most choices of an answer.
pub(crate) const CHOICES_MAX: usize = 1024;
/// Tokens of a request that says nothing, as vLLM has it.
pub(crate) const NEW_TOKENS_DEFAULT: usize = 20;
/// Requests of one connection at a time.
pub(crate) const STREAMS_MAX: u32 = 1024;
/// Longest head of a request. Units: bytes.
pub(crate) const HEAD_BYTES_MAX: u32 = 16 << 10;
/// Connections at a time.
pub(crate) const CONNECTIONS_MAX: usize = 64;
/// How long the beginning of a connection over TLS may take.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Silence after which a connection is asked whether somebody is there, and the wait for the answer.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long the last answers may take to leave, after all streams were ended.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the operator decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long what runs may go on after the worker was told to stop; then it ends with UNAVAILABLE.
    pub drain: Duration,
    /// How long a request may take, waiting included; then it ends with what it has, as at its length.
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { drain: Duration::from_secs(300), request_time: Duration::from_secs(1800) }
    }
}
