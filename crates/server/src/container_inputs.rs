//! What lies in a response's container before its code runs, and whose label that has.
//!
//! [`furnish`] chooses the container, puts the caller's files into it and tells the model their names;
//! [`begin_call`] gives them to the process. Each container has the highest label of what came into it: the
//! files that were given, and every response whose code ran there. What a model here has said has no label
//! that lets it leave, so neither has what its code left behind.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use gptoss_api::ApiError;
use gptoss_api::containers::memory_bytes;
use gptoss_api::history::Entry;
use gptoss_api::responses::object::conversation_id;
use gptoss_api::responses::parse::ParsedResponsesRequest;
use gptoss_api::wire::containers::ContainerFile;
use gptoss_api::wire::responses::{Input, ResponseObject, ResponsesRequest};
use gptoss_gateway::Label;
use gptoss_harmony::Role;

use crate::blocking::run_blocking;
use crate::container_files::{GivenFile, check_room};
use crate::container_registry::{NewContainer, RunningCall, Whose};
use crate::file_label::of_content;
use crate::files::readable;
use crate::ids;
use crate::keys::Caller;
use crate::state::{App, now};
use crate::tool_host::{ContainerInputs, InputFile, ToolSession};

/// What the ids of containers that this server names begin with.
const OWN: &str = "cntr";

/// Ends the processes and files of containers that have ended.
pub(crate) fn sweep(app: &App) {
    for Whose { tenant, id } in app.containers.sweep(now()) {
        if let Some(host) = &app.tools {
            host.forget(&tenant, &id);
        }
        app.container_files.end(&tenant, &id, false);
    }
}

/// Chooses the container of a response that may run code, and puts into it what the request names; None where
/// it may run none.
///
/// Errors: a container that this server has named and is not there any more; a file that is not the caller's
/// to read, or for which there is no room; a detector broke off.
pub(crate) async fn furnish(
    app: &Arc<App>,
    caller: &Caller,
    request: &ResponsesRequest,
    parsed: &mut ParsedResponsesRequest,
) -> Result<Option<Whose>, ApiError> {
    if app.tools.is_none() || !parsed.generation.tools.hosted.has_python {
        return Ok(None);
    }
    sweep(app);
    let wish = parsed.generation.tools.hosted.container.clone();
    let tenant = caller.tenant.as_str();
    let id = match &wish.id {
        Some(id) => id.clone(),
        None => match before(app, tenant, request, waiting_call(&parsed.entries)) {
            Some(id) => id,
            None => {
                ids::try_random(OWN).map_err(|error| ApiError::Internal { problem: error.to_string() })?
            }
        },
    };
    let whose = Whose { tenant: tenant.to_owned(), id: id.clone() };
    let is_own = id.starts_with(OWN) && id[OWN.len()..].starts_with('_');
    if wish.id.is_some() && is_own && app.containers.find(&whose).is_none() {
        return Err(ApiError::NotFound { what: "container", id });
    }
    // Nothing is made before all files are read.
    let param = format!("{}.file_ids", wish.param);
    let files = load(app, caller, &wish.file_ids, &param).await?;
    let new = NewContainer { name: id, memory_limit: wish.memory_limit, ..NewContainer::default() };
    app.containers.ensure(&whose, new, now());
    give(app, &whose, files, &param)?;
    let given = app.container_files.given(tenant, &whose.id);
    if !given.is_empty() {
        parsed.instruct(&note(&given));
    }
    parsed.generation.tools.hosted.container.id = Some(whose.id.clone());
    Ok(Some(whose))
}

/// A file of the caller's, and under which label it was uploaded.
pub(crate) type Labelled = (GivenFile, Option<Label>);

/// Puts files into a container that is there, and raises its label.
///
/// Errors: there is no room for them.
pub(crate) fn give(
    app: &App,
    whose: &Whose,
    files: Vec<Labelled>,
    param: &str,
) -> Result<Vec<ContainerFile>, ApiError> {
    let (files, labels): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let place = (whose.tenant.as_str(), whose.id.as_str());
    // What is on its way is labelled before anybody can read it.
    labels.into_iter().for_each(|label| app.containers.raise(whose, label));
    app.container_files.give(place, files, (param, now()))
}

/// The caller's files of these ids, whole.
///
/// Errors: one that is not there, whoever else has it, or is more than may be read; too much of them.
pub(crate) async fn load(
    app: &Arc<App>,
    caller: &Caller,
    ids: &[String],
    param: &str,
) -> Result<Vec<Labelled>, ApiError> {
    let (mut files, mut bytes) = (Vec::new(), 0_usize);
    for (index, id) in ids.iter().enumerate() {
        let param = if ids.len() > 1 { format!("{param}[{index}]") } else { param.to_owned() };
        let (caller, of) = (caller.clone(), id.clone());
        let found = run_blocking(app, move |app| {
            let file = readable(app, &caller, &of)?;
            Ok((file, app.store.file_label(&caller.tenant, &of)?))
        });
        let (file, label) = found.await.map_err(|error| match error {
            ApiError::NotFound { .. } => {
                ApiError::invalid(&param, format!("{param}: there is no file {id:?}"))
            }
            error => error,
        })?;
        bytes = bytes.saturating_add(usize::try_from(file.bytes).unwrap_or(usize::MAX));
        check_room(files.len() + 1, bytes, &param)?;
        let (of, len) = (id.clone(), file.bytes as usize);
        let content: Bytes = run_blocking(app, move |app| content(app, &of, len)).await?.into();
        let label = match label {
            Some(label) => Some(of_content(app, &content, label).await?),
            None => None,
        };
        let file_id = Some(id.clone());
        files.push((GivenFile { file_id, filename: file.filename, bytes: content }, label));
    }
    Ok(files)
}

/// Gives a session what is to lie in its container before a call, whose code may read what the response has
/// been told: `label` is that of all of it, if it has one.
pub(crate) fn begin_call<'a>(
    app: &'a App,
    whose: &Whose,
    label: Option<Label>,
    session: &mut dyn ToolSession,
) -> RunningCall<'a> {
    sweep(app);
    let new = NewContainer { name: whose.id.clone(), ..NewContainer::default() };
    let object = app.containers.ensure(whose, new, now());
    app.containers.raise(whose, label);
    let (running, removed) = app.containers.begin_call(whose, now);
    let given = app.container_files.given(&whose.tenant, &whose.id);
    let files = given.into_iter().map(|(file, bytes)| {
        let name = file_name(&file).to_owned();
        InputFile { id: file.id, name, bytes }
    });
    let limit = object.memory_limit.as_deref().and_then(|word| memory_bytes(word, "").ok());
    session.furnish(ContainerInputs { files: files.collect(), removed, memory_bytes: limit });
    running
}

/// A response goes on in its container, or leaves that of the one before to those behind it.
pub(crate) fn remember(app: &App, tenant: &str, container: Option<&str>, object: &ResponseObject) {
    let conversation = object.conversation.as_ref().map(|conversation| conversation.id.as_str());
    let carried = || object.previous_response_id.as_deref().and_then(|id| app.containers.of_turn(tenant, id));
    let Some(id) = container.map(str::to_owned).or_else(carried) else { return };
    let whose = Whose { tenant: tenant.to_owned(), id };
    for turn in [Some(object.id.as_str()), conversation].into_iter().flatten() {
        app.containers.remember(&whose, turn);
    }
}

/// The container that a request goes on in: that of the call it waits behind, of the response or conversation
/// before it, or of the last code among its items.
fn before(app: &App, tenant: &str, request: &ResponsesRequest, waiting: Option<&str>) -> Option<String> {
    if let Some(id) = waiting.and_then(|call| app.paused.container((tenant, call), Instant::now())) {
        return Some(id);
    }
    let conversation = conversation_id(request.conversation.as_ref()).ok().flatten();
    let turns = [request.previous_response_id.clone(), conversation];
    if let Some(id) = turns.iter().flatten().find_map(|turn| app.containers.of_turn(tenant, turn)) {
        return Some(id);
    }
    let Some(Input::Items(items)) = &request.input else { return None };
    let calls = items.iter().rev().filter(|item| item["type"] == "code_interpreter_call");
    let mut named = calls.filter_map(|item| item["container_id"].as_str());
    named.find_map(|id| {
        let whose = Whose { tenant: tenant.to_owned(), id: id.to_owned() };
        app.containers.find(&whose).map(|object| object.id)
    })
}

fn content(app: &App, id: &str, len: usize) -> Result<Vec<u8>, ApiError> {
    let (mut content, mut number) = (Vec::with_capacity(len), 0);
    while let Some(part) = app.store.part(id, number)? {
        content.extend_from_slice(&part);
        number += 1;
    }
    match content.len() == len {
        true => Ok(content),
        // It was deleted meanwhile.
        false => Err(ApiError::NotFound { what: "file", id: id.to_owned() }),
    }
}

/// The call that a conversation waits behind: the last one, if nothing but results has followed it.
pub(crate) fn waiting_call(entries: &[Entry]) -> Option<&str> {
    let last = entries.iter().rev().find(|entry| entry.message.author.role != Role::Tool)?;
    last.call_id.as_deref()
}

/// What the model is told of its files.
fn note(given: &[(ContainerFile, Bytes)]) -> String {
    let each = given.iter().map(|(file, _)| format!("{} ({} bytes)", file_name(file), file.bytes));
    format!("Files of the user's in /mnt/data: {}.", each.collect::<Vec<_>>().join(", "))
}

fn file_name(file: &ContainerFile) -> &str {
    file.path.rsplit('/').next().unwrap_or_default()
}
