//! The row of a response in the store: written when it begins in the background, and again when it has ended.
//!
//! A row is there before anybody is told that it is: the id of a background response before the answer with
//! the id, an ended response before its last event. So what a client has heard of outlives a crash of the
//! program (a power failure may take the last commits). A row whose writer was cut off by one reads as failed
//! ([`interrupted`]).

use std::sync::Arc;

use gptoss_api::ApiError;
use gptoss_api::history::Entry;
use gptoss_api::responses::parse::ParsedResponsesRequest;
use gptoss_api::wire::response_events::Numbered;
use gptoss_api::wire::responses::ResponseObject;
use gptoss_gateway::Label;
use serde_json::{Value, json};

use crate::blocking::run_blocking;
use crate::response_log::{Line, ResponseLog};
use crate::state::{App, now};
use crate::store::{Change, Kind, NO_EVENTS, Row, unreadable};

/// Writes the row of a response that goes on when nobody reads.
///
/// Errors: see [`Change::put`].
pub(crate) async fn begin(
    app: &Arc<App>,
    parsed: &ParsedResponsesRequest,
    response: &ResponseObject,
) -> Result<(), ApiError> {
    let row = Row { is_unfinished: true, ..row(parsed, response, parsed.entries.clone())? };
    run_blocking(app, move |app| app.store.put(Kind::Response, &row, now())).await
}

/// Writes the row of a response that has ended with the events `last`, under the label of what has left of
/// it, and adds its turn to its conversation if it ended well.
///
/// Errors: see [`Change::put`]; neither of the two is written then.
pub(crate) async fn finish(
    app: &Arc<App>,
    parsed: &ParsedResponsesRequest,
    response: &ResponseObject,
    (entries, label): (Vec<Entry>, Option<Label>),
    (live, last): (&ResponseLog, &[Numbered]),
) -> Result<(), ApiError> {
    let num_before = parsed.num_before;
    let mut row = Row { label, ..row(parsed, response, entries)? };
    let (before, last) = (live.events(), last.to_vec());
    let conversation = response.conversation.as_ref().filter(|_| has_ended_well(response));
    let conversation = conversation.map(|conversation| conversation.id.clone());
    run_blocking(app, move |app| {
        row.events = events(before, &last, app.limits.state_row_bytes_max);
        app.store.change(now(), |change| {
            if let Some(id) = &conversation {
                add_turn(change, id, &row, num_before)?;
            }
            change.put(Kind::Response, &row)
        })
    })
    .await
}

/// A row as a reader finds it who knows that nobody writes it any more.
pub(crate) fn interrupted(mut row: Row) -> Row {
    if row.is_unfinished
        && let Some(body) = row.body.as_object_mut()
    {
        let message = "The server stopped, or could not store the response, before it was finished.";
        body.insert("status".into(), "failed".into());
        body.insert("error".into(), json!({"code": "server_error", "message": message}));
        let event = json!({"type": "response.failed", "sequence_number": 0, "response": row.body});
        row.events = format!("[{event}]");
    }
    row
}

fn row(
    parsed: &ParsedResponsesRequest,
    response: &ResponseObject,
    entries: Vec<Entry>,
) -> Result<Row, ApiError> {
    Ok(Row {
        id: response.id.clone(),
        tenant: parsed.generation.tenant.clone(),
        created: response.created_at,
        is_unfinished: false,
        body: serde_json::to_value(response).map_err(unreadable)?,
        items: parsed.input_items.clone(),
        entries,
        events: NO_EVENTS.to_owned(),
        label: None,
    })
}

/// All events; none when the log has lost some, or they are more than a row may hold.
fn events(before: Option<Vec<Line>>, last: &[Numbered], bytes_max: usize) -> String {
    let Some(mut lines) = before else { return NO_EVENTS.to_owned() };
    lines.extend(last.iter().map(Line::new));
    if lines.iter().map(|line| line.json().len()).sum::<usize>() > bytes_max {
        return NO_EVENTS.to_owned();
    }
    let events: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line.json())).collect();
    format!("[{}]", events.join(","))
}

/// Whether the turn counts as said. Who asks again after a failure, or after having gone away or cancelled,
/// asks the same: the conversation would have it twice.
fn has_ended_well(response: &ResponseObject) -> bool {
    matches!(response.status.as_str(), "completed" | "incomplete")
}

/// Adds what was said in a turn to its conversation, unless that was deleted meanwhile. The turn went on from
/// the first `num_before` entries; if others were added since, they stay.
fn add_turn(change: &Change<'_>, id: &str, response: &Row, num_before: usize) -> Result<(), ApiError> {
    let mut conversation = match change.find(Kind::Conversation, &response.tenant, id) {
        Err(ApiError::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    let output = response.body.get("output").and_then(Value::as_array);
    conversation.items.extend(response.items.iter().chain(output.into_iter().flatten()).cloned());
    match conversation.entries.len() == num_before {
        true => conversation.entries.clone_from(&response.entries),
        // A response that was shortened may have fewer than there were.
        false => {
            conversation.entries.extend_from_slice(response.entries.get(num_before..).unwrap_or_default())
        }
    }
    change.put(Kind::Conversation, &conversation)
}
