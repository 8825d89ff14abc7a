//! One API's words in another's, over real connections.

use gptoss_api::generation::visibility::Visibility;
use gptoss_gateway::{Dialect, Gateway};
use serde_json::{Value, json};

use crate::asking::{Ask, Got, plan};
use crate::scripted::{Act, Then, Upstream};

const CHAT: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
const RESPONSE: &str = r#"{"model":"m","stream":true,"input":"x","tools":[{"type":"function","name":"f","parameters":{}},{"type":"custom","name":"g"}]}"#;
const MESSAGE: &str =
    r#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;

fn events(list: &[Value]) -> Vec<String> {
    let named = |event: &Value| match event["type"].as_str() {
        Some(name) => format!("event: {name}\ndata: {event}\n\n"),
        None => format!("data: {event}\n\n"),
    };
    list.iter().map(named).collect()
}

/// Reasoning, a text, a call of a function and one of a custom tool, as a chat.
fn chat_stream() -> Vec<String> {
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let call = |index: u64, name: &str, arguments: &str| {
        delta(json!({"tool_calls": [{"index": index, "id": format!("id{index}"), "type": "function",
            "function": {"name": name, "arguments": arguments}}]}))
    };
    let mut list = events(&[
        delta(json!({"role": "assistant", "reasoning": "think"})),
        delta(json!({"content": "Hel"})),
        delta(json!({"content": "lo"})),
        call(0, "f", "{\"a\":"),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]})),
        call(1, "g", "{\"input\":\"free\"}"),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 2}}}),
    ]);
    list.push("data: [DONE]\n\n".to_owned());
    list
}

/// The same as a message, without the custom tool.
fn message_stream() -> Vec<String> {
    events(&[
        json!({"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "think"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hello"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"a\":1}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ])
}

async fn got(kind: &str, stream: Vec<String>, then: Then, ask: Ask<'_>, body: &str) -> (Got, Value) {
    let upstream = Upstream::start(move |_| Act::Events(stream.clone(), then));
    let lines = format!("models = {{ m = \"theirs\" }}\nnum_retries = 0\n{kind}");
    let gateway = Gateway::new(plan(&upstream.table("a", &lines)));
    let got = ask.put(&gateway, body).await;
    (got, upstream.asked().first().map_or(Value::Null, |asked| asked.body.clone()))
}

const CHAT_ONLY: &str = "chat_only = true";
const ANTHROPIC: &str = "kind = \"anthropic\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_as_a_response() {
    let ask = Ask::of(Dialect::Responses);
    let (got, asked) = got(CHAT_ONLY, chat_stream(), Then::End, ask, RESPONSE).await;
    assert_eq!((&asked["model"], &asked["tools"][1]["function"]["name"]), (&json!("theirs"), &json!("g")));
    let events = got.events();
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    check_response(&last["response"]);
    let ended = got.ended.unwrap();
    assert_eq!((ended.usage.prompt, ended.usage.completion, ended.is_guess), (7, 5, false));
}

fn check_response(response: &Value) {
    let output = response["output"].as_array().unwrap();
    let kinds: Vec<&str> = output.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call", "custom_tool_call"], "{response}");
    assert_eq!(output[0]["content"][0]["text"], "think");
    assert_eq!(output[1]["content"][0]["text"], "Hello");
    assert_eq!((&output[2]["name"], &output[2]["arguments"]), (&json!("f"), &json!("{\"a\":1}")));
    assert_eq!((&output[3]["name"], &output[3]["input"]), (&json!("g"), &json!("free")));
    assert_eq!(response["usage"]["input_tokens_details"]["cached_tokens"], 2);
    assert_eq!(response["model"], "m");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_as_a_response_without_a_stream() {
    let body = RESPONSE.replace("\"stream\":true", "\"stream\":false");
    let ask = Ask::of(Dialect::Responses);
    let (got, asked) = got(CHAT_ONLY, chat_stream(), Then::End, ask, &body).await;
    assert_eq!(asked["stream"], true);
    check_response(&got.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_as_a_message() {
    let (got, _) = got("", chat_stream(), Then::End, Ask::of(Dialect::Messages), MESSAGE).await;
    let events = got.events();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], *kinds.last().unwrap()), ("message_start", "message_stop"));
    let starts: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "content_block_start")
        .map(|event| &event["content_block"]["type"])
        .collect();
    assert_eq!(starts, ["thinking", "text", "tool_use", "tool_use"]);
    let end = &events[events.len() - 2];
    assert_eq!(
        (&end["delta"]["stop_reason"], &end["usage"]["output_tokens"]),
        (&json!("tool_use"), &json!(5))
    );
    assert!(got.text.lines().filter(|line| line.starts_with("event: ")).count() == events.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_as_a_chat() {
    let (got, asked) = got(ANTHROPIC, message_stream(), Then::End, Ask::of(Dialect::Chat), CHAT).await;
    assert_eq!(asked["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}]));
    assert_eq!(got.said(), "Hello");
    let events = got.events();
    let calls: Vec<&Value> = events
        .iter()
        .map(|event| &event["choices"][0]["delta"]["tool_calls"][0])
        .filter(|call| !call.is_null())
        .collect();
    assert_eq!(calls[0]["function"]["name"], "f");
    assert_eq!(calls.last().unwrap()["function"]["arguments"], "{\"a\":1}");
    let end = events.iter().find_map(|event| event["choices"][0]["finish_reason"].as_str());
    assert_eq!(end, Some("tool_calls"));
    assert!(got.text.ends_with("data: [DONE]\n\n") && !got.text.contains("prompt_tokens"));
    let ended = got.ended.unwrap();
    assert_eq!((ended.usage.prompt, ended.usage.cached, ended.usage.completion), (7, 2, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_as_a_response_and_as_a_whole_chat() {
    let body = RESPONSE.replace(r#",{"type":"custom","name":"g"}"#, "");
    let (response, _) = got(ANTHROPIC, message_stream(), Then::End, Ask::of(Dialect::Responses), &body).await;
    let last = response.events().pop().unwrap();
    let output = last["response"]["output"].as_array().unwrap().clone();
    assert_eq!((output.len(), &output[2]["arguments"]), (3, &json!("{\"a\":1}")));
    let body = CHAT.replace("true", "false");
    let (chat, _) = got(ANTHROPIC, message_stream(), Then::End, Ask::of(Dialect::Chat), &body).await;
    let chat = chat.json();
    let message = &chat["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning"]), (&json!("Hello"), &json!("think")));
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
    assert_eq!(chat["usage"]["total_tokens"], 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_ends_in_the_clients_own_form_of_an_error() {
    let cut = || chat_stream()[..3].to_vec();
    let (response, _) = got(CHAT_ONLY, cut(), Then::Cut, Ask::of(Dialect::Responses), RESPONSE).await;
    assert_eq!(response.events().last().unwrap()["type"], "response.failed");
    let (message, _) = got("", cut(), Then::Cut, Ask::of(Dialect::Messages), MESSAGE).await;
    let last = message.events().pop().unwrap();
    assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!("api_error")));
    assert!(message.text.contains("event: error\n"));
    let message_cut = message_stream()[..6].to_vec();
    let (chat, _) = got(ANTHROPIC, message_cut.clone(), Then::Cut, Ask::of(Dialect::Chat), CHAT).await;
    assert_eq!(chat.events().last().unwrap()["error"]["code"], "upstream_error");
    let (passed, _) =
        got(ANTHROPIC, message_cut.clone(), Then::Cut, Ask::of(Dialect::Messages), MESSAGE).await;
    assert!(passed.text.starts_with(&message_cut.concat()), "what came passes to the letter");
    assert_eq!(passed.events().last().unwrap()["type"], "error");
    // What broke off before a client had a word of it is an error, and no half answer.
    let body = CHAT.replace("true", "false");
    let (whole, _) = got(ANTHROPIC, message_cut, Then::Cut, Ask::of(Dialect::Chat), &body).await;
    assert_eq!(whole.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_the_clients_own_api_passes_to_the_letter() {
    let (chat, asked) = got("", chat_stream(), Then::End, Ask::of(Dialect::Chat), CHAT).await;
    assert_eq!(asked["model"], "theirs");
    assert_eq!(asked["stream_options"]["include_usage"], true);
    let without_usage: String =
        chat_stream().into_iter().filter(|event| !event.contains("prompt_tokens")).collect();
    assert_eq!(chat.text, without_usage);
    let wants =
        CHAT.replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    let (chat, _) = got("", chat_stream(), Then::End, Ask::of(Dialect::Chat), &wants).await;
    assert_eq!(chat.text, chat_stream().concat());
    let (message, _) = got(ANTHROPIC, message_stream(), Then::End, Ask::of(Dialect::Messages), MESSAGE).await;
    assert_eq!(message.text, message_stream().concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn reasoning_that_a_key_may_not_see_is_not_seen_in_any_api() {
    for (kind, stream, dialect, body) in [
        ("", chat_stream(), Dialect::Chat, CHAT),
        ("", chat_stream(), Dialect::Messages, MESSAGE),
        (CHAT_ONLY, chat_stream(), Dialect::Responses, RESPONSE),
        (ANTHROPIC, message_stream(), Dialect::Messages, MESSAGE),
        (ANTHROPIC, message_stream(), Dialect::Chat, CHAT),
        (ANTHROPIC, message_stream(), Dialect::Responses, RESPONSE),
    ] {
        for visibility in [Visibility::Hidden, Visibility::Summary] {
            let ask = Ask { visibility, ..Ask::of(dialect) };
            let (got, _) = got(kind, stream.clone(), Then::End, ask, body).await;
            assert!(
                !got.text.contains("\"think\"") && got.text.contains("Hel"),
                "{kind} {dialect:?} {}",
                got.text
            );
        }
    }
}
