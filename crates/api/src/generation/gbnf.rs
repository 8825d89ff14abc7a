//! llama.cpp's grammars (GBNF, which SGLang and vLLM call EBNF) in the words of Lark.
//!
//! Rules become rules, literals strings, classes regular expressions of one character. Lark's lexer takes the
//! longest match where GBNF has no lexer, so fewer sentences may be reached than the grammar has, and never
//! others. Tokens by their ids (`<[7]>`) have no words here.

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

/// Most repetitions that a rule may ask for by number.
const REPEAT_MAX: u32 = 2000;

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Name(String),
    /// `::=`.
    Is,
    /// What stands in Lark as it is.
    Lark(String),
}

/// The same grammar in Lark; its start rule is `root`.
///
/// Errors: what cannot be read or has no words in Lark.
pub(super) fn to_lark(text: &str) -> Result<String, String> {
    let pieces = pieces(text)?;
    let is_head = |at: usize| matches!(pieces.get(at..at + 2), Some([Piece::Name(_), Piece::Is]));
    let mut names: HashMap<&str, String> = HashMap::new();
    for (at, piece) in pieces.iter().enumerate().filter(|(at, _)| is_head(*at)) {
        let Piece::Name(name) = piece else { continue };
        let lark = if name == "root" { "start".to_owned() } else { format!("r{at}") };
        if names.insert(name, lark).is_some() {
            return Err(format!("the rule {name} is there twice"));
        }
    }
    if !names.contains_key("root") {
        return Err("there is no rule called root".to_owned());
    }
    if !is_head(0) {
        return Err("the grammar must begin with a rule, as in: root ::= \"a\"".to_owned());
    }
    let mut lark = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Name(name) => {
                let known =
                    names.get(name.as_str()).ok_or_else(|| format!("there is no rule called {name}"))?;
                if is_head(at) && at > 0 {
                    lark.push('\n');
                } else if at > 0 {
                    lark.push(' ');
                }
                lark.push_str(known);
            }
            Piece::Is if at > 0 && is_head(at - 1) => lark.push(':'),
            Piece::Is => return Err("before ::= there must be a name".to_owned()),
            // What repeats something stands right behind it.
            Piece::Lark(text) if text.starts_with(['*', '+', '?', '{']) => lark.push_str(text),
            Piece::Lark(text) => {
                lark.push(' ');
                lark.push_str(text);
            }
        }
    }
    lark.push('\n');
    Ok(lark)
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut chars = text.chars().peekable();
    let mut pieces = Vec::new();
    while let Some(character) = chars.next() {
        let piece = match character {
            character if character.is_whitespace() => continue,
            '#' => {
                while chars.next_if(|next| *next != '\n').is_some() {}
                continue;
            }
            ':' => match (chars.next(), chars.next()) {
                (Some(':'), Some('=')) => Piece::Is,
                _ => return Err("a colon that is not part of ::=".to_owned()),
            },
            '"' => Piece::Lark(literal(&mut chars)?),
            '[' => Piece::Lark(class(&mut chars)?),
            '.' => Piece::Lark(r"/[\x{0}-\x{10FFFF}]/".to_owned()),
            '|' | '(' | ')' | '*' | '+' | '?' => Piece::Lark(character.to_string()),
            '{' => Piece::Lark(repetition(&mut chars)?),
            character if is_of_name(character) => {
                let mut name = character.to_string();
                while let Some(next) = chars.next_if(|next| is_of_name(*next)) {
                    name.push(next);
                }
                Piece::Name(name)
            }
            '<' | '!' => return Err("tokens by name or id are not read: write their text".to_owned()),
            other => return Err(format!("{other:?} has no meaning here")),
        };
        pieces.push(piece);
    }
    Ok(pieces)
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// A string, whose first quote is read.
fn literal(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            None | Some('\n') => return Err("a string that is not closed".to_owned()),
            Some('"') => break,
            Some('\\') => text.push(escaped(chars)?),
            Some(character) => text.push(character),
        }
    }
    // Lark's strings are JSON's.
    Ok(serde_json::Value::String(text).to_string())
}

/// A class of characters, whose bracket is read.
fn class(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut regex = "/[".to_owned();
    if chars.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let mut is_empty = true;
    loop {
        let character = match chars.next() {
            None | Some('\n') => return Err("a class of characters that is not closed".to_owned()),
            Some(']') => break,
            Some('\\') => escaped(chars)?,
            // Between two characters it is a range, which it is in a regular expression too.
            Some('-') if !is_empty && chars.peek().is_some_and(|next| *next != ']') => {
                regex.push('-');
                continue;
            }
            Some(character) => character,
        };
        is_empty = false;
        push_literal(&mut regex, character);
    }
    if is_empty {
        return Err("a class of no characters".to_owned());
    }
    regex.push_str("]/");
    Ok(regex)
}

/// A character of a regular expression that means itself.
pub(super) fn push_literal(regex: &mut String, character: char) {
    match character {
        character if character.is_ascii() && !character.is_ascii_alphanumeric() => {
            regex.push_str(&format!("\\x{{{:X}}}", u32::from(character)));
        }
        character => regex.push(character),
    }
}

/// What stands for a character behind a backslash.
fn escaped(chars: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let num_digits = match chars.next() {
        Some('n') => return Ok('\n'),
        Some('r') => return Ok('\r'),
        Some('t') => return Ok('\t'),
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        Some(character) if character.is_ascii_punctuation() => return Ok(character),
        _ => return Err("a backslash before something that has no meaning behind it".to_owned()),
    };
    let digits: String = chars.by_ref().take(num_digits).collect();
    let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == num_digits);
    code.and_then(char::from_u32).ok_or_else(|| format!("{digits:?} is no character's number"))
}

/// A number of repetitions, whose bracket is read.
fn repetition(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut inside = String::new();
    while let Some(next) = chars.next_if(|next| next.is_ascii_digit() || matches!(next, ',' | ' ')) {
        inside.push(next);
    }
    let wrong = || format!("{{{inside}}} is no number of repetitions from 0 to {REPEAT_MAX}");
    if chars.next() != Some('}') {
        return Err(wrong());
    }
    let number = |text: &str| text.trim().parse().ok().filter(|number: &u32| *number <= REPEAT_MAX);
    match inside.split_once(',') {
        None => number(&inside).map(|times| format!("{{{times}}}")),
        Some((least, most)) if most.trim().is_empty() => number(least).map(|least| format!("{{{least},}}")),
        Some((least, most)) => {
            number(least).zip(number(most)).map(|(least, most)| format!("{{{least},{most}}}"))
        }
    }
    .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammars_are_told_in_other_words() {
        let check = |gbnf: &str, expect: &str| assert_eq!(to_lark(gbnf).as_deref(), Ok(expect), "{gbnf}");
        check("root ::= \"a\" # ends", "start: \"a\"\n");
        check(
            "root ::= x-1+ (\",\" x-1)*\nx-1 ::= [^a-c\\]]{2,3}\n | .",
            concat!("start: r9+ ( \",\" r9 )*\n", "r9: /[^a-c\\x{5D}]/{2,3} | /[\\x{0}-\\x{10FFFF}]/\n",),
        );
        check(r#"root ::= "\"\x41\n""#, "start: \"\\\"A\\n\"\n");
        check("root ::= [a-z-]", "start: /[a-z\\x{2D}]/\n");
    }

    #[test]
    fn what_has_no_words_is_refused() {
        let check = |gbnf: &str, expect: &str| {
            let error = to_lark(gbnf).unwrap_err();
            assert!(error.contains(expect), "{gbnf}: {error}");
        };
        check("a ::= \"b\"", "no rule called root");
        check("root ::= a", "no rule called a");
        check("root ::= \"a", "not closed");
        check("root ::= [a", "not closed");
        check("root ::= <think>", "tokens by name");
        check("root ::= \"a\"{5000}", "repetitions");
        check("root ::= \"a\"\nroot ::= \"b\"", "twice");
        check("root ::= \"\\q\"", "backslash");
        check("root ::= \"a\" ::= \"b\"", "before ::=");
    }
}
