//! What do other servers' dialects add to the bodies of Chat Completions, Completions and Responses?
//!
//! Constraints, lengths and sampling by the names of vLLM, SGLang and llama.cpp. All are plain values, so
//! that the conversion (`generation/dialect.rs`) can name what is wrong with one, and tell of those that it
//! does not keep.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Fields of other dialects.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct Dialect {
    /// vLLM: the answer matches the one of `json`, `regex`, `choice`, `grammar` and `json_object` that is
    /// there.
    pub structured_outputs: Option<Value>,
    /// vLLM: the answer is JSON of this schema.
    pub guided_json: Option<Value>,
    /// vLLM: the whole answer matches this regular expression.
    pub guided_regex: Option<Value>,
    /// vLLM: the answer is one of these texts.
    pub guided_choice: Option<Value>,
    /// vLLM: the answer is a sentence of this grammar: GBNF if there is a `::=` in it, else Lark.
    pub guided_grammar: Option<Value>,
    /// SGLang: the whole answer matches this regular expression.
    pub regex: Option<Value>,
    /// SGLang, llama.cpp: the answer is JSON of this schema, which may be a text.
    pub json_schema: Option<Value>,
    /// SGLang: as `guided_grammar`.
    pub ebnf: Option<Value>,
    /// llama.cpp: as `guided_grammar`.
    pub grammar: Option<Value>,
    /// Write on as long as anything but the end may be said, until the length is used up; for load tests.
    pub ignore_eos: Option<Value>,
    /// Tokens before which nothing ends, if anything else may be said.
    pub min_tokens: Option<Value>,
    /// Completions: tokens that end the text. The ends of a turn are harmony's own; others are told of.
    pub stop_token_ids: Option<Value>,
    /// Told of when true: a turn begins a message of its own.
    pub continue_final_message: Option<Value>,
    /// Told of when false: the prompt always ends with the assistant's turn.
    pub add_generation_prompt: Option<Value>,
    /// What is known, not kept and told of.
    #[serde(flatten)]
    pub unkept: Unkept,
}

/// Fields that are known and not kept; `warnings` says so.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are the other servers'")]
pub struct Unkept {
    pub allowed_token_ids: Option<Value>,
    pub bad_words: Option<Value>,
    pub dry_multiplier: Option<Value>,
    pub length_penalty: Option<Value>,
    pub logits_processors: Option<Value>,
    pub lora_path: Option<Value>,
    pub max_new_tokens: Option<Value>,
    pub min_new_tokens: Option<Value>,
    pub mirostat: Option<Value>,
    pub n_predict: Option<Value>,
    pub n_probs: Option<Value>,
    pub no_repeat_ngram_size: Option<Value>,
    pub prompt_logprobs: Option<Value>,
    pub structural_tag: Option<Value>,
    pub top_a: Option<Value>,
    pub top_n_sigma: Option<Value>,
    pub truncate_prompt_tokens: Option<Value>,
    pub typical_p: Option<Value>,
    pub use_beam_search: Option<Value>,
    pub xtc_probability: Option<Value>,
}
