//! A list of calls as Python, as BFCL's `ast_parse` reads it.
//!
//! Arguments are constants, lists, tuples, dictionaries, sums of constants, names (their text) and calls
//! (with named arguments a dictionary, otherwise their text). Arguments without a name are passed over.
//! Anything else is not a list of calls.

use crate::bfcl::Call;
use crate::bfcl::value::{Value, insert};

/// How deep values may stand within one another.
const DEPTH_MAX: usize = 64;

/// Reads `[f(a=1), g(b="x")]`; the brackets may be missing.
pub fn calls(code: &str) -> Option<Vec<Call>> {
    let opened = if code.starts_with('[') { code.to_owned() } else { format!("[{code}") };
    let whole = if opened.ends_with(']') { opened } else { format!("{opened}]") };
    let mut reader = Reader { code: &whole, at: 0, depth: 0 };
    reader.take("[").then_some(())?;
    let calls = reader.list("]", Reader::call)?;
    reader.rest().is_empty().then_some(calls)
}

/// Code and how far it is read.
struct Reader<'a> {
    code: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// What is left, from the next token on.
    fn rest(&mut self) -> &'a str {
        loop {
            let rest = &self.code[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return &self.code[self.at..];
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    /// Items between commas, up to an end.
    fn list<T>(&mut self, end: &str, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(item(self)?);
            if !self.take(",") {
                return self.take(end).then_some(items);
            }
        }
        Some(items)
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let is_in_name = |c: char| c.is_alphanumeric() || c == '_';
        let name = &rest[..rest.find(|c: char| !is_in_name(c)).unwrap_or(rest.len())];
        let name = name.starts_with(|c: char| !c.is_ascii_digit()).then(|| name.to_owned())?;
        self.at += name.len();
        Some(name)
    }

    /// A name with those that its dots join to it.
    fn dotted(&mut self, mut name: String) -> Option<String> {
        while self.take(".") {
            name = format!("{name}.{}", self.name()?);
        }
        Some(name)
    }

    fn call(&mut self) -> Option<Call> {
        let name = self.name()?;
        let name = self.dotted(name)?;
        self.take("(").then_some(())?;
        Some(Call { name, arguments: self.arguments()? })
    }

    /// The named arguments of a call, behind its parenthesis.
    fn arguments(&mut self) -> Option<Vec<(String, Value)>> {
        let all = self.list(")", |reader| {
            let before = reader.at;
            if let Some(name) = reader.name()
                && !reader.rest().starts_with("==")
                && reader.take("=")
            {
                return Some((Some(name), reader.value()?));
            }
            reader.at = before;
            Some((None, reader.value()?))
        })?;
        let mut named: Vec<(String, Value)> = Vec::new();
        for (name, value) in all {
            match name {
                None if !named.is_empty() => return None,
                None => {}
                Some(name) if named.iter().any(|(other, _)| *other == name) => return None,
                Some(name) => named.push((name, value)),
            }
        }
        Some(named)
    }

    fn value(&mut self) -> Option<Value> {
        self.depth += 1;
        let value = if self.depth > DEPTH_MAX { None } else { self.sum() };
        self.depth -= 1;
        value
    }

    fn sum(&mut self) -> Option<Value> {
        let mut sum = self.product()?;
        loop {
            sum = if self.take("+") {
                add(sum, self.product()?)?
            } else if self.take("-") {
                calculate(&sum, &self.product()?, i128::checked_sub, |a, b| a - b)?
            } else {
                return Some(sum);
            };
        }
    }

    fn product(&mut self) -> Option<Value> {
        let mut product = self.signed()?;
        loop {
            product = if self.rest().starts_with("**") || self.rest().starts_with("//") {
                return None;
            } else if self.take("*") {
                calculate(&product, &self.signed()?, i128::checked_mul, |a, b| a * b)?
            } else if self.take("/") {
                let (a, b) = (product.number()?, self.signed()?.number()?);
                (b != 0.0).then_some(Value::Float(a / b))?
            } else {
                return Some(product);
            };
        }
    }

    fn signed(&mut self) -> Option<Value> {
        if self.take("-") {
            return calculate(&Value::Int(0), &self.operand()?, i128::checked_sub, |_, b| -b);
        }
        self.take("+");
        self.operand()
    }

    fn operand(&mut self) -> Option<Value> {
        let rest = self.rest();
        let before = self.at;
        let first = rest.chars().next()?;
        if rest.starts_with("...") {
            self.at += 3;
            return Some(Value::Text("...".to_owned()));
        }
        match first {
            '[' => {
                self.at += 1;
                Some(Value::List(self.list("]", Self::value)?))
            }
            '(' => self.parenthesis(),
            '{' => {
                self.at += 1;
                let members = self.list("}", |reader| {
                    let name = key(&reader.value()?)?;
                    reader.take(":").then_some(())?;
                    Some((name, reader.value()?))
                })?;
                Some(Value::Dict(last_of_each(members)))
            }
            '0'..='9' | '.' => self.number(),
            '"' | '\'' => self.texts(),
            _ => {
                let name = self.name()?;
                if self.code[self.at..].starts_with(['"', '\'']) {
                    self.at = before;
                    return self.texts();
                }
                self.named(name, before)
            }
        }
    }

    fn parenthesis(&mut self) -> Option<Value> {
        self.at += 1;
        if self.take(")") {
            return Some(Value::Tuple(Vec::new()));
        }
        let first = self.value()?;
        if self.take(")") {
            return Some(first);
        }
        self.take(",").then_some(())?;
        let mut values = vec![first];
        values.extend(self.list(")", Self::value)?);
        Some(Value::Tuple(values))
    }

    /// What begins with a name: a constant, a name, a call, or a place in something.
    fn named(&mut self, name: String, before: usize) -> Option<Value> {
        match name.as_str() {
            "True" => return Some(Value::Bool(true)),
            "False" => return Some(Value::Bool(false)),
            "None" => return Some(Value::None),
            "not" | "lambda" | "await" | "if" | "else" | "and" | "or" | "in" | "is" | "for" => return None,
            _ => {}
        }
        let is_dotted = self.rest().starts_with('.');
        let name = self.dotted(name)?;
        if self.take("(") {
            let named = self.arguments()?;
            return Some(match named.is_empty() {
                true => Value::Text(self.code[before..self.at].to_owned()),
                false => Value::Dict(vec![(name, Value::Dict(named))]),
            });
        }
        if self.take("[") {
            self.value()?;
            return self.take("]").then(|| Value::Text(self.code[before..self.at].to_owned()));
        }
        (!is_dotted).then_some(Value::Text(name))
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let mut previous = ' ';
        let end = rest.find(|c: char| {
            let is_sign = (c == '+' || c == '-') && "eE".contains(previous);
            previous = c;
            !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || is_sign)
        });
        let token = rest[..end.unwrap_or(rest.len())].to_lowercase();
        self.at += token.len();
        if token.starts_with('_') || token.ends_with('_') || token.contains("__") {
            return None;
        }
        let token = token.replace('_', "");
        let by_radix = |prefix: &str, radix: u32| {
            token.strip_prefix(prefix).map(|digits| i128::from_str_radix(digits, radix).ok())
        };
        if let Some(whole) = by_radix("0x", 16).or_else(|| by_radix("0o", 8)).or_else(|| by_radix("0b", 2)) {
            return whole.map(Value::Int);
        }
        if token.chars().all(|c| c.is_ascii_digit()) {
            let has_zeros = token.starts_with('0') && token.chars().any(|c| c != '0');
            return token.parse().ok().filter(|_| !has_zeros).map(Value::Int);
        }
        let is_float = token.chars().all(|c| c.is_ascii_digit() || "e.+-".contains(c));
        token.parse().ok().filter(|_| is_float).map(Value::Float)
    }

    /// One text or several in a row, which are one.
    fn texts(&mut self) -> Option<Value> {
        let mut text = self.text()?;
        while let Some(next) = self.next_quote() {
            self.at = next;
            text += &self.text()?;
        }
        Some(Value::Text(text))
    }

    /// Where a text begins, if one is next.
    fn next_quote(&mut self) -> Option<usize> {
        let rest = self.rest();
        let marks = rest.trim_start_matches(['r', 'R', 'u', 'U']);
        (rest.len() - marks.len() < 2 && marks.starts_with(['"', '\''])).then_some(self.at)
    }

    fn text(&mut self) -> Option<String> {
        let rest = self.rest();
        let is_raw = rest.starts_with(['r', 'R']);
        let at = rest
            .find(['"', '\''])
            .filter(|at| *at < 2 && (*at == 0 || rest.starts_with(['r', 'R', 'u', 'U'])))?;
        let body = &rest[at..];
        let quote = match &body[..1] {
            mark if body.starts_with(&mark.repeat(3)) => mark.repeat(3),
            mark => mark.to_owned(),
        };
        let mut text = String::new();
        let mut chars = body[quote.len()..].char_indices();
        while let Some((offset, c)) = chars.next() {
            let left = &body[quote.len() + offset..];
            if left.starts_with(&quote) {
                self.at += at + quote.len() + offset + quote.len();
                return Some(text);
            }
            match c {
                '\\' if is_raw => {
                    text.push(c);
                    text.push(chars.next()?.1);
                }
                '\\' => escape(&mut chars, &mut text)?,
                '\n' if quote.len() == 1 => return None,
                _ => text.push(c),
            }
        }
        None
    }
}

/// What stands behind a backslash.
fn escape(chars: &mut std::str::CharIndices, text: &mut String) -> Option<()> {
    let (_, c) = chars.next()?;
    let num_digits = match c {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    if num_digits > 0 {
        let digits: String = chars.by_ref().take(num_digits).map(|(_, c)| c).collect();
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == num_digits)?;
        text.push(char::from_u32(code)?);
        return Some(());
    }
    let plain = match c {
        '\n' => return Some(()),
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        '\\' | '\'' | '"' => c,
        '0'..='7' => {
            let mut code = c.to_digit(8)?;
            for _ in 0..2 {
                match chars.as_str().chars().next().and_then(|c| c.to_digit(8)) {
                    Some(digit) => code = code * 8 + digit,
                    None => break,
                }
                chars.next();
            }
            char::from_u32(code)?
        }
        'N' => return None,
        _ => {
            text.push('\\');
            c
        }
    };
    text.push(plain);
    Some(())
}

fn calculate(
    a: &Value,
    b: &Value,
    whole: fn(i128, i128) -> Option<i128>,
    fraction: fn(f64, f64) -> f64,
) -> Option<Value> {
    let as_int = |value: &Value| match *value {
        Value::Int(whole) => Some(whole),
        Value::Bool(value) => Some(i128::from(value)),
        _ => None,
    };
    match (as_int(a), as_int(b)) {
        (Some(a), Some(b)) => whole(a, b).map(Value::Int),
        _ => Some(Value::Float(fraction(a.number()?, b.number()?))),
    }
}

fn add(a: Value, b: Value) -> Option<Value> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(Value::Text(a + &b)),
        (Value::List(a), Value::List(b)) => Some(Value::List([a, b].concat())),
        (a, b) => calculate(&a, &b, i128::checked_add, |a, b| a + b),
    }
}

/// A dictionary's name for a member, as a text.
fn key(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(whole) => Some(whole.to_string()),
        Value::Float(float) => Some(format!("{float:?}")),
        _ => None,
    }
}

/// The last value of each name, where the first one stood.
fn last_of_each(members: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let mut kept: Vec<(String, Value)> = Vec::new();
    for (name, value) in members {
        insert(&mut kept, name, value);
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn values_are_read_as_python_has_them() {
        let check = |code: &str, expect: Json| {
            let calls = calls(&format!("f(a={code})")).unwrap_or_else(|| panic!("{code}"));
            let (read, expect) = (&calls[0].arguments[0].1, Value::from(&expect));
            assert!(*read == expect && read.kind() == expect.kind(), "{code}: {read:?}");
        };
        for code in ["1", "0x1", "+1", "3 - 2", "1 # one\n"] {
            check(code, json!(1));
        }
        check("1_000", json!(1000));
        check("-2.5e-1", json!(-0.25));
        check("1/2", json!(0.5));
        check("2 * 3 + 1", json!(7));
        check("5.", json!(5.0));
        check("True", json!(true));
        check("None", json!(null));
        check("name", json!("name"));
        check("'it''s' \"q\"", json!("itsq"));
        check(r#""a\n\x41\u00e9\q\101""#, json!("a\nAé\\qA"));
        check(r"r'\d'", json!("\\d"));
        check("'''a\n'b' '''", json!("a\n'b' "));
        check("'a' + 'b'", json!("ab"));
        check("[1, [2.0, 'x'],]", json!([1, [2.0, "x"]]));
        check("{'k': 1, \"l\": {'m': [True]}, 'k': 2}", json!({"k": 2, "l": {"m": [true]}}));
        check("g(b=1, c='x')", json!({"g": {"b": 1, "c": "x"}}));
        check("g(1, 'x')", json!("g(1, 'x')"));
        check("a[0]", json!("a[0]"));
        check("...", json!("..."));
    }

    #[test]
    fn what_is_not_a_list_of_calls_is_refused() {
        for code in [
            "f",
            "1",
            "f(a=1",
            "f(a=)",
            "f(a=1, a=2)",
            "f(a=x.y)",
            "f(a=not b)",
            "f(a=b'x')",
            "f(a=f'x')",
            "f(a=01)",
            "f(a=1j)",
            "f(a={1, 2})",
            "f(a=[x for x in y])",
            "f(a=1) g(b=2)",
            "f(a='x)",
            "f(a=1, 2)",
            "f(**a)",
            "f(a=2**3)",
            "f(a=1 == 2)",
        ] {
            assert!(calls(code).is_none(), "{code}");
        }
        let deep = format!("f(a={}1{})", "[".repeat(1000), "]".repeat(1000));
        assert!(calls(&deep).is_none());
    }

    #[test]
    fn several_calls_have_dotted_names_and_tuples() {
        let calls = calls("[a.b.f(x=(1, 2)), g(7), h()]").unwrap();
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["a.b.f", "g", "h"]);
        assert!(calls[0].arguments[0].1 == Value::Tuple(vec![Value::Int(1), Value::Int(2)]));
        assert!(calls[1].arguments.is_empty() && calls[2].arguments.is_empty());
    }
}
