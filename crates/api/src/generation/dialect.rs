//! Constraints and lengths by the names of other servers, read.
//!
//! [`parse`] keeps what this server has the means for, refuses what contradicts itself, and tells by name of
//! what is known and not kept: nothing that changes an answer is passed over in silence.

use gptoss_harmony::Vocab;
use serde_json::Value;

use super::format::{Format, grammar, is_short, regex};
use super::gbnf::push_literal;
use super::tools;
use crate::errors::ApiError;
use crate::limits::{CHOICES_MAX, RequestLimits, STOP_IDS_MAX};
use crate::wire::dialect::Dialect;

/// What a request asks by the names of other servers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Asked {
    /// What the answer must be, and the parameter that said so.
    pub form: Option<(&'static str, Format)>,
    /// Tokens before which nothing ends; `usize::MAX` never lets it.
    pub min_tokens: usize,
    /// Tokens that end a text.
    pub stop_ids: Vec<u32>,
    /// What is known and not kept.
    pub warnings: Vec<String>,
}

impl Asked {
    /// What the answer must be, with what the API's own parameter says.
    ///
    /// Errors: both say something.
    pub fn form_beside(
        &mut self,
        own: Format,
        param: &'static str,
    ) -> Result<(Format, &'static str), ApiError> {
        match self.form.take() {
            None => Ok((own, param)),
            Some((other, form)) if own == Format::Text => Ok((form, other)),
            Some((other, _)) => Err(two(param, other)),
        }
    }

    /// Tells of tokens that should end a turn and do not: only harmony's own do.
    pub fn turn_ends(&mut self) {
        if self.stop_ids.iter().any(|id| !Vocab::o200k_harmony().stop_ids().contains(id)) {
            self.warnings
                .push(unkept("stop_token_ids", "a turn ends by the tokens of its format; use 'stop'"));
        }
        self.stop_ids.clear();
    }
}

fn two(one: &str, other: &'static str) -> ApiError {
    ApiError::invalid(other, format!("{one} and {other} both say what the answer must be; send one of them"))
}

fn unkept(name: &str, why: &str) -> String {
    format!("{name} is not kept: {why}")
}

/// What a request asks.
///
/// Errors: by name, a value that cannot be read, or two constraints at once.
pub fn parse(dialect: &Dialect, limits: &RequestLimits) -> Result<Asked, ApiError> {
    let mut asked = Asked { warnings: warnings(dialect), ..Asked::default() };
    let mut add = |form: Option<(&'static str, Format)>| match (&asked.form, form) {
        (_, None) => Ok(()),
        (Some((one, _)), Some((other, _))) => Err(two(one, other)),
        (None, some) => {
            asked.form = some;
            Ok(())
        }
    };
    type Read = fn(&Value, &str, &RequestLimits) -> Result<Format, ApiError>;
    let fields: [(&'static str, &Option<Value>, Read); 8] = [
        ("guided_json", &dialect.guided_json, json_schema),
        ("guided_regex", &dialect.guided_regex, regex),
        ("guided_choice", &dialect.guided_choice, choice),
        ("guided_grammar", &dialect.guided_grammar, grammar),
        ("regex", &dialect.regex, regex),
        ("json_schema", &dialect.json_schema, json_schema),
        ("ebnf", &dialect.ebnf, grammar),
        ("grammar", &dialect.grammar, grammar),
    ];
    for (name, value, read) in fields {
        // Clients of llama.cpp send an empty grammar for none.
        let value = value.as_ref().filter(|value| !value.is_null() && value.as_str() != Some(""));
        add(value.map(|value| read(value, name, limits)).transpose()?.map(|form| (name, form)))?;
    }
    if let Some(inside) = given(&dialect.structured_outputs) {
        let parts: [(&'static str, &str, Read); 5] = [
            ("structured_outputs.json", "json", json_schema),
            ("structured_outputs.regex", "regex", regex),
            ("structured_outputs.choice", "choice", choice),
            ("structured_outputs.grammar", "grammar", grammar),
            ("structured_outputs.json_object", "json_object", json_object),
        ];
        if !inside.is_object() {
            return Err(ApiError::invalid("structured_outputs", "structured_outputs must be an object"));
        }
        for (name, key, read) in parts {
            let value = inside.get(key).filter(|value| !value.is_null() && **value != Value::Bool(false));
            add(value.map(|value| read(value, name, limits)).transpose()?.map(|form| (name, form)))?;
        }
    }
    asked.min_tokens = match (flag(&dialect.ignore_eos, "ignore_eos")?, given(&dialect.min_tokens)) {
        (Some(true), _) => usize::MAX,
        (_, None) => 0,
        (_, Some(value)) => {
            let least = value.as_u64().and_then(|least| usize::try_from(least).ok());
            least.ok_or_else(|| ApiError::invalid("min_tokens", "min_tokens must be a number from 0"))?
        }
    };
    asked.stop_ids = stop_ids(given(&dialect.stop_token_ids))?;
    Ok(asked)
}

fn given(value: &Option<Value>) -> Option<&Value> {
    value.as_ref().filter(|value| !value.is_null())
}

fn flag(value: &Option<Value>, name: &str) -> Result<Option<bool>, ApiError> {
    let read = |value: &Value| {
        value.as_bool().ok_or_else(|| ApiError::invalid(name, format!("{name} must be true or false")))
    };
    given(value).map(read).transpose()
}

fn stop_ids(value: Option<&Value>) -> Result<Vec<u32>, ApiError> {
    let wrong = || {
        let message = format!("stop_token_ids must be a list of at most {STOP_IDS_MAX} token ids");
        ApiError::invalid("stop_token_ids", message)
    };
    let Some(value) = value else { return Ok(Vec::new()) };
    let list = value.as_array().filter(|list| list.len() <= STOP_IDS_MAX).ok_or_else(wrong)?;
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(wrong);
    list.iter().map(id).collect()
}

/// What is known and not kept, where it says anything.
fn warnings(dialect: &Dialect) -> Vec<String> {
    let mut warnings = Vec::new();
    if given(&dialect.continue_final_message) == Some(&Value::Bool(true)) {
        warnings.push(unkept("continue_final_message", "the answer is a message of its own"));
    }
    if given(&dialect.add_generation_prompt) == Some(&Value::Bool(false)) {
        warnings.push(unkept("add_generation_prompt", "the prompt ends with the assistant's turn"));
    }
    let unkept_fields = &dialect.unkept;
    // Each with the number that stands for "off".
    let fields = [
        ("allowed_token_ids", &unkept_fields.allowed_token_ids, 0.0),
        ("bad_words", &unkept_fields.bad_words, 0.0),
        ("dry_multiplier", &unkept_fields.dry_multiplier, 0.0),
        ("length_penalty", &unkept_fields.length_penalty, 1.0),
        ("logits_processors", &unkept_fields.logits_processors, 0.0),
        ("lora_path", &unkept_fields.lora_path, 0.0),
        ("max_new_tokens", &unkept_fields.max_new_tokens, -1.0),
        ("min_new_tokens", &unkept_fields.min_new_tokens, 0.0),
        ("mirostat", &unkept_fields.mirostat, 0.0),
        ("n_predict", &unkept_fields.n_predict, -1.0),
        ("n_probs", &unkept_fields.n_probs, 0.0),
        ("no_repeat_ngram_size", &unkept_fields.no_repeat_ngram_size, 0.0),
        ("prompt_logprobs", &unkept_fields.prompt_logprobs, -1.0),
        ("structural_tag", &unkept_fields.structural_tag, 0.0),
        ("top_a", &unkept_fields.top_a, 0.0),
        ("top_n_sigma", &unkept_fields.top_n_sigma, -1.0),
        ("truncate_prompt_tokens", &unkept_fields.truncate_prompt_tokens, 0.0),
        ("typical_p", &unkept_fields.typical_p, 1.0),
        ("use_beam_search", &unkept_fields.use_beam_search, 0.0),
        ("xtc_probability", &unkept_fields.xtc_probability, 0.0),
    ];
    let says = |value: &Value, off: f64| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(off),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Bool(true) | Value::Object(_) => true,
    };
    let said =
        fields.into_iter().filter(|(_, value, off)| value.as_ref().is_some_and(|value| says(value, *off)));
    warnings.extend(said.map(|(name, ..)| unkept(name, "this server does not have it")));
    warnings
}

/// A schema, as an object or as a text.
fn json_schema(value: &Value, name: &str, limits: &RequestLimits) -> Result<Format, ApiError> {
    let read = |text: &String| {
        serde_json::from_str(text).map_err(|_| ApiError::invalid(name, format!("{name} is not JSON")))
    };
    let schema = match value {
        Value::String(text) => read(text)?,
        other => other.clone(),
    };
    Ok(Format::JsonSchema {
        name: "answer".to_owned(),
        description: None,
        schema: tools::schema(&schema, name, limits)?,
        is_strict: false,
    })
}

fn json_object(value: &Value, name: &str, _: &RequestLimits) -> Result<Format, ApiError> {
    match value {
        Value::Bool(true) => Ok(Format::JsonObject),
        _ => Err(ApiError::invalid(name, format!("{name} must be true or false"))),
    }
}

/// One of several texts.
fn choice(value: &Value, name: &str, limits: &RequestLimits) -> Result<Format, ApiError> {
    let wrong = || {
        ApiError::invalid(
            name,
            format!("{name} must be a list of 1 to {CHOICES_MAX} texts that are not empty"),
        )
    };
    let list = value.as_array().filter(|list| (1..=CHOICES_MAX).contains(&list.len())).ok_or_else(wrong)?;
    let mut regex = String::new();
    for text in list {
        let text = text.as_str().filter(|text| !text.is_empty()).ok_or_else(wrong)?;
        regex.push_str(if regex.is_empty() { "(?:" } else { "|" });
        text.chars().for_each(|character| push_literal(&mut regex, character));
    }
    regex.push(')');
    is_short(&regex, name, limits)?;
    Ok(Format::Regex(regex))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<Asked, ApiError> {
        parse(&serde_json::from_value(body).unwrap(), &RequestLimits::default())
    }

    #[test]
    fn constraints_are_read_by_every_name() {
        let check = |body: Value, param: &str, expect: Format| {
            assert_eq!(
                read(body.clone()).unwrap().form,
                Some((param, expect)).map(|(param, form)| (leak(param), form)),
                "{body}"
            );
        };
        let schema = json!({"type": "object"});
        let form = Format::JsonSchema {
            name: "answer".into(),
            description: None,
            schema: schema.clone(),
            is_strict: false,
        };
        check(json!({"guided_json": schema}), "guided_json", form.clone());
        check(json!({"json_schema": schema.to_string()}), "json_schema", form.clone());
        check(json!({"structured_outputs": {"json": schema}}), "structured_outputs.json", form);
        check(
            json!({"structured_outputs": {"json_object": true}}),
            "structured_outputs.json_object",
            Format::JsonObject,
        );
        check(json!({"guided_regex": "[a-z]{3}"}), "guided_regex", Format::Regex("[a-z]{3}".into()));
        check(json!({"regex": "a"}), "regex", Format::Regex("a".into()));
        check(
            json!({"guided_choice": ["a.b", "né"]}),
            "guided_choice",
            Format::Regex("(?:a\\x{2E}b|né)".into()),
        );
        check(
            json!({"guided_grammar": "start: \"a\""}),
            "guided_grammar",
            Format::Lark("start: \"a\"".into()),
        );
        check(json!({"ebnf": "root ::= \"a\""}), "ebnf", Format::Lark("start: \"a\"\n".into()));
        assert_eq!(read(json!({"grammar": "", "unknown": 1})).unwrap(), Asked::default());
    }

    fn leak(name: &str) -> &'static str {
        Box::leak(name.to_owned().into_boxed_str())
    }

    #[test]
    fn what_contradicts_itself_or_cannot_be_read_is_refused_by_name() {
        let check = |body: Value, expect: &str| {
            let error = read(body).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(json!({"guided_regex": "a", "guided_choice": ["b"]}), "guided_regex and guided_choice both");
        check(
            json!({"structured_outputs": {"regex": "a", "choice": ["b"]}}),
            "structured_outputs.choice both",
        );
        check(json!({"guided_choice": []}), "guided_choice must be a list");
        check(json!({"guided_json": "{"}), "guided_json is not JSON");
        check(json!({"structured_outputs": "x"}), "must be an object");
        check(json!({"min_tokens": -1}), "min_tokens must be");
        check(json!({"stop_token_ids": ["a"]}), "stop_token_ids must be");
        check(json!({"ignore_eos": "yes"}), "ignore_eos must be");
        let mut asked = read(json!({"regex": "a"})).unwrap();
        assert!(asked.form_beside(Format::JsonObject, "response_format").is_err());
    }

    #[test]
    fn what_is_not_kept_is_told_by_name() {
        let asked = read(json!({
            "continue_final_message": true, "add_generation_prompt": true, "length_penalty": 1.0,
            "bad_words": ["x"], "mirostat": 2, "typical_p": 1, "min_tokens": 5,
        }))
        .unwrap();
        let told: Vec<&str> = asked.warnings.iter().filter_map(|warning| warning.split(' ').next()).collect();
        assert_eq!((told, asked.min_tokens), (vec!["continue_final_message", "bad_words", "mirostat"], 5));
        let ends = |ids: Value| {
            let mut asked = read(json!({"stop_token_ids": ids})).unwrap();
            asked.turn_ends();
            asked.warnings.len()
        };
        assert_eq!((ends(json!([200_002, 200_012])), ends(json!([13]))), (0, 1));
    }
}
