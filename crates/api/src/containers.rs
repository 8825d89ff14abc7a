//! What a request asks of a container, and what it may ask.

use serde_json::Value;

use crate::errors::ApiError;
use crate::limits::{CONTAINER_INPUTS_MAX, CONTAINER_MINUTES, CONTAINER_NAME_BYTES_MAX};
use crate::wire::containers::{ContainerExpiry, ContainerRequest};

/// What a container may have of memory, by OpenAI's words.
const MEMORY: [(&str, u64); 4] = [("1g", 1 << 30), ("4g", 4 << 30), ("16g", 16 << 30), ("64g", 64 << 30)];

/// The container that a request with `code_interpreter` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerWish {
    /// Which; None leaves it to the server.
    pub id: Option<String>,
    /// Files of the caller's that are to be there.
    pub file_ids: Vec<String>,
    /// Most memory of its Python, in OpenAI's word.
    pub memory_limit: Option<String>,
    /// Where it stands in the request.
    pub param: String,
}

/// What `container` of a tool asks for; `param` says where it stands.
///
/// Errors: too long a name, too many files, ids that are no text; memory or a network that is not to be had.
pub(crate) fn wish(value: Option<&Value>, param: &str) -> Result<ContainerWish, ApiError> {
    let mut wish = ContainerWish { param: param.to_owned(), ..ContainerWish::default() };
    match value {
        Some(Value::String(id)) => {
            check_name(id, param)?;
            wish.id = Some(id.clone());
        }
        Some(Value::Object(container)) => {
            let given = |name: &str| container.get(name).filter(|value| !value.is_null());
            if let Some(ids) = given("file_ids") {
                let param = format!("{param}.file_ids");
                let ids =
                    ids.as_array().and_then(|ids| ids.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
                let ids =
                    ids.ok_or_else(|| ApiError::invalid(&param, format!("{param} must be a list of ids")))?;
                wish.file_ids = ids.into_iter().map(str::to_owned).collect();
                check_files(&wish.file_ids, &param)?;
            }
            if let Some(limit) = given("memory_limit") {
                let param = format!("{param}.memory_limit");
                memory_bytes(limit.as_str().unwrap_or_default(), &param)?;
                wish.memory_limit = limit.as_str().map(str::to_owned);
            }
            check_network(given("network_policy"), &format!("{param}.network_policy"))?;
        }
        _ => {}
    }
    Ok(wish)
}

/// Looks whether a new container may be as it is asked for, and how long it waits for its next use.
///
/// Units: minutes.
///
/// Errors: no name, or too long a one; too many files; another anchor, or too long a time; memory or a
/// network that is not to be had.
pub fn check(request: &ContainerRequest) -> Result<u64, ApiError> {
    let name = request.name.as_deref().filter(|name| !name.is_empty());
    check_name(name.ok_or(ApiError::Missing { param: "name" })?, "name")?;
    check_files(request.file_ids.as_deref().unwrap_or_default(), "file_ids")?;
    if let Some(limit) = &request.memory_limit {
        memory_bytes(limit, "memory_limit")?;
    }
    check_network(request.network_policy.as_ref(), "network_policy")?;
    match &request.expires_after {
        None => Ok(*CONTAINER_MINUTES.end()),
        Some(ContainerExpiry { anchor, .. }) if anchor != "last_active_at" => {
            let param = "expires_after.anchor";
            Err(ApiError::invalid(param, format!("{param} must be last_active_at")))
        }
        Some(ContainerExpiry { minutes, .. }) if !CONTAINER_MINUTES.contains(minutes) => {
            let (least, most) = (CONTAINER_MINUTES.start(), CONTAINER_MINUTES.end());
            let param = "expires_after.minutes";
            Err(ApiError::invalid(param, format!("{param} must be from {least} to {most}")))
        }
        Some(ContainerExpiry { minutes, .. }) => Ok(*minutes),
    }
}

/// What a word for memory means. Units: bytes.
///
/// Errors: a word that is none of OpenAI's.
pub fn memory_bytes(word: &str, param: &str) -> Result<u64, ApiError> {
    let known = MEMORY.into_iter().find(|(name, _)| *name == word);
    known.map(|(_, bytes)| bytes).ok_or_else(|| {
        let words = MEMORY.map(|(name, _)| name).join(", ");
        ApiError::invalid(param, format!("{param} must be one of {words}"))
    })
}

fn check_name(name: &str, param: &str) -> Result<(), ApiError> {
    match name.len() > CONTAINER_NAME_BYTES_MAX {
        true => {
            let problem = format!("{param} is longer than {CONTAINER_NAME_BYTES_MAX} bytes");
            Err(ApiError::invalid(param, problem))
        }
        false => Ok(()),
    }
}

fn check_files(ids: &[String], param: &str) -> Result<(), ApiError> {
    match ids.len() > CONTAINER_INPUTS_MAX {
        true => {
            let num = ids.len();
            let problem = format!(
                "{param} has {num} files, but at most {CONTAINER_INPUTS_MAX} are put into a container"
            );
            Err(ApiError::invalid(param, problem))
        }
        false => Ok(()),
    }
}

fn check_network(policy: Option<&Value>, param: &str) -> Result<(), ApiError> {
    match policy.filter(|policy| !policy.is_null()) {
        Some(policy) if policy.get("type").and_then(Value::as_str) != Some("disabled") => {
            let problem = format!("{param}: code has no network here; its type can only be disabled");
            Err(ApiError::invalid(param, problem))
        }
        _ => Ok(()),
    }
}

/// What a file is called in a container: its own name without what a program or a person would stumble over,
/// and a number where that name is taken.
pub fn input_name(filename: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let plain = |letter: char| match letter.is_control()
        || matches!(letter, '/' | '\\' | '\u{feff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    {
        true => '_',
        false => letter,
    };
    let mut name: String = filename.trim().chars().map(plain).collect();
    if name.chars().all(|letter| letter == '.') {
        name = "file".to_owned();
    }
    // A name that begins with a dash would be read as a flag.
    if name.starts_with('-') {
        name.replace_range(..1, "_");
    }
    let mut end = name.len().min(INPUT_NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    if !is_taken(&name) {
        return name;
    }
    let (stem, ending) = match name.rfind('.').filter(|place| *place > 0) {
        Some(place) => name.split_at(place),
        None => (name.as_str(), ""),
    };
    let mut numbered = (2_usize..).map(|number| format!("{stem}-{number}{ending}"));
    numbered.find(|name| !is_taken(name)).unwrap_or_default()
}

/// Longest name of a file in a container without a number in it. Units: bytes.
const INPUT_NAME_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tool_names_a_container_or_says_what_one_is_to_have() {
        let read = |value: Value| wish(Some(&value), "tools[0].container");
        let named = read(json!("mine")).unwrap();
        assert_eq!((named.id.as_deref(), named.file_ids.len()), (Some("mine"), 0));
        let auto = json!({"type": "auto", "file_ids": ["file_1", "file_2"], "memory_limit": "4g"});
        let auto = read(auto).unwrap();
        assert_eq!((auto.id, auto.memory_limit.as_deref()), (None, Some("4g")));
        assert_eq!(auto.file_ids, ["file_1", "file_2"]);
        assert_eq!(wish(None, "c").unwrap().file_ids, [""; 0]);
        let refused = [
            (json!("c".repeat(129)), "container is longer than 128 bytes"),
            (json!({"type": "auto", "file_ids": [1]}), "container.file_ids must be"),
            (json!({"type": "auto", "file_ids": vec!["f"; 65]}), "has 65 files, but at most 64"),
            (json!({"type": "auto", "memory_limit": "2g"}), "1g, 4g, 16g, 64g"),
            (json!({"type": "auto", "network_policy": {"type": "allowlist"}}), "no network"),
        ];
        for (value, expect) in refused {
            let message = read(value).unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        }
        assert!(read(json!({"type": "auto", "network_policy": {"type": "disabled"}})).is_ok());
    }

    #[test]
    fn a_new_container_is_held_to_its_bounds() {
        let read = |value: Value| check(&serde_json::from_value(value).unwrap());
        assert_eq!(read(json!({"name": "c"})), Ok(20));
        let after = |anchor: &str, minutes: u64| json!({"name": "c", "expires_after": {"anchor": anchor, "minutes": minutes}});
        assert_eq!(read(after("last_active_at", 5)), Ok(5));
        for refused in [json!({}), after("now", 5), after("last_active_at", 0), after("last_active_at", 21)] {
            assert!(read(refused.clone()).is_err(), "{refused}");
        }
    }

    #[test]
    fn names_are_plain_and_their_own() {
        let check = |name: &str, taken: &[&str], expect: &str| {
            assert_eq!(input_name(name, |name| taken.contains(&name)), expect, "{name:?}");
        };
        check("a.csv", &[], "a.csv");
        check("a.csv", &["a.csv"], "a-2.csv");
        check("a.csv", &["a.csv", "a-2.csv"], "a-3.csv");
        check(".env", &[".env"], ".env-2");
        check("..", &[], "file");
        check("", &[], "file");
        check("-rf", &[], "_rf");
        check("a/../b\n\u{202e}c", &[], "a_.._b__c");
        assert_eq!(input_name(&"\u{fc}".repeat(150), |_| false).len(), 200);
    }
}
