//! Status, type, code and words of each failure.
//!
//! [`ApiError`] is the one way in which a request fails, and [`ApiError::row`] the one table: its rows are
//! what `/openapi.json` lists and what clients' retry logic sees. The body is OpenAI's, `{"error":
//! {"message", "type", "param", "code"}}`. Rows that a client should try again carry how long to wait.
//! Nothing of a prompt is ever part of a message: only names, numbers and kinds.

use schemars::JsonSchema;
use serde::Serialize;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "a variant's message says what it is")]
pub enum ApiError {
    #[error("{message}")]
    Invalid { param: Option<String>, message: String },
    #[error("Missing required parameter: '{param}'.")]
    Missing { param: &'static str },
    #[error("Unsupported parameter: '{param}'. {why}")]
    Unsupported { param: String, why: String },
    #[error("The body is not JSON: {problem}.")]
    NotJson { problem: String },
    #[error("The body has to be sent with 'content-type: application/json'.")]
    MediaType,
    #[error("The body is longer than {max} bytes, the most this server reads (--max-body).")]
    BodyTooLarge { max: usize },
    #[error("The file is longer than {max} bytes, the most that is kept of one (--max-file).")]
    FileTooLarge { max: u64 },
    #[error("This key's tenant has {what}: delete files that are not needed any more.")]
    FilesFull { what: String },
    #[error(
        "Nothing more can be stored: the disk of the server's state folder is full. The operator has to make room on it."
    )]
    DiskFull,
    #[error(
        "The {what} '{id}' is damaged in the server's database: its checksum is another. Delete it and make it again; the operator may have a copy."
    )]
    Damaged { what: &'static str, id: String },
    #[error("The body did not come in time; send it whole, and again.")]
    BodyTimeout,
    #[error("The body broke off, or its chunks or length are not those of HTTP/1.1.")]
    Framing,
    #[error("The body's 'content-encoding' has to be gzip or zstd, or none.")]
    Coding,
    #[error("The body is not {coding}, as its 'content-encoding' says, or is damaged.")]
    Coded { coding: &'static str },
    #[error("This server is not called {host:?}. If it is, start it with --allow-host {host}.")]
    Host { host: String },
    #[error(
        "A page of another site may not use this server. If it may, start it with --cors-origin and the page's origin."
    )]
    Origin,
    #[error(
        "This model's context holds {max_context} tokens, but the request has {prompt_tokens}. Shorten it."
    )]
    ContextLength { prompt_tokens: usize, max_context: usize },
    #[error("There is no valid API key in the request: send 'authorization: Bearer KEY'.")]
    Key,
    #[error("This key may not {what}: it would show reasoning. The operator can allow it with tokens=raw.")]
    Scope { what: &'static str },
    #[error("This key's scopes do not have '{scope}', which is asked for here; the operator can add it.")]
    Unscoped { scope: &'static str },
    #[error("The operator's rules refuse this: {reason}.")]
    Ruled { reason: String },
    #[error("This key is past its end, {expired_at}. Ask the operator for another.")]
    KeyExpired { expired_at: String },
    #[error("The rate of this key is used up: {what}.")]
    Rate { what: String, retry_ms: Option<u64> },
    #[error(
        "The budget of this key is used up: {what}. The operator's rules say how much there is, and when there is more."
    )]
    Quota { what: String, retry_ms: Option<u64> },
    #[error("The model '{model}' does not exist. Known: {known}.")]
    Model { model: String, known: String },
    #[error(
        "The model '{model}' could not be loaded; the server's log says why. It is tried again in {retry_seconds} s."
    )]
    NotLoaded { model: String, retry_seconds: u64 },
    #[error("There is no {what} with the id '{id}': never stored, expired or deleted.")]
    NotFound { what: &'static str, id: String },
    #[error(
        "Previous response with id '{id}' not found: never stored, expired, deleted, or of a connection that is closed."
    )]
    PreviousResponse { id: String },
    #[error("There is no prompt '{id}' in the folder of prompts (--prompts).")]
    Prompt { id: String },
    #[error("There is no {path} here; see /openapi.json.")]
    Path { path: String },
    #[error("There is no {path} here: {why}")]
    NotOffered { path: String, why: &'static str },
    #[error("{path} does not take {method}; see /openapi.json.")]
    Method { path: String, method: String },
    #[error("{message}")]
    Conflict { message: String },
    #[error("The server is full: {what}. Try again in {retry_seconds} s.")]
    Busy { what: String, retry_seconds: u64 },
    #[error("The server is overloaded: {what}. Try again in {retry_seconds} s.")]
    Overloaded { what: String, retry_seconds: u64 },
    #[error("Events were dropped before they were read; retrieve the response by its id.")]
    EventsDropped,
    #[error("A connection is open for at most {seconds} s. Open another to go on.")]
    ConnectionTime { seconds: u64 },
    #[error("A message of a connection has to be text.")]
    MessageKind,
    #[error(
        "The request is labelled {label} and does not leave this machine, and nobody here can answer it now. Try again in {retry_seconds} s."
    )]
    KeptHere { label: &'static str, retry_seconds: u64 },
    #[error("The request is labelled {label}, and nobody who has the model {model:?} may have it.")]
    Label { label: &'static str, model: String },
    #[error("The upstream {name} gave no answer: {problem}")]
    Upstream { name: String, problem: String },
    #[error("The server is shutting down.")]
    ShuttingDown,
    #[error("The request was cancelled.")]
    Cancelled,
    #[error("The engine failed: {problem}")]
    Engine { problem: String },
    #[error("The server failed: the state database: {problem}")]
    State { problem: String },
    #[error("The server failed: {problem}")]
    Internal { problem: String },
}

/// One row of the table.
pub struct Row {
    /// The status of HTTP.
    pub status: u16,
    /// The class of the error.
    pub kind: &'static str,
    /// A word for programs.
    pub code: Option<&'static str>,
    /// How long to wait before the request is worth another try. Units: seconds.
    pub retry_seconds: Option<u64>,
}

impl Row {
    /// Whether it is the server's own failure.
    pub fn is_server_error(&self) -> bool {
        self.status >= 500
    }
}

/// Statuses that errors may have, for the documentation.
pub const STATUSES: [u16; 16] =
    [400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 429, 499, 500, 502, 503, 507];

/// How long a client should wait for a server that goes away. Units: seconds.
const RESTART_SECONDS: u64 = 5;

impl ApiError {
    /// A wrong value, by the parameter's name.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError::Invalid { param: Some(param.into()), message: message.into() }
    }

    /// A parameter that this server knows and cannot honour.
    pub fn unsupported(param: impl Into<String>, why: impl Into<String>) -> ApiError {
        ApiError::Unsupported { param: param.into(), why: why.into() }
    }

    /// The table.
    pub fn row(&self) -> Row {
        const REQUEST: &str = "invalid_request_error";
        let (status, kind, code, retry_seconds) = match self {
            ApiError::Invalid { .. } => (400, REQUEST, Some("invalid_value"), None),
            ApiError::Missing { .. } => (400, REQUEST, Some("missing_required_parameter"), None),
            ApiError::Unsupported { .. } => (400, REQUEST, Some("unsupported_parameter"), None),
            ApiError::NotJson { .. } => (400, REQUEST, Some("invalid_json"), None),
            ApiError::MediaType => (415, REQUEST, Some("unsupported_media_type"), None),
            ApiError::BodyTooLarge { .. } => (413, REQUEST, Some("request_too_large"), None),
            ApiError::FileTooLarge { .. } => (413, REQUEST, Some("file_too_large"), None),
            ApiError::FilesFull { .. } => (400, REQUEST, Some("storage_quota_exceeded"), None),
            ApiError::DiskFull => (507, "server_error", Some("disk_full"), None),
            ApiError::Damaged { .. } => (500, "server_error", Some("stored_data_damaged"), None),
            ApiError::BodyTimeout => (408, REQUEST, Some("request_timeout"), None),
            ApiError::Framing => (400, REQUEST, Some("invalid_framing"), None),
            ApiError::Coded { .. } => (400, REQUEST, Some("invalid_content_encoding"), None),
            ApiError::Coding => (415, REQUEST, Some("unsupported_content_encoding"), None),
            ApiError::Host { .. } => (403, REQUEST, Some("host_not_allowed"), None),
            ApiError::Origin => (403, REQUEST, Some("origin_not_allowed"), None),
            ApiError::ContextLength { .. } => (400, REQUEST, Some("context_length_exceeded"), None),
            ApiError::Key => (401, REQUEST, Some("invalid_api_key"), None),
            ApiError::Scope { .. } | ApiError::Unscoped { .. } => {
                (403, REQUEST, Some("permission_denied"), None)
            }
            ApiError::Ruled { .. } => (403, REQUEST, Some("refused_by_rules"), None),
            ApiError::KeyExpired { .. } => (401, REQUEST, Some("api_key_expired"), None),
            ApiError::Rate { retry_ms, .. } => {
                let seconds = retry_ms.map(|millis| millis.div_ceil(1000));
                (429, "rate_limit_error", Some("rate_limit_exceeded"), seconds)
            }
            ApiError::Quota { retry_ms, .. } => {
                let seconds = retry_ms.map(|millis| millis.div_ceil(1000));
                (429, "insufficient_quota", Some("insufficient_quota"), seconds)
            }
            ApiError::Model { .. } => (404, REQUEST, Some("model_not_found"), None),
            ApiError::NotFound { .. } => (404, REQUEST, Some("not_found"), None),
            ApiError::PreviousResponse { .. } => (400, REQUEST, Some("previous_response_not_found"), None),
            ApiError::Prompt { .. } => (404, REQUEST, Some("not_found"), None),
            ApiError::Path { .. } | ApiError::NotOffered { .. } => (404, REQUEST, Some("unknown_url"), None),
            ApiError::Method { .. } => (405, REQUEST, Some("method_not_allowed"), None),
            ApiError::Conflict { .. } => (409, REQUEST, Some("conflict"), None),
            ApiError::EventsDropped => (409, REQUEST, Some("events_dropped"), None),
            ApiError::ConnectionTime { .. } => {
                (400, REQUEST, Some("websocket_connection_limit_reached"), None)
            }
            ApiError::MessageKind => (400, REQUEST, Some("unsupported_message"), None),
            ApiError::Busy { retry_seconds, .. } => {
                (429, "rate_limit_error", Some("server_busy"), Some(*retry_seconds))
            }
            ApiError::Overloaded { retry_seconds, .. } => {
                (503, "server_error", Some("server_overloaded"), Some(*retry_seconds))
            }
            ApiError::NotLoaded { retry_seconds, .. } => {
                (503, "server_error", Some("model_not_loaded"), Some(*retry_seconds))
            }
            ApiError::KeptHere { retry_seconds, .. } => {
                (503, "server_error", Some("local_only"), Some(*retry_seconds))
            }
            ApiError::Label { .. } => (403, REQUEST, Some("sensitivity"), None),
            ApiError::Upstream { .. } => (502, "server_error", Some("upstream_error"), None),
            ApiError::ShuttingDown => (503, "server_error", Some("shutting_down"), Some(RESTART_SECONDS)),
            ApiError::Cancelled => (499, REQUEST, Some("request_cancelled"), None),
            ApiError::Engine { .. } => (500, "server_error", Some("engine_error"), None),
            ApiError::State { .. } | ApiError::Internal { .. } => {
                (500, "server_error", Some("server_error"), None)
            }
        };
        Row { status, kind, code, retry_seconds }
    }

    /// How long to wait, as exactly as it is known. Units: milliseconds.
    pub fn retry_millis(&self) -> Option<u64> {
        match self {
            ApiError::Rate { retry_ms, .. } | ApiError::Quota { retry_ms, .. } => *retry_ms,
            _ => None,
        }
    }

    /// Whether asking again is to no purpose, though the status says otherwise.
    pub fn is_final(&self) -> bool {
        matches!(self, ApiError::Quota { .. } | ApiError::Rate { retry_ms: None, .. })
    }

    /// The parameter at fault, where there is one.
    fn param(&self) -> Option<String> {
        match self {
            ApiError::Invalid { param, .. } => param.clone(),
            ApiError::Missing { param } => Some((*param).to_owned()),
            ApiError::Unsupported { param, .. } => Some(param.clone()),
            ApiError::Model { .. } | ApiError::Label { .. } => Some("model".to_owned()),
            ApiError::PreviousResponse { .. } => Some("previous_response_id".to_owned()),
            ApiError::Prompt { .. } => Some("prompt.id".to_owned()),
            ApiError::Key
            | ApiError::NotLoaded { .. }
            | ApiError::Scope { .. }
            | ApiError::Unscoped { .. }
            | ApiError::Ruled { .. }
            | ApiError::KeyExpired { .. }
            | ApiError::Rate { .. }
            | ApiError::Quota { .. }
            | ApiError::NotJson { .. }
            | ApiError::MediaType
            | ApiError::BodyTooLarge { .. }
            | ApiError::FileTooLarge { .. }
            | ApiError::FilesFull { .. }
            | ApiError::DiskFull
            | ApiError::Damaged { .. }
            | ApiError::BodyTimeout
            | ApiError::Framing
            | ApiError::Coding
            | ApiError::Coded { .. }
            | ApiError::Host { .. }
            | ApiError::Origin
            | ApiError::ContextLength { .. }
            | ApiError::NotFound { .. }
            | ApiError::Path { .. }
            | ApiError::NotOffered { .. }
            | ApiError::Method { .. }
            | ApiError::Conflict { .. }
            | ApiError::EventsDropped
            | ApiError::ConnectionTime { .. }
            | ApiError::MessageKind
            | ApiError::Busy { .. }
            | ApiError::Overloaded { .. }
            | ApiError::KeptHere { .. }
            | ApiError::Upstream { .. }
            | ApiError::ShuttingDown
            | ApiError::Cancelled
            | ApiError::Engine { .. }
            | ApiError::State { .. }
            | ApiError::Internal { .. } => None,
        }
    }

    /// The body.
    pub fn body(&self) -> ErrorBody {
        let row = self.row();
        ErrorBody {
            error: ErrorFacts {
                message: self.to_string(),
                kind: row.kind.to_owned(),
                param: self.param(),
                code: row.code.map(str::to_owned),
            },
        }
    }
}

/// The body of every error.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorFacts,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ErrorFacts {
    /// A sentence for people.
    pub message: String,
    /// The class of the error.
    #[serde(rename = "type")]
    pub kind: String,
    /// The parameter at fault.
    pub param: Option<String>,
    /// A word for programs.
    pub code: Option<String>,
}
