//! A server elsewhere that answers for some models, as plain data.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::dialect::Dialect;
use crate::label::Label;
use crate::secret::Secret;

/// A server elsewhere.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name, which `x-route` and `owned_by` tell.
    pub name: String,
    /// Its address without a slash at the end: `https://host/v1`.
    pub base_url: String,
    /// Which API it speaks.
    pub kind: Kind,
    /// Its key.
    pub secret: Option<Secret>,
    /// Azure's older form: deployments in the path, and this version behind the question mark.
    pub api_version: Option<String>,
    /// Clients' names of its models, and its own.
    pub models: Vec<(String, String)>,
    /// Whether it has Chat Completions and no Responses.
    pub chat_only: bool,
    /// How long it may take to the first event, or to the whole of an answer that is no stream.
    pub timeout: Duration,
    /// How long a stream may be silent.
    pub idle_timeout: Duration,
    /// How often one request is sent to it again.
    pub num_retries: u32,
    /// Failures in a row after which it is left alone.
    pub allowed_fails: u32,
    /// For how long it is.
    pub cooldown_time: Duration,
    /// Most requests at a time.
    pub max_parallel: usize,
    /// Tokens of a whole conversation; None is not known.
    pub context_window: Option<u64>,
    /// What its tokens cost; None is not known.
    pub price: Option<Price>,
    /// Whether it may keep what it is sent.
    pub data_collection: DataCollection,
    /// Whether OpenRouter is asked for hosts that keep nothing at all.
    pub zdr: bool,
    /// The highest label of what it may be sent.
    pub label_max: Label,
    /// Whether it takes tools.
    pub tools: bool,
    /// Efforts that it takes; None is any.
    pub efforts: Option<Vec<String>>,
    /// What becomes of tools that run elsewhere than at the client.
    pub hosted_tools: HostedTools,
    /// What the length of an answer is called there; None leaves it as it came.
    pub max_tokens_field: Option<LengthField>,
    /// Whether its streams are asked for the usage.
    pub include_usage: bool,
    /// Whether the reasoning between calls is sent back to it.
    pub send_reasoning: bool,
    /// Anthropic: whether thinking is asked for.
    pub thinking: bool,
    /// More headers of every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Upstream {
    /// Its own name of a client's model.
    pub fn model(&self, name: &str) -> Option<&str> {
        self.models.iter().find(|(ours, _)| ours == name).map(|(_, theirs)| theirs.as_str())
    }

    /// In which API it is asked what comes in `dialect`; None when it cannot be.
    pub fn spoken(&self, dialect: Dialect) -> Option<Dialect> {
        match (self.kind, dialect) {
            (Kind::Anthropic, Dialect::Completions) => None,
            (Kind::Anthropic, _) => Some(Dialect::Messages),
            (_, Dialect::Messages) => Some(Dialect::Chat),
            (_, Dialect::Responses) if self.chat_only => Some(Dialect::Chat),
            (_, dialect) => Some(dialect),
        }
    }

    /// Whether it is known to take `store` in Chat Completions, which others refuse as a field of no meaning.
    pub(crate) fn knows_store(&self) -> bool {
        let of_openai = ["://api.openai.com/", "://eu.api.openai.com/", "://us.api.openai.com/"];
        let is_openai = of_openai.iter().any(|host| self.base_url.contains(host));
        is_openai || (self.kind == Kind::Azure && self.api_version.is_none())
    }

    /// Whether it is OpenRouter, which has a field of its own for who may keep what.
    pub(crate) fn is_openrouter(&self) -> bool {
        self.base_url.contains("://openrouter.ai/") || self.base_url.contains(".openrouter.ai/")
    }
}

/// Which API an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// OpenAI's, as almost everybody does.
    #[default]
    Openai,
    /// The same with Azure's paths and header.
    Azure,
    /// Anthropic's Messages.
    Anthropic,
}

/// Whether an upstream may keep what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataCollection {
    /// It may not: nothing is stored there.
    #[default]
    Deny,
    /// It may, if the request says so.
    Allow,
}

/// What becomes of tools that an upstream would run itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostedTools {
    /// A request with one is refused.
    #[default]
    Refuse,
    /// They are left out.
    Drop,
    /// They are passed on, to upstreams that are asked in the client's own API.
    Allow,
}

/// What the length of an answer is called in Chat Completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthField {
    /// As OpenAI has it now.
    MaxCompletionTokens,
    /// As it was.
    MaxTokens,
}

impl LengthField {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            LengthField::MaxCompletionTokens => "max_completion_tokens",
            LengthField::MaxTokens => "max_tokens",
        }
    }
}

/// What tokens cost. Units: US dollars for a million.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Read.
    pub input: f64,
    /// Written.
    pub output: f64,
    /// Read and cached; taken, and no part of what a request is expected to cost.
    pub cached: Option<f64>,
}

impl Price {
    /// What a request is expected to cost. Units: US dollars.
    pub fn of(&self, input: u64, output: u64) -> f64 {
        (self.input * input as f64 + self.output * output as f64) / 1e6
    }
}
