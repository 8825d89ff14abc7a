//! A body of `/v1/completions`, read.
//!
//! Prompts go to the model as they are, without harmony's format.

use gptoss_harmony::Vocab;

use crate::errors::ApiError;
use crate::generation::dialect;
use crate::generation::format::Format;
use crate::generation::sampling::{self, Sampling};
use crate::limits::{PROMPTS_MAX, RequestLimits};
use crate::wire::completions::{CompletionRequest, Prompt};

/// Tokens that are written when a request does not say how many, as the API has it.
const DEFAULT_TOKENS: i64 = 16;
/// Most alternatives per token that the old API tells.
const LOGPROBS_MAX: u32 = 20;

/// What a request asks.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedCompletionRequest {
    /// What is to be continued, as tokens; none of them is empty.
    pub prompts: Vec<Vec<u32>>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens to write; 0 only with `echo`.
    pub max_new_tokens: Option<usize>,
    /// Tokens before which a stop token does not end the text; `usize::MAX` never lets it.
    pub min_new_tokens: usize,
    /// Tokens that end the text, besides the model's own.
    pub stop_ids: Vec<u32>,
    /// How many likeliest tokens are told with each; None tells no log-probabilities.
    pub logprobs: Option<usize>,
    /// Strings before which the text ends.
    pub stops: Vec<String>,
    /// Continuations of each prompt.
    pub count: usize,
    /// Whether the prompt stands at the head of the text.
    pub echo: bool,
    /// What is known and not kept.
    pub warnings: Vec<String>,
}

/// What a request asks.
///
/// Errors: by the name of the parameter.
pub fn parse(
    request: &CompletionRequest,
    vocab: &Vocab,
    limits: &RequestLimits,
) -> Result<ParsedCompletionRequest, ApiError> {
    if request.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
        return Err(ApiError::unsupported("suffix", "This model does not fill gaps."));
    }
    let count = sampling::choices(request.n, limits.choices_max)?;
    if request.best_of.is_some_and(|best_of| best_of != 1 && best_of != count as i64) {
        return Err(ApiError::unsupported("best_of", "Ask for that many with 'n' and choose."));
    }
    let logprobs = match request.logprobs {
        Some(top) if top > LOGPROBS_MAX => {
            let message = format!("logprobs is {top}, but must be from 0 to {LOGPROBS_MAX}");
            return Err(ApiError::invalid("logprobs", message));
        }
        top => top.map(|top| top as usize),
    };
    let echo = request.echo.unwrap_or(false);
    let max_new_tokens = match request.max_tokens.unwrap_or(DEFAULT_TOKENS) {
        0 if echo => Some(0),
        tokens => sampling::max_tokens("max_tokens", Some(tokens))?,
    };
    let mut asked = dialect::parse(&request.dialect, limits)?;
    let format = Format::parse(request.response_format.as_ref(), "response_format", limits)?;
    let (format, param) = asked.form_beside(format, "response_format")?;
    if format != Format::Text {
        let why = "A text is continued as it is; a form is held in /v1/chat/completions and /v1/responses.";
        return Err(ApiError::unsupported(param, why));
    }
    Ok(ParsedCompletionRequest {
        prompts: prompts(request.prompt.as_ref(), vocab)?,
        sampling: sampling::sampling(request.into())?,
        max_new_tokens,
        min_new_tokens: asked.min_tokens,
        stop_ids: asked.stop_ids,
        logprobs,
        stops: sampling::stops(request.stop.as_ref(), "stop")?,
        count,
        echo,
        warnings: asked.warnings,
    })
}

fn prompts(prompt: Option<&Prompt>, vocab: &Vocab) -> Result<Vec<Vec<u32>>, ApiError> {
    let encode = |text: &String| vocab.encode_ids(text);
    let prompts: Vec<Vec<u32>> = match prompt {
        None => return Err(ApiError::Missing { param: "prompt" }),
        Some(Prompt::Text(text)) => vec![encode(text)],
        Some(Prompt::Texts(texts)) => texts.iter().map(encode).collect(),
        Some(Prompt::Tokens(tokens)) => vec![tokens.clone()],
        Some(Prompt::TokenLists(lists)) => lists.clone(),
    };
    if prompts.is_empty() || prompts.len() > PROMPTS_MAX || prompts.iter().any(Vec::is_empty) {
        let message =
            format!("prompt must be 1 to {PROMPTS_MAX} texts or lists of token ids, none of them empty");
        return Err(ApiError::invalid("prompt", message));
    }
    Ok(prompts)
}
