//! The messages of `vllm.Inference`.

use std::collections::BTreeMap;

use super::Opaque;

/// Tokens to continue, and how.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GenerateRequest {
    #[prost(string, tag = "1")]
    pub(crate) request_id: String,
    #[prost(string, tag = "2")]
    pub(crate) model: String,
    #[prost(oneof = "Prompt", tags = "3, 4")]
    pub(crate) prompt: Option<Prompt>,
    #[prost(float, optional, tag = "5")]
    pub(crate) temperature: Option<f32>,
    #[prost(message, optional, tag = "6")]
    pub(crate) sampling: Option<RandomSampling>,
    #[prost(message, optional, tag = "7")]
    pub(crate) decoding: Option<DecodingParameters>,
    #[prost(message, optional, tag = "8")]
    pub(crate) stopping: Option<StoppingCriteria>,
    #[prost(message, optional, tag = "9")]
    pub(crate) response: Option<ResponseOptions>,
    #[prost(message, optional, tag = "10")]
    pub(crate) kv: Option<KvCacheParameters>,
    #[prost(uint32, tag = "11")]
    pub(crate) truncate_prompt_tokens: u32,
    #[prost(int32, tag = "12")]
    pub(crate) priority: i32,
    #[prost(message, repeated, tag = "14")]
    pub(crate) media: Vec<Opaque>,
    #[prost(string, tag = "15")]
    pub(crate) lora_name: String,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Prompt {
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(message, tag = "4")]
    TokenIds(TokenIds),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TokenIds {
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) ids: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RandomSampling {
    /// 0 is 1.
    #[prost(uint32, tag = "1")]
    pub(crate) num_sequences: u32,
    /// 0 keeps all.
    #[prost(uint32, optional, tag = "2")]
    pub(crate) top_k: Option<u32>,
    #[prost(float, optional, tag = "3")]
    pub(crate) top_p: Option<f32>,
    #[prost(float, optional, tag = "4")]
    pub(crate) min_p: Option<f32>,
    #[prost(int64, optional, tag = "5")]
    pub(crate) seed: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DecodingParameters {
    #[prost(float, tag = "1")]
    pub(crate) presence_penalty: f32,
    #[prost(float, tag = "2")]
    pub(crate) frequency_penalty: f32,
    /// 0 is none.
    #[prost(float, tag = "3")]
    pub(crate) repetition_penalty: f32,
    #[prost(btree_map = "uint32, float", tag = "4")]
    pub(crate) logit_bias: BTreeMap<u32, f32>,
    #[prost(uint32, repeated, tag = "5")]
    pub(crate) allowed_token_ids: Vec<u32>,
    #[prost(oneof = "StructuredOutput", tags = "6, 7, 8, 9, 10, 11")]
    pub(crate) structured_output: Option<StructuredOutput>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) bad_words_token_ids: Vec<TokenIds>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum StructuredOutput {
    /// A JSON Schema.
    #[prost(string, tag = "6")]
    Json(String),
    #[prost(string, tag = "7")]
    Regex(String),
    #[prost(message, tag = "8")]
    Choice(StringChoices),
    #[prost(string, tag = "9")]
    Grammar(String),
    #[prost(bool, tag = "10")]
    JsonObject(bool),
    #[prost(string, tag = "11")]
    StructuralTag(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StringChoices {
    #[prost(string, repeated, tag = "1")]
    pub(crate) choices: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoppingCriteria {
    /// 0 is 20.
    #[prost(uint32, tag = "1")]
    pub(crate) max_new_tokens: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) min_new_tokens: u32,
    #[prost(uint32, repeated, tag = "3")]
    pub(crate) stop_token_ids: Vec<u32>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) stop_strings: Vec<String>,
    #[prost(bool, tag = "5")]
    pub(crate) include_stop_strings: bool,
    #[prost(bool, tag = "6")]
    pub(crate) ignore_eos: bool,
    /// -1 is none.
    #[prost(int64, optional, tag = "7")]
    pub(crate) thinking_token_budget: Option<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResponseOptions {
    #[prost(bool, tag = "1")]
    pub(crate) prompt_token_ids: bool,
    #[prost(bool, tag = "2")]
    pub(crate) prompt_logprobs: bool,
    #[prost(message, optional, tag = "3")]
    pub(crate) prompt_candidates: Option<Opaque>,
    /// None is true.
    #[prost(bool, optional, tag = "4")]
    pub(crate) output_text: Option<bool>,
    #[prost(bool, tag = "5")]
    pub(crate) output_token_ids: bool,
    #[prost(bool, tag = "6")]
    pub(crate) output_logprobs: bool,
    #[prost(message, optional, tag = "7")]
    pub(crate) output_candidates: Option<CandidateTokens>,
    /// None is true.
    #[prost(bool, optional, tag = "8")]
    pub(crate) skip_special_tokens: Option<bool>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CandidateTokens {
    #[prost(oneof = "Candidates", tags = "1, 2, 3")]
    pub(crate) select: Option<Candidates>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Candidates {
    #[prost(uint32, tag = "1")]
    TopN(u32),
    #[prost(message, tag = "2")]
    TokenIds(TokenIds),
    #[prost(bool, tag = "3")]
    All(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KvCacheParameters {
    #[prost(bool, tag = "1")]
    pub(crate) bypass_prefix_cache: bool,
    #[prost(string, tag = "2")]
    pub(crate) cache_salt: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) kv_transfer_params: Option<Opaque>,
    #[prost(message, optional, tag = "4")]
    pub(crate) ec_transfer_params: Option<Opaque>,
}

/// A part of an answer, or the whole.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GenerateResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) prompt_info: Option<AboutPrompt>,
    #[prost(message, optional, tag = "2")]
    pub(crate) outputs: Option<SequenceOutput>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AboutPrompt {
    #[prost(uint32, tag = "1")]
    pub(crate) num_prompt_tokens: u32,
    #[prost(uint32, repeated, tag = "2")]
    pub(crate) token_ids: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SequenceOutput {
    #[prost(uint32, tag = "1")]
    pub(crate) index: u32,
    #[prost(string, tag = "2")]
    pub(crate) text: String,
    #[prost(uint32, tag = "3")]
    pub(crate) num_tokens: u32,
    #[prost(uint32, repeated, tag = "4")]
    pub(crate) token_ids: Vec<u32>,
    #[prost(float, repeated, tag = "5")]
    pub(crate) logprobs: Vec<f32>,
    #[prost(uint32, repeated, tag = "6")]
    pub(crate) ranks: Vec<u32>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) candidate_tokens: Vec<RankedTokens>,
    #[prost(message, optional, tag = "8")]
    pub(crate) finish_info: Option<AboutFinish>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RankedTokens {
    #[prost(message, repeated, tag = "1")]
    pub(crate) tokens: Vec<RankedToken>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RankedToken {
    #[prost(uint32, tag = "1")]
    pub(crate) id: u32,
    #[prost(float, tag = "2")]
    pub(crate) logprob: f32,
    #[prost(uint32, tag = "3")]
    pub(crate) rank: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AboutFinish {
    #[prost(uint32, tag = "1")]
    pub(crate) num_output_tokens: u32,
    #[prost(enumeration = "Finish", tag = "2")]
    pub(crate) finish_reason: i32,
    #[prost(oneof = "StopReason", tags = "3, 4, 5")]
    pub(crate) stop_reason: Option<StopReason>,
    #[prost(uint32, optional, tag = "9")]
    pub(crate) num_cached_tokens: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
pub(crate) enum Finish {
    NotFinished = 0,
    Length = 1,
    Stop = 2,
    Aborted = 3,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum StopReason {
    #[prost(uint32, tag = "3")]
    StopTokenId(u32),
    #[prost(uint32, tag = "4")]
    EosTokenId(u32),
    #[prost(string, tag = "5")]
    StopString(String),
}
