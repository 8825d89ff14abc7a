//! `/v1/conversations`: create, retrieve, update, delete, list and add items.
//!
//! A conversation is a row of the store that responses are appended to. Its items are what clients sent and
//! got; beside them stand the messages that the model read and wrote, so that going on with it gives the
//! prompt that it would have had in one piece. Whatever reads a conversation to change it does so in one
//! transaction.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use gptoss_api::ApiError;
use gptoss_api::generation::metadata::metadata;
use gptoss_api::history::Entry;
use gptoss_api::responses::parse::{entries_left, entries_of, items as read_items, references, resolve};
use gptoss_api::wire::responses::{ConversationObject, ConversationRequest, Deleted, Input, ItemList};
use serde_json::Value;

use crate::blocking::run_blocking;
use crate::body::Body;
use crate::ids;
use crate::keys::Caller;
use crate::narrowing::{narrow_item, narrow_items};
use crate::paging::{PageQuery, page};
use crate::query::Query;
use crate::rejection::Rejection;
use crate::state::{App, Shared, now};
use crate::store::{Change, Kind, NO_EVENTS, Row, unreadable};

/// The items of a request with those they refer to in place, and everything said when they are added to
/// `before`.
fn read(
    app: &App,
    change: &Change<'_>,
    caller: &Caller,
    items: Vec<Value>,
    before: Vec<Entry>,
) -> Result<(Vec<Value>, Vec<Entry>), ApiError> {
    let items =
        app.read(caller, &app.models.first().served, |scope| read_items(Some(&Input::Items(items)), scope))?;
    let mut stored = HashMap::new();
    for id in references(&items) {
        if let Some(item) = change.item(&caller.tenant, id)? {
            stored.insert(id.to_owned(), item);
        }
    }
    let items = resolve(items, &stored, "items")?;
    let entries = app.read(caller, &app.models.first().served, |scope| entries_of(&items, before, scope))?;
    Ok((items, entries))
}

fn object(row: &Row) -> Result<ConversationObject, ApiError> {
    serde_json::from_value(row.body.clone()).map_err(unreadable)
}

/// `POST /v1/conversations`.
pub(crate) async fn create(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<ConversationRequest>,
) -> Result<Json<ConversationObject>, Rejection> {
    metadata(request.metadata.as_ref())?;
    let made = ConversationObject {
        id: ids::random("conv"),
        object: "conversation".to_owned(),
        created_at: now(),
        metadata: request.metadata.unwrap_or_default(),
    };
    let body = serde_json::to_value(&made).map_err(unreadable)?;
    let (id, created) = (made.id.clone(), made.created_at);
    run_blocking(&app, move |app| {
        app.store.change(now(), |change| {
            let (items, entries) = read(app, change, &caller, request.items.unwrap_or_default(), Vec::new())?;
            let (tenant, events) = (caller.tenant, NO_EVENTS.to_owned());
            let is_unfinished = false;
            let row = Row { id, tenant, created, is_unfinished, body, items, entries, events, label: None };
            change.put(Kind::Conversation, &row)
        })
    })
    .await?;
    Ok(Json(made))
}

/// `GET /v1/conversations/{id}`.
pub(crate) async fn retrieve(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<ConversationObject>, Rejection> {
    let tenant = caller.tenant;
    let row = run_blocking(&app, move |app| app.store.find(Kind::Conversation, &tenant, &id, now())).await?;
    Ok(Json(object(&row)?))
}

/// `POST /v1/conversations/{id}`.
pub(crate) async fn update(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(request): Body<ConversationRequest>,
) -> Result<Json<ConversationObject>, Rejection> {
    metadata(request.metadata.as_ref())?;
    let tenant = caller.tenant;
    let changed = run_blocking(&app, move |app| {
        app.store.change(now(), |change| {
            let mut row = change.find(Kind::Conversation, &tenant, &id)?;
            let mut made = object(&row)?;
            made.metadata = request.metadata.unwrap_or_default();
            row.body = serde_json::to_value(&made).map_err(unreadable)?;
            change.put(Kind::Conversation, &row)?;
            Ok(made)
        })
    });
    Ok(Json(changed.await?))
}

/// `DELETE /v1/conversations/{id}`.
pub(crate) async fn delete(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Deleted>, Rejection> {
    let (tenant, gone) = (caller.tenant, id.clone());
    match run_blocking(&app, move |app| app.store.delete(Kind::Conversation, &tenant, &gone, now())).await? {
        true => Ok(Json(Deleted { id, object: "conversation.deleted", deleted: true })),
        false => Err(ApiError::NotFound { what: "conversation", id }.into()),
    }
}

/// `GET /v1/conversations/{id}/items`.
pub(crate) async fn items(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<ItemList>, Rejection> {
    let tenant = caller.tenant;
    let row = run_blocking(&app, move |app| app.store.find(Kind::Conversation, &tenant, &id, now())).await?;
    let mut listed = page(row.items, &query)?;
    narrow_items(&mut listed.data, caller.visibility);
    Ok(Json(listed))
}

/// `GET /v1/conversations/{id}/items/{item_id}`.
pub(crate) async fn item(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path((id, item_id)): Path<(String, String)>,
) -> Result<Json<Value>, Rejection> {
    let tenant = caller.tenant;
    let mut row =
        run_blocking(&app, move |app| app.store.find(Kind::Conversation, &tenant, &id, now())).await?;
    let at = place(&row, &item_id)?;
    let mut item = row.items.swap_remove(at);
    narrow_item(&mut item, caller.visibility);
    Ok(Json(item))
}

/// Where an item stands.
///
/// Errors: `NotFound`.
fn place(row: &Row, id: &str) -> Result<usize, ApiError> {
    let at = row.items.iter().position(|item| item.get("id").and_then(Value::as_str) == Some(id));
    at.ok_or_else(|| ApiError::NotFound { what: "item", id: id.to_owned() })
}

/// `DELETE /v1/conversations/{id}/items/{item_id}`. What is said in a conversation that has lost an item is
/// what the others say.
pub(crate) async fn delete_item(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path((id, item_id)): Path<(String, String)>,
) -> Result<Json<ConversationObject>, Rejection> {
    let changed = run_blocking(&app, move |app| {
        app.store.change(now(), |change| {
            let mut row = change.find(Kind::Conversation, &caller.tenant, &id)?;
            row.items.remove(place(&row, &item_id)?);
            row.entries =
                app.read(&caller, &app.models.first().served, |scope| entries_left(&row.items, scope));
            change.put(Kind::Conversation, &row)?;
            object(&row)
        })
    });
    Ok(Json(changed.await?))
}

/// `POST /v1/conversations/{id}/items`.
pub(crate) async fn add_items(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(request): Body<ConversationRequest>,
) -> Result<Json<ItemList>, Rejection> {
    let visibility = caller.visibility;
    let new = run_blocking(&app, move |app| {
        app.store.change(now(), |change| {
            let mut row = change.find(Kind::Conversation, &caller.tenant, &id)?;
            let before = std::mem::take(&mut row.entries);
            let (new, entries) = read(app, change, &caller, request.items.unwrap_or_default(), before)?;
            row.entries = entries;
            row.items.extend(new.iter().cloned());
            change.put(Kind::Conversation, &row)?;
            Ok(new)
        })
    });
    let mut new = new.await?;
    // A reference may have been to reasoning that another key of the tenant's sees.
    narrow_items(&mut new, visibility);
    let id = |item: Option<&Value>| {
        item.and_then(|item| item.get("id")).and_then(Value::as_str).map(str::to_owned)
    };
    let (first_id, last_id) = (id(new.first()), id(new.last()));
    Ok(Json(ItemList { object: "list", data: new, first_id, last_id, has_more: false }))
}
