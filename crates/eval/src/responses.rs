//! Recorded answers out of a file's rows, and the items that they belong to.

use std::collections::HashMap;

use serde_json::Value;

use crate::row::{IDS, Row, column, scalar};
use crate::{Error, Response, Suite};

/// Columns that hold an answer's text, the first that is there.
const TEXTS: [&str; 15] = [
    "response",
    "completion",
    "model_outputs",
    "generated_text",
    "model_output",
    "output",
    "prediction",
    "model_response",
    "model_patch",
    "final",
    "content",
    "solution",
    "resps",
    "text",
    "generation",
];
/// The column of an id in a batch's output, whose own `id` is the request's.
const BATCH_ID: &str = "custom_id";
const PROMPTS: [&str; 3] = ["prompt", "question", "problem"];

/// Answers as a file has them, before it is known to which item each belongs.
#[derive(Debug, Clone)]
pub struct Recorded {
    responses: Vec<(Place, Response)>,
}

/// Where a row says that its answer belongs.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    id: Option<String>,
    repeat: Option<u32>,
    question: Option<String>,
}

impl Recorded {
    /// Reads rows: the id and the text, and whatever else is known. The lines of a batch's output are rows
    /// too.
    ///
    /// Errors: a row has no text, no calls and no error.
    pub fn read(rows: Vec<Row>) -> Result<Recorded, Error> {
        let mut responses = Vec::with_capacity(rows.len());
        for (index, row) in rows.into_iter().enumerate() {
            let wrong = |message: &str| Error::Row { row: index + 1, message: message.to_owned() };
            let id = column(&row, &[BATCH_ID]).or_else(|| column(&row, &IDS));
            let id = id.and_then(scalar).filter(|id| !id.is_empty());
            let question = column(&row, &PROMPTS).and_then(scalar);
            let repeat = column(&row, &["repeat"]).and_then(Value::as_u64);
            let body = body(row);
            let answer = answer(&body);
            let texts = texts(&body)
                .or_else(|| (answer.calls.is_some() || answer.error.is_some()).then(|| vec![String::new()]));
            let texts = texts.ok_or_else(|| wrong("it has no `response`, which is the answer's text"))?;
            let is_single = texts.len() == 1;
            for text in texts {
                let repeat = repeat.filter(|_| is_single).and_then(|repeat| u32::try_from(repeat).ok());
                let place = Place { id: id.clone(), repeat, question: question.clone() };
                responses.push((place, Response { response: text, ..answer.clone() }));
            }
        }
        Ok(Recorded { responses })
    }

    /// How often the item is answered that is answered most often; a suite is made with as many repeats.
    pub fn repeats(&self) -> u32 {
        let mut counts: HashMap<(&Option<String>, &Option<String>), u32> = HashMap::new();
        for (place, _) in &self.responses {
            // Rows without an id are told apart by what they were asked.
            let question = if place.id.is_some() { &None } else { &place.question };
            *counts.entry((&place.id, question)).or_default() += 1;
        }
        let named = counts.iter().filter(|((id, question), _)| id.is_some() || question.is_some());
        let told = self
            .responses
            .iter()
            .filter_map(|(place, _)| place.repeat)
            .max()
            .map_or(0, |last| last.saturating_add(1));
        named.map(|(_, count)| *count).max().unwrap_or(1).max(told)
    }

    /// Gives each answer its item's id and repeat: by the ids of the items, else by the rows' numbers, else,
    /// where no row has an id, by the question or by their order. Several rows of one id are repeats, in
    /// their order.
    ///
    /// Errors: a row belongs to no item.
    pub fn matched(self, suite: &Suite) -> Result<Vec<Response>, Error> {
        let first = &suite.items[..suite.num_rows.min(suite.items.len())];
        let by_id: HashMap<&str, usize> =
            first.iter().enumerate().map(|(at, item)| (item.id.as_str(), at)).collect();
        let by_question: HashMap<&str, usize> =
            first.iter().enumerate().map(|(at, item)| (item.question.as_str(), at)).collect();
        let by = self.by(suite, &by_id, &by_question)?;
        let mut counts = vec![0u32; first.len()];
        let mut matched = Vec::with_capacity(self.responses.len());
        for (row, (told, mut response)) in self.responses.into_iter().enumerate() {
            let at = match by {
                By::Id => told.id.as_deref().and_then(|id| by_id.get(id).copied()),
                By::Number { from } => {
                    told.id.as_deref().and_then(number).and_then(|at| at.checked_sub(from))
                }
                By::Question => told.question.as_deref().and_then(|asked| by_question.get(asked).copied()),
                By::Order => Some(row % first.len()),
            };
            let at = at.ok_or_else(|| Error::Row {
                row: row + 1,
                message: match &told.id {
                    Some(id) => format!("`{id}` is neither the id nor the number of a row of the data"),
                    None => "it has no `id`, and its question is none of the data".to_owned(),
                },
            })?;
            response.id.clone_from(&first[at].id);
            response.repeat = told.repeat.unwrap_or(counts[at]);
            counts[at] += 1;
            matched.push(response);
        }
        Ok(matched)
    }

    fn by(
        &self,
        suite: &Suite,
        by_id: &HashMap<&str, usize>,
        by_question: &HashMap<&str, usize>,
    ) -> Result<By, Error> {
        let num_rows = suite.num_rows;
        let ids: Vec<&str> = self.responses.iter().filter_map(|(place, _)| place.id.as_deref()).collect();
        // Ids that are not all different tell a row by their order.
        if !ids.is_empty() && ids == suite.file_ids {
            return Ok(By::Order);
        }
        if ids.is_empty() {
            let knows = |place: &Place| {
                place.question.as_deref().is_some_and(|asked| by_question.contains_key(asked))
            };
            if self.responses.iter().any(|(place, _)| knows(place)) {
                return Ok(By::Question);
            }
            let rows = self.responses.len();
            if num_rows > 0 && rows.is_multiple_of(num_rows) {
                return Ok(By::Order);
            }
            return Err(Error::Unreadable(format!(
                "no row of the responses has an `id`, and {rows} rows do not stand for {num_rows} rows of the data"
            )));
        }
        let numbers: Option<Vec<usize>> = ids.iter().map(|id| number(id)).collect();
        if let Some(numbers) = numbers.filter(|_| !ids.iter().all(|id| by_id.contains_key(id))) {
            let last = numbers.iter().copied().max().unwrap_or_default();
            if last < num_rows {
                return Ok(By::Number { from: 0 });
            }
            if last == num_rows && !numbers.contains(&0) {
                return Ok(By::Number { from: 1 });
            }
        }
        Ok(By::Id)
    }
}

/// What tells to which row of the data an answer belongs.
enum By {
    /// The row's id.
    Id,
    /// The row's number; from 1 where none is 0 and one is behind the last row.
    Number { from: usize },
    /// What was asked.
    Question,
    /// Its place among the rows.
    Order,
}

fn number(id: &str) -> Option<usize> {
    id.trim().parse().ok()
}

/// The row, or the body of the response in a line of a batch's output.
fn body(mut row: Row) -> Row {
    match row.get_mut("response") {
        Some(Value::Object(response)) => match response.remove("body") {
            Some(Value::Object(body)) => body,
            _ => row,
        },
        _ => row,
    }
}

/// The texts of a row: one, or a list, in which lists may be.
fn texts(body: &Row) -> Option<Vec<String>> {
    if let Some(message) =
        body.get("choices").and_then(|choices| choices.get(0)).and_then(|first| first.get("message"))
    {
        return Some(vec![message["content"].as_str().unwrap_or_default().to_owned()]);
    }
    for name in TEXTS {
        match body.get(name) {
            Some(Value::Array(values)) => {
                let inner =
                    |value: &Value| value.as_str().or_else(|| value.get(0)?.as_str()).map(str::to_owned);
                return values.iter().map(inner).collect();
            }
            Some(Value::Null) => return Some(vec![String::new()]),
            Some(value) => {
                if let Some(text) = scalar(value) {
                    return Some(vec![text]);
                }
            }
            None => {}
        }
    }
    None
}

/// What a row tells beside its text.
fn answer(body: &Row) -> Response {
    let choice = body.get("choices").and_then(|choices| choices.get(0));
    let message = choice.and_then(|choice| choice.get("message"));
    let text = |names: &[&str]| column(body, names).and_then(Value::as_str).map(str::to_owned);
    let in_message =
        |name: &str| message.and_then(|message| message.get(name)).filter(|value| !value.is_null());
    let calls = in_message("tool_calls").or_else(|| column(body, &["calls", "tool_calls"]));
    let grades = column(body, &["grades", "grade", "grader_response", "grader"]);
    let error = column(body, &["error"]).map(|error| match &error["message"] {
        Value::String(message) => message.clone(),
        _ => scalar(error).unwrap_or_else(|| error.to_string()),
    });
    Response {
        reasoning: text(&["reasoning", "reasoning_content"])
            .or_else(|| Some(in_message("reasoning")?.as_str()?.to_owned())),
        calls: calls.and_then(Value::as_array).map(|calls| calls.iter().map(call).collect()),
        finish_reason: text(&["finish_reason", "stop_reason"])
            .or_else(|| Some(choice?.get("finish_reason")?.as_str()?.to_owned())),
        error: error.filter(|error| !error.is_empty()),
        grades: grades.map(|grades| match grades {
            Value::Array(grades) => grades.clone(),
            grade => vec![grade.clone()],
        }),
        usage: column(body, &["usage"]).cloned(),
        ..Response::default()
    }
}

/// A call as an object of one member; the chat API's has its arguments as a text.
fn call(call: &Value) -> Value {
    let function = call.get("function").unwrap_or(call);
    let (Some(name), Some(arguments)) = (function["name"].as_str(), function.get("arguments")) else {
        return call.clone();
    };
    let arguments = match arguments {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| arguments.clone()),
        arguments => arguments.clone(),
    };
    Value::Object([(name.to_owned(), arguments)].into_iter().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{SuiteOptions, Task};

    fn suite(rows: &[Value], repeats: u32) -> Suite {
        let rows = rows.iter().map(|row| row.as_object().expect("an object").clone()).collect();
        Suite::new(Task::Gsm8k, rows, &SuiteOptions { repeats, ..SuiteOptions::default() })
            .expect("rows of GSM8K")
    }

    fn check(data: &[Value], responses: &[Value], expected: Result<&[(&str, u32, &str)], &str>) {
        let rows = responses.iter().map(|row| row.as_object().expect("an object").clone()).collect();
        let matched = Recorded::read(rows).and_then(|recorded| {
            let repeats = recorded.repeats();
            recorded.matched(&suite(data, repeats))
        });
        let told = matched.map(|matched| {
            matched
                .into_iter()
                .map(|response| (response.id, response.repeat, response.response))
                .collect::<Vec<_>>()
        });
        let expected = expected.map(|rows| {
            rows.iter().map(|(id, repeat, text)| ((*id).to_owned(), *repeat, (*text).to_owned())).collect()
        });
        assert_eq!(told.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{responses:?}");
    }

    fn data(ids: &[Value]) -> Vec<Value> {
        let row = |(number, id): (usize, &Value)| json!({"id": id, "question": format!("Q{number}?"), "answer": "1"});
        ids.iter().enumerate().map(row).collect()
    }

    #[test]
    fn rows_are_matched_by_id_number_question_or_order() {
        let named = data(&[json!("a"), json!(7)]);
        let answer = |id: Value, text: &str| json!({"id": id, "response": text});
        check(
            &named,
            &[answer(json!("7"), "x"), answer(json!("a"), "y")],
            Ok(&[("7", 0, "x"), ("a", 0, "y")]),
        );
        check(&named, &[answer(json!(1), "x"), answer(json!(0), "y")], Ok(&[("7", 0, "x"), ("a", 0, "y")]));
        check(&named, &[answer(json!(1), "x"), answer(json!(2), "y")], Ok(&[("a", 0, "x"), ("7", 0, "y")]));
        check(&named, &[answer(json!(7), "x"), answer(json!(7), "y")], Ok(&[("7", 0, "x"), ("7", 1, "y")]));
        check(
            &named,
            &[json!({"question": "Q1?", "response": "x"}), json!({"question": "Q0?", "response": "y"})],
            Ok(&[("7", 0, "x"), ("a", 0, "y")]),
        );
        check(
            &named,
            &[json!({"response": "x"}), json!({"response": "y"})],
            Ok(&[("a", 0, "x"), ("7", 0, "y")]),
        );
        check(
            &named,
            &[answer(json!("b"), "x")],
            Err("row 1: `b` is neither the id nor the number of a row of the data"),
        );
        check(&named, &[json!({"id": "a"})], Err("row 1: it has no `response`, which is the answer's text"));
        let odd = Err("no row of the responses has an `id`, and 1 rows do not stand for 2 rows of the data");
        check(&named, &[json!({"response": "x"})], odd);
    }

    #[test]
    fn repeats_are_rows_or_lists_or_told() {
        let one = data(&[json!("a")]);
        check(&one, &[json!({"id": "a", "response": ["x", "y"]})], Ok(&[("a", 0, "x"), ("a", 1, "y")]));
        check(&one, &[json!({"doc_id": 0, "resps": [["x"]]})], Ok(&[("a", 0, "x")]));
        check(&one, &[json!({"id": "a", "repeat": 2, "response": "x"})], Ok(&[("a", 2, "x")]));
    }

    #[test]
    fn the_output_of_a_batch_is_read() {
        let line = json!({"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": {
            "choices": [{"finish_reason": "length", "message": {"content": null, "tool_calls": [
                {"function": {"name": "f", "arguments": "{\"x\":1}"}}]}}], "usage": {"total_tokens": 3}}}});
        let row = line.as_object().expect("an object").clone();
        let recorded = Recorded::read(vec![row]).expect("a row");
        let response = &recorded.responses[0].1;
        assert!(response.is_cut());
        assert_eq!(response.calls, Some(vec![json!({"f": {"x": 1}})]));
        assert_eq!(response.usage, Some(json!({"total_tokens": 3})));
        assert_eq!(recorded.responses[0].0.id.as_deref(), Some("a"));
    }
}
