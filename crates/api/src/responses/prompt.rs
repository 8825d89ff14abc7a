//! Templates of prompts: texts of the operator's with places for a request's words.
//!
//! A template is a file, `ID.md`, or `ID@VERSION.md` where there are several; its text stands before a
//! request's own instructions. `{{name}}` is a place. What a request puts there is text like any other: it is
//! not looked through for places, and cannot become a control token.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::errors::ApiError;
use crate::limits::{PROMPT_ID_BYTES_MAX, TEMPLATE_BYTES_MAX, TEMPLATES_MAX};
use crate::wire::responses::PromptRequest;

/// All templates, by id and version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompts(BTreeMap<String, BTreeMap<u32, Template>>);

/// A text with places.
#[derive(Debug, Clone, PartialEq)]
struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Place(String),
}

/// A file that is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct TemplateError {
    /// Its name.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

impl Prompts {
    /// Takes a file by its name and text.
    ///
    /// Errors: a name that is neither `ID.md` nor `ID@VERSION.md`, a version that is there already, a text
    /// that is too long or has a place without a name or an end.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), TemplateError> {
        let wrong = |problem: String| TemplateError { file: file.to_owned(), problem };
        let (id, version) = name(file).ok_or_else(|| {
            wrong(
                "a template is called ID.md or ID@VERSION.md: letters, digits, '-' and '_', and a number"
                    .to_owned(),
            )
        })?;
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(wrong(format!(
                "it has {} bytes; a template has at most {TEMPLATE_BYTES_MAX}",
                text.len()
            )));
        }
        if self.0.values().map(BTreeMap::len).sum::<usize>() >= TEMPLATES_MAX {
            return Err(wrong(format!("there are more than {TEMPLATES_MAX} templates")));
        }
        let template = Template::parse(text).map_err(wrong)?;
        match self.0.entry(id.to_owned()).or_default().insert(version, template) {
            None => Ok(()),
            Some(_) => Err(wrong(format!("there is another template {id}, version {version}"))),
        }
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text that a request asks for: of the version it names, or of the highest.
    ///
    /// Errors: `Prompt`; a variable that is missing, not text, or has no place.
    pub fn text(&self, asked: &PromptRequest) -> Result<String, ApiError> {
        let missing = |id: String| ApiError::Prompt { id };
        let versions = self.0.get(&asked.id).ok_or_else(|| missing(asked.id.clone()))?;
        let template = match &asked.version {
            None => versions.last_key_value().map(|(_, template)| template),
            Some(version) => version.parse().ok().and_then(|version: u32| versions.get(&version)),
        };
        let template = template.ok_or_else(|| {
            missing(format!("{}, version {}", asked.id, asked.version.as_deref().unwrap_or_default()))
        })?;
        template.fill(asked.variables.as_ref())
    }
}

/// Id and version; a file without a version is the first.
fn name(file: &str) -> Option<(&str, u32)> {
    let stem = file.strip_suffix(".md")?;
    let (id, version) = match stem.split_once('@') {
        Some((id, version)) => (id, version.parse().ok()?),
        None => (stem, 1),
    };
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (is_plain && (1..=PROMPT_ID_BYTES_MAX).contains(&id.len())).then_some((id, version))
}

impl Template {
    fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            let line = text[..text.len() - rest.len() + at].matches('\n').count() + 1;
            let (before, behind) = (&rest[..at], &rest[at + 2..]);
            let (name, after) =
                behind.split_once("}}").ok_or_else(|| format!("line {line}: {{{{ has no }}}} behind it"))?;
            let name = name.trim();
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(format!("line {line}: {{{{ }}}} must hold a name of letters, digits and '_'"));
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Place(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Template(pieces))
    }

    fn fill(&self, variables: Option<&BTreeMap<String, Value>>) -> Result<String, ApiError> {
        let no_variables = BTreeMap::new();
        let variables = variables.unwrap_or(&no_variables);
        let mut unused: BTreeSet<&str> = variables.keys().map(String::as_str).collect();
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Place(name) => {
                    unused.remove(name.as_str());
                    filled.push_str(variable(variables.get(name), &format!("prompt.variables.{name}"))?);
                }
            }
        }
        match unused.first() {
            None => Ok(filled),
            Some(name) => {
                let param = format!("prompt.variables.{name}");
                Err(ApiError::invalid(&param, format!("{param} has no place in the prompt")))
            }
        }
    }
}

/// A variable is a text, or a part of a message that holds one.
fn variable<'a>(value: Option<&'a Value>, param: &str) -> Result<&'a str, ApiError> {
    match value {
        None | Some(Value::Null) => Err(ApiError::invalid(param, format!("{param} is missing"))),
        Some(Value::String(text)) => Ok(text),
        Some(part) if part.get("type").and_then(Value::as_str) == Some("input_text") => {
            Ok(part.get("text").and_then(Value::as_str).unwrap_or_default())
        }
        Some(_) => Err(ApiError::unsupported(param, "A variable is a text, or an input_text.")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prompts() -> Prompts {
        let mut prompts = Prompts::default();
        prompts.add("greet.md", "Greet {{name}} in {{ language }}. {{name}}!").unwrap();
        prompts.add("greet@10.md", "Wave.").unwrap();
        prompts.add("greet@9.md", "Nod.").unwrap();
        prompts
    }

    fn text(asked: Value) -> Result<String, ApiError> {
        prompts().text(&serde_json::from_value(asked).unwrap())
    }

    #[test]
    fn a_request_fills_a_template() {
        let variables = json!({"name": "{{language}}", "language": {"type": "input_text", "text": "Welsh"}});
        let asked = json!({"id": "greet", "version": "1", "variables": variables});
        assert_eq!(text(asked).unwrap(), "Greet {{language}} in Welsh. {{language}}!");
        assert_eq!(text(json!({"id": "greet"})).unwrap(), "Wave.", "the highest version");
        assert_eq!(text(json!({"id": "greet", "version": "9", "variables": {}})).unwrap(), "Nod.");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let check = |asked: Value, expect: &str| {
            let message = text(asked).unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        };
        check(json!({"id": "part"}), "no prompt 'part'");
        check(json!({"id": "greet", "version": "2"}), "greet, version 2");
        check(json!({"id": "greet", "version": "1"}), "prompt.variables.name is missing");
        check(json!({"id": "greet", "variables": {"age": "3"}}), "prompt.variables.age has no place");
        let image = json!({"name": {"type": "input_image"}, "language": ""});
        check(json!({"id": "greet", "version": "1", "variables": image}), "A variable is a text");
    }

    #[test]
    fn a_file_that_is_not_a_template_is_refused() {
        let check = |file: &str, text: &str, expect: &str| {
            let message = prompts().add(file, text).unwrap_err().to_string();
            assert!(message.starts_with(file) && message.contains(expect), "{message}");
        };
        for file in ["greet.txt", ".md", "a/b.md", "a@b.md", "a@.md", &format!("{}.md", "x".repeat(65))] {
            check(file, "", "is called ID.md");
        }
        check("greet@1.md", "", "another template greet, version 1");
        check("a.md", "\n{{name", "line 2: {{ has no }}");
        check("a.md", "{{}}", "line 1");
        check("a.md", &"x".repeat(TEMPLATE_BYTES_MAX + 1), "at most");
    }
}
