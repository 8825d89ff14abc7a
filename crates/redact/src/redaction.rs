//! A text with something else in the place of its spans.
//!
//! Entry points: [`Form::parse`], [`redact`]. A form is a text in which `{LABEL}` stands for the span's label
//! in capitals, `{label}` for the label as it is, and `{n}` for the number of what was there among the
//! different texts of its label, from 1, so that a reader can tell two people apart and the same one again.

use std::collections::HashMap;

use crate::spans::Span;

/// What stands in the place of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Label,
    Capitals,
    Number,
}

/// A form with a brace that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{{{found} means nothing in a replacement: write {{LABEL}}, {{label}} or {{n}}, or no brace")]
pub struct FormError {
    /// What stands behind the brace.
    found: String,
}

impl Default for Form {
    /// `<{LABEL}>`, as the published program has it.
    fn default() -> Form {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        Form(vec![literal("<"), Piece::Capitals, literal(">")])
    }
}

impl Form {
    /// Errors: an opening brace that begins none of the three.
    pub fn parse(text: &str) -> Result<Form, FormError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, behind)) = rest.split_once('{') {
            pieces.push(Piece::Literal(literal.to_owned()));
            let known = [("LABEL}", Piece::Capitals), ("label}", Piece::Label), ("n}", Piece::Number)];
            let found = known.into_iter().find_map(|(name, piece)| Some((behind.strip_prefix(name)?, piece)));
            let Some((behind, piece)) = found else {
                return Err(FormError { found: behind.chars().take(20).collect() });
            };
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(Piece::Literal(rest.to_owned()));
        Ok(Form(pieces))
    }

    fn write(&self, label: &str, number: usize) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Label => label.to_owned(),
            Piece::Capitals => capitals(label),
            Piece::Number => number.to_string(),
        };
        self.0.iter().map(piece).collect()
    }
}

/// Letters and digits in capitals, everything between them an underscore.
fn capitals(label: &str) -> String {
    let upper = label.to_uppercase();
    let words: Vec<&str> =
        upper.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "REDACTED".to_owned() } else { words.join("_") }
}

/// A span and what stands in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Replaced {
    /// Where in the given text.
    pub span: Span,
    /// What stands there in the redacted one.
    pub placeholder: String,
}

/// A redacted text.
#[derive(Clone, Debug, PartialEq)]
pub struct Redaction {
    /// The text, without what was in the spans.
    pub text: String,
    /// In order.
    pub replaced: Vec<Replaced>,
}

/// Puts `form` in the place of `spans`, which are in order and of this text.
///
/// Panics: when they are not.
pub fn redact(text: &str, spans: Vec<Span>, form: &Form) -> Redaction {
    let mut seen: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
    let (mut redacted, mut end) = (String::with_capacity(text.len()), 0);
    let mut placeholders = Vec::with_capacity(spans.len());
    for span in &spans {
        let of_label = seen.entry(&span.label).or_default();
        let next = of_label.len() + 1;
        let number = *of_label.entry(&text[span.bytes.clone()]).or_insert(next);
        let placeholder = form.write(&span.label, number);
        redacted.push_str(&text[end..span.bytes.start]);
        redacted.push_str(&placeholder);
        end = span.bytes.end;
        placeholders.push(placeholder);
    }
    redacted.push_str(&text[end..]);
    let replaced = spans.into_iter().zip(placeholders);
    let replaced = replaced.map(|(span, placeholder)| Replaced { span, placeholder }).collect();
    Redaction { text: redacted, replaced }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: &str, expected: &str) {
        let text = "Ann and Bo met Ann at bo@x.y";
        let span = |label: &str, bytes| Span { label: label.into(), bytes, score: 1.0 };
        let spans = vec![
            span("private_person", 0..3),
            span("private_person", 8..10),
            span("private_person", 15..18),
            span("private_email", 22..28),
        ];
        let redaction = redact(text, spans.clone(), &Form::parse(form).unwrap());
        assert_eq!(redaction.text, expected);
        assert!(redaction.replaced.iter().map(|replaced| &replaced.span).eq(&spans));
    }

    #[test]
    fn forms() {
        check("<{LABEL}>", "<PRIVATE_PERSON> and <PRIVATE_PERSON> met <PRIVATE_PERSON> at <PRIVATE_EMAIL>");
        check("{label}-{n}", "private_person-1 and private_person-2 met private_person-1 at private_email-1");
        check("", " and  met  at ");
        check("[}]", "[}] and [}] met [}] at [}]");
        assert_eq!(Form::default().write("a b-c", 1), "<A_B_C>");
        assert_eq!(Form::default().write("é", 1), "<REDACTED>");
        let error = Form::parse("<{lable}>").unwrap_err().to_string();
        assert!(error.contains("{lable}> means nothing") && error.contains("{LABEL}"), "{error}");
    }
}
