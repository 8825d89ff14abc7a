//! No text that a model writes breaks the framing of a stream: of all five APIs the events that were written
//! are the events that are read, wherever the stream is cut, and the text in them adds up to what was said.
#![no_main]

// The server's crate brings a database, the command line's is a program and no library.
#[path = "../../crates/cli/src/load/sse.rs"]
mod read;
#[path = "../../crates/server/src/sse.rs"]
#[expect(dead_code, reason = "a stream that waits for its model is of the server alone")]
mod write;

use std::sync::OnceLock;
use std::time::Duration;

use axum::body::to_bytes;
use axum::response::Response;
use futures_util::stream;
use gptoss_api::chat::chunks::{ChatChoice, ChunkHeader};
use gptoss_api::completions::chunks::CompletionMachine;
use gptoss_api::generation::tools::Tools;
use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::RequestLimits;
use gptoss_api::messages::events::{MessageHeader, MessageMachine};
use gptoss_api::messages::signature::{KEY_BYTES, Shown, Signer};
use gptoss_api::ollama::lines::{AnswerEnd, Form, LineWriter};
use gptoss_api::generation::hosted::ServerTools;
use gptoss_api::responses::events::ResponseMachine;
use gptoss_api::responses::object::{Facts, object};
use gptoss_api::responses::parse::{self, PriorTurns};
use gptoss_api::usage::TokenUsage;
use gptoss_api::wire::completions::Completion;
use gptoss_api::wire::responses::ResponsesRequest;
use gptoss_api::{ApiError, ChoiceEnd, EventOptions, Machine};
use gptoss_fuzz::{new_id, scope};
use gptoss_harmony::{Channel, Delta, TurnEnd};
use libfuzzer_sys::fuzz_target;
use read::EventReader;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use write::{DONE, data_stream, error_line, framed, line, named_stream};

/// No input takes so long that a keep-alive would be sent.
const KEEP_ALIVE: Duration = Duration::from_secs(3600);

/// Texts with their channels, a call's name and arguments if there is one, and where the stream is cut.
type Said = (Vec<(u8, String)>, Option<(String, Vec<String>)>, u8);

fuzz_target!(|said: Said| {
    let (texts, call, cut) = said;
    let channel = |kind: u8| [Channel::Analysis, Channel::Commentary, Channel::Final][usize::from(kind % 3)];
    let mut deltas: Vec<Delta> = Vec::new();
    for (kind, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        let delta = Delta::Text { channel: channel(kind), text, logprobs: Vec::new() };
        deltas.push(if kind >= 250 { Delta::Warning("a warning".to_owned()) } else { delta });
    }
    if let Some((name, arguments)) = call {
        deltas.push(Delta::CallStarted { name });
        deltas.extend(arguments.into_iter().map(|text| Delta::CallArguments { text, logprobs: Vec::new() }));
    }
    let cut = usize::from(cut).max(1);
    chat(&deltas, cut);
    completions(&deltas, cut);
    responses(&deltas, cut);
    messages(&deltas, cut);
    ollama(&deltas);
});

/// What was said to the user, of which `keeps` says the channels.
fn spoken(deltas: &[Delta], keeps: impl Fn(Channel) -> bool) -> String {
    let text = |delta: &Delta| match delta {
        Delta::Text { channel, text, .. } if keeps(*channel) => Some(text.clone()),
        _ => None,
    };
    deltas.iter().filter_map(text).collect()
}

fn is_visible(channel: Channel) -> bool {
    channel != Channel::Analysis
}

/// All events of a turn.
fn events<M: Machine>(machine: &mut M, deltas: &[Delta]) -> Vec<M::Event> {
    let mut events = machine.begin();
    events.extend(machine.read(TokenUsage { prompt: 7, cached: 3, ..TokenUsage::default() }));
    for delta in deltas {
        events.extend(machine.push(delta.clone()));
    }
    let usage = TokenUsage { prompt: 7, completion: 5, ..TokenUsage::default() };
    events.extend(machine.finish(ChoiceEnd {
        end: TurnEnd::Answer,
        usage,
        rest: Vec::new(),
        at: 2,
        stop: None,
    }));
    events
}

/// The lines come back out of the bytes of a response as they went in.
fn check(response: Response, lines: &[String], cut: usize) -> Vec<Value> {
    let bytes = runtime().block_on(to_bytes(response.into_body(), usize::MAX)).expect("a body of our own");
    check_bytes(&bytes, lines, cut)
}

fn check_bytes(bytes: &[u8], lines: &[String], cut: usize) -> Vec<Value> {
    let mut reader = EventReader::default();
    let read: Vec<Vec<u8>> =
        bytes.chunks(cut).flat_map(|part| reader.take(part).expect("a short event")).collect();
    assert!(read.iter().map(Vec::as_slice).eq(lines.iter().map(String::as_bytes)), "{lines:?}");
    let json = lines.iter().filter(|line| *line != DONE);
    json.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// Sends lines without names, an error and the end behind them.
fn check_data(mut lines: Vec<String>, cut: usize) -> Vec<Value> {
    lines.push(error_line(&ApiError::Engine { problem: "data: [DONE]\r\n\r\n".to_owned() }));
    lines.push(DONE.to_owned());
    let _inside = runtime().enter();
    let response = data_stream(stream::iter(lines.clone()), KEEP_ALIVE);
    check(response, &lines, cut)
}

/// Sends lines with names.
fn check_named(named: Vec<(&'static str, String)>, cut: usize) -> Vec<Value> {
    let lines: Vec<String> = named.iter().map(|(_, line)| line.clone()).collect();
    let _inside = runtime().enter();
    let response = named_stream(stream::iter(named), KEEP_ALIVE);
    check(response, &lines, cut)
}

/// What the timer of a keep-alive asks for.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_current_thread().enable_time().build().expect("a runtime"))
}

/// The texts at a place of each line, added up.
fn added_up(lines: &[Value], place: &str) -> String {
    lines.iter().filter_map(|line| line.pointer(place)?.as_str()).collect()
}

fn options() -> EventOptions {
    EventOptions { tools: Tools::default(), visibility: Visibility::Raw, tells_logprobs: false, new_id }
}

fn chat(deltas: &[Delta], cut: usize) {
    let heading = ChunkHeader {
        id: "chatcmpl-1".to_owned(),
        created: 1,
        model: "demo".to_owned(),
        fingerprint: "gptoss".to_owned(),
    };
    let chunks = events(&mut ChatChoice::new(0, options()), deltas);
    let lines = chunks.into_iter().map(|chunk| line(&heading.chunk(vec![chunk], None, (Vec::new(), None)))).collect();
    let read = check_data(lines, cut);
    let reasoning = spoken(deltas, |channel| channel == Channel::Analysis);
    assert_eq!(added_up(&read, "/choices/0/delta/reasoning"), reasoning);
    // A blank line stands between what is said on two channels.
    let said = added_up(&read, "/choices/0/delta/content");
    assert_eq!(said.replace('\n', ""), spoken(deltas, is_visible).replace('\n', ""));
}

fn completions(deltas: &[Delta], cut: usize) {
    let line = |choice| {
        line(&Completion {
            id: "cmpl-1".to_owned(),
            object: "text_completion",
            created: 1,
            model: "demo".to_owned(),
            choices: vec![choice],
            usage: None,
            system_fingerprint: "gptoss".to_owned(),
            warnings: Vec::new(),
        })
    };
    let lines = events(&mut CompletionMachine::new(0, false), deltas).into_iter().map(line).collect();
    assert_eq!(added_up(&check_data(lines, cut), "/choices/0/text"), spoken(deltas, |_| true));
}

fn responses(deltas: &[Delta], cut: usize) {
    let limits = RequestLimits::default();
    let request: ResponsesRequest = serde_json::from_str(r#"{"model":"demo","input":"hi"}"#).expect("a body");
    let parsed =
        parse::parse(&request, PriorTurns::default(), &ServerTools::default(), &scope(&limits, Visibility::Raw)).expect("valid");
    let facts = Facts {
        id: "resp_1".to_owned(),
        created_at: 1,
        model: "demo".to_owned(),
        temperature: 1.0,
        top_p: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
    };
    let object = object(&request, &parsed, facts).expect("valid");
    let events = events(&mut ResponseMachine::new(object, options()), deltas);
    let lines: Vec<String> = events.iter().map(line).collect();
    let bytes: Vec<u8> = events.iter().flat_map(|event| framed(event.event.name(), event).0).collect();
    let read = check_bytes(&bytes, &lines, cut);
    for (number, event) in read.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    let of = |name: &str| {
        let named: Vec<Value> = read.iter().filter(|event| event["type"] == name).cloned().collect();
        added_up(&named, "/delta")
    };
    assert_eq!(of("response.output_text.delta"), spoken(deltas, is_visible));
    assert_eq!(of("response.reasoning_text.delta"), spoken(deltas, |channel| channel == Channel::Analysis));
}

fn messages(deltas: &[Delta], cut: usize) {
    let heading = MessageHeader { id: "msg_1".to_owned(), model: "demo".to_owned() };
    let signer = Signer::new(&[7; KEY_BYTES], "local");
    let mut machine = MessageMachine::new(heading, Some(Shown::Whole), signer, new_id, Vec::new());
    let events = events(&mut machine, deltas);
    let read = check_named(events.iter().map(|event| (event.name(), line(event))).collect(), cut);
    assert_eq!(added_up(&read, "/delta/text"), spoken(deltas, is_visible));
    assert_eq!(added_up(&read, "/delta/thinking"), spoken(deltas, |channel| channel == Channel::Analysis));
}

fn ollama(deltas: &[Delta]) {
    let mut writer = LineWriter::new("demo".to_owned(), Form::Chat, true);
    let chunks = events(&mut ChatChoice::new(0, options()), deltas);
    let mut lines: Vec<_> = chunks.into_iter().filter_map(|chunk| writer.push(chunk, 1)).collect();
    lines.extend(writer.finish(AnswerEnd::default(), 2));
    let text: String = lines.iter().map(|written| format!("{}\n", line(written))).collect();
    assert_eq!(text.lines().count(), lines.len());
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        assert!(line["done"].is_boolean());
    }
}
