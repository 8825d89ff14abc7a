//! How much of anything the gateway takes, waits for or holds.

use std::time::Duration;

/// Longest configuration file. Units: bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Most upstreams of a file.
pub const UPSTREAMS_MAX: usize = 64;
/// Most models of an upstream.
pub const MODELS_MAX: usize = 256;
/// Most rules of a file.
pub const ROUTES_MAX: usize = 256;
/// Most targets of a rule.
pub const TARGETS_MAX: usize = 16;
/// Most detectors of a file.
pub const DETECTORS_MAX: usize = 64;
/// Longest pattern of a detector. Units: bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// What a compiled pattern may take. Units: bytes.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 1 << 20;
/// Longest name of anything. Units: bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest secret. Units: bytes.
pub const SECRET_BYTES_MAX: usize = 8 << 10;

/// How long a connection may take to be made.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// Most idle connections to one host.
pub const IDLE_CONNECTIONS_MAX: usize = 256;
/// Longest answer that is no stream. Units: bytes.
pub const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Longest refusal that is read. Units: bytes.
pub const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// Characters of an upstream's words that are told.
pub const DETAIL_CHARS_MAX: usize = 300;
/// Longest event of a stream. Units: bytes.
pub const EVENT_BYTES_MAX: usize = 4 << 20;
/// What a stream may send up to and with its first event, comments included. Units: bytes.
pub const FIRST_BYTES_MAX: usize = EVENT_BYTES_MAX + (64 << 10);
/// Pieces of a stream that wait for their reader.
pub const STREAM_PIECES_MAX: usize = 64;
/// How long the rest of a connection is read after the last event, so that it can be used again.
pub const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The longest wait that an upstream's `retry-after` may bring about before another try of the same request.
pub const RETRY_AFTER_WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest time for which a `retry-after` keeps an upstream out.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// The longest first pause before a request is sent again; the next doubles it.
pub const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// The longest pause before a request is sent again.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The share of requests that may be sent to the same upstream again.
pub const RETRY_SHARE: f64 = 0.1;
/// Retries that are saved up.
pub const RETRIES_SAVED_MAX: f64 = 10.0;

/// Longest reason in a header. Units: bytes.
pub const REASON_BYTES_MAX: usize = 512;
/// Tokens that Anthropic's API is asked for when a request does not say how many.
pub const ANSWER_TOKENS: u64 = 8192;
/// Bytes of text that count as one token where nothing has counted them.
pub const BYTES_PER_TOKEN: u64 = 4;
