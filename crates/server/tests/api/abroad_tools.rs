//! Tools of this server over a model of an upstream: the same loop, whatever API the upstream speaks.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gptoss_gateway::{Gateway, Plan, Sources};
use gptoss_server::{Keys, Limits};
use serde_json::{Value, json};

use crate::gateway::upstream::{Act, Asked, Then, Upstream};
use crate::http::{Answer, get, post, request};
use crate::scripted::Script;
use crate::server::Server;
use crate::shutdown::eventually;
use crate::socket::Socket;
use crate::tool_host::TestHost;

/// The APIs of upstreams, each by the lines of its table.
const KINDS: [&str; 3] = ["chat_only = true", "", "kind = \"anthropic\""];

/// What a model elsewhere does in a turn.
#[derive(Debug, Clone)]
pub enum Does {
    /// It answers.
    Says(&'static str),
    /// It calls these.
    Calls(Vec<(&'static str, Value)>),
}

use Does::{Calls, Says};

fn data(event: &Value) -> String {
    let name = event["type"].as_str().map_or_else(String::new, |name| format!("event: {name}\n"));
    format!("{name}data: {event}\n\n")
}

/// A turn that read seven tokens and wrote five, in the API that was asked for.
pub fn turn(asked: &Asked, does: &Does) -> Act {
    let events = if asked.body["input"].is_array() {
        responses(does)
    } else if asked.body["max_tokens"].is_u64() && asked.body.get("stream_options").is_none() {
        messages(does)
    } else {
        chat(does)
    };
    Act::Events(events, Then::End)
}

fn chat(does: &Does) -> Vec<String> {
    let delta = |delta: Value| data(&json!({"choices": [{"index": 0, "delta": delta}]}));
    let mut events = vec![delta(json!({"role": "assistant", "reasoning": "Think."}))];
    let reason = match does {
        Says(text) => {
            events.push(delta(json!({"content": text})));
            "stop"
        }
        Calls(calls) => {
            for (index, (name, arguments)) in calls.iter().enumerate() {
                let begun = json!({"index": index, "id": format!("c{index}"), "function": {"name": name}});
                events.push(delta(json!({"tool_calls": [begun]})));
                let more = json!({"index": index, "function": {"arguments": arguments.to_string()}});
                events.push(delta(json!({"tool_calls": [more]})));
            }
            "tool_calls"
        }
    };
    events.push(data(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})));
    events.push(data(&json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}})));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn responses(does: &Does) -> Vec<String> {
    let added = |item: Value| data(&json!({"type": "response.output_item.added", "item": item}));
    let mut events = vec![data(&json!({"type": "response.created", "response": {}}))];
    match does {
        Says(text) => {
            events.push(added(json!({"type": "message", "role": "assistant"})));
            events.push(data(&json!({"type": "response.output_text.delta", "delta": text})));
        }
        Calls(calls) => {
            for (index, (name, arguments)) in calls.iter().enumerate() {
                let item = json!({"type": "function_call", "name": name, "call_id": format!("c{index}"),
                    "arguments": arguments.to_string()});
                events.push(added(json!({"type": "function_call", "name": name})));
                events.push(data(&json!({"type": "response.output_item.done", "item": item})));
            }
        }
    }
    let usage = json!({"usage": {"input_tokens": 7, "output_tokens": 5}});
    events.push(data(&json!({"type": "response.completed", "response": usage})));
    events
}

fn messages(does: &Does) -> Vec<String> {
    let mut events = vec![data(&json!({"type": "message_start", "message": {"usage": {"input_tokens": 7}}}))];
    let block = |index: usize, block: Value| {
        data(&json!({"type": "content_block_start", "index": index, "content_block": block}))
    };
    let delta = |index: usize, delta: Value| {
        data(&json!({"type": "content_block_delta", "index": index, "delta": delta}))
    };
    let stop = |index: usize| data(&json!({"type": "content_block_stop", "index": index}));
    let reason = match does {
        Says(text) => {
            events.push(block(0, json!({"type": "text", "text": ""})));
            events.push(delta(0, json!({"type": "text_delta", "text": text})));
            events.push(stop(0));
            "end_turn"
        }
        Calls(calls) => {
            for (index, (name, arguments)) in calls.iter().enumerate() {
                events.push(block(index, json!({"type": "tool_use", "id": "t", "name": name, "input": {}})));
                let part = json!({"type": "input_json_delta", "partial_json": arguments.to_string()});
                events.push(delta(index, part));
                events.push(stop(index));
            }
            "tool_use"
        }
    };
    events.push(data(&json!({"type": "message_delta", "delta": {"stop_reason": reason},
        "usage": {"output_tokens": 5}})));
    events.push(data(&json!({"type": "message_stop"})));
    events
}

/// An upstream whose model does these, turn by turn.
fn upstream(does: Vec<Does>) -> Upstream {
    Upstream::start(move |asked| match does.get(asked.number) {
        Some(does) => turn(asked, does),
        None => Act::Whole(400, Vec::new(), r#"{"error":{"message":"nothing more"}}"#.to_owned()),
    })
}

fn server(upstream: &Upstream, kind: &str, more: &str) -> (Server, Arc<AtomicUsize>) {
    scripted(upstream, kind, more, &[])
}

/// With a model here that says these.
fn scripted(upstream: &Upstream, kind: &str, more: &str, here: &[&str]) -> (Server, Arc<AtomicUsize>) {
    let table =
        upstream.table("cloud", &format!("models = {{ big = \"org/big\" }}\nnum_retries = 0\n{kind}"));
    let gateway = Gateway::new(Plan::read(&(table + more), &Sources::none()).unwrap());
    let host = TestHost::default();
    let num_calls = Arc::clone(&host.num_calls);
    let change = |app: gptoss_server::App| app.with_gateway(Arc::new(gateway)).with_tools(Arc::new(host));
    (Server::changed(change, Script::new(here), Limits::default(), Keys::default()), num_calls)
}

fn body(more: Value) -> Value {
    let look = json!({"type": "function", "name": "look", "description": "Looks.",
        "parameters": {"type": "object", "properties": {"key": {"type": "integer"}}}});
    let mut body = json!({"model": "big", "input": "What is one and one?", "store": false, "tools": [
        {"type": "code_interpreter", "container": "mine"}, {"type": "web_search"}, look,
    ]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The response, of a stream or not.
fn whole(answer: &Answer) -> Value {
    match answer.header("content-type") {
        Some("text/event-stream") => answer.events().pop().unwrap()["response"].clone(),
        _ => answer.json(),
    }
}

fn kinds(response: &Value) -> Vec<&str> {
    response["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect()
}

fn steps() -> Vec<Does> {
    vec![
        Calls(vec![("python", json!({"code": "1+1"}))]),
        Calls(vec![("browser__search", json!({"query": "otters"}))]),
        Calls(vec![("look", json!({"key": 1}))]),
        Says("It is two 【0†L1】."),
    ]
}

#[test]
fn three_steps_are_one_response_whatever_the_upstream_speaks_streamed_and_not() {
    for kind in KINDS {
        for stream in [false, true] {
            let upstream = upstream(steps());
            let (server, num_calls) = server(&upstream, kind, "");
            let include = json!(["code_interpreter_call.outputs"]);
            let ask = body(json!({"stream": stream, "include": include, "instructions": "Be kind."}));
            let answer = post(server.address, "/v1/responses", &ask);
            assert_eq!((answer.status, answer.header("x-route")), (200, Some("cloud")), "{}", answer.body);
            let response = whole(&answer);
            let told: Vec<&str> = kinds(&response).into_iter().filter(|kind| *kind != "reasoning").collect();
            assert_eq!(
                told,
                ["code_interpreter_call", "web_search_call", "function_call"],
                "{kind} {stream}"
            );
            assert_eq!(response["status"], "completed");
            let output = response["output"].as_array().unwrap();
            let code = output.iter().find(|item| item["type"] == "code_interpreter_call").unwrap();
            assert_eq!((&code["code"], &code["status"]), (&json!("1+1"), &json!("completed")));
            assert_eq!(code["outputs"][0]["logs"], "[mine 1] 1+1");
            let call = output.last().unwrap();
            assert_eq!((&call["name"], &call["arguments"]), (&json!("look"), &json!("{\"key\":1}")));
            // All turns together.
            let usage = &response["usage"];
            assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(21), &json!(15)));
            assert_eq!(num_calls.load(Ordering::Relaxed), 2);
            let log = server.logged(|line| line.contains("model=big"));
            assert!(log.contains("21 tokens read") && log.contains("15 written"), "{log}");
            if stream {
                let names: Vec<String> =
                    answer.events().iter().map(|event| event["type"].to_string()).collect();
                for name in ["code_interpreter_call.interpreting", "web_search_call.searching"] {
                    assert!(names.contains(&format!("\"response.{name}\"")), "{names:?}");
                }
            }
            // What the client sends back goes on where it was.
            let mut input = vec![json!({"role": "user", "content": "What is one and one?"})];
            input.extend(output.iter().cloned());
            input.push(json!({"type": "function_call_output", "call_id": call["call_id"], "output": "42"}));
            let more = body(json!({"input": input, "stream": stream}));
            let response = whole(&post(server.address, "/v1/responses", &more));
            let message = response["output"].as_array().unwrap().last().unwrap();
            let part = &message["content"][0];
            assert_eq!(part["annotations"][0]["url"], "https://site-0.example/page", "{response}");
            check_asked(kind, &upstream.asked());
        }
    }
}

/// What the upstream was asked, turn by turn.
fn check_asked(kind: &str, asked: &[Asked]) {
    assert_eq!(asked.len(), 4);
    for asked in asked {
        let (text, body) = (asked.body.to_string(), &asked.body);
        assert_eq!(body["model"], "org/big");
        let names: Vec<&Value> = body["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| if tool["name"].is_string() { &tool["name"] } else { &tool["function"]["name"] })
            .collect();
        let expect = ["look", "browser__search", "browser__open", "browser__find", "python"];
        assert_eq!(names, expect.map(|name| json!(name)).iter().collect::<Vec<_>>());
        assert!(!text.contains("code_interpreter") && !text.contains("\"include\""), "{text}");
        if kind.is_empty() {
            assert_eq!((&body["store"], &body["parallel_tool_calls"]), (&json!(false), &json!(false)));
        }
    }
    assert!(asked[0].body.to_string().contains("Be kind."));
    let second = asked[1].body.to_string();
    assert!(
        second.contains("[mine 1] 1+1") && second.contains(r#"{\"code\":\"1+1\"}"#)
            || kind.contains("anthropic")
    );
    let last = asked[3].body.to_string();
    for words in ["[mine 1] 1+1", "Page 0", "42"] {
        assert!(last.contains(words), "{kind} {words}: {last}");
    }
    // Reasoning between calls goes back to hosts that want it.
    assert_eq!(last.contains("\"reasoning\":\"Think.\""), kind.contains("chat_only"), "{last}");
}

/// Calls that come together are run one after the other; the client's ends the response.
#[test]
fn calls_of_one_turn_are_all_answered() {
    let both = Calls(vec![
        ("python", json!({"code": "a"})),
        ("python", json!({"code": "b"})),
        ("look", json!({"key": 1})),
        ("python", json!({"code": "c"})),
    ]);
    for kind in KINDS {
        let upstream = upstream(vec![both.clone()]);
        let (server, num_calls) = server(&upstream, kind, "");
        let response = post(server.address, "/v1/responses", &body(json!({}))).json();
        let told: Vec<&str> = kinds(&response).into_iter().filter(|kind| *kind != "reasoning").collect();
        assert_eq!(told, ["code_interpreter_call", "code_interpreter_call", "function_call"], "{response}");
        assert_eq!((num_calls.load(Ordering::Relaxed), upstream.asked().len()), (2, 1));
        assert!(response["warnings"].to_string().contains("left out"), "{response}");
        assert_eq!(response["usage"]["output_tokens"], 5);
    }
}

#[test]
fn no_more_calls_run_than_may() {
    let upstream = upstream(vec![
        Calls(vec![("python", json!({"code": "1"}))]),
        Calls(vec![("python", json!({"code": "2"}))]),
        Says("Enough."),
    ]);
    let (server, num_calls) = server(&upstream, "", "");
    let response = post(server.address, "/v1/responses", &body(json!({"max_tool_calls": 1}))).json();
    assert_eq!(kinds(&response), ["code_interpreter_call", "message"], "{response}");
    assert_eq!(num_calls.load(Ordering::Relaxed), 1);
    let last = &upstream.asked()[2].body;
    assert!(last.to_string().contains("This call was not run") && last["tool_choice"] == "none", "{last}");
}

#[test]
fn a_call_waits_until_it_is_allowed() {
    for kind in KINDS {
        let upstream = upstream(vec![
            Calls(vec![("wiki__ask", json!({"question": "why"}))]),
            Says("Because."),
            Calls(vec![("wiki__ask", json!({"question": "how"}))]),
            Says("Not so."),
        ]);
        let (server, num_calls) = server(&upstream, kind, "");
        let tools = json!([{"type": "mcp", "server_label": "wiki"}]);
        let ask = |input: Value| {
            let body = json!({"model": "big", "input": input, "tools": tools, "store": false});
            post(server.address, "/v1/responses", &body).json()
        };
        let user = json!({"role": "user", "content": "Why?"});
        for (allows, words, calls) in [(true, "Because.", 1), (false, "Not so.", 1)] {
            let first = ask(json!([user]));
            let request = first["output"].as_array().unwrap().last().unwrap().clone();
            assert_eq!(request["type"], "mcp_approval_request", "{first}");
            let mut input = vec![user.clone()];
            input.extend(first["output"].as_array().unwrap().iter().cloned());
            input.push(json!({"type": "mcp_approval_response", "approval_request_id": request["id"],
                "approve": allows}));
            let second = ask(Value::Array(input));
            assert!(second["output"].to_string().contains(words), "{second}");
            assert_eq!(kinds(&second).contains(&"mcp_call"), allows, "{second}");
            assert_eq!(num_calls.load(Ordering::Relaxed), calls);
        }
        let allowed = upstream.asked()[1].body.to_string();
        assert!(allowed.contains("wiki.ask of") && allowed.contains("wiki__ask"), "{allowed}");
    }
}

/// What a tool brings passes the same detectors before it leaves.
#[test]
fn a_label_in_a_result_stops_the_loop() {
    let rule = "[[detectors]]\nkind = \"pattern\"\nname = \"kept\"\npattern = '\\[mine 1\\]'\nlabel = \"local_only\"\n";
    for kind in KINDS {
        for stream in [false, true] {
            let upstream = upstream(steps());
            let (server, num_calls) = server(&upstream, kind, rule);
            let answer = post(server.address, "/v1/responses", &body(json!({"stream": stream})));
            let error = match stream {
                true => whole(&answer)["error"]["message"].to_string(),
                false => answer.json()["error"]["message"].to_string(),
            };
            assert_eq!(answer.status, if stream { 200 } else { 403 }, "{}", answer.body);
            assert!(error.contains("what a tool brought") && error.contains("local_only"), "{error}");
            assert_eq!((num_calls.load(Ordering::Relaxed), upstream.asked().len()), (1, 1));
            // What is labelled from the beginning does not get there.
            let label = [("x-gptoss-sensitivity", "local_only")];
            let kept = request(server.address, "POST", "/v1/responses", &label, &body(json!({})).to_string());
            assert_eq!((kept.status, upstream.asked().len()), (503, 1), "{}", kept.body);
        }
    }
}

#[test]
fn an_upstream_that_fails_between_turns_is_an_error_and_no_other_goes_on() {
    let first = Upstream::start(|asked| match asked.number {
        0 => turn(asked, &Calls(vec![("python", json!({"code": "1"}))])),
        _ => Act::Whole(500, Vec::new(), String::new()),
    });
    let other = upstream(vec![Says("Spliced.")]);
    let more = other.table("other", "models = { big = \"org/big\" }");
    let (server, _) = server(&first, "chat_only = true", &more);
    let answer = post(server.address, "/v1/responses", &body(json!({})));
    assert_eq!((answer.status, other.connections()), (502, 0), "{}", answer.body);
    assert_eq!(answer.json()["error"]["code"], "upstream_error");
    // Before the first turn another may.
    let answer = post(server.address, "/v1/responses", &body(json!({})));
    assert_eq!((answer.status, answer.header("x-route")), (200, Some("other")), "{}", answer.body);
}

#[test]
fn what_neither_has_is_refused_and_what_runs_there_is_passed() {
    let upstream = upstream(vec![Says("Theirs.")]);
    let (here, _) = server(&upstream, "", "");
    let foreign = body(json!({"tools": [{"type": "code_interpreter"}, {"type": "file_search"}]}));
    let answer = post(here.address, "/v1/responses", &foreign);
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.body.contains("file_search"), "{}", answer.body);
    assert_eq!(upstream.asked().len(), 0);
    let (passes, num_calls) = server(&upstream, "hosted_tools = \"allow\"", "");
    let answer = post(passes.address, "/v1/responses", &body(json!({"stream": true})));
    assert_eq!((answer.status, num_calls.load(Ordering::Relaxed)), (200, 0));
    assert_eq!(upstream.asked()[0].body["tools"][0]["type"], "code_interpreter");
    let named = json!([{"type": "code_interpreter"}, {"type": "function", "name": "python"}]);
    let answer = post(here.address, "/v1/responses", &body(json!({"tools": named})));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("tools")));
}

/// Nothing of what was said, called or found is in the log or on the page of metrics.
#[test]
fn nothing_of_it_is_told_elsewhere() {
    let canary = "canary-5b1e";
    let upstream = upstream(vec![Calls(vec![("python", json!({"code": canary}))]), Says("canary-5b1e")]);
    let (server, _) = server(&upstream, "chat_only = true", "");
    let ask = body(json!({"input": canary, "instructions": canary, "metadata": {"a": canary}}));
    let answer = post(server.address, "/v1/responses", &ask);
    assert!(answer.status == 200 && answer.body.contains(canary));
    // The script is at its end, so this one is refused in the upstream's words.
    assert_eq!(post(server.address, "/v1/responses", &ask).status, 400);
    let log = server.logged(|line| line.contains(" 400 "));
    let metrics = get(server.address, "/metrics").body;
    assert!(!log.contains(canary) && !metrics.contains(canary), "{log}");
}

/// Such a response is one of this server's: it can be stored here, and gone on from.
#[test]
fn a_response_is_kept_here_and_goes_on() {
    for kind in KINDS {
        let upstream = upstream(steps());
        let (server, _) = server(&upstream, kind, "");
        let first = post(server.address, "/v1/responses", &body(json!({"store": true}))).json();
        let id = first["id"].as_str().unwrap();
        assert_eq!(get(server.address, &format!("/v1/responses/{id}")).json()["id"], id);
        let call = first["output"].as_array().unwrap().last().unwrap();
        let result = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "42"});
        let more = body(json!({"previous_response_id": id, "input": [result]}));
        let second = post(server.address, "/v1/responses", &more).json();
        assert!(second["output"].to_string().contains("It is two"), "{second}");
        let last = upstream.asked()[3].body.to_string();
        for words in ["What is one and one?", "[mine 1] 1+1", "Page 0", "42"] {
            assert!(last.contains(words), "{kind} {words}: {last}");
        }
        assert!(!last.contains("previous_response_id"), "{last}");
    }
}

/// What a model here was told may be of any label: who goes on from it elsewhere says it anew.
#[test]
fn what_was_stored_here_does_not_leave_by_its_id() {
    const CANARY: &str = "a canary of this machine";
    const LOCAL: &str = "<|channel|>final<|message|>local words<|return|>";
    let upstream = upstream(vec![Says("Theirs."); 4]);
    let (server, _) = scripted(&upstream, "chat_only = true", "", &[LOCAL, LOCAL]);
    let label = [("x-gptoss-sensitivity", "local_only")];
    let here = json!({"input": CANARY, "store": true}).to_string();
    let stored = request(server.address, "POST", "/v1/responses", &label, &here).json();
    let conversation =
        post(server.address, "/v1/conversations", &json!({"items": [{"role": "user", "content": CANARY}]}));
    let input =
        get(server.address, &format!("/v1/responses/{}/input_items", stored["id"].as_str().unwrap())).json();
    let reference = json!([{"type": "item_reference", "id": input["data"][0]["id"]}, {"role": "user", "content": "Go on."}]);
    // One that was to leave and did not is stored too.
    let ask = body(json!({"input": CANARY, "store": true, "stream": true})).to_string();
    let kept = whole(&request(server.address, "POST", "/v1/responses", &label, &ask));
    let mut more = vec![
        json!({"previous_response_id": stored["id"]}),
        json!({"conversation": conversation.json()["id"]}),
        json!({"input": reference}),
    ];
    if kept["id"].is_string() {
        more.push(json!({"previous_response_id": kept["id"]}));
    }
    for more in more {
        let refused = post(server.address, "/v1/responses", &body(more.clone()));
        assert_eq!(refused.status, 403, "{more}: {}", refused.body);
        assert!(refused.body.contains("has no label that lets it leave"), "{}", refused.body);
    }
    assert_eq!(upstream.asked().len(), 0);
    // Here it goes on.
    let more = json!({"previous_response_id": stored["id"], "input": "Go on."});
    assert_eq!(post(server.address, "/v1/responses", &more).status, 200);
}

/// What led to a call of a model here stays here, though the call and its result are told elsewhere: it may
/// have been labelled.
#[test]
fn reasoning_of_a_call_here_does_not_leave_by_its_id() {
    const CANARY: &str = "a canary of this machine";
    let call = format!(
        "<|channel|>analysis<|message|>{CANARY}<|end|><|start|>assistant<|channel|>commentary \
         to=functions.look <|constrain|>json<|message|>{{\"key\":1}}<|call|>"
    );
    let says = "<|channel|>final<|message|>It is so.<|return|>";
    for kind in KINDS {
        let upstream = upstream(vec![Says("Theirs."); 3]);
        let kind = format!("{kind}\nsend_reasoning = true");
        let (server, _) = scripted(&upstream, &kind, "", &[&call, says, &call]);
        let label = [("x-gptoss-sensitivity", "local_only")];
        let user = json!({"role": "user", "content": "What is one and one?"});
        let look = body(json!({}))["tools"][2].clone();
        let here = json!({"model": "scripted", "input": [user], "store": false, "tools": [look],
            "reasoning_visibility": "hidden"});
        let told = request(server.address, "POST", "/v1/responses", &label, &here.to_string());
        assert!(told.status == 200 && !told.body.contains(CANARY), "{}", told.body);
        let made = told.json()["output"].as_array().unwrap().last().unwrap().clone();
        let result = json!({"type": "function_call_output", "call_id": made["call_id"], "output": "42"});
        // A model here has it, so it is known.
        let more =
            json!({"model": "scripted", "input": [user, made, result], "store": false, "tools": [look]});
        let goes_on = post(server.address, "/v1/responses", &more).json();
        assert_eq!(goes_on["warnings"].as_array().map_or(0, Vec::len), 0, "{goes_on}");
        let more = body(json!({"input": [user, made, result]}));
        let answer = post(server.address, "/v1/responses", &more);
        assert_eq!((answer.status, answer.header("x-route")), (200, Some("cloud")), "{}", answer.body);
        assert!(answer.json()["warnings"].to_string().contains("is not remembered"), "{}", answer.body);
        // The result alone says of which call it is, and nobody who leaves knows that.
        let alone = post(server.address, "/v1/responses", &body(json!({"input": [user, result]})));
        assert_eq!(alone.status, 400, "{}", alone.body);
        let asked = upstream.asked();
        assert_eq!(asked.len(), 1);
        assert!(!asked[0].body.to_string().contains(CANARY), "{}", asked[0].body);
        assert!(asked[0].body.to_string().contains("42"), "{}", asked[0].body);
    }
}

/// The reasoning of an upstream's own turn goes on to where it may, under its label at least.
#[test]
fn reasoning_that_has_left_goes_on_under_its_label() {
    let more = "label_max = \"internal\"\nchat_only = true\nsend_reasoning = true";
    let first = upstream(vec![Calls(vec![("look", json!({"key": 1}))]), Says("Theirs.")]);
    let other = upstream(vec![Says("Others.")]);
    let table = other.table("other", "models = { small = \"org/small\" }");
    let (server, _) = server(&first, more, &table);
    let user = json!({"role": "user", "content": "What is one and one?"});
    let label = [("x-gptoss-sensitivity", "internal")];
    let told =
        request(server.address, "POST", "/v1/responses", &label, &body(json!({"input": [user]})).to_string());
    let made = told.json()["output"].as_array().unwrap().last().unwrap().clone();
    let result = json!({"type": "function_call_output", "call_id": made["call_id"], "output": "42"});
    let ask = |model: &str| {
        post(server.address, "/v1/responses", &body(json!({"model": model, "input": [user, made, result]})))
    };
    let refused = ask("small");
    assert_eq!((refused.status, other.asked().len()), (403, 0), "{}", refused.body);
    let answer = ask("big");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(first.asked()[1].body.to_string().contains("Think."), "{}", first.asked()[1].body);
}

/// A connection does not pass the gateway, and its label holds all the same: what stays asks no others.
#[test]
fn a_connection_that_is_labelled_asks_no_others() {
    let upstream = upstream(Vec::new());
    let says = "<|channel|>final<|message|>Done.<|return|>";
    let (server, _) = scripted(&upstream, "", "", &[says]);
    for (label, expected) in [("local_only", "error"), ("confidential", "response.completed")] {
        let mut socket = Socket::with(server.address, &[("x-gptoss-sensitivity", label)]).ok().unwrap();
        socket.create(json!({"tools": [{"type": "web_search"}]}));
        let last = socket.events().pop().unwrap();
        assert_eq!(last["type"], expected, "{label}: {last}");
        assert!(label != "local_only" || last["status"] == 403, "{last}");
    }
    assert_eq!(Socket::with(server.address, &[("x-gptoss-sensitivity", "secret")]).err(), Some(400));
}

/// What code of a model here left in a container does not leave: a request that runs code there and goes to
/// an upstream is refused, and one with a container of its own is not.
#[test]
fn what_code_here_left_in_a_container_does_not_leave() {
    let code = "<|channel|>analysis to=python code<|message|>x = 1<|call|>";
    let says = "<|channel|>final<|message|>Done.<|return|>";
    let upstream = upstream(vec![Calls(vec![("python", json!({"code": "x"}))]), Says("Theirs.")]);
    let (server, _) = scripted(&upstream, "chat_only = true", "", &[code, says]);
    for (model, container, expected) in [
        ("scripted", "mine", Some("[mine 1] x = 1")),
        ("big", "mine", None),
        ("big", "other", Some("[other 1] x")),
    ] {
        let tools = json!([{"type": "code_interpreter", "container": container}]);
        let include = json!(["code_interpreter_call.outputs"]);
        let ask = json!({"model": model, "input": "Go.", "tools": tools, "include": include, "store": false});
        let answer = post(server.address, "/v1/responses", &ask);
        let Some(expected) = expected else {
            assert_eq!((answer.status, upstream.asked().len()), (503, 0), "{}", answer.body);
            continue;
        };
        assert_eq!(answer.status, 200, "{}", answer.body);
        let response = answer.json();
        let mut items = response["output"].as_array().unwrap().iter();
        let code = items.find(|item| item["type"] == "code_interpreter_call").unwrap();
        assert_eq!(
            (&code["outputs"][0]["logs"], &code["container_id"]),
            (&json!(expected), &json!(container))
        );
    }
}

/// A call that was allowed has been made when nobody is left to go on: it was asked for again until the
/// request's time was over, or made once more by a model here.
#[test]
fn what_was_done_is_not_done_again_when_no_upstream_goes_on() {
    let says = "<|channel|>final<|message|>local words<|return|>";
    for stream in [false, true] {
        let upstream = Upstream::start(|asked| match asked.number {
            0 => turn(asked, &Calls(vec![("wiki__ask", json!({"question": "why"}))])),
            _ => Act::Drop,
        });
        let rule =
            "[[routes]]\nname = \"both\"\nmodel = [\"big\"]\ntargets = [\"cloud\", \"local:scripted\"]\n";
        let (server, num_calls) = scripted(&upstream, "chat_only = true", rule, &[says]);
        let user = json!({"role": "user", "content": "Why?"});
        let tools = json!([{"type": "mcp", "server_label": "wiki"}]);
        let ask = |input: &[Value]| {
            let body =
                json!({"model": "big", "input": input, "tools": tools, "store": false, "stream": stream});
            post(server.address, "/v1/responses", &body)
        };
        let mut input = vec![user.clone()];
        input.extend(whole(&ask(&input))["output"].as_array().unwrap().iter().cloned());
        let approved = json!({"type": "mcp_approval_response", "approval_request_id": input.last().unwrap()["id"],
            "approve": true});
        input.push(approved);
        let answer = ask(&input);
        assert!(!answer.body.contains("local words"), "{}", answer.body);
        let error = match stream {
            true => whole(&answer)["error"].clone(),
            false => answer.json()["error"].clone(),
        };
        assert_eq!(answer.status, if stream { 200 } else { 502 }, "{}", answer.body);
        assert!(error["message"].to_string().contains("The upstream cloud gave no answer"), "{error}");
        assert_eq!((num_calls.load(Ordering::Relaxed), upstream.asked().len()), (1, 2));
        // Where nothing has been done a model here answers.
        let answer = ask(&[user]);
        assert!(answer.status == 200 && answer.body.contains("local words"), "{}", answer.body);
    }
}

/// A client that goes away ends the turn elsewhere, and what it took is known.
#[test]
fn a_client_that_goes_away_ends_the_turn_elsewhere() {
    let upstream = Upstream::start(|_| {
        let event = json!({"type": "response.output_text.delta", "delta": "word"});
        Act::Events(vec![data(&event)], Then::Hang)
    });
    let (server, _) = server(&upstream, "", "");
    let ask = body(json!({"stream": true})).to_string();
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    let head = "POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
    write!(stream, "{head}content-length: {}\r\n\r\n{ask}", ask.len()).unwrap();
    let mut read = String::new();
    while !read.contains("output_text.delta") {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "{read}");
        read.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    drop(stream);
    eventually("the end at the upstream", || {
        let page = get(server.address, "/metrics").body;
        page.contains("gptoss_gateway_requests_running{upstream=\"cloud\"} 0")
            && page.contains("outcome=\"abandoned\"} 1")
    });
}
