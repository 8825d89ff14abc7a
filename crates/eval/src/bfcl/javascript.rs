//! Literals of JavaScript, read by their declared types as BFCL's `js_type_converter` reads them.

use crate::bfcl::language::{Language, inside, number_or_text, pattern};
use crate::bfcl::value::{Value, insert};

pattern!(WHOLE, r"^-?\d+$");
pattern!(FLOAT, r"^-?\d+(\.\d+)?$");
pattern!(BIG, r"^-?\d+n$");
pattern!(ARRAYS, r"^(?:\[\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\]|\bnew\s+Array\(\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\))");
pattern!(INNER, r"\[(.*?)\]");
pattern!(ARRAY, r"^(?:\[(.*?)\]|\bnew\s+Array\((.*?)\))");
pattern!(OBJECT, r"^\{(.*?)\}");

/// A literal's value; the text where it is none of the type.
pub fn read(literal: &str, name: &str, inner: Option<&str>) -> Value {
    let text = || Value::Text(literal.to_owned());
    match name {
        "String" if is_quoted(literal) => Value::Text(inside(literal)),
        "integer" if WHOLE.is_match(literal) => number_or_text(literal),
        "float" if FLOAT.is_match(literal) => literal.parse().map_or_else(|_| text(), Value::Float),
        "Bigint" if BIG.is_match(literal) => number_or_text(&literal[..literal.len() - 1]),
        "Boolean" if literal == "true" || literal == "false" => Value::Bool(literal == "true"),
        "dict" => object(literal.trim()),
        "array" => array(literal.trim(), inner),
        _ => text(),
    }
}

fn is_quoted(literal: &str) -> bool {
    ['"', '\''].iter().any(|quote| literal.starts_with(*quote) && literal.ends_with(*quote))
}

fn array(code: &str, inner: Option<&str>) -> Value {
    if let Some(whole) = ARRAYS.find(code) {
        let list = |(at, elements): (usize, &str)| {
            let elements = elements.trim();
            let elements = if at == 0 { elements.strip_prefix('[').unwrap_or(elements) } else { elements };
            Value::List(elements.split(',').map(|element| by_look(element.trim())).collect())
        };
        let found = INNER.captures_iter(whole.as_str()).filter_map(|found| Some(found.get(1)?.as_str()));
        return Value::List(found.enumerate().map(list).collect());
    }
    let text = || Value::Text(code.to_owned());
    let Some(found) = ARRAY.captures(code).and_then(|found| found.get(1).or(found.get(2))) else {
        return text();
    };
    let elements = found.as_str().trim();
    if elements.is_empty() {
        return Value::List(Vec::new());
    }
    let elements = elements.split(',').map(str::trim);
    match inner {
        Some(inner) if Language::JavaScript.kind(inner).is_none() => text(),
        Some(inner) => Value::List(elements.map(|element| read(element, inner, None)).collect()),
        None => Value::List(elements.map(by_look).collect()),
    }
}

fn object(code: &str) -> Value {
    let Some(found) = OBJECT.captures(code) else {
        return Value::Text(code.to_owned());
    };
    let mut members: Vec<(String, Value)> = Vec::new();
    for (name, value) in pairs(&found[1]) {
        let quotes = ['\'', '"'];
        let (name, value) = (name.trim().trim_matches(quotes).to_owned(), value.trim());
        let value = if value.starts_with('[') && value.ends_with(']') {
            array(value, None)
        } else if value.starts_with('{') && value.ends_with('}') {
            object(value)
        } else {
            by_look(value.trim_matches(quotes))
        };
        insert(&mut members, name, value);
    }
    Value::Dict(members)
}

/// Names and values: a value ends before a comma behind which another name follows.
fn pairs(mut content: &str) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    loop {
        content = content.trim_start_matches(':');
        let Some((name, rest)) = content.split_once(':') else {
            return pairs;
        };
        let is_before_name = |at: usize| {
            let next = rest[at + 1..].split(',').next().unwrap_or_default();
            next.char_indices().skip(1).any(|(_, c)| c == ':')
        };
        let end = rest.match_indices(',').map(|(at, _)| at).find(|at| is_before_name(*at));
        let value = &rest[..end.unwrap_or(rest.len())];
        // A value of several lines is none for the checker.
        if value.trim().contains('\n') {
            return pairs;
        }
        pairs.push((name, value));
        let Some(end) = end else { return pairs };
        content = &rest[end + 1..];
    }
}

/// A value whose type nobody declared.
fn by_look(literal: &str) -> Value {
    match literal.trim() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        literal if is_quoted(literal) => Value::Text(inside(literal)),
        literal => number_or_text(literal),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn literals_are_read_by_their_type() {
        let check = |literal: &str, name: &str, inner: Option<&str>, expect: Json| {
            let (read, expect) = (read(literal, name, inner), Value::from(&expect));
            assert!(read == expect && read.kind() == expect.kind(), "{literal} as {name}: {read:?}");
        };
        check("'a'", "String", None, json!("a"));
        check("-12", "integer", None, json!(-12));
        check("12n", "Bigint", None, json!(12));
        check("3.5", "float", None, json!(3.5));
        check("yes", "Boolean", None, json!("yes"));
        check("[1, 'two', true]", "array", None, json!([1, "two", true]));
        check("new Array(1n, 2n)", "array", Some("Bigint"), json!([1, 2]));
        check("[ [1, 2], [ 3,4 ]]", "array", Some("array"), json!([[1, 2], [3, 4]]));
        check("[]", "array", Some("String"), json!([]));
        check("list", "array", Some("String"), json!("list"));
        check(
            "{'a': 1, b: 'x, y', c: [1, 2], d: e}",
            "dict",
            None,
            json!({"a": 1, "b": "x, y", "c": [1, 2], "d": "e"}),
        );
        check("{}", "dict", None, json!({}));
    }
}
