//! Answers that a grader reads: SimpleQA's letters, HealthBench's rubrics.
//!
//! What a grader said comes with the response, or a grader is asked now. Its prompt is a file of the user's,
//! the reference's own for figures that can be compared; the ones here are short and ours.

use serde_json::{Value, json};

use crate::key::{GradeMeaning, GradedKey, RubricItem, RubricKey};
use crate::{AskGrader, Figure, Item, Judgement, Judges, Outcome, Part, Response};

/// How often a grader is asked for one verdict that can be read.
const TRIES_MAX: usize = 3;

/// A grader's prompt for an answer beside the right one.
pub const ANSWER_PROMPT: &str = "\
Compare an answer with the right one. Wording and order do not matter; what matters is whether the answer holds
what the right one says and nothing that contradicts it.

Question: {question}
Right answer: {target}
Answer to grade: {response}

Reply with one letter: A if the answer is right, B if it is wrong, C if it does not answer.";

/// A grader's prompt for one rubric.
pub const RUBRIC_PROMPT: &str = "\
Read a conversation and a criterion, and say whether the last message of the assistant meets the criterion. A
criterion may name something bad; then say whether the bad thing is there.

Conversation:
<<conversation>>

Criterion:
<<rubric_item>>

Reply with a JSON object alone: {\"explanation\": \"why\", \"criteria_met\": true or false}.";

/// The letters of SimpleQA's grader.
pub const ANSWER_LETTERS: [(char, GradeMeaning); 3] =
    [('A', GradeMeaning::Correct), ('B', GradeMeaning::Incorrect), ('C', GradeMeaning::NotAttempted)];

/// Holds an answer to what its grader says: the first of its letters, else the last of them.
pub fn judge(key: &GradedKey, item: &Item, response: &Response, judges: &Judges<'_>) -> Judgement {
    if response.response.trim().is_empty() {
        return Judgement::without(Outcome::NoAnswer);
    }
    let told = response.grades.as_ref().and_then(|grades| grades.first()).and_then(crate::row::scalar);
    let grade = match (told, judges.grade) {
        (Some(grade), _) => grade,
        (None, Some(ask)) => {
            let places =
                [("question", &item.question), ("target", &key.target), ("response", &response.response)];
            match ask(&filled(&key.template, &places)) {
                Ok(grade) => grade,
                Err(why) => return Judgement::error(format!("the grader did not answer: {why}")),
            }
        }
        (None, None) => return Judgement::error(NOT_GRADED),
    };
    let known = |c: char| key.letters.iter().find(|(letter, _)| *letter == c);
    let Some((letter, meaning)) = grade.chars().find_map(known).or_else(|| key.letters.last()) else {
        return Judgement::error("the grader has no letters");
    };
    let rule = if *meaning == GradeMeaning::Correct { "graded right" } else { "graded" };
    let mut judgement = match meaning {
        GradeMeaning::NotAttempted => Judgement {
            extracted: Some(letter.to_string()),
            rule: Some(rule.into()),
            ..Judgement::without(Outcome::NoAnswer)
        },
        _ => Judgement::found(letter.to_string(), *meaning == GradeMeaning::Correct, rule),
    };
    judgement.figures = vec![Figure {
        name: "accuracy_given_attempted".into(),
        value: judgement.score,
        of: if *meaning == GradeMeaning::NotAttempted { 0.0 } else { 1.0 },
    }];
    judgement.more = json!({"grade": grade});
    judgement
}

const NOT_GRADED: &str =
    "it is not graded: give what the grader said in the row's `grades`, or a grader's address";

/// A template with its places filled, in one pass: what is filled in is not looked at again.
fn filled(template: &str, places: &[(&str, &String)]) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let name = after.split('}').next().unwrap_or_default();
        // SimpleQA's own template calls the answer so.
        let known = if name == "predicted_answer" { "response" } else { name };
        match places.iter().find(|(place, _)| *place == known) {
            Some((_, value)) if after.len() > name.len() => {
                text.push_str(value);
                rest = &after[name.len() + 1..];
            }
            _ => {
                text.push('{');
                rest = after;
            }
        }
    }
    text + rest
}

/// Holds an answer to its rubrics: points that were met over the points that can be had.
pub fn judge_rubrics(key: &RubricKey, item: &Item, response: &Response, judges: &Judges<'_>) -> Judgement {
    if response.response.trim().is_empty() {
        return Judgement::without(Outcome::NoAnswer);
    }
    let mut regraded = 0;
    let mut met = Vec::with_capacity(key.rubrics.len());
    for (index, rubric) in key.rubrics.iter().enumerate() {
        let told = response.grades.as_ref().map(|grades| grades.get(index).and_then(is_met));
        let verdict = match (told, judges.grade) {
            (Some(Some(verdict)), _) => Ok(verdict),
            (Some(None), _) => Err(format!("the grade of rubric {} cannot be read", index + 1)),
            (None, Some(ask)) => {
                ask_until_read(ask, &rubric_prompt(key, rubric, item, response), &mut regraded)
            }
            (None, None) => Err(NOT_GRADED.to_owned()),
        };
        match verdict {
            Ok(verdict) => met.push(verdict),
            Err(why) => return Judgement::error(why),
        }
    }
    let all: Vec<(&RubricItem, bool)> = key.rubrics.iter().zip(met.iter().copied()).collect();
    let Some(score) = share_of_points(&all) else {
        return Judgement::error("no rubric of the row has points");
    };
    let mut judgement = Judgement::found(format!("{score:.4}"), score >= 1.0, "rubrics");
    judgement.score = score;
    judgement.parts =
        all.iter().map(|(rubric, met)| Part { name: rubric.criterion.clone(), passed: *met }).collect();
    let of_row = key.tags.iter().map(|tag| (tag.clone(), score));
    let mut tags: Vec<&String> = key.rubrics.iter().flat_map(|rubric| &rubric.tags).collect();
    tags.sort_unstable();
    tags.dedup();
    let of_rubrics = tags.into_iter().filter_map(|tag| {
        let tagged: Vec<_> = all.iter().filter(|(rubric, _)| rubric.tags.contains(tag)).copied().collect();
        Some((tag.clone(), share_of_points(&tagged)?))
    });
    judgement.figures =
        of_row.chain(of_rubrics).map(|(name, value)| Figure { name: name.into(), value, of: 1.0 }).collect();
    judgement.more = json!({"regraded": regraded});
    judgement
}

fn share_of_points(rubrics: &[(&RubricItem, bool)]) -> Option<f64> {
    let possible: f64 = rubrics.iter().map(|(rubric, _)| rubric.points.max(0.0)).sum();
    let achieved: f64 = rubrics.iter().filter(|(_, met)| *met).map(|(rubric, _)| rubric.points).sum();
    (possible > 0.0).then(|| achieved / possible)
}

fn ask_until_read(ask: &AskGrader<'_>, prompt: &str, regraded: &mut usize) -> Result<bool, String> {
    for attempt in 0..TRIES_MAX {
        *regraded += usize::from(attempt > 0);
        let grade = ask(prompt).map_err(|why| format!("the grader did not answer: {why}"))?;
        if let Some(verdict) = is_met(&Value::from(grade)) {
            return Ok(verdict);
        }
    }
    Err(format!("the grader gave no JSON with `criteria_met` in {TRIES_MAX} tries"))
}

/// A verdict as a bool, as an object with `criteria_met`, or as the text of one.
fn is_met(grade: &Value) -> Option<bool> {
    match grade {
        Value::Bool(met) => Some(*met),
        Value::Object(object) => object.get("criteria_met")?.as_bool(),
        Value::String(text) => {
            let text = text.trim();
            let text = text.strip_prefix("```json").map_or(text, str::trim_start);
            let text = text.strip_suffix("```").map_or(text, str::trim_end);
            let object: Value = serde_json::from_str(text).ok()?;
            object.get("criteria_met")?.as_bool()
        }
        _ => None,
    }
}

fn rubric_prompt(key: &RubricKey, rubric: &RubricItem, item: &Item, response: &Response) -> String {
    let mut conversation: Vec<String> = item
        .ask
        .messages
        .iter()
        .map(|message| format!("{}: {}", message.role.name(), message.text))
        .collect();
    conversation.push(format!("assistant: {}", response.response));
    let points = match rubric.points {
        whole if whole.fract() == 0.0 => format!("{whole:.0}"),
        points => points.to_string(),
    };
    let rubric = format!("[{points}] {}", rubric.criterion);
    // The rubric first: a conversation that names the other place is not looked at again.
    let (before, after) = key.template.split_once("<<conversation>>").unwrap_or((&key.template, ""));
    let rubric_in = |text: &str| text.replace("<<rubric_item>>", &rubric);
    format!("{}{}{}", rubric_in(before), conversation.join("\n\n"), rubric_in(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ask, Key};

    fn item(key: Key) -> Item {
        Item {
            id: "1".to_owned(),
            repeat: 0,
            group: None,
            question: "Who?".to_owned(),
            ask: Ask::user("Who?"),
            key,
        }
    }

    fn answered(text: &str, grades: Option<Vec<Value>>) -> Response {
        Response { response: text.to_owned(), grades, ..Response::default() }
    }

    #[test]
    fn the_graders_first_letter_counts() {
        let key = GradedKey {
            target: "Ada".to_owned(),
            template: ANSWER_PROMPT.to_owned(),
            letters: ANSWER_LETTERS.to_vec(),
        };
        let item = item(Key::Graded(key.clone()));
        let check = |grade: &str, expected| {
            let judgement =
                judge(&key, &item, &answered("Ada", Some(vec![grade.into()])), &Judges::default());
            assert_eq!(judgement.outcome, expected, "{grade}");
        };
        check("A", Outcome::Correct);
        check("B: INCORRECT", Outcome::Wrong);
        check("it is so", Outcome::NoAnswer);
        // The reference's quirk: a word is read for its first letter.
        check("CORRECT", Outcome::NoAnswer);
        let none = judge(&key, &item, &answered("Ada", None), &Judges::default());
        assert!(none.detail.is_some_and(|detail| detail.contains("not graded")));
        let asked = |prompt: &str| {
            assert!(prompt.contains("Answer to grade: {target}"), "{prompt}");
            Ok("A".to_owned())
        };
        let judges = Judges { grade: Some(&asked), ..Judges::default() };
        assert_eq!(judge(&key, &item, &answered("{target}", None), &judges).outcome, Outcome::Correct);
    }

    #[test]
    fn points_that_were_met_are_counted() {
        let rubric = |criterion: &str, points, tag: &str| RubricItem {
            criterion: criterion.to_owned(),
            points,
            tags: vec![tag.to_owned()],
        };
        let key = RubricKey {
            rubrics: vec![rubric("a", 6.0, "x"), rubric("b", 4.0, "y"), rubric("c", -5.0, "x")],
            tags: vec!["theme".to_owned()],
            template: RUBRIC_PROMPT.to_owned(),
        };
        let item = item(Key::Rubric(key.clone()));
        let grades = vec![
            true.into(),
            "```json\n{\"criteria_met\": false}\n```".into(),
            json!({"criteria_met": true}),
        ];
        let judgement = judge_rubrics(&key, &item, &answered("Hm.", Some(grades)), &Judges::default());
        assert!((judgement.score - 0.1).abs() < 1e-12, "{}", judgement.score);
        let figures: Vec<_> = judgement.figures.iter().map(|f| (f.name.as_ref(), f.value)).collect();
        assert_eq!(figures, [("theme", 0.1), ("x", 1.0 / 6.0), ("y", 0.0)]);
        let tries = std::sync::atomic::AtomicUsize::new(0);
        let asked = |_: &str| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Ok("hm".to_owned()),
            _ => Ok("{\"criteria_met\": true}".to_owned()),
        };
        let judges = Judges { grade: Some(&asked), ..Judges::default() };
        let judgement = judge_rubrics(&key, &item, &answered("Hm.", None), &judges);
        assert_eq!((judgement.score, judgement.more), (0.5, json!({"regraded": 1})));
    }
}
