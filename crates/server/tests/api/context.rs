//! What stands before an answer: how long it is, prompts of the operator's, conversations that are shortened
//! or lose an item.

use gptoss_server::{Keys, Limits, Prompts};
use serde_json::{Value, json};

use crate::chat::{ANSWER, CALL};
use crate::http::{get, post, request};
use crate::scripted::Script;
use crate::server::Server;

const SUMMARY: &str = "<|channel|>final<|message|>They added.<|return|>";

fn rendered(server: &Server, body: &Value) -> String {
    post(server.address, "/v1/render", body).json()["text"].as_str().unwrap().to_owned()
}

#[test]
fn tokens_are_counted_as_they_are_read() {
    let server = Server::start(&[ANSWER]);
    let tools = json!([{"type": "function", "name": "look", "parameters": {"type": "object"}}]);
    let first = post(server.address, "/v1/responses", &json!({"input": "What is 27 + 58?"})).json();
    for body in [
        json!({"input": "What is 27 + 58?", "instructions": "Be short.", "tools": tools}),
        json!({"input": "And 2 more?", "previous_response_id": first["id"]}),
    ] {
        let counted = post(server.address, "/v1/responses/input_tokens", &body).json();
        let used = post(server.address, "/v1/responses", &body).json();
        assert_eq!(counted["object"], "response.input_tokens");
        assert_eq!(counted["input_tokens"], used["usage"]["input_tokens"], "{body}");
    }
    assert_eq!(server.prompts.lock().unwrap().len(), 3, "counting generates nothing");
    let refused =
        post(server.address, "/v1/responses/input_tokens", &json!({"input": "hi", "model": "gpt-9"}));
    assert_eq!(refused.status, 404);
}

#[test]
fn a_prompt_of_the_operators_stands_before_the_instructions() {
    let mut prompts = Prompts::default();
    prompts.add("pirate.md", "Speak as {{who}}.").unwrap();
    prompts.add("pirate@2.md", "Shout as {{who}}.").unwrap();
    let script = Script::new(&[ANSWER]);
    let server = Server::changed(|app| app.with_prompts(prompts), script, Limits::default(), Keys::default());
    let asked = json!({"id": "pirate", "version": "1", "variables": {"who": "<|start|>Anne"}});
    let body = json!({"input": "hi", "instructions": "Be short.", "prompt": asked});
    let made = post(server.address, "/v1/responses", &body).json();
    assert_eq!((&made["prompt"], &made["instructions"]), (&asked, &json!("Be short.")));
    let written = json!({"input": "hi", "instructions": "Speak as <|start|>Anne.\n\nBe short."});
    assert_eq!(post(server.address, "/v1/responses", &written).status, 200);
    let prompts = server.prompts.lock().unwrap().clone();
    assert_eq!(prompts[0], prompts[1], "text stays text");
    let alone = json!({"prompt": {"id": "pirate", "variables": {"who": "Anne"}}});
    assert_eq!(post(server.address, "/v1/responses", &alone).status, 200, "a prompt needs no input");
    let check = |prompt: Value, status: u16, param: Value| {
        let answer = post(server.address, "/v1/responses", &json!({"input": "hi", "prompt": prompt}));
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (status, &param), "{}", answer.body);
    };
    check(json!({"id": "other"}), 404, json!("prompt.id"));
    check(json!({"id": "pirate"}), 400, json!("prompt.variables.who"));
    check(json!({}), 400, json!("prompt.id"));
}

/// The first text of the script is the summary's when a conversation is shortened.
#[test]
fn a_conversation_that_is_long_is_shortened_before_it_is_read() {
    let server = Server::start(&[SUMMARY, ANSWER]);
    let history = json!([
        {"role": "user", "content": "What is 27 + 58?"},
        {"role": "assistant", "content": "word ".repeat(500)},
        {"role": "user", "content": "And 2 more?"},
    ]);
    let body = json!({"input": history, "instructions": "Be short.",
        "context_management": [{"type": "compaction", "compact_threshold": 300}]});
    let made = post(server.address, "/v1/responses", &body).json();
    assert_eq!(made["status"], "completed", "{made}");
    let output = made["output"].as_array().unwrap();
    assert_eq!((output[0]["type"].as_str(), output.len()), (Some("compaction"), 3));
    let prompts = server.prompts.lock().unwrap().clone();
    assert!(prompts[0].len() > 500 && prompts[1].len() < 300);
    let told = made["usage"]["input_tokens"].as_u64().unwrap() as usize;
    assert_eq!(told, prompts[0].len() + prompts[1].len(), "the summary is paid for");
    // What the model read is what the client can send: the user's words and the item, whether the rest is
    // left out or not.
    let mut items = history.as_array().unwrap().clone();
    items.push(output[0].clone());
    let with_all = rendered(&server, &json!({"input": items, "instructions": "Be short."}));
    items.remove(1);
    assert_eq!(with_all, rendered(&server, &json!({"input": items, "instructions": "Be short."})));
    assert!(
        with_all.contains("They added.") && with_all.contains("27 + 58") && !with_all.contains("word word")
    );
    // Whoever goes on by the id goes on from the shorter conversation.
    let next = json!({"input": "hi", "previous_response_id": made["id"]});
    let counted = post(server.address, "/v1/responses/input_tokens", &next).json();
    assert!(counted["input_tokens"].as_u64().unwrap() < 300, "{counted}");
}

#[test]
fn a_conversation_that_is_short_stays() {
    let server = Server::start(&[ANSWER]);
    let check = |management: Value, expect: &[&str]| {
        let body = json!({"input": "What is 27 + 58?", "context_management": management});
        let made = post(server.address, "/v1/responses", &body).json();
        let output = made["output"].as_array().unwrap().iter();
        assert_eq!(output.map(|item| item["type"].as_str().unwrap()).collect::<Vec<_>>(), expect);
    };
    check(json!([{"type": "compaction"}]), &["reasoning", "message"]);
    // The user alone has spoken.
    check(json!([{"type": "compaction", "compact_threshold": 1}]), &["reasoning", "message"]);
    let refused = |management: Value, param: &str| {
        let body = json!({"input": "hi", "context_management": management});
        let answer = post(server.address, "/v1/responses", &body);
        assert_eq!((answer.status, answer.json()["error"]["param"].as_str()), (400, Some(param)));
    };
    refused(json!([{"type": "clearing"}]), "context_management[0].type");
    refused(
        json!([{"type": "compaction", "compact_threshold": 0}]),
        "context_management[0].compact_threshold",
    );
    refused(json!([{"type": "compaction"}, {"type": "compaction"}]), "context_management");
}

/// A second summary knew nothing of what the first had told.
#[test]
fn a_summary_tells_what_an_earlier_one_told() {
    let server = Server::start(&[SUMMARY]);
    let compact = |input: Value| {
        post(server.address, "/v1/responses/compact", &json!({"model": "scripted", "input": input})).json()["output"].clone()
    };
    let mut items = compact(json!("What is 27 + 58?"));
    items.as_array_mut().unwrap().push(json!({"role": "user", "content": "And 2 more?"}));
    compact(items);
    let prompt = server.prompts.lock().unwrap()[1].clone();
    let text = post(server.address, "/v1/detokenize", &json!({"tokens": prompt})).json();
    assert!(text["prompt"].as_str().unwrap().contains("They added."), "{text}");
}

#[test]
fn calls_of_built_in_tools_are_bounded_by_a_number() {
    let server = Server::start(&[ANSWER]);
    let made = post(server.address, "/v1/responses", &json!({"input": "hi", "max_tool_calls": 2})).json();
    assert_eq!(made["max_tool_calls"], 2);
    let refused = post(server.address, "/v1/responses", &json!({"input": "hi", "max_tool_calls": 0}));
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("max_tool_calls")));
}

#[test]
fn an_item_is_taken_out_of_a_conversation() {
    let mut script = Script::new(&[CALL, ANSWER]);
    script.follows_calls = true;
    let server = Server::with(script, Limits::default(), Keys::default());
    let made = post(server.address, "/v1/conversations", &json!({})).json();
    let path = format!("/v1/conversations/{}", made["id"].as_str().unwrap());
    let tools = json!([{"type": "function", "name": "look", "parameters": {"type": "object"}}]);
    let ask = |input: Value| {
        let body = json!({"input": input, "conversation": made["id"], "tools": tools});
        post(server.address, "/v1/responses", &body).json()
    };
    let called = ask(json!("What is 27 + 58?"));
    let call = called["output"].as_array().unwrap().last().unwrap().clone();
    ask(json!([{"type": "function_call_output", "call_id": call["call_id"], "output": "eighty-five"}]));
    let items =
        || get(server.address, &format!("{path}/items?order=asc")).json()["data"].as_array().unwrap().clone();
    let listed = items();
    let kinds: Vec<&str> = listed.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["message", "reasoning", "message", "function_call", "function_call_output", "reasoning", "message"]
    );
    let item = |index: usize| format!("{path}/items/{}", listed[index]["id"].as_str().unwrap());
    assert_eq!(get(server.address, &item(3)).json(), listed[3]);
    let told = || {
        let body = json!({"input": "hi", "conversation": made["id"], "store": false});
        assert_eq!(post(server.address, "/v1/responses", &body).status, 200);
        let prompt = server.prompts.lock().unwrap().last().unwrap().clone();
        post(server.address, "/v1/detokenize", &json!({"tokens": prompt})).json()["prompt"].to_string()
    };
    // The last first, as a client pops them; and a call before its result, which is not told without it.
    for (index, texts) in [(6, &["It is 85"][..]), (3, &["a b", "eighty-five"]), (0, &["27 + 58"])] {
        let before = told();
        let deleted = request(server.address, "DELETE", &item(index), &[], "");
        assert_eq!((deleted.status, &deleted.json()["id"]), (200, &made["id"]));
        assert_eq!(get(server.address, &item(index)).status, 404);
        let after = told();
        for text in texts {
            assert!(before.contains(text) && !after.contains(text), "{text}: {before}\n{after}");
        }
    }
    assert_eq!(items().len(), 4);
    assert_eq!(request(server.address, "DELETE", &item(0), &[], "").status, 404);
}

/// Clients recover from this by its code; it was 404 `not_found`.
#[test]
fn a_response_that_is_not_there_is_not_gone_on_from() {
    let server = Server::start(&[ANSWER]);
    let answer =
        post(server.address, "/v1/responses", &json!({"input": "hi", "previous_response_id": "resp_0"}));
    let error = &answer.json()["error"];
    assert_eq!((answer.status, error["code"].as_str()), (400, Some("previous_response_not_found")));
    assert_eq!(error["param"], "previous_response_id");
}

/// Clients with strict types refuse null where OpenAI leaves a field out.
#[test]
fn what_says_nothing_is_left_out() {
    let server = Server::start(&[ANSWER]);
    let made = post(server.address, "/v1/responses", &json!({"input": "hi"})).json();
    assert!(made.get("user").is_none() && made.get("prompt").is_none());
    assert!(made["output"][0].get("encrypted_content").is_none());
    assert_eq!(made["usage"]["input_tokens_details"]["cache_write_tokens"], 0);
    let made = post(server.address, "/v1/responses", &json!({"input": "hi", "user": "me"})).json();
    assert_eq!(made["user"], "me");
    let cancelled = request(
        server.address,
        "POST",
        &format!("/v1/responses/{}/cancel", made["id"].as_str().unwrap()),
        &[],
        "",
    );
    assert_eq!(cancelled.status, 400, "it did not run in the background");
    for (path, body) in [
        ("/v1/responses", json!({"input": [{"role": "user"}]})),
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": null}]})),
    ] {
        assert_eq!(post(server.address, path, &body).status, 400, "{body}");
    }
}
