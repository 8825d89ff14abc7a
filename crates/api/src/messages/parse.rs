//! A body of Anthropic's Messages, read.
//!
//! [`parse()`] turns the body into a [`GenerationRequest`]. System blocks are the developer's instructions; a
//! message of the role system stays where it is. An assistant's text beside calls is what it said before
//! calling (harmony's commentary), otherwise it is its answer. Thinking becomes the model's reasoning again
//! when its signature is ours; the same rules as for the other dialects say which reasoning is still read.
//! Calls that were made at a time are put in a row, each before its result, as the format has them. What a
//! text model cannot read is refused by its place; what another server made of its own tools is left out with
//! a warning.

mod blocks;
mod head;

use crate::errors::ApiError;
use crate::generation::request::GenerationRequest;
use crate::generation::visibility::Visibility;
use crate::generation::{effort::effort, request::Head, sampling};
use crate::history::reconcile;
use crate::scope::RequestScope;
use crate::wire::chat::Stops;
use crate::wire::messages::{InputThinking, MessagesRequest};

use super::signature::{Shown, Signer};

/// Fewest tokens that a budget of thinking may have.
const BUDGET_TOKENS_MIN: i64 = 1024;

/// What a request asks, and how the thinking is shown.
#[derive(Debug, Clone)]
pub struct ParsedMessages {
    /// What it asks of the model.
    pub generation: GenerationRequest,
    /// What thinking blocks show; None when there are none.
    pub shown: Option<Shown>,
}

/// What the request asks.
///
/// Errors: by the name of the parameter.
pub fn parse(
    request: &MessagesRequest,
    scope: &RequestScope<'_>,
    signer: &Signer,
) -> Result<ParsedMessages, ApiError> {
    if request.max_tokens.is_none() {
        return Err(ApiError::Missing { param: "max_tokens" });
    }
    if request.messages.last().is_some_and(|message| message.role == "assistant") {
        let message = "the last message is the assistant's, and this model does not go on with a message: \
                       end with a user's";
        return Err(ApiError::invalid("messages", message));
    }
    count(request, scope, signer)
}

/// What the request asks, if its tokens are only to be counted.
///
/// Errors: by the name of the parameter.
pub fn count(
    request: &MessagesRequest,
    scope: &RequestScope<'_>,
    signer: &Signer,
) -> Result<ParsedMessages, ApiError> {
    let limits = scope.limits;
    limits.check_messages(request.messages.len())?;
    let mut warnings = Vec::new();
    let tools = head::tools(request, limits, &mut warnings)?;
    let (format, format_param) = head::format(request, limits)?;
    let head::System { instructions, last } = head::system(request.system.as_ref())?;
    let history = blocks::history(&request.messages, scope, signer, &mut warnings)?;
    let wishes = Thinking::parse(request.thinking.as_ref())?;
    let word = request.output_config.as_ref().and_then(|config| config.effort.as_deref());
    let word = word.or(wishes.is_disabled.then_some("low"));
    let effort = effort(word, "output_config.effort", &mut warnings)?;
    let budgets = [("thinking.budget_tokens", wishes.budget)];
    let reasoning_budget = effort.budget(&budgets, scope.reasoning_max)?;
    let effort = effort.told;
    let date = scope.date.map(str::to_owned);
    let head = Head { effort, date, instructions, tools: &tools, format: &format };
    let messages = reconcile(history.into_entries(), scope.recall, &mut warnings);
    let conversation = head.before(last.into_iter().chain(messages).collect());
    let most = scope.visibility.narrowed(request.reasoning_visibility.as_deref())?;
    let shown = wishes.shown(most);
    Ok(ParsedMessages {
        generation: GenerationRequest {
            conversation,
            format,
            format_param,
            sampling: sampling::sampling(request.into())?,
            max_new_tokens: sampling::max_tokens("max_tokens", request.max_tokens)?,
            min_new_tokens: 0,
            stops: stops(request)?,
            top_logprobs: None,
            visibility: match shown {
                Some(Shown::Whole) => Visibility::Raw,
                Some(Shown::Summary) => Visibility::Summary,
                Some(Shown::Nothing) | None => Visibility::Hidden,
            },
            moderation: None,
            reasoning_budget,
            tenant: scope.tenant.to_owned(),
            is_background: scope.is_background,
            tools,
            warnings,
        },
        shown,
    })
}

fn stops(request: &MessagesRequest) -> Result<Vec<String>, ApiError> {
    let several = request.stop_sequences.clone().map(Stops::Several);
    sampling::stops(several.as_ref(), "stop_sequences")
}

/// What a request says about thinking.
#[derive(Debug, Default)]
struct Thinking {
    is_wanted: bool,
    is_omitted: bool,
    is_disabled: bool,
    /// Units: tokens.
    budget: Option<i64>,
}

impl Thinking {
    fn parse(wish: Option<&InputThinking>) -> Result<Thinking, ApiError> {
        let Some(wish) = wish else { return Ok(Thinking::default()) };
        let is_omitted = match wish.display.as_deref() {
            None | Some("summarized") => false,
            Some("omitted") => true,
            Some(word) => {
                let message = format!("thinking.display is {word:?}, but must be summarized or omitted");
                return Err(ApiError::invalid("thinking.display", message));
            }
        };
        let wanted = Thinking { is_wanted: true, is_omitted, ..Thinking::default() };
        match wish.kind.as_str() {
            "disabled" => Ok(Thinking { is_disabled: true, budget: Some(0), ..Thinking::default() }),
            "adaptive" => Ok(wanted),
            "enabled" => {
                let tokens = wish.budget_tokens.unwrap_or_default();
                if tokens < BUDGET_TOKENS_MIN {
                    let message = format!(
                        "thinking.budget_tokens is {tokens}, but must be at least {BUDGET_TOKENS_MIN}"
                    );
                    return Err(ApiError::invalid("thinking.budget_tokens", message));
                }
                Ok(Thinking { budget: Some(tokens), ..wanted })
            }
            word => {
                let message = format!("thinking.type is {word:?}, but must be enabled, adaptive or disabled");
                Err(ApiError::invalid("thinking.type", message))
            }
        }
    }

    /// What blocks show when a key sees no more than `most`.
    fn shown(&self, most: Visibility) -> Option<Shown> {
        self.is_wanted.then_some(match most {
            _ if self.is_omitted => Shown::Nothing,
            Visibility::Raw => Shown::Whole,
            Visibility::Summary => Shown::Summary,
            Visibility::Hidden => Shown::Nothing,
        })
    }
}

#[cfg(test)]
mod tests;
