//! The form that an output is held to, from what a request names.
//!
//! Where the prompt ends in an assistant's turn, the form is that of the answer, and harmony's own grammar
//! holds the rest: reasoning may come before it. What was said of the turn already is committed first, so
//! that a request goes on in the middle of a form. Elsewhere the first token belongs to the form.

use std::sync::Arc;

use gptoss_constrain::{
    Body, Bounds, Compiled, Constraint, Fidelity, Limits, Reasoning, Spec, TokenTable, ToolChoice, compile,
};
use gptoss_harmony::Control;
use serde_json::Value;

use crate::error::Error;
use crate::limits::CHOICES_MAX;
use crate::wire::inference::StructuredOutput;

/// What is held, and what a request calls it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Structure {
    pub(crate) field: &'static str,
    pub(crate) body: Body,
    /// Most tokens of reasoning.
    pub(crate) budget: Option<u32>,
}

/// The form of a request's output, if it names one.
///
/// Errors: what is no form, or is not held here.
pub(crate) fn body_of(output: StructuredOutput) -> Result<Option<(&'static str, Body)>, Error> {
    Ok(Some(match output {
        StructuredOutput::Json(text) => {
            let field = "decoding.json";
            let schema: Value = serde_json::from_str(&text)
                .map_err(|error| Error::field(field, format!("it is not JSON: {error}")))?;
            (field, Body::JsonSchema { schema, fidelity: Fidelity::Strict })
        }
        StructuredOutput::Regex(pattern) => ("decoding.regex", Body::Regex(pattern)),
        StructuredOutput::Grammar(grammar) => ("decoding.grammar", Body::Lark(grammar)),
        StructuredOutput::Choice(choice) => {
            let (field, count) = ("decoding.choice", choice.choices.len());
            if count == 0 || count > CHOICES_MAX {
                return Err(Error::field(
                    field,
                    format!("{count} choices, but 1 to {CHOICES_MAX} are taken"),
                ));
            }
            let each: Vec<String> = choice.choices.iter().map(|text| escaped(text)).collect();
            (field, Body::Regex(format!("({})", each.join("|"))))
        }
        StructuredOutput::JsonObject(true) => ("decoding.json_object", Body::JsonObject),
        StructuredOutput::JsonObject(false) => return Ok(None),
        StructuredOutput::StructuralTag(_) => {
            return Err(Error::field(
                "decoding.structural_tag",
                "not held here; use json, json_object, regex, choice or grammar, which leave the reasoning free",
            ));
        }
    }))
}

/// A text as a pattern of itself.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$#&-~/".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// Compiles the form. May take as long as `constrain` lets it: not for a thread that others wait for.
///
/// Errors: what the form is refused for.
pub(crate) fn compiled(
    table: &Arc<TokenTable>,
    structure: &Structure,
    tenant: &Arc<str>,
) -> Result<Arc<Compiled>, Error> {
    let spec = Spec {
        tool_choice: ToolChoice::None,
        answer: structure.body.clone(),
        reasoning: Reasoning { budget: structure.budget, ..Reasoning::default() },
        ..Spec::default()
    };
    let limits = Limits { tenant: Arc::clone(tenant), ..Limits::default() };
    compile(table, spec, &limits).map_err(|source| Error::Rules { field: structure.field, source })
}

/// The constraint of a sequence that has said `said` of its turn, or is no turn, and has room for
/// `tokens_max` more.
///
/// Errors: what was said is not of the form.
pub(crate) fn started(
    compiled: &Arc<Compiled>,
    field: &'static str,
    said: Option<&[u32]>,
    tokens_max: usize,
) -> Result<Constraint, Error> {
    let vocab = compiled.vocab();
    let header: Vec<u32>;
    let before = match said {
        Some(said) => said,
        None => {
            let mut ids = vec![vocab.control(Control::Channel)];
            vocab.encode_into("final", &mut ids);
            ids.push(vocab.control(Control::Message));
            header = ids;
            &header
        }
    };
    let bounds = Bounds { tokens_max: Some(before.len().saturating_add(tokens_max)), ..Bounds::default() };
    let mut constraint = Constraint::within(compiled, bounds);
    for (index, &token) in before.iter().enumerate() {
        // Asked before each, as the engine does: where the room is short a mask is a way out.
        let _ = constraint.allowed().map_err(|source| Error::Rules { field, source })?;
        constraint.commit(token).map_err(|_| {
            let said = before.len();
            Error::field(
                field,
                format!("the prompt's open turn leaves the form at its token {index} of {said}"),
            )
        })?;
    }
    Ok(constraint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::inference::StringChoices;

    #[test]
    fn forms_are_read_or_refused_by_name() {
        let check = |output, expect: Result<Body, &str>| match (body_of(output), expect) {
            (Ok(Some((_, body))), Ok(expect)) => assert_eq!(body, expect),
            (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
            (found, expect) => panic!("{found:?}, not {expect:?}"),
        };
        let choice = |choices: &[&str]| {
            let choices = choices.iter().map(|&text| text.to_owned()).collect();
            StructuredOutput::Choice(StringChoices { choices })
        };
        check(choice(&["a.b", "c"]), Ok(Body::Regex(r"(a\.b|c)".into())));
        check(choice(&[]), Err("decoding.choice: 0 choices"));
        check(StructuredOutput::JsonObject(true), Ok(Body::JsonObject));
        check(StructuredOutput::Json("{".into()), Err("decoding.json: it is not JSON"));
        check(StructuredOutput::StructuralTag(String::new()), Err("decoding.structural_tag: not held"));
        assert_eq!(body_of(StructuredOutput::JsonObject(false)).unwrap(), None);
    }
}
