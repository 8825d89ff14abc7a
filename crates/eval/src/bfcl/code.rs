//! One call as code of Java or JavaScript, whose arguments stay literals.

use crate::bfcl::Call;
use crate::bfcl::language::inside;
use crate::bfcl::value::Value;

/// Reads `[name(argument=literal, ...)]`. Quotes around a whole literal are taken off.
pub fn call(code: &str) -> Option<Call> {
    let code = code.strip_prefix('[').and_then(|code| code.strip_suffix(']')).unwrap_or(code).trim();
    let (name, rest) = code.trim_end_matches(';').split_once('(')?;
    let is_name = |c: char| c.is_alphanumeric() || "_.$".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let mut arguments: Vec<(String, Value)> = Vec::new();
    for part in split(rest.strip_suffix(')')?)? {
        let (name, literal) = part.split_once('=')?;
        let (name, literal) = (name.trim().to_owned(), literal.trim());
        if arguments.iter().any(|(other, _)| *other == name) {
            return None;
        }
        let quotes = ['"', '\''];
        let is_quoted = literal.len() > 1
            && quotes.iter().any(|quote| literal.starts_with(*quote) && literal.ends_with(*quote));
        arguments.push((name, Value::Text(if is_quoted { inside(literal) } else { literal.to_owned() })));
    }
    Some(Call { name: name.to_owned(), arguments })
}

/// Parts between commas that are in no bracket and no quotes; nothing if brackets or quotes stay open. What
/// stands in `<` and `>` behind a name is a type's.
fn split(code: &str) -> Option<Vec<&str>> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0_usize);
    let mut quote: Option<char> = None;
    let (mut before, mut num_angles) = (' ', 0_usize);
    let mut chars = code.char_indices();
    while let Some((at, c)) = chars.next() {
        let previous = std::mem::replace(&mut before, c);
        match (quote, c) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
            (None, '<') if previous.is_alphanumeric() => num_angles += 1,
            (None, '>') if previous != '=' => num_angles = num_angles.saturating_sub(1),
            (None, ',') if depth == 0 && num_angles == 0 => {
                parts.push(&code[from..at]);
                from = at + 1;
            }
            (None, _) => {}
        }
    }
    if !code[from..].trim().is_empty() {
        parts.push(&code[from..]);
    }
    (depth == 0 && quote.is_none()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_kept_whole() {
        let read = |code: &str| {
            let call = call(code)?;
            let text =
                |(name, value): &(String, Value)| format!("{name}: {}", value.text().unwrap_or_default());
            Some(call.arguments.iter().map(text).collect::<Vec<_>>())
        };
        let code = r#"[A.f(x="a, (b", y=new HashMap<String, Long>() {{ put("k", 1L); }}, z=() => 1)]"#;
        let map = r#"y: new HashMap<String, Long>() {{ put("k", 1L); }}"#;
        assert_eq!(read(code).unwrap(), ["x: a, (b", map, "z: () => 1"]);
        assert_eq!(read("f()").unwrap(), Vec::<String>::new());
        assert!(
            ["f", "f(a=1", "f(a=(1)", "f(a=1, a=2)", "a b(c=1)", "f(1)"]
                .iter()
                .all(|code| read(code).is_none())
        );
    }
}
