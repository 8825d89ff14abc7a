//! BFCL: calls of functions, judged by their parts and not by running them.
//!
//! The categories of one turn, in Python, Java and JavaScript; those whose calls are run, of several turns,
//! of memory and of web search are not here.

mod answer;
mod check;
mod code;
mod java;
mod javascript;
mod language;
mod python;
mod schema;
mod value;

use std::fmt;

use serde_json::Value as Json;

use crate::{CallsKey, Judgement, Outcome, Response};

pub use answer::{NotCalls, calls_of, calls_of_json};
pub use check::check;
pub use language::Language;
pub use schema::shown;
pub use value::{Type, Value};

/// A call that a model made.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function.
    pub name: String,
    /// Its arguments by name, in the order given.
    pub arguments: Vec<(String, Value)>,
}

/// As Python writes it, for people.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (at, (name, value)) in self.arguments.iter().enumerate() {
            write!(f, "{}{name}={value}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str(")")
    }
}

/// What an item asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// These calls.
    Calls,
    /// No call: none of the functions fits.
    NoCall,
    /// A call, whichever.
    SomeCall,
}

/// A category of BFCL's, by the name in its items' ids and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Category {
    /// What is asked.
    pub ask: Ask,
    /// Whether several calls are wanted, in any order.
    pub is_parallel: bool,
    /// Whether several functions are on offer.
    pub is_multiple: bool,
    /// The language of the values.
    pub language: Language,
}

impl Category {
    /// Of an item's id or a file's name; nothing if it is of a category that is not here.
    pub fn of(name: &str) -> Option<Self> {
        let has = |part: &str| name.contains(part);
        if ["multi_turn", "memory", "web_search", "exec_", "format_sensitivity"].into_iter().any(has) {
            return None;
        }
        let ask = match (has("irrelevance"), has("relevance")) {
            (true, _) => Ask::NoCall,
            (_, true) => Ask::SomeCall,
            _ => Ask::Calls,
        };
        let (is_parallel, is_multiple) = (has("parallel"), has("multiple"));
        let is_known = ask != Ask::Calls || is_parallel || is_multiple || has("simple");
        let language = match (has("javascript"), has("java")) {
            (true, _) => Language::JavaScript,
            (_, true) => Language::Java,
            _ => Language::Python,
        };
        is_known.then_some(Self { ask, is_parallel, is_multiple, language })
    }
}

/// Why calls are not those that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There are calls where none is wanted.
    #[error("a function was called, and none fits")]
    Called,
    /// There is none where one is wanted.
    #[error("no function was called")]
    NotCalled,
    /// There are more or fewer than are wanted.
    #[error("the number of calls is not the wanted one")]
    WrongCount,
    /// Another function was called.
    #[error("another function was called")]
    WrongName,
    /// An argument that is required was not given.
    #[error("a required argument is missing")]
    MissingRequired,
    /// An argument that the item wants was not given.
    #[error("an argument is missing that this request needs")]
    MissingOptional,
    /// An argument that the function does not have, or the item does not allow.
    #[error("an argument was given that is not expected")]
    UnexpectedArgument,
    /// A value of another type than the declared one.
    #[error("a value has another type than the declared one")]
    WrongType,
    /// A value within a list, likewise.
    #[error("a value within a list has another type than the declared one")]
    WrongInnerType,
    /// Another text.
    #[error("a text is not one of those allowed")]
    WrongText,
    /// Another list.
    #[error("a list is not one of those allowed")]
    WrongList,
    /// Another value.
    #[error("a value is not one of those allowed")]
    WrongValue,
    /// No dictionary is allowed.
    #[error("no dictionary is allowed")]
    NoDict,
    /// A member of a dictionary is missing or not expected.
    #[error("a dictionary has not the members that are allowed")]
    DictKey,
    /// A member has another value.
    #[error("a value in a dictionary is not one of those allowed")]
    DictValue,
    /// A list of more or fewer dictionaries.
    #[error("the number of dictionaries is not the allowed one")]
    DictCount,
    /// A wanted call has no counterpart.
    #[error("no call is one of those wanted")]
    NoMatch,
    /// The item is not of BFCL's shape.
    #[error("the item cannot be judged: {0}")]
    Item(&'static str),
}

/// Holds calls to what an item asks.
pub fn verdict(category: Category, functions: &[Json], wanted: &[Json], calls: &[Call]) -> Result<(), Fault> {
    match (category.ask, calls.is_empty()) {
        (Ask::NoCall, true) | (Ask::SomeCall, false) => Ok(()),
        (Ask::NoCall, false) => Err(Fault::Called),
        (Ask::SomeCall, true) => Err(Fault::NotCalled),
        (Ask::Calls, true) if !wanted.is_empty() => Err(Fault::NotCalled),
        (Ask::Calls, _) => check(category, functions, wanted, calls),
    }
}

/// Judges an answer by its calls, or by its text where it came without any.
pub fn judge(key: &CallsKey, response: &Response) -> Judgement {
    let Some(category) = Category::of(&key.category) else {
        return Judgement::error(format!(
            "BFCL's category `{}` is not judged by its calls' parts",
            key.category
        ));
    };
    let (calls, rule) = match &response.calls {
        Some(calls) => (calls_of_json(&Json::Array(calls.clone())), "calls"),
        None => (calls_of(category.language, &response.response).ok(), "text"),
    };
    let has_answer = response.calls.is_some() || !response.response.trim().is_empty();
    let calls = calls.unwrap_or_default();
    let told = calls.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    match verdict(category, &key.functions, &key.expected, &calls) {
        Err(fault @ Fault::Item(_)) => Judgement::error(fault.to_string()),
        // To say nothing is no call, unless the answer was cut before it said anything.
        Ok(()) if has_answer || !response.is_cut() => Judgement::found(told, true, rule),
        Err(fault) if !calls.is_empty() => {
            Judgement { detail: Some(fault.to_string()), ..Judgement::found(told, false, rule) }
        }
        Ok(()) | Err(_) => Judgement::without(Outcome::NoAnswer),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_category_is_read_from_ids_and_names_of_files() {
        let of = |name: &str| {
            let category = Category::of(name)?;
            Some((category.ask, category.is_parallel, category.is_multiple, category.language))
        };
        assert_eq!(of("simple_python_7"), Some((Ask::Calls, false, false, Language::Python)));
        assert_eq!(of("simple_java_7"), Some((Ask::Calls, false, false, Language::Java)));
        assert_eq!(of("simple_javascript_7"), Some((Ask::Calls, false, false, Language::JavaScript)));
        assert_eq!(
            of("BFCL_v4_live_parallel_multiple.json"),
            Some((Ask::Calls, true, true, Language::Python))
        );
        assert_eq!(of("live_irrelevance_1-0-0"), Some((Ask::NoCall, false, false, Language::Python)));
        assert_eq!(of("live_relevance_1-0-0"), Some((Ask::SomeCall, false, false, Language::Python)));
        assert!(
            ["multi_turn_base_1", "memory_kv_1", "web_search_1", "other_1"]
                .iter()
                .all(|name| of(name).is_none())
        );
    }

    #[test]
    fn an_answer_without_calls_has_its_own_column() {
        let key = CallsKey {
            category: "simple_python".into(),
            functions: vec![
                json!({"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}}),
            ],
            expected: vec![json!({"f": {"a": [1]}})],
        };
        let judged = |response: &str, calls: Option<Vec<Json>>| {
            let response = Response { response: response.into(), calls, ..Response::default() };
            let judgement = judge(&key, &response);
            (judgement.outcome, judgement.extracted.unwrap_or_default())
        };
        assert_eq!(judged("[f(a=1)]", None), (Outcome::Correct, "f(a=1)".to_owned()));
        assert_eq!(judged("", Some(vec![json!({"f": {"a": 2.0}})])), (Outcome::Wrong, "f(a=2.0)".to_owned()));
        assert_eq!(judged("I cannot.", None), (Outcome::NoAnswer, String::new()));
        assert_eq!(judged("", Some(Vec::new())), (Outcome::NoAnswer, String::new()));
        let none = CallsKey { category: "irrelevance".into(), expected: Vec::new(), ..key.clone() };
        let answered =
            |text: &str| judge(&none, &Response { response: text.into(), ..Response::default() }).outcome;
        assert_eq!(
            (answered("None fits."), answered("f(a=1)"), answered("")),
            (Outcome::Correct, Outcome::Wrong, Outcome::Correct)
        );
        let cut = Response { finish_reason: Some("length".into()), ..Response::default() };
        assert_eq!(judge(&none, &cut).outcome, Outcome::NoAnswer, "it ended before it said anything");
        let turns = CallsKey { category: "multi_turn_base".into(), ..key };
        assert_eq!(judge(&turns, &Response::default()).outcome, Outcome::Error);
    }

    #[test]
    fn no_call_is_right_where_none_fits() {
        let category = |name: &str| Category::of(name).unwrap();
        let judge = |name: &str, answer: &str| {
            let calls = calls_of(Language::Python, answer).unwrap_or_default();
            verdict(category(name), &[json!({"name": "f"})], &[], &calls)
        };
        assert_eq!(judge("irrelevance_1", "None of them fits."), Ok(()));
        assert_eq!(judge("irrelevance_1", "[f(a=1)]"), Err(Fault::Called));
        assert_eq!(judge("live_relevance_1", "[f(a=1)]"), Ok(()));
        assert_eq!(judge("live_relevance_1", "[]"), Err(Fault::NotCalled));
    }
}
