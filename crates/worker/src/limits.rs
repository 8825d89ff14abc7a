//! Every bound of this room.
//!
//! | limit | unit | value | answer when hit |
//! |---|---|---|---|
//! | message, and its time from its head on | bytes, time | 4 MiB, 30 s | OUT_OF_RANGE, DEADLINE_EXCEEDED |
//! | list of ids to abort, any other message | bytes | 64 KiB, 4 KiB | OUT_OF_RANGE |
//! | request id, cache salt | bytes | 256 | INVALID_ARGUMENT |
//! | name of a model or adapter | bytes | 4,096 | INVALID_ARGUMENT |
//! | words of a status | bytes | 2 KiB, percent-encoded 6 KiB | cut |
//! | stop strings, stop token ids | strings, bytes of each, ids | 16, 1,024, 256 | INVALID_ARGUMENT |
//! | bad words | sequences, tokens of each | 1,024, 64 | INVALID_ARGUMENT |
//! | choices, log-probabilities told | strings, tokens | 1,024, 20 | INVALID_ARGUMENT |
//! | requests that are read at a time, of one tenant | requests | 32, 16 | wait 10 s, then UNAVAILABLE |
//! | forms that are compiled, or wait for it, of one tenant | requests | 64, 32 | UNAVAILABLE |
//! | requests of one connection | streams | 512 | wait for a place |
//! | unread bytes of a stream, of a connection | bytes | 64 KiB, 32 MiB | wait |
//! | connections, and those that begin | connections | 64, 64 | wait 10 s, then closed; wait |
//! | beginning of a connection, TLS included | time | 10 s | closed |
//! | silence of a connection | time | 20 s, then 20 s for an answer | closed |
//! | the engine's queue, sampling, grammars | | of the rooms that do them | |

use std::time::Duration;

/// Longest message of a client: a prompt of a million tokens. Units: bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// How long a message may take to come, from the head of its call on.
pub const MESSAGE_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest list of ids to abort, which is read outside the places of requests. Units: bytes.
pub(crate) const ABORT_BYTES_MAX: usize = 64 << 10;
/// Longest message of every other call that begins no request. Units: bytes.
pub(crate) const QUESTION_BYTES_MAX: usize = 4 << 10;
/// Longest words of a status: clients end their connection, with all its streams, over a longer head.
/// Percent-encoded they are at most three times that. Units: bytes.
pub(crate) const WORDS_BYTES_MAX: usize = 2 << 10;
/// Longest name of a model, which may be a path, or of an adapter. Units: bytes.
pub(crate) const NAME_BYTES_MAX: usize = 4 << 10;
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
/// Requests that are received and read at a time, before the engine's queue has them, half of them
/// of one tenant. Their messages are at most 128 MiB as they come; decoded, short strings and lists take
/// several times that.
pub const READING_MAX: usize = 32;
/// How long a request waits to be read.
pub const READING_WAIT_MAX: Duration = Duration::from_secs(10);
/// Requests whose forms are compiled or wait for it, which may take a minute, half of them of
/// one tenant. Their messages are at most 256 MiB as they come; decoded they may be several times larger.
pub const COMPILING_MAX: usize = 64;
/// Requests of one connection at a time: twice what may wait for the engine, so that a router with one
/// connection is told that the queue is full and does not wait without knowing.
pub(crate) const STREAMS_MAX: u32 = 512;
/// What a client may send of a message before it is read. Units: bytes.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same of all streams of a connection: those that wait to be read must not hold up one that is. Units:
/// bytes.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;
/// Longest head of a request. Units: bytes.
pub(crate) const HEAD_BYTES_MAX: u32 = 16 << 10;
/// Connections that are served at a time.
pub const CONNECTIONS_MAX: usize = 64;
/// Connections that begin at a time: those of peers that have shown neither certificate nor protocol.
pub const ARRIVALS_MAX: usize = 64;
/// How long the beginning of a connection may take, and then the wait for a place.
pub const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(10);
/// How often it is told that connections do not begin.
pub(crate) const FAILURES_TOLD: Duration = Duration::from_secs(60);
/// Silence after which a connection is asked whether somebody is there, and the wait for the answer.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How often it is looked whether a watched health has changed.
pub(crate) const HEALTH_LOOK: Duration = Duration::from_millis(500);
/// How long the last answers may take to leave, after all streams were ended.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the operator decides, and what tests make smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long what runs may go on after the worker was told to stop; then it ends with UNAVAILABLE.
    pub drain: Duration,
    /// How long a request may take, waiting included; then it ends with what it has, as at its length.
    pub request_time: Duration,
    /// [`CONNECTIONS_MAX`].
    pub connections: usize,
    /// [`ARRIVALS_MAX`], connections.
    pub arrivals: usize,
    /// [`ARRIVAL_TIME_MAX`].
    pub arrival_time: Duration,
    /// [`READING_MAX`], requests.
    pub reading: usize,
    /// [`READING_WAIT_MAX`].
    pub reading_wait: Duration,
    /// [`COMPILING_MAX`], requests.
    pub compiling: usize,
    /// [`MESSAGE_TIME_MAX`].
    pub message_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            drain: Duration::from_secs(300),
            request_time: Duration::from_secs(1800),
            connections: CONNECTIONS_MAX,
            arrivals: ARRIVALS_MAX,
            arrival_time: ARRIVAL_TIME_MAX,
            reading: READING_MAX,
            reading_wait: READING_WAIT_MAX,
            compiling: COMPILING_MAX,
            message_time: MESSAGE_TIME_MAX,
        }
    }
}
