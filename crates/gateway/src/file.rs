//! The file of a gateway as it is written: TOML, each table with its place.
//!
//! A key that is not known is an error: what an operator believes to hold, holds.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::label::Label;
use crate::rule::Strategy;
use crate::upstream::{DataCollection, HostedTools, Kind, LengthField, Price};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) default_label: Label,
    #[serde(default)]
    pub(crate) local: LocalTable,
    #[serde(default)]
    pub(crate) detectors: Vec<Spanned<DetectorTable>>,
    #[serde(default)]
    pub(crate) upstreams: Vec<Spanned<UpstreamTable>>,
    #[serde(default)]
    pub(crate) routes: Vec<Spanned<RouteTable>>,
}

/// `[local]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocalTable {
    pub(crate) price: Option<Spanned<Price>>,
}

/// `[[detectors]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetectorTable {
    pub(crate) kind: DetectorKind,
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) pattern: Option<Spanned<String>>,
    pub(crate) label: Spanned<Label>,
}

/// What a detector looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DetectorKind {
    Email,
    Card,
    Iban,
    Pattern,
    Redact,
}

impl DetectorKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            DetectorKind::Email => "email",
            DetectorKind::Card => "card",
            DetectorKind::Iban => "iban",
            DetectorKind::Pattern => "pattern",
            DetectorKind::Redact => "redact",
        }
    }
}

/// `[[upstreams]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpstreamTable {
    pub(crate) name: Spanned<String>,
    pub(crate) base_url: Spanned<String>,
    #[serde(default)]
    pub(crate) kind: Kind,
    pub(crate) api_key_file: Option<Spanned<String>>,
    pub(crate) api_key_env: Option<Spanned<String>>,
    pub(crate) api_version: Option<Spanned<String>>,
    pub(crate) models: Spanned<BTreeMap<String, Spanned<String>>>,
    #[serde(default)]
    pub(crate) chat_only: bool,
    pub(crate) timeout: Option<Spanned<String>>,
    pub(crate) idle_timeout: Option<Spanned<String>>,
    pub(crate) num_retries: Option<Spanned<u32>>,
    pub(crate) allowed_fails: Option<Spanned<u32>>,
    pub(crate) cooldown_time: Option<Spanned<String>>,
    pub(crate) max_parallel: Option<Spanned<usize>>,
    pub(crate) context_window: Option<Spanned<u64>>,
    pub(crate) price: Option<Spanned<Price>>,
    #[serde(default)]
    pub(crate) data_collection: DataCollection,
    #[serde(default)]
    pub(crate) zdr: bool,
    pub(crate) label_max: Option<Spanned<Label>>,
    pub(crate) tools: Option<bool>,
    pub(crate) efforts: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    pub(crate) hosted_tools: HostedTools,
    pub(crate) max_tokens_field: Option<LengthField>,
    pub(crate) include_usage: Option<bool>,
    pub(crate) send_reasoning: Option<bool>,
    #[serde(default)]
    pub(crate) thinking: bool,
    #[serde(default)]
    pub(crate) allow_http: bool,
    #[serde(default)]
    pub(crate) headers: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// `[[routes]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteTable {
    pub(crate) name: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) model: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) label: Vec<Label>,
    pub(crate) tools: Option<bool>,
    pub(crate) effort: Option<Spanned<Vec<String>>>,
    pub(crate) prompt_tokens_min: Option<Spanned<u64>>,
    pub(crate) prompt_tokens_max: Option<Spanned<u64>>,
    pub(crate) targets: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(crate) strategy: Strategy,
}
