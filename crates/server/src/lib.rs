//! What does a client see: the HTTP APIs of OpenAI, Anthropic and Ollama, over `turn`.
//!
//! Enter at [`listen`] and [`run()`]: an [`App`] is [`Models`] with the ways to load them, [`Limits`] and
//! [`Keys`]. Inside, a request walks one way: the room `api` reads the body as a `GenerationRequest`, turns
//! of the model are a `TurnStream`, and one loop (`drive`) has a machine of `api` put its deltas into the
//! words of the API. Here is what those pure parts are not: connections, keys, tasks, the store, what runs
//! and what is counted.
//!
//! The room does not know weights, kernels, files of models or terminals, and nothing that a client or the
//! model says is ever logged.

mod abroad;
mod abroad_body;
mod abroad_response;
mod abroad_source;
mod abroad_turn;
mod access_log;
mod adapter_root;
mod anthropic;
mod asker;
mod batch_input;
mod batch_line;
mod batch_offline;
mod batch_runner;
mod batch_tasks;
mod batches;
mod bill;
mod blocking;
mod body;
mod call_cache;
mod call_split;
mod chat;
mod client_name;
mod clock;
mod compaction;
mod completions;
mod container_content;
mod container_files;
mod container_inputs;
mod container_registry;
mod containers;
mod content_coding;
mod conversations;
mod cors;
mod declared_label;
mod drive;
mod engine_health;
mod error;
mod fair_share;
mod file_label;
mod files;
mod fine_tuning;
mod gate;
mod gateway;
mod governance;
mod guarding;
mod held;
mod ids;
mod keys;
pub mod limits;
mod linger;
mod loads;
mod local_models;
mod lora;
mod messages;
mod metered;
mod metrics;
mod model;
mod model_host;
mod moderations;
mod narrowing;
mod ollama;
mod openapi;
mod opening;
mod organization;
mod page;
mod paging;
mod path_class;
mod paths;
mod paused_sessions;
mod place;
mod pulse;
mod query;
mod queue_share;
mod rate_headers;
mod redact;
mod redactor;
mod rejection;
mod relay_guard;
mod rendered;
mod response_log;
mod response_stream;
mod responses;
mod roster;
mod routes;
mod rules;
mod ruling;
mod run;
mod said;
mod said_queue;
mod sampling;
mod scope;
mod socket;
mod sse;
mod state;
mod status;
mod store;
mod stored_response;
mod stream_item;
mod text_stream;
mod thinking_key;
mod timed_stream;
mod tls;
mod tokens;
mod tool_host;
mod tool_loop;
mod trace;
mod training;
mod tuned_adapters;
mod tuner;
mod tuning;
mod turn_source;
mod turn_stream;
mod watch;

pub use access_log::{Log, LogFormat};
pub use batch_offline::answer_lines;
pub use cors::CorsOrigin;
pub use error::{Error, TlsProblem};
pub use governance::Governance;
pub use gptoss_api::batches::lines::{BatchLine, Validator};
pub use gptoss_api::batches::results::BatchResult;
pub use gptoss_api::chat::chunks::ReasoningField;
pub use gptoss_api::fine_tuning::hyperparameters::TrainingNumbers;
pub use gptoss_api::generation::hosted::{HostedCall, OfferedServer, OfferedTool, ServerTool, ToolServer};
pub use gptoss_api::responses::events::{CitedPage, MadeFile, ToolOutcome};
pub use gptoss_api::responses::prompt::{Prompts, TemplateError};
pub use gptoss_api::usage::{PhaseTimes, TokenUsage};
pub use gptoss_api::wire::fine_tuning::{TuningMetrics, TuningOptions};
pub use gptoss_api::wire::redact::{RedactResult, RedactedSpan};
pub use guarding::AskAddress;
pub use keys::{Keys, LOCAL};
pub use limits::Limits;
pub use model::{
    AdapterDoor, LoadAdapter, LoadModel, LoadedModel, ModelOffer, Models, ServedAdapter, ServedModel,
};
pub use pulse::Pulse;
pub use redactor::{RedactOptions, RedactProblem, Redactor};
pub use routes::{DeclaredRoute, declared_routes};
pub use run::{Bound, bind, listen, run};
pub use state::App;
pub use tls::{Tls, TlsFiles};
pub use tool_host::{ContainerInputs, InputFile, ToolHost, ToolSession};
pub use trace::{ChoiceWork, RequestTrace, TraceParent, Traces, Work, WorkKind};
pub use training::{
    DataFile, DataProblem, DataReport, TrainingData, TrainingEnd, TrainingMethod, TrainingOrder,
    TrainingReport, TrainingRunner, TrainingSeat, TrainingTurn,
};
