//! `/v1/conversations`: create, retrieve, update, delete, list and add items.
//!
//! A conversation is a row of the store that responses are appended to. Its items are what clients sent and got; beside them stand the
//! messages that the model read and wrote, so that going on with it gives the prompt that it would have had in one piece.
//!
//! It does not know how a response is made.

use std::time::Instant;

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use serde_json::Value;

use crate::app::{App, Shared, now};
use crate::body::Body;
use crate::chat_input::{Setting, metadata};
use crate::history::Entry;
use crate::ids;
use crate::keys::Caller;
use crate::responses::{PageQuery, find, page, stored};
use crate::responses_input::{Before, entries_of, items as read_items};
use crate::store::{Kind, Row};
use crate::wire::errors::ApiError;
use crate::wire::responses::{ConversationObject, ConversationRequest, Deleted, Input, ItemList};

fn read(
    app: &App,
    caller: &Caller,
    items: Vec<Value>,
    before: Vec<Entry>,
) -> Result<(Vec<Value>, Vec<Entry>), ApiError> {
    let instant = Instant::now();
    let recall = |id: &str| app.memory.recall(&caller.tenant, id, instant);
    let setting = Setting {
        model: &app.model,
        limits: &app.limits,
        tenant: &caller.tenant,
        visibility: caller.visibility,
        recall: &recall,
    };
    let items = read_items(Some(&Input::Items(items)), &setting)?;
    let before = Before { entries: before, ..Before::default() };
    let entries = entries_of(&items, before, &setting)?;
    Ok((items, entries))
}

fn keep(app: &App, row: &Row) -> Result<(), ApiError> {
    match app.store.put(Kind::Conversation, row, now())? {
        true => Ok(()),
        false => Err(ApiError::invalid("items", "the conversation is larger than one that is kept may be")),
    }
}

fn object(row: &Row) -> Result<ConversationObject, ApiError> {
    let failed = |error: serde_json::Error| ApiError::Internal { problem: error.to_string() };
    serde_json::from_value(row.body.clone()).map_err(failed)
}

/// `POST /v1/conversations`.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ConversationRequest>,
) -> Result<Json<ConversationObject>, ApiError> {
    metadata(request.metadata.as_ref())?;
    let (items, entries) = read(&app, &caller, request.items.unwrap_or_default(), Vec::new())?;
    let made = ConversationObject {
        id: ids::random("conv"),
        object: "conversation".to_owned(),
        created_at: now(),
        metadata: request.metadata.unwrap_or_default(),
    };
    let body =
        serde_json::to_value(&made).map_err(|error| ApiError::Internal { problem: error.to_string() })?;
    let row = Row {
        id: made.id.clone(),
        tenant: caller.tenant,
        created: made.created_at,
        body,
        items,
        entries,
        events: "[]".to_owned(),
    };
    stored(&app, move |app| keep(app, &row)).await?;
    Ok(Json(made))
}

/// `GET /v1/conversations/{id}`.
pub(crate) async fn retrieve(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<ConversationObject>, ApiError> {
    let tenant = caller.tenant;
    let row = stored(&app, move |app| find(app, Kind::Conversation, &tenant, &id)).await?;
    object(&row).map(Json)
}

/// `POST /v1/conversations/{id}`.
pub(crate) async fn update(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(request): Body<ConversationRequest>,
) -> Result<Json<ConversationObject>, ApiError> {
    metadata(request.metadata.as_ref())?;
    let tenant = caller.tenant;
    let changed = stored(&app, move |app| {
        let mut row = find(app, Kind::Conversation, &tenant, &id)?;
        let mut made = object(&row)?;
        made.metadata = request.metadata.unwrap_or_default();
        row.body =
            serde_json::to_value(&made).map_err(|error| ApiError::Internal { problem: error.to_string() })?;
        keep(app, &row)?;
        Ok(made)
    });
    changed.await.map(Json)
}

/// `DELETE /v1/conversations/{id}`.
pub(crate) async fn delete(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, ApiError> {
    let (tenant, gone) = (caller.tenant, id.clone());
    match stored(&app, move |app| app.store.delete(Kind::Conversation, &tenant, &gone)).await? {
        true => Ok(Json(Deleted { id, object: "conversation.deleted", deleted: true })),
        false => Err(ApiError::NotFound { what: "conversation", id }),
    }
}

/// `GET /v1/conversations/{id}/items`.
pub(crate) async fn items(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: Result<Query<PageQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<ItemList>, ApiError> {
    let Query(query) =
        query.map_err(|error| ApiError::Invalid { param: None, message: error.body_text() })?;
    let tenant = caller.tenant;
    let row = stored(&app, move |app| find(app, Kind::Conversation, &tenant, &id)).await?;
    page(row.items, &query).map(Json)
}

/// `POST /v1/conversations/{id}/items`.
pub(crate) async fn add_items(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(request): Body<ConversationRequest>,
) -> Result<Json<ItemList>, ApiError> {
    let new = stored(&app, move |app| {
        let mut row = find(app, Kind::Conversation, &caller.tenant, &id)?;
        let (new, entries) =
            read(app, &caller, request.items.unwrap_or_default(), std::mem::take(&mut row.entries))?;
        row.entries = entries;
        row.items.extend(new.iter().cloned());
        keep(app, &row)?;
        Ok(new)
    });
    let new = new.await?;
    let id = |item: Option<&Value>| {
        item.and_then(|item| item.get("id")).and_then(Value::as_str).map(str::to_owned)
    };
    let (first_id, last_id) = (id(new.first()), id(new.last()));
    Ok(Json(ItemList { object: "list", data: new, first_id, last_id, has_more: false }))
}
