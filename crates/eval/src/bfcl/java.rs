//! Literals of Java, read by their declared types as BFCL's `java_type_converter` reads them.

use crate::bfcl::language::{inside, number_or_text, pattern};
use crate::bfcl::value::{Value, insert};

pattern!(WHOLE, r"^-?\d+$");
pattern!(LONG, r"^-?\d+[lL]$");
pattern!(FLOAT, r"^-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]$");
pattern!(DOUBLE, r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$");
pattern!(ARRAY, r"new\s+\w+\[\]\s*\{(.*?)\}");
pattern!(AS_LIST, r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)");
pattern!(ADDED, r"(?s)new\s+ArrayList<\w*>\(\)\s*\{\{\s*(.+?)\s*\}\}");
pattern!(ADD, r"add\((.+?)\)");
pattern!(EMPTY_LIST, r"new\s+ArrayList<\w*>\(\)");
pattern!(MAP, r"(?s)new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?\s*(.*?)\s*\}?\s*\}");
pattern!(PUT, r#"put\("(.*?)",\s*(.*?)\)"#);
pattern!(EMPTY_MAP, r"new\s+HashMap<.*?>\s*\(\)");

/// A literal's value; the text where it is none of the type.
pub fn read(literal: &str, name: &str, inner: Option<&str>) -> Value {
    let text = || Value::Text(literal.to_owned());
    let without_end = || &literal[..literal.len() - 1];
    match name {
        "byte" | "short" | "integer" if WHOLE.is_match(literal) => whole(literal),
        "long" if LONG.is_match(literal) => whole(without_end()),
        "float" if FLOAT.is_match(literal) => fraction(without_end()),
        "double" if DOUBLE.is_match(literal) => fraction(literal),
        "boolean" if literal == "true" || literal == "false" => Value::Bool(literal == "true"),
        "Array" => array(literal, inner).unwrap_or_else(text),
        "ArrayList" => array_list(literal, inner).unwrap_or_else(text),
        "HashMap" => hash_map(literal).unwrap_or_else(text),
        _ => text(),
    }
}

fn whole(digits: &str) -> Value {
    digits.parse().map_or_else(|_| Value::Text(digits.to_owned()), Value::Int)
}

fn fraction(digits: &str) -> Value {
    digits.parse().map_or_else(|_| Value::Text(digits.to_owned()), Value::Float)
}

/// A value within a list.
fn element(literal: &str, inner: Option<&str>) -> Value {
    inner.map_or_else(|| by_look(literal), |inner| read(literal, inner, None))
}

fn array(literal: &str, inner: Option<&str>) -> Option<Value> {
    let found = ARRAY.captures(literal)?;
    let parts = found[1].split(',').map(str::trim).filter(|part| !part.is_empty());
    Some(Value::List(parts.map(|part| element(part, inner)).collect()))
}

fn array_list(literal: &str, inner: Option<&str>) -> Option<Value> {
    let element = |literal: &str| match inner {
        Some("char" | "String") => Value::Text(inside(literal.trim())),
        inner => element(literal.trim(), inner),
    };
    if let Some(found) = AS_LIST.captures(literal) {
        return Some(Value::List(found[1].split(',').map(element).collect()));
    }
    if let Some(found) = ADDED.captures(literal) {
        return Some(Value::List(ADD.captures_iter(&found[1]).map(|found| element(&found[1])).collect()));
    }
    EMPTY_LIST.is_match(literal).then(|| Value::List(Vec::new()))
}

fn hash_map(literal: &str) -> Option<Value> {
    let Some(found) = MAP.captures(literal) else {
        return EMPTY_MAP.is_match(literal).then(|| Value::Dict(Vec::new()));
    };
    let mut members: Vec<(String, Value)> = Vec::new();
    for put in PUT.captures_iter(&found[1]) {
        insert(&mut members, put[1].to_owned(), by_look(put[2].trim()));
    }
    Some(Value::Dict(members))
}

/// A value whose type nobody declared.
fn by_look(literal: &str) -> Value {
    match literal {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if literal.starts_with('"') && literal.ends_with('"') => Value::Text(inside(literal)),
        _ if LONG.is_match(literal) => whole(&literal[..literal.len() - 1]),
        _ if FLOAT.is_match(literal) => fraction(&literal[..literal.len() - 1]),
        _ => number_or_text(literal),
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
        check("-12", "integer", None, json!(-12));
        check("12L", "integer", None, json!("12L"));
        check("12L", "long", None, json!(12));
        check("3e3F", "float", None, json!(3000.0));
        check("3", "double", None, json!(3.0));
        check("true", "boolean", None, json!(true));
        check("new int[]{1, 2}", "Array", Some("integer"), json!([1, 2]));
        check("new Object[]{1, \"a\", true, 2f}", "Array", None, json!([1, "a", true, 2.0]));
        check("new ArrayList<>(Arrays.asList(\"a\", \"b\"))", "ArrayList", Some("String"), json!(["a", "b"]));
        check("new ArrayList<Long>() {{ add(1L); add(2L); }}", "ArrayList", Some("long"), json!([1, 2]));
        check("new ArrayList<>()", "ArrayList", Some("long"), json!([]));
        check("names", "ArrayList", Some("long"), json!("names"));
        let map = "new HashMap<String, Object>() {{ put(\"a\", 1); put(\"b\", \"x\"); put(\"a\", 2L); }}";
        check(map, "HashMap", None, json!({"a": 2, "b": "x"}));
        check("new HashMap<>()", "HashMap", None, json!({}));
    }
}
