//! How does a conversation become shorter?
//!
//! [`truncated`] leaves out the oldest turns until the rest fits the context, if the request allows it.
//! [`compact`] keeps what the user said and puts a summary, written by the same model at low effort, in the
//! place of everything else; the summary travels in an item of the type `compaction`, which the parser of
//! Responses reads again.
//!
//! It does not know which requests are too long: the rendered prompt says it.

use std::sync::Arc;
use std::time::Instant;

use gptoss_api::ApiError;
use gptoss_api::generation::format::Format;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::generation::tools::Tools;
use gptoss_api::history::Entry;
use gptoss_api::responses::parse::{COMPACTION_PREFIX, ParsedResponsesRequest, Threshold};
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::responses::Compaction;
use gptoss_harmony::{
    Analysis, Content, Control, Conversation, DeveloperContent, Form, Message, RenderOptions, Role,
    SystemContent, render,
};
use gptoss_turn::{Channel, Delta, TurnEnd};
use serde_json::{Value, json};

use crate::blocking::run_blocking;
use crate::drive::{ChoiceStream, next_allowed};
use crate::ids;
use crate::limits::SUMMARY_TOKENS_MAX;
use crate::model_host::Lease;
use crate::state::{App, now};
use crate::stream_item::StreamItem;
use crate::turn_stream;

/// What the model is told to do with a conversation.
const INSTRUCTIONS: &str = "Summarise the conversation below so that it can be continued by somebody who has not seen it: what was asked, \
    what was found or decided, what is open. Write the summary and nothing else.";
/// Part of the context that stays free for the answer: one in this many tokens.
const FREE_PART: usize = 8;

/// A summary, and what it took.
pub(crate) struct Summary {
    /// The summary.
    pub(crate) text: String,
    /// What it took.
    pub(crate) tokens: TokenUsage,
}

/// How many tokens the model would read.
///
/// Errors: it cannot be rendered.
pub(crate) async fn count(
    app: &Arc<App>,
    model: &Arc<Lease>,
    conversation: Conversation,
) -> Result<usize, ApiError> {
    let model = Arc::clone(model);
    run_blocking(app, move |_| Ok(rendered(&model, &conversation)?.len())).await
}

/// The request, with a summary in the place of what was said before if that is longer than the request wants
/// it. Nothing is gained where the user alone has spoken; and a call that was approved of is answered first,
/// since its result would stand behind a summary instead of behind the call.
///
/// Errors: the engine refuses or fails.
pub(crate) async fn managed(
    app: &Arc<App>,
    model: &Arc<Lease>,
    parsed: ParsedResponsesRequest,
) -> Result<(ParsedResponsesRequest, Option<Summary>), ApiError> {
    let is_users = |entry: &Entry| matches!(entry.message.author.role, Role::User | Role::Developer);
    let max = match parsed.compaction {
        None => return Ok((parsed, None)),
        Some(Threshold::Tokens(max)) => max,
        Some(Threshold::Context) => room(model),
    };
    let conversation = || parsed.generation.conversation.clone();
    if parsed.approved.is_some()
        || parsed.entries.iter().all(is_users)
        || count(app, model, conversation()).await? <= max
    {
        return Ok((parsed, None));
    }
    let summary = summarize(app, model, &parsed).await?;
    Ok((parsed.compacted(&summary.text), Some(summary)))
}

/// Tokens of input that leave room for an answer.
fn room(model: &Lease) -> usize {
    let max_context = model.served().max_context;
    max_context - max_context / FREE_PART
}

/// As the turn will render it.
///
/// Errors: it cannot be rendered.
pub(crate) fn rendered(model: &Lease, conversation: &Conversation) -> Result<Vec<u32>, ApiError> {
    let options = RenderOptions { form: Form::Completion(Role::Assistant), analysis: Analysis::KeepAll };
    render(model.assistant().vocab(), conversation, options)
        .map_err(|error| ApiError::Invalid { param: None, message: error.to_string() })
}

/// The ask, without its oldest turns if it is too long and `may` be shortened.
///
/// Errors: it cannot be rendered.
pub(crate) async fn truncated(
    app: &Arc<App>,
    model: &Arc<Lease>,
    generation: GenerationRequest,
    may: bool,
) -> Result<GenerationRequest, ApiError> {
    if !may {
        return Ok(generation);
    }
    let model = Arc::clone(model);
    run_blocking(app, move |_| shortened(&model, generation)).await
}

fn shortened(model: &Lease, mut generation: GenerationRequest) -> Result<GenerationRequest, ApiError> {
    let room = room(model);
    let tokens = rendered(model, &generation.conversation)?;
    let start = model.assistant().vocab().control(Control::Start);
    // Only the renderer writes this token, one for each message.
    let starts: Vec<usize> = (0..tokens.len()).filter(|&index| tokens[index] == start).collect();
    let messages = &mut generation.conversation.messages;
    let users: Vec<usize> =
        (0..messages.len()).filter(|&index| messages[index].author.role == Role::User).collect();
    let user_starts: Vec<usize> = users.iter().filter_map(|&index| starts.get(index).copied()).collect();
    let num_left_out = num_left_out(tokens.len(), room, &user_starts);
    if num_left_out > 0 {
        messages.drain(users[0]..users[num_left_out]);
    }
    if num_left_out > 0 {
        generation
            .warnings
            .push(format!("the oldest {num_left_out} turns were left out: they did not fit the context"));
    }
    Ok(generation)
}

/// How many of the oldest turns have to go until the rest of `total` tokens fits `room`; the last always
/// stays. A turn goes from the token where a message of the user's starts to the next.
fn num_left_out(total: usize, room: usize, user_starts: &[usize]) -> usize {
    let Some((&first, last)) = user_starts.first().zip(user_starts.len().checked_sub(1)) else { return 0 };
    let fits = |count: &usize| total - (user_starts[*count] - first) <= room;
    (0..last).find(fits).unwrap_or(last)
}

/// What a conversation comes down to.
///
/// Errors: the engine refuses or fails.
pub(crate) async fn compact(
    app: &Arc<App>,
    model: &Arc<Lease>,
    parsed: ParsedResponsesRequest,
) -> Result<Compaction, ApiError> {
    let users = parsed.entries.iter().filter(|entry| entry.message.author.role == Role::User);
    let mut output: Vec<Value> = users
        .map(|entry| {
            json!({
                "type": "message", "id": ids::random("msg"), "role": "user", "status": "completed",
                "content": [{"type": "input_text", "text": entry.message.text()}],
            })
        })
        .collect();
    let Summary { text, tokens } = summarize(app, model, &parsed).await?;
    let content = format!("{COMPACTION_PREFIX}{text}");
    output.push(json!({"type": "compaction", "id": ids::random("cmp"), "encrypted_content": content}));
    Ok(Compaction {
        id: ids::random("resp"),
        object: "response.compaction",
        created_at: now(),
        output,
        usage: tokens.response_usage(),
    })
}

/// What was said, as a message tells it; instructions that came in between are told too, earlier summaries
/// among them.
fn said(message: &Message) -> String {
    let mut said = message.text();
    for part in &message.content {
        if let Content::Developer(developer) = part {
            said.push_str(developer.instructions.as_deref().unwrap_or_default());
        }
    }
    said
}

/// A summary of everything said, written at low effort and held to nothing that the request demands.
async fn summarize(
    app: &Arc<App>,
    model: &Arc<Lease>,
    parsed: &ParsedResponsesRequest,
) -> Result<Summary, ApiError> {
    let told = parsed.entries.iter().map(|entry| &entry.message);
    let told = told.filter(|message| message.channel.as_deref() != Some("analysis"));
    let lines: Vec<String> =
        told.map(|message| format!("{}: {}\n", message.author.role.as_str(), said(message))).collect();
    let transcript = lines.concat();
    let system = SystemContent::default().with_reasoning_effort(gptoss_harmony::ReasoningEffort::Low);
    let developer = DeveloperContent::default().with_instructions(INSTRUCTIONS);
    let messages = [Message::system(system), Message::developer(developer), Message::user(transcript)];
    let generation = GenerationRequest {
        conversation: Conversation::from_messages(messages),
        max_new_tokens: Some(SUMMARY_TOKENS_MAX),
        top_logprobs: None,
        tools: Tools::default(),
        format: Format::Text,
        min_new_tokens: 0,
        stops: Vec::new(),
        ..parsed.generation.clone()
    };
    let deadline = turn_stream::deadline(app, generation.is_background, Instant::now());
    let turn = turn_stream::begin_one(app, model, &Arc::new(generation), false, deadline).await?;
    let mut choice = ChoiceStream::Turn(Box::new(turn));
    let mut watch = choice.take_watch();
    let mut summary = String::new();
    let tokens = loop {
        match next_allowed(&mut watch, &mut choice).await {
            StreamItem::Delta(Delta::Text {
                channel: Channel::Final | Channel::Commentary, text, ..
            }) => summary.push_str(&text),
            StreamItem::Read(_) | StreamItem::Delta(_) | StreamItem::Summary(_) => {}
            StreamItem::End(ending) if ending.end == TurnEnd::Filtered => {
                let message =
                    "the conversation was not shortened: a policy of this server holds its summary back";
                return Err(ApiError::Invalid { param: None, message: message.to_owned() });
            }
            StreamItem::End(ending) => break ending.tokens,
            StreamItem::Failed(error) => return Err(error),
        }
    };
    Ok(Summary { text: summary, tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conversation was tokenized again for every turn that had to go; now it is tokenized once and its
    /// turns are counted.
    #[test]
    fn as_few_of_the_oldest_turns_go_as_must() {
        let check = |total, room, starts: &[usize], expect| {
            assert_eq!(num_left_out(total, room, starts), expect, "{total} {room} {starts:?}");
        };
        check(100, 100, &[10, 40, 70], 0);
        check(100, 99, &[10, 40, 70], 1);
        check(100, 70, &[10, 40, 70], 1);
        check(100, 69, &[10, 40, 70], 2);
        check(100, 5, &[10, 40, 70], 2);
        check(100, 5, &[10], 0);
        check(100, 5, &[], 0);
    }
}
