//! The size of a Lark grammar, measured before llguidance reads it.
//!
//! llguidance compiles rules and terminals by recursion, one level for each definition and each bracket on
//! the way, so a chain of definitions that is long enough overflows any stack. [`measure`] is a single loop
//! over the text that knows only what it must to find the colons and brackets that count: strings, regular
//! expressions, comments and special tokens, as llguidance's lexer delimits them. What it cannot delimit is
//! refused.

/// What recursion over a grammar can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Measure {
    /// Rules and terminals.
    pub(crate) definitions: u64,
    /// One for each definition and each level of brackets in it: no path through the grammar is deeper.
    pub(crate) levels: u64,
}

/// Directives whose contents would not be held to our own limits.
const REFUSED: [(&[u8], &str); 3] = [
    (b"%llguidance", "%llguidance options are the server's to choose: remove that line"),
    (b"%json", "%json is not accepted within a Lark grammar: use a JSON Schema instead of the grammar"),
    (b"%lark", "%lark is not accepted within a Lark grammar: write its rules into the grammar itself"),
];

/// Counts the definitions and levels of a grammar.
///
/// Errors: in a line, what cannot be delimited or is not accepted.
pub(crate) fn measure(text: &str) -> Result<Measure, String> {
    let bytes = text.as_bytes();
    let mut measure = Measure::default();
    let (mut depth, mut deepest) = (0_u64, 0_u64);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let len = match rest[0] {
            b'"' => closed(rest, b'"').ok_or_else(|| open("string", at))?,
            b'/' if rest.get(1) == Some(&b'/') => line(rest),
            b'#' => line(rest),
            b'/' => closed(rest, b'/').ok_or_else(|| open("regular expression", at))?,
            b'<' => special(rest).ok_or_else(|| open("special token", at))?,
            b'%' => match REFUSED.iter().find(|(directive, _)| rest.starts_with(directive)) {
                Some((_, reason)) => return Err((*reason).into()),
                None => 1,
            },
            b'(' | b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
                1
            }
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                1
            }
            b':' if rest.get(1) == Some(&b':') => 2,
            b':' => {
                // What stands open here would not parse; it counts for the definition that it stands in.
                measure.definitions += 1;
                measure.levels += 1 + deepest;
                (depth, deepest) = (0, 0);
                1
            }
            _ => 1,
        };
        at += len;
    }
    measure.levels += deepest;
    Ok(measure)
}

fn open(what: &str, at: usize) -> String {
    format!("the {what} that begins at byte {at} is not closed")
}

/// The length of a stretch that begins and ends with `end`, which a backslash takes the meaning from.
fn closed(rest: &[u8], end: u8) -> Option<usize> {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == end => return Some(at + 1),
            b'\n' if end == b'"' => return None,
            _ => at += 1,
        }
    }
    None
}

/// The length of a comment: to the end of its line.
fn line(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
}

/// The length of `<...>`, which has no white space in it.
fn special(rest: &[u8]) -> Option<usize> {
    let len = 2 + rest[1..].iter().position(|&byte| byte == b'>')?;
    let is_one_word = rest[1..len].iter().all(|byte| !byte.is_ascii_whitespace() && *byte != b'<');
    is_one_word.then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, definitions: u64, levels: u64) {
        assert_eq!(measure(text), Ok(Measure { definitions, levels }), "{text}");
    }

    #[test]
    fn definitions_and_brackets_are_counted() {
        check("", 0, 0);
        check("start: \"a\"", 1, 1);
        check("start: a B\na: (\"x\" | [\"y\"])\nB: /z/", 3, 5);
        check("start: x::0\nx::_ : \"a\" %if eq([0:1], 1)", 3, 5);
        check("a: b{c{d{e}}}", 1, 4);
        check("r[capture, max_tokens=3]: \"a\"~2..3", 1, 2);
    }

    #[test]
    fn text_and_comments_are_not_counted() {
        check(r#"a: "(:\":(" /\/:((/ // (:"#, 1, 1);
        check("# \" : ( \na: <|:(\"|> \"b\" // /", 1, 1);
        check("a: /(\n:/", 1, 1);
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for text in ["a: \"b\n:\"", "a: \"\\", "a: /b", "a: <b c>", "a: <b", "a: <<b>>"] {
            assert!(measure(text).is_err_and(|reason| reason.ends_with("is not closed")), "{text}");
        }
        assert!(measure("a: %json {}").is_err_and(|reason| reason.contains("%json")));
        check("a: \"%json\"", 1, 1);
    }
}
