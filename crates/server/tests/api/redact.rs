//! `/v1/redact` over a filter that takes digits for secrets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gptoss_server::{Keys, Limits, RedactOptions, RedactProblem, RedactResult, RedactedSpan, Redactor};
use serde_json::{Value, json};

use crate::http::{get, post, send};
use crate::scripted::Script;
use crate::server::Server;
use crate::shutdown::eventually;

/// A text that is read until somebody says stop.
const ENDLESS: &str = "endless";

/// What a test sees of the filter.
#[derive(Clone, Default)]
struct Digits {
    is_at_work: Arc<AtomicBool>,
    was_stopped: Arc<AtomicBool>,
}

impl Redactor for Digits {
    fn name(&self) -> &str {
        "digits"
    }

    fn redact(
        &self,
        text: &str,
        options: &RedactOptions,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<RedactResult, RedactProblem> {
        if options.labels.as_deref().is_some_and(|labels| labels != ["secret"]) {
            return Err(RedactProblem::Labels("there is only secret".into()));
        }
        if text == "broken" {
            return Err(RedactProblem::Failed("the weights are damaged".into()));
        }
        if text == ENDLESS {
            self.is_at_work.store(true, Ordering::Relaxed);
            while goes_on() {
                std::thread::sleep(Duration::from_millis(2));
            }
            self.was_stopped.store(true, Ordering::Relaxed);
            return Err(RedactProblem::Stopped);
        }
        let placeholder = options.replace.clone().unwrap_or_else(|| "<SECRET>".into());
        let spans = text.match_indices(|character: char| character.is_ascii_digit());
        let spans = spans.map(|(at, digit)| RedactedSpan {
            label: "secret".into(),
            start: at,
            end: at + 1,
            start_byte: at,
            end_byte: at + 1,
            text: digit.into(),
            placeholder: placeholder.clone(),
            score: 0.5,
        });
        let redacted_text = text.replace(|character: char| character.is_ascii_digit(), &placeholder);
        Ok(RedactResult { spans: spans.collect(), redacted_text })
    }
}

fn server(limits: Limits) -> (Server, Digits) {
    let filter = Digits::default();
    let redactor = Arc::new(filter.clone());
    let change = |app: gptoss_server::App| app.with_redactor(redactor);
    (Server::changed(change, Script::new(&[]), limits, Keys::default()), filter)
}

#[test]
fn texts_come_back_without_what_was_found() {
    let (server, _) = server(Limits::default());
    let answer = post(server.address, "/v1/redact", &json!({"input": "pin 7"})).json();
    let span = json!({
        "label": "secret", "start": 4, "end": 5, "start_byte": 4, "end_byte": 5, "text": "7",
        "placeholder": "<SECRET>", "score": 0.5,
    });
    let result = json!({"redacted_text": "pin <SECRET>", "spans": [span]});
    assert_eq!(answer, json!({"object": "redaction", "model": "digits", "results": [result]}));
    let body =
        json!({"model": "openai/digits", "input": ["1", "none"], "labels": ["secret"], "replace": "#"});
    let answer = post(server.address, "/redact", &body).json();
    let texts: Vec<&Value> =
        answer["results"].as_array().unwrap().iter().map(|result| &result["redacted_text"]).collect();
    assert_eq!(texts, ["#", "none"]);
    assert!(get(server.address, "/openapi.json").json()["paths"]["/v1/redact"]["post"].is_object());
}

#[test]
fn what_is_wrong_is_named_and_no_text_is_told() {
    let (server, _) = server(Limits::default());
    let check = |body: Value, status: u16, param: Value| {
        let answer = post(server.address, "/v1/redact", &body);
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (status, &param), "{}", answer.body);
        assert!(!answer.body.contains("canary"), "{}", answer.body);
    };
    check(json!({"input": "canary", "labels": ["name"]}), 400, json!("labels"));
    check(json!({"input": "canary", "model": "other"}), 404, json!("model"));
    check(json!({"input": vec!["canary"; 2049]}), 400, json!("input"));
    check(json!({"input": {"text": "canary"}}), 400, json!("input"));
    check(json!({}), 400, json!("input"));
    check(json!({"input": ["canary", "broken"]}), 500, json!(null));
    assert!(!server.logged(|line| line.contains("/v1/redact")).contains("canary"));
    let without = Server::start(&[]);
    let answer = post(without.address, "/v1/redact", &json!({"input": "canary"}));
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("without --redact"), "{}", answer.body);
}

#[test]
fn the_time_of_a_request_and_a_client_that_goes_stop_it() {
    let limits = Limits { request_time: Duration::from_millis(300), ..Limits::default() };
    let (hurried, filter) = server(limits);
    let answer = post(hurried.address, "/v1/redact", &json!({"input": ENDLESS}));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("input")), "{}", answer.body);
    assert!(filter.was_stopped.load(Ordering::Relaxed));
    let (server, filter) = server(Limits::default());
    let stream = send(server.address, "POST", "/v1/redact", &[], &json!({"input": ENDLESS}).to_string());
    eventually("it is at work", || filter.is_at_work.load(Ordering::Relaxed));
    drop(stream);
    eventually("it stops", || filter.was_stopped.load(Ordering::Relaxed));
    // The next one has its turn.
    assert_eq!(post(server.address, "/v1/redact", &json!({"input": "1"})).status, 200);
}

#[test]
fn more_than_can_wait_are_told_to_come_again() {
    let (server, _) = server(Limits::default());
    let body = json!({"input": ENDLESS}).to_string();
    let streams: Vec<_> = (0..65).map(|_| send(server.address, "POST", "/v1/redact", &[], &body)).collect();
    streams.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    eventually("one is refused, and no other is answered", || {
        let mut status = [0; 12];
        let answered = streams.iter().filter(|stream| stream.peek(&mut status).is_ok_and(|read| read == 12));
        answered.count() == 1 && status == *b"HTTP/1.1 429"
    });
}
