//! The operator's file: policies by name, what follows at which stage, and who judges.
//!
//! TOML of this program's, or openai-guardrails' JSON, which is also read where the TOML names it. A key that
//! is not known is an error, as is a policy that says nothing: what an operator believes to be looked at is.

use gptoss_harmony::ReasoningEffort;
use serde::Deserialize;

use crate::address::Address;
use crate::check::{Check, CheckKind, Fails, Guard, Mode, Stage};
use crate::error::Error;
use crate::form::Form;
use crate::guardrails;
use crate::policy::{Judge, Policy};

/// Where a guard's file finds others, and the environment.
pub struct Sources<'a> {
    /// The text of a file that it names; why not, if it cannot be read.
    pub file: &'a dyn Fn(&str) -> Result<String, String>,
    /// The value of a variable that it names.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    fails: Fails,
    #[serde(default)]
    input: Mode,
    /// As `input`, where it is not said.
    tools: Option<Mode>,
    /// As `output`, where it is not said.
    reasoning: Option<Mode>,
    #[serde(default)]
    output: Mode,
    guardrails: Option<String>,
    model: Option<String>,
    address: Option<String>,
    key_variable: Option<String>,
    #[serde(default, rename = "policy")]
    policies: Vec<PolicyConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyConfig {
    name: String,
    file: String,
    category: Option<String>,
    effort: Option<String>,
    threshold: Option<f64>,
    #[serde(default)]
    form: Form,
    model: Option<String>,
    address: Option<String>,
    key_variable: Option<String>,
    stages: Option<Vec<Stage>>,
}

/// Reads the file `place`, which says `text`.
///
/// Errors: what it says cannot be meant; another file or a variable is not there.
pub fn read(place: &str, text: &str, sources: &Sources<'_>) -> Result<Guard, Error> {
    if text.trim_start().starts_with('{') {
        let mut guard = Guard::default();
        guardrails::add(place, text, &Judge::Served(None), &mut guard)?;
        return Ok(guard);
    }
    let config: Config = toml::from_str(text).map_err(|error| Error::config(place, error.to_string()))?;
    let tools = config.tools.unwrap_or(config.input);
    let modes = [config.input, tools, config.reasoning.unwrap_or(config.output), config.output];
    let judge = judge(
        place,
        (config.model.as_deref(), config.address.as_deref(), config.key_variable.as_deref()),
        sources,
    )?;
    let mut guard = Guard { checks: Vec::new(), fails: config.fails };
    for policy in config.policies {
        let place = format!("{place}: the policy {:?}", policy.name);
        if guard.checks.iter().any(|other| other.name == policy.name) {
            return Err(Error::config(place, "there are two of this name"));
        }
        guard.checks.push(check(&place, policy, modes, &judge, sources)?);
    }
    if let Some(file) = &config.guardrails {
        let text = (sources.file)(file).map_err(|problem| Error::config(file, problem))?;
        guardrails::add(file, &text, &judge, &mut guard)?;
    }
    match guard.checks.is_empty() {
        true => Err(Error::config(place, "it has no policy\nadd a [[policy]] with a name and a file")),
        false => Ok(guard),
    }
}

fn check(
    place: &str,
    config: PolicyConfig,
    modes: [Mode; 4],
    judge_of_all: &Judge,
    sources: &Sources<'_>,
) -> Result<Check, Error> {
    let text = (sources.file)(&config.file)
        .map_err(|problem| Error::config(place, format!("its file {}: {problem}", config.file)))?;
    if text.trim().is_empty() {
        return Err(Error::config(place, format!("its file {} says nothing", config.file)));
    }
    let mut policy = Policy { form: config.form, ..Policy::new(&config.name, text) };
    if let Some(effort) = &config.effort {
        let expected =
            || Error::config(place, format!("effort is {effort:?}, but must be low, medium or high"));
        policy.effort = ReasoningEffort::from_name(effort).ok_or_else(expected)?;
    }
    if let Some(threshold) = config.threshold {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(Error::config(place, format!("threshold is {threshold}, but must be 0 to 1")));
        }
        policy.threshold = threshold;
    }
    let names = (config.model.as_deref(), config.address.as_deref(), config.key_variable.as_deref());
    policy.judge = match names {
        (None, None, None) => judge_of_all.clone(),
        names => judge(place, names, sources)?,
    };
    let stages = config.stages.unwrap_or_else(|| Stage::ALL.to_vec());
    let stages = Stage::ALL.into_iter().zip(modes).filter(|(stage, _)| stages.contains(stage)).collect();
    let category = config.category.unwrap_or_else(|| config.name.clone());
    Ok(Check { name: config.name, category, stages, kind: CheckKind::Policy(policy) })
}

/// Who judges, by the names of a model, an address and a variable.
fn judge(
    place: &str,
    (model, address, variable): (Option<&str>, Option<&str>, Option<&str>),
    sources: &Sources<'_>,
) -> Result<Judge, Error> {
    let Some(url) = address else {
        return match variable {
            Some(_) => Err(Error::config(place, "key_variable is for an address, and there is none")),
            None => Ok(Judge::Served(model.map(str::to_owned))),
        };
    };
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Error::config(
            place,
            format!("address is {url:?}, but must begin with http:// or https://"),
        ));
    }
    let Some(model) = model else {
        return Err(Error::config(place, "an address needs a model: its name there"));
    };
    let missing =
        |name: &str| Error::config(place, format!("the variable {name} is not set in the environment"));
    let key = variable.map(|name| (sources.variable)(name).ok_or_else(|| missing(name))).transpose()?;
    let url = url.trim_end_matches('/').to_owned();
    Ok(Judge::Elsewhere(Address { url, model: model.to_owned(), key }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(read: impl FnOnce(&Sources<'_>) -> Result<Guard, Error>) -> Result<Guard, Error> {
        read(&Sources {
            file: &|name| match name {
                "spam.txt" => Ok("No spam (SP1).".to_owned()),
                "empty.txt" => Ok(" \n".to_owned()),
                "rails.json" => Ok(r#"{"output": {"guardrails": [
                    {"name": "Moderation", "config": {"categories": ["illicit"]}},
                    {"name": "Keyword Filter", "config": {"keywords": ["canary"]}}]}}"#
                    .to_owned()),
                _ => Err("there is none".to_owned()),
            },
            variable: &|name| (name == "KEY").then(|| "secret".to_owned()),
        })
    }

    #[test]
    fn policies_are_read_with_their_settings() {
        let text = r#"
            fails = "open"
            input = "block"
            output = "score"
            model = "judge"
            guardrails = "rails.json"
            [[policy]]
            name = "spam"
            file = "spam.txt"
            category = "illicit"
            effort = "high"
            threshold = 0.8
            form = "rationale"
            [[policy]]
            name = "elsewhere"
            file = "spam.txt"
            model = "m"
            address = "http://10.0.0.1:8000/v1/"
            key_variable = "KEY"
            stages = ["tools"]
        "#;
        let guard = sources(|sources| read("guard.toml", text, sources)).unwrap();
        assert_eq!((guard.fails, guard.checks.len()), (Fails::Open, 3));
        let policies: Vec<&Policy> = guard.policies().collect();
        assert_eq!((policies[0].threshold, policies[0].form), (0.8, Form::Rationale));
        assert_eq!(policies[0].judge, Judge::Served(Some("judge".into())));
        let Judge::Elsewhere(address) = &policies[1].judge else { panic!() };
        assert_eq!(
            (address.url.as_str(), address.key.as_deref()),
            ("http://10.0.0.1:8000/v1", Some("secret"))
        );
        let modes = |check: &Check| Stage::ALL.map(|stage| check.mode(stage, Mode::Off));
        // The guardrail Moderation makes its policy block the output.
        assert_eq!(modes(&guard.checks[0]), [Mode::Block, Mode::Block, Mode::Block, Mode::Block]);
        assert_eq!(guard.checks[1].mode(Stage::Input, Mode::Block), Mode::Off);
        assert_eq!(modes(&guard.checks[2]), [Mode::Off, Mode::Off, Mode::Block, Mode::Block]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        let check = |text: &str, expect: &str| {
            let error = sources(|sources| read("guard.toml", text, sources)).unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        };
        let policy = |more: &str| format!("[[policy]]\nname = \"p\"\nfile = \"spam.txt\"\n{more}");
        check("", "no policy");
        check("inputs = \"block\"", "inputs");
        check("[[policy]]\nname = \"p\"\nfile = \"none.txt\"", "none.txt: there is none");
        check("[[policy]]\nname = \"p\"\nfile = \"empty.txt\"", "says nothing");
        check(&policy("effort = \"huge\""), "low, medium or high");
        check(&policy("threshold = 2"), "0 to 1");
        check(&policy("address = \"10.0.0.1\""), "http://");
        check(&policy("address = \"http://10.0.0.1\""), "needs a model");
        check(&policy("model = \"m\"\naddress = \"http://a\"\nkey_variable = \"NONE\""), "NONE is not set");
        check(&policy("key_variable = \"KEY\""), "is for an address");
        check(&(policy("") + &policy("")), "two of this name");
        check("guardrails = \"gone.json\"", "gone.json");
    }
}
