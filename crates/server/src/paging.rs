//! Pages of a list of items.
//!
//! A page begins behind a cursor. An item's cursor is its id; where several items of the list have one id,
//! which clients choose, it is `ID@N` with the place `N` of the item, counted from the oldest and from 0.
//! Lists grow at their newest end alone, so a place stays an item's. The bare id of several items means the
//! last of them that the order comes to: whoever pages by the ids of items, and not by `last_id`, comes to
//! the end too.

use std::collections::HashMap;

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

/// How much a page holds, by default and at most, and whether the oldest come first.
///
/// Errors: a limit or an order that there is not.
pub(crate) fn bounds(
    limit: Option<usize>,
    order: Option<&str>,
    (default, most): (usize, usize),
) -> Result<(usize, bool), ApiError> {
    let limit = limit.unwrap_or(default);
    if !(1..=most).contains(&limit) {
        return Err(ApiError::invalid("limit", format!("limit is {limit}, but must be from 1 to {most}")));
    }
    match order {
        None | Some("desc") => Ok((limit, false)),
        Some("asc") => Ok((limit, true)),
        Some(other) => {
            Err(ApiError::invalid("order", format!("order is {other:?}, but must be asc or desc")))
        }
    }
}

/// One page of items, the newest first unless asked otherwise.
///
/// Errors: a limit or an order that there is not.
pub(crate) fn page(mut items: Vec<Value>, query: &PageQuery) -> Result<ItemList, ApiError> {
    let (limit, is_ascending) = bounds(query.limit, query.order.as_deref(), (20, PAGE_ITEMS_MAX))?;
    let mut cursors = cursors(&items);
    if !is_ascending {
        items.reverse();
        cursors.reverse();
    }
    let place = |cursor: &String| {
        let is_at = |at: &usize| cursors[*at] == *cursor;
        (0..items.len()).find(is_at).or_else(|| items.iter().rposition(|item| id(item) == cursor))
    };
    let begin = query.after.as_ref().and_then(place).map_or(0, |at| at + 1);
    let end = query.before.as_ref().and_then(place).unwrap_or(items.len()).max(begin);
    let has_more = end - begin > limit;
    let page = begin..end.min(begin + limit);
    Ok(ItemList {
        object: "list",
        first_id: cursors[page.clone()].first().cloned(),
        last_id: cursors[page.clone()].last().cloned(),
        data: items.drain(page).collect(),
        has_more,
    })
}

/// The cursors of items from the oldest on.
fn cursors(items: &[Value]) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for item in items {
        *counts.entry(id(item)).or_default() += 1;
    }
    let with_place = items.iter().map(id).enumerate();
    let cursor = |(at, id): (usize, &str)| match counts[id] == 1 && !id.contains('@') {
        true => id.to_owned(),
        // An id that looks like a cursor gets a place too: no two cursors are the same.
        false => format!("{id}@{at}"),
    };
    with_place.map(cursor).collect()
}

fn id(item: &Value) -> &str {
    item.get("id").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const IDS: [&str; 7] = ["a", "a", "b", "a", "c", "c", "a@1"];

    /// What a client reads that goes on behind `cursor` of each page, as numbers of the items.
    fn walk(order: &str, cursor: fn(&ItemList) -> String) -> Vec<u64> {
        let items: Vec<Value> = IDS.iter().enumerate().map(|(n, id)| json!({"id": id, "n": n})).collect();
        let mut query = PageQuery { limit: Some(1), order: Some(order.into()), ..PageQuery::default() };
        let mut read = Vec::new();
        loop {
            let list = page(items.clone(), &query).unwrap();
            read.extend(list.data.iter().map(|item| item["n"].as_u64().unwrap()));
            if !list.has_more {
                return read;
            }
            assert!(read.len() <= IDS.len(), "it goes in a circle: {read:?}");
            query.after = Some(cursor(&list));
        }
    }

    /// Pages went behind the first item of an id, and so in a circle when there were several.
    #[test]
    fn ids_that_stand_twice_are_read_once_each() {
        let last_id = |list: &ItemList| list.last_id.clone().unwrap();
        assert_eq!(walk("asc", last_id), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(walk("desc", last_id), [6, 5, 4, 3, 2, 1, 0]);
        let id = |list: &ItemList| list.data[0]["id"].as_str().unwrap().to_owned();
        assert_eq!(walk("asc", id), [0, 4, 6]);
    }

    #[test]
    fn a_page_lies_between_its_cursors() {
        let items: Vec<Value> = ["a", "b", "c", "d"].iter().map(|id| json!({"id": id})).collect();
        let read = |after: &str, before: &str| {
            let (after, before) = (Some(after.to_owned()), Some(before.to_owned()));
            let query = PageQuery { order: Some("asc".into()), after, before, ..PageQuery::default() };
            let list = page(items.clone(), &query).unwrap();
            list.data.iter().map(|item| id(item).to_owned()).collect::<String>()
        };
        assert_eq!(
            (read("a", "d").as_str(), read("d", "a").as_str(), read("x", "y").as_str()),
            ("bc", "", "abcd")
        );
    }
}
