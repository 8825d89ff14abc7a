//! A benchmark of one's own, as a small TOML file says it.

use serde::Deserialize;

use crate::choices::{letter_key, lettered, options};
use crate::key::{GradedKey, LetterRule, PatternKey, TextKey, TextRule};
use crate::part::ItemPart;
use crate::pattern::compile;
use crate::row::{Row, scalar, text, texts};
use crate::{Ask, AskMessage, AskRole, Error, Key, graded};

/// What the file says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The benchmark's name, in reports.
    pub name: String,
    /// How an answer is scored.
    pub kind: SpecKind,
    /// What the model is asked; `{column}` is filled in from the row, and `{choices}` with lettered choices.
    pub prompt: String,
    /// A system message before it.
    #[serde(default)]
    pub system: Option<String>,
    /// The column of the right answer, or of several: a list of texts.
    #[serde(default = "answer_column")]
    pub answer: String,
    /// The column of groups.
    #[serde(default)]
    pub group: Option<String>,
    /// Of `regex`: the pattern whose first group, in its last match, is the answer.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Of `exact`, `boxed` and `regex`: letters of either case are the same.
    #[serde(default)]
    pub ignore_case: bool,
    /// Of `choice`: how the letter is found; see [`LetterRule`]'s names.
    #[serde(default)]
    pub letter_rule: Option<String>,
    /// Of `judge`: the grader's prompt, with `{question}`, `{target}` and `{response}`.
    #[serde(default)]
    pub grader: Option<String>,
}

fn answer_column() -> String {
    "answer".to_owned()
}

/// How an answer is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecKind {
    /// The letter of a choice.
    Choice,
    /// The whole answer.
    Exact,
    /// What the last `\boxed{}` holds.
    Boxed,
    /// What a pattern captures; without a column of answers, whether it is there.
    Regex,
    /// A grader's letter.
    Judge,
}

impl Spec {
    /// Reads the file.
    ///
    /// Errors: it is not TOML, it says something unknown, or lacks what its kind needs.
    pub fn parse(toml: &str) -> Result<Spec, Error> {
        let spec: Spec = toml::from_str(toml).map_err(|error| Error::Spec(error.to_string()))?;
        if let Some(pattern) = &spec.pattern {
            compile(pattern).map_err(|error| Error::Spec(format!("`pattern` is malformed: {error}")))?;
        }
        if spec.kind == SpecKind::Regex && spec.pattern.is_none() {
            return Err(Error::Spec("a specification of kind `regex` needs `pattern`".to_owned()));
        }
        spec.rule()?;
        Ok(spec)
    }

    fn rule(&self) -> Result<LetterRule, Error> {
        self.letter_rule.as_deref().map_or(Ok(LetterRule::Abcd), str::parse)
    }

    /// What a row gives an item.
    ///
    /// Errors: a column that the specification names is not in the row.
    pub(crate) fn part(&self, row: &Row) -> Result<ItemPart, String> {
        let (key, choices) = self.key(row)?;
        let prompt = filled(&self.prompt, row, &choices)?;
        let mut ask = Ask::user(prompt.clone());
        if let Some(system) = &self.system {
            ask.messages
                .insert(0, AskMessage { role: AskRole::System, text: filled(system, row, &choices)? });
        }
        let group = self.group.as_ref().and_then(|column| scalar(row.get(column)?));
        Ok(ItemPart { group, question: text(row, &["question"]).unwrap_or(prompt), ask, key })
    }

    fn key(&self, row: &Row) -> Result<(Key, Vec<String>), String> {
        let answers = || -> Result<Vec<String>, String> {
            let column = self.answer.to_ascii_lowercase().replace([' ', '-'], "_");
            texts(row, &[&column])
                .or_else(|| Some(vec![text(row, &[&column])?]))
                .ok_or_else(|| format!("it has no column `{}`", self.answer))
        };
        let texts_by = |rule| -> Result<Key, String> {
            Ok(Key::Text(TextKey { answers: answers()?, rule, ignore_case: self.ignore_case }))
        };
        let key = match self.kind {
            SpecKind::Choice => {
                let mut row = row.clone();
                if let Some(answer) = row.get(&self.answer).cloned() {
                    row.insert("answer".to_owned(), answer);
                }
                let rule = self.rule().map_err(|error| error.to_string())?;
                let key = letter_key(&row, options(&row)?, rule)?;
                let choices = key.options.clone();
                return Ok((Key::Letter(key), choices));
            }
            SpecKind::Exact => texts_by(TextRule::Whole)?,
            SpecKind::Boxed => texts_by(TextRule::Boxed)?,
            SpecKind::Regex => {
                let pattern = self.pattern.clone().unwrap_or_default();
                match row.contains_key(&self.answer) {
                    true => texts_by(TextRule::Captured(pattern))?,
                    false => Key::Pattern(PatternKey { pattern }),
                }
            }
            SpecKind::Judge => Key::Graded(GradedKey {
                target: answers()?.join(" / "),
                template: self.grader.clone().unwrap_or_else(|| graded::ANSWER_PROMPT.to_owned()),
                letters: graded::ANSWER_LETTERS.to_vec(),
            }),
        };
        Ok((key, Vec::new()))
    }
}

/// A template with the row's columns in it; `{{` is a brace.
fn filled(template: &str, row: &Row, choices: &[String]) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at].replace("}}", "}"));
        let after = &rest[at + 1..];
        if let Some(escaped) = after.strip_prefix('{') {
            text.push('{');
            rest = escaped;
            continue;
        }
        let Some((name, left)) = after.split_once('}') else {
            return Err(format!("the prompt has a `{{` without its `}}`: {template}"));
        };
        match (name, row.get(name)) {
            ("choices", _) => {
                let lines = lettered(choices).map(|(letter, choice)| format!("{letter}) {choice}"));
                text.push_str(&lines.collect::<Vec<_>>().join("\n"));
            }
            (_, Some(value)) => text.push_str(&scalar(value).unwrap_or_else(|| value.to_string())),
            (_, None) => return Err(format!("it has no column `{name}`, which the prompt names")),
        }
        rest = left;
    }
    Ok(text + &rest.replace("}}", "}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Judges, Outcome, Response, Suite, SuiteOptions, judge};

    fn check(toml: &str, row: serde_json::Value, response: &str, expected: (Outcome, &str)) {
        let spec = Spec::parse(toml).expect("a specification");
        let rows = vec![row.as_object().expect("an object").clone()];
        let suite = Suite::own(&spec, rows, &SuiteOptions::default()).expect("a row of it");
        let item = &suite.items[0];
        let response = Response { response: response.to_owned(), ..Response::default() };
        let prompt = &item.ask.messages.last().expect("a message").text;
        assert_eq!((judge(item, &response, &Judges::default()).outcome, prompt.as_str()), expected);
    }

    #[test]
    fn each_kind_scores() {
        let head = |kind: &str| format!("name = 'n'\nkind = '{kind}'\n");
        check(
            &(head("choice") + "prompt = \"{q}?\\n{choices}\"\nanswer = 'right'"),
            json!({"q": "Which", "choices": ["red", "blue"], "right": "blue"}),
            "Answer: B",
            (Outcome::Correct, "Which?\nA) red\nB) blue"),
        );
        check(
            &(head("exact") + "prompt = '{q}'\nignore_case = true"),
            json!({"q": 1, "answer": ["one", "uno"]}),
            "UNO",
            (Outcome::Correct, "1"),
        );
        check(
            &(head("boxed") + "prompt = '\\boxed{{{q}}}'"),
            json!({"q": "x", "answer": "7"}),
            r"\boxed{8}",
            (Outcome::Wrong, r"\boxed{x}"),
        );
        check(
            &(head("regex") + "prompt = '{q}'\npattern = 'is (\\w+)'"),
            json!({"q": "x", "answer": "blue"}),
            "it is blue",
            (Outcome::Correct, "x"),
        );
        check(
            &(head("regex") + "prompt = '{q}'\npattern = '^yes'"),
            json!({"q": "x"}),
            "no",
            (Outcome::Wrong, "x"),
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = |toml: &str| Spec::parse(toml).expect_err("it is wrong").to_string();
        assert!(message("name = 'n'\nkind = 'exact'\nprompt = ''\nanwser = 'a'").contains("anwser"));
        assert!(message("name = 'n'\nkind = 'regex'\nprompt = ''").contains("needs `pattern`"));
        assert!(message("name = 'n'\nkind = 'regex'\nprompt = ''\npattern = '('").contains("malformed"));
        assert!(message("name = 'n'\nkind = 'choice'\nprompt = ''\nletter_rule = 'x'").contains("mmlu-pro"));
        let spec = Spec::parse("name = 'n'\nkind = 'exact'\nprompt = '{q}'").expect("a specification");
        let row = json!({"answer": "a"}).as_object().expect("an object").clone();
        let error = Suite::own(&spec, vec![row], &SuiteOptions::default()).expect_err("a column is missing");
        assert_eq!(error.to_string(), "row 1: it has no column `q`, which the prompt names");
    }
}
