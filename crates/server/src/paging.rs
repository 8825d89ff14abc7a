//! Pages of a list of items.

use gptoss_api::ApiError;
use gptoss_api::wire::responses::ItemList;
use serde::Deserialize;
use serde_json::Value;

use crate::limits::PAGE_ITEMS_MAX;

/// Which page of a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PageQuery {
    limit: Option<usize>,
    order: Option<String>,
    after: Option<String>,
    before: Option<String>,
}

/// One page of items, the newest first unless asked otherwise.
///
/// Errors: a limit or an order that there is not.
pub(crate) fn page(mut items: Vec<Value>, query: &PageQuery) -> Result<ItemList, ApiError> {
    let limit = query.limit.unwrap_or(20);
    if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
        return Err(ApiError::invalid(
            "limit",
            format!("limit is {limit}, but must be from 1 to {PAGE_ITEMS_MAX}"),
        ));
    }
    match query.order.as_deref() {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(other) => {
            return Err(ApiError::invalid("order", format!("order is {other:?}, but must be asc or desc")));
        }
    }
    let id = |item: &Value| item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(after) = &query.after
        && let Some(at) = items.iter().position(|item| id(item) == *after)
    {
        items.drain(..=at);
    }
    if let Some(before) = &query.before
        && let Some(at) = items.iter().position(|item| id(item) == *before)
    {
        items.truncate(at);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    Ok(ItemList {
        object: "list",
        first_id: items.first().map(id),
        last_id: items.last().map(id),
        data: items,
        has_more,
    })
}
