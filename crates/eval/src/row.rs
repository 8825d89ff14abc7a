//! A row of a file, and its columns by any of the names that files give them.

use serde_json::{Map, Value};

/// A row: its columns in the file's order.
pub type Row = Map<String, Value>;

/// Names of columns that hold a row's id.
pub const IDS: [&str; 8] =
    ["id", "question_id", "task_id", "prompt_id", "record_id", "instance_id", "key", "doc_id"];

/// The first column there of these names, in lower case with `_`; what is null is not there.
pub fn column<'a>(row: &'a Row, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| {
        let (_, value) = row.iter().find(|(key, _)| is_named(key, name))?;
        (!value.is_null()).then_some(value)
    })
}

fn is_named(key: &str, name: &str) -> bool {
    let key = key.trim();
    key.len() == name.len()
        && key.bytes().zip(name.bytes()).all(|(have, want)| {
            let have = if matches!(have, b' ' | b'-') { b'_' } else { have.to_ascii_lowercase() };
            have == want
        })
}

/// The column as a text: numbers and bools as they are written.
pub fn text(row: &Row, names: &[&str]) -> Option<String> {
    scalar(column(row, names)?)
}

/// A text, a number or a bool as a text.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        // Tables of numbers with gaps become floats: 25.0 is 25.
        Value::Number(number) => Some(match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                format!("{float:.0}")
            }
            _ => number.to_string(),
        }),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}

/// The column as a list of texts: a list, or the text of one as Python or JSON writes it.
pub fn texts(row: &Row, names: &[&str]) -> Option<Vec<String>> {
    match column(row, names)? {
        Value::Array(values) => values.iter().map(scalar).collect(),
        Value::String(text) => python_list(text),
        _ => None,
    }
}

/// The column as a JSON value, which a cell of a CSV file has as its text.
pub fn json(row: &Row, names: &[&str]) -> Option<Value> {
    match column(row, names)? {
        Value::String(text) => serde_json::from_str(text).ok(),
        value => Some(value.clone()),
    }
}

/// The list of strings whose text Python's `str` wrote; numpy leaves the commas out.
fn python_list(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut list = Vec::new();
    let mut rest = inner.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    while let Some(quote) = rest.chars().next() {
        if quote != '\'' && quote != '"' {
            return None;
        }
        let (string, after) = python_string(&rest[1..], quote)?;
        list.push(string);
        rest = after.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    Some(list)
}

/// A string up to its quote, and what comes after.
fn python_string(text: &str, quote: char) -> Option<(String, &str)> {
    let mut string = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((string, &text[at + 1..]));
        }
        if c != '\\' {
            string.push(c);
            continue;
        }
        let (_, escaped) = chars.next()?;
        let digits = match escaped {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        match escaped {
            'n' => string.push('\n'),
            't' => string.push('\t'),
            'r' => string.push('\r'),
            '\\' | '\'' | '"' => string.push(escaped),
            _ if digits > 0 => {
                let code: String = chars.by_ref().take(digits).map(|(_, digit)| digit).collect();
                string.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
            }
            _ => string.extend(['\\', escaped]),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: serde_json::Value) -> Row {
        json.as_object().expect("an object").clone()
    }

    #[test]
    fn a_column_is_found_however_it_is_written() {
        let row = row(serde_json::json!({"Correct Answer": "x", "answer-index": 3.0, "note": null}));
        assert_eq!(text(&row, &["correct_answer"]).as_deref(), Some("x"));
        assert_eq!(text(&row, &["missing", "answer_index"]).as_deref(), Some("3"));
        assert_eq!(text(&row, &["note"]), None);
    }

    #[test]
    fn a_list_is_read_as_python_writes_it() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let expected: Option<Vec<String>> =
                expected.map(|list| list.iter().map(|s| s.to_string()).collect());
            assert_eq!(python_list(text), expected, "{text}");
        };
        check(r#"['a', "it's", 'b\n\'c\'']"#, Some(&["a", "it's", "b\n'c'"]));
        check("['a' 'b'\n 'c']", Some(&["a", "b", "c"]));
        check(r#"["α", '\xb2\u2080', 'C:\dir']"#, Some(&["α", "²₀", r"C:\dir"]));
        check("[]", Some(&[]));
        check("['open]", None);
        check("a, b", None);
        check(r"['\ud800']", None);
    }
}
