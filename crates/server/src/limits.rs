//! How much may a client ask for, and what happens beyond it?
//!
//! Every bound of this room has a name, a unit and a default here, and one answer, which the table in
//! `api/errors.rs` spells: 413 for a body, 400 with the parameter's name for what stands in it, 429 with a
//! hint when to come again for what others use at the moment. [`Limits`] are those that an operator may
//! change; constants are those that protect the program itself.
//!
//! It does not know the engine's own limits (queue, context, pages), which answer for themselves.

use std::time::Duration;

use gptoss_api::limits::RequestLimits;

/// Bounds that an operator may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest request body. Units: bytes.
    pub body_bytes_max: usize,
    /// How much of anything a request may hold.
    pub request: RequestLimits,
    /// Most responses that run in the background at a time.
    pub background_max: usize,
    /// How long the reasoning before a call is kept for clients that do not send it back.
    pub call_memory: Duration,
    /// How long a stored response or conversation is kept.
    pub state_age_max: Duration,
    /// Most stored responses and conversations of one tenant; its oldest leave first.
    pub state_rows_max: usize,
    /// Most bytes of all that is stored; the oldest of the tenant who has the most leave first. None: 256 MiB
    /// in memory, 16 GiB in a state folder. Units: bytes.
    pub state_bytes_max: Option<u64>,
    /// Largest stored response or conversation, its events included; a larger one is not stored. Units:
    /// bytes.
    pub state_row_bytes_max: usize,
    /// Most tokens of reasoning and preambles of any request; None is no limit. Units: tokens.
    pub reasoning_max: Option<u32>,
    /// The same before a call that is demanded, or an answer whose form is demanded while there are tools:
    /// there the model could go on talking instead. Units: tokens.
    pub forced_reasoning_max: u32,
    /// Tokens that reasoning leaves to the answer or call; None is a quarter of those that there is room for,
    /// 16 to 512. Units: tokens.
    pub answer_tokens: Option<usize>,
    /// Whether reasoning that repeats itself word for word is ended.
    pub breaks_loops: bool,
    /// Most calls of tools that the server runs for a response.
    pub tool_calls_max: u64,
    /// Longest file. Units: bytes.
    pub file_bytes_max: u64,
    /// Most files of one tenant.
    pub files_max: usize,
    /// Most bytes of one tenant's files, results of its batches included. None: 256 MiB in memory, 4 GiB in a
    /// state folder. Units: bytes.
    pub files_bytes_max: Option<u64>,
    /// Lines of all batches that are answered at a time.
    pub batch_lines_max: usize,
    /// Most batches of one tenant that have not ended.
    pub batches_max: usize,
    /// How long a request may take, waiting included; then it ends with what it has.
    pub request_time: Duration,
    /// Silence on a stream after which a comment is sent.
    pub keep_alive: Duration,
    /// How long a WebSocket is open; then the client has to open another.
    pub socket_time: Duration,
    /// Most connections at a time that have sent a request; more wait until one ends. As many again may wait,
    /// or have sent none.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, and a connection may have none.
    pub head_patience: Duration,
    /// How long the handshake of TLS may take.
    pub handshake_patience: Duration,
    /// How often the files of TLS are looked at.
    pub certificate_look: Duration,
    /// How long a body may pause on its way.
    pub body_patience: Duration,
    /// How long a whole body may take.
    pub body_time: Duration,
    /// How long a connection may take nothing of what is written to it before it counts as gone.
    pub write_patience: Duration,
    /// How long a request waits for its model to be loaded.
    pub load_patience: Duration,
    /// How long a shutdown waits for running requests.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes_max: 10 << 20,
            request: RequestLimits::default(),
            background_max: 64,
            call_memory: Duration::from_secs(3600),
            state_age_max: Duration::from_secs(30 * 24 * 3600),
            state_rows_max: 10_000,
            state_bytes_max: None,
            state_row_bytes_max: 16 << 20,
            reasoning_max: None,
            file_bytes_max: 100 << 20,
            files_max: 1000,
            files_bytes_max: None,
            batch_lines_max: 4,
            batches_max: 64,
            forced_reasoning_max: 1024,
            answer_tokens: None,
            breaks_loops: true,
            tool_calls_max: 128,
            request_time: Duration::from_secs(1800),
            keep_alive: Duration::from_secs(15),
            socket_time: Duration::from_secs(3600),
            connections_max: 512,
            head_patience: Duration::from_secs(10),
            handshake_patience: Duration::from_secs(10),
            certificate_look: Duration::from_secs(10),
            body_patience: Duration::from_secs(10),
            body_time: Duration::from_secs(60),
            write_patience: Duration::from_secs(30),
            load_patience: Duration::from_secs(300),
            drain: Duration::from_secs(300),
        }
    }
}

/// Requests that wait for a model to be loaded.
pub(crate) const LOAD_WAITING_MAX: usize = 256;
/// How long a model that could not be loaded is not tried again.
pub(crate) const LOAD_RETRY: Duration = Duration::from_secs(10);
/// Calls whose reasoning is kept at a time; the oldest leave first.
pub(crate) const CALLS_KEPT_MAX: usize = 4096;
/// Text of all reasoning kept for calls. Units: bytes.
pub(crate) const CALL_MEMORY_BYTES_MAX: usize = 64 << 20;
/// Sessions of tools kept for the responses that go on with a client's result.
pub(crate) const PAUSED_SESSIONS_MAX: usize = 1024;
/// What all of them hold, such as pages. Units: bytes.
pub(crate) const PAUSED_SESSIONS_BYTES_MAX: usize = 256 << 20;
/// Files of containers that are kept.
pub(crate) const CONTAINER_FILES_MAX: usize = 4096;
/// What all of them hold. Units: bytes.
pub(crate) const CONTAINER_FILES_BYTES_MAX: usize = 256 << 20;
/// What the files that are given to one container hold together. Units: bytes.
pub(crate) const CONTAINER_INPUT_BYTES_MAX: usize = 64 << 20;
/// Containers of which is known what they are; the oldest of the tenant with most of them leave first.
pub(crate) const CONTAINERS_MAX: usize = 4096;
/// Responses and conversations that go on in a container; the oldest are forgotten first.
pub(crate) const CONTAINER_TURNS_MAX: usize = 256;
/// How long a file that code made is kept. Units: seconds.
pub(crate) const CONTAINER_FILE_SECONDS: u64 = 3600;
/// Events that wait for a slow reader before the turn waits for it.
pub(crate) const STREAM_EVENTS_MAX: usize = 256;
/// Events of one response that are kept for readers, besides those that came last. Units: bytes.
pub(crate) const EVENT_LOG_BYTES_MAX: usize = 8 << 20;

/// Texts of one request to `/v1/completions` that are written at a time: the others wait, so that one request
/// does not take every place.
pub(crate) const TEXTS_AT_ONCE: usize = 8;

/// Messages of a WebSocket that wait for the response before them; those beyond are refused.
pub(crate) const SOCKET_MESSAGES_MAX: usize = 8;
/// Responses without `store` that a WebSocket can go on from; the oldest leave first.
pub(crate) const SOCKET_RESPONSES_MAX: usize = 8;

/// Requests for redacted texts that run or wait.
pub(crate) const REDACTIONS_MAX: usize = 64;
/// Texts of one of them.
pub(crate) const REDACT_TEXTS_MAX: usize = 2048;

/// How long a stream's reader may take none of them before it counts as gone.
pub(crate) const READER_PATIENCE: Duration = Duration::from_secs(30);
/// Most items of one page of a list.
pub(crate) const PAGE_ITEMS_MAX: usize = 100;
/// Tokens that a summary of the reasoning may have.
pub(crate) const SUMMARY_TOKENS_MAX: usize = 512;
/// How long a connection may have sent no request when another one wants to come in.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);
/// How long a body that is on its way may still take when the server stops.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(1);
/// What a client that is answered before its body has come may still send and be heard out. Units: bytes.
pub(crate) const LINGER_BYTES_MAX: usize = 256 << 20;
/// How long it may take for that.
pub(crate) const LINGER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long it may pause in that.
pub(crate) const LINGER_PAUSE_MAX: Duration = Duration::from_secs(5);
/// What is stored without a state folder, unless the operator says otherwise. Units: bytes.
pub(crate) const STATE_BYTES_IN_MEMORY_MAX: u64 = 256 << 20;
/// What is stored in a state folder, unless the operator says otherwise. Units: bytes.
pub(crate) const STATE_BYTES_ON_DISK_MAX: u64 = 16 << 30;
/// How deep the JSON of a stored row may be nested; reading it back ends at 127. Units: levels.
pub(crate) const STATE_DEPTH_MAX: usize = 120;
/// Files of one tenant without a state folder, unless the operator says otherwise. Units: bytes.
pub(crate) const FILES_BYTES_IN_MEMORY_MAX: u64 = 256 << 20;
/// Files of one tenant in a state folder, unless the operator says otherwise. Units: bytes.
pub(crate) const FILES_BYTES_ON_DISK_MAX: u64 = 4 << 30;
/// What of a file is written and read at a time. Units: bytes.
pub(crate) const FILE_PART_BYTES: usize = 1 << 20;
/// How long the body with a file may take.
pub(crate) const UPLOAD_TIME_MAX: Duration = Duration::from_secs(600);
/// Longest field of a form besides the file. Units: bytes.
pub(crate) const FORM_FIELD_BYTES_MAX: usize = 1024;
/// How long files of batches are kept when nothing is said, as OpenAI keeps them. Units: seconds.
pub(crate) const BATCH_FILE_SECONDS: u64 = 30 * 24 * 3600;
/// Tuning jobs of one tenant that have not ended.
pub(crate) const TUNING_JOBS_MAX: usize = 64;
/// Rows of a tuning job's files that are told because nothing is learned of them; the others are counted.
pub(crate) const TUNING_PROBLEMS_TOLD_MAX: usize = 100;
/// Most files of one page of a list.
pub(crate) const FILES_PAGE_MAX: usize = 10_000;
