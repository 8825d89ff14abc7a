//! Built-in tools of Responses: the turns of one response, and what a client sees of them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gptoss_harmony::Vocab;
use gptoss_server::{Keys, Limits};
use serde_json::{Value, json};

use crate::http::{get, post, request, send};
use crate::scripted::Script;
use crate::server::Server;
use crate::shutdown::eventually;
use crate::tool_host::{FAILS, PLOTS, SLEEPS, TestHost};

const ANSWER: &str = "<|channel|>analysis<|message|>Done.<|end|><|start|>assistant<|channel|>final<|message|>It is so 【1†L3-L4】.<|return|>";

pub fn call(recipient: &str, arguments: &str) -> String {
    format!(
        "<|channel|>analysis<|message|>Call it.<|end|><|start|>assistant<|channel|>analysis to={recipient} \
         code<|message|>{arguments}<|call|>"
    )
}

fn look() -> String {
    "<|channel|>commentary to=functions.look <|constrain|>json<|message|>{\"key\":1}<|call|>".to_owned()
}

/// Eleven calls that run here, and one of the client's.
fn twelve() -> Vec<String> {
    let mcp = "<|channel|>commentary to=wiki.ask <|constrain|>json<|message|>{\"question\":\"why\"}<|call|>";
    vec![
        call("browser.search", "{\"query\":\"otters\"}"),
        call("browser.open", "{\"id\":1}"),
        call("browser.find", "{\"pattern\":\"river\"}"),
        call("python", "print(1)"),
        call("browser.search", "{\"query\":\"beavers\"}"),
        call("browser.open", "{\"id\":\"https://b.example\"}"),
        call("python", "print(2)"),
        mcp.to_owned(),
        call("python", FAILS),
        call("browser.find", "{\"pattern\":\"dam\",\"cursor\":3}"),
        call("browser.open", "{\"loc\":40}"),
        look(),
    ]
}

fn server(texts: &[String], limits: Limits) -> (Server, Arc<std::sync::atomic::AtomicUsize>) {
    let host = TestHost::default();
    let num_calls = Arc::clone(&host.num_calls);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let change = |app: gptoss_server::App| app.with_tools(Arc::new(host));
    (Server::changed(change, Script::new(&texts), limits, Keys::default()), num_calls)
}

fn body(more: Value) -> Value {
    let mut body = json!({"model": "scripted", "input": "What do otters eat?", "tools": [
        {"type": "web_search"},
        {"type": "code_interpreter", "container": "mine"},
        {"type": "mcp", "server_label": "wiki", "require_approval": "never", "authorization": "secret"},
        {"type": "function", "name": "look", "parameters": {"type": "object"}},
    ]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn kinds(response: &Value) -> Vec<&str> {
    let kinds = response["output"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap());
    kinds.filter(|kind| *kind != "reasoning").collect()
}

/// Without what differs from one request to the next.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let stays = members.iter().filter(|(name, _)| {
                !matches!(name.as_str(), "id" | "call_id" | "item_id" | "created_at" | "completed_at")
            });
            stays.map(|(name, value)| (name.clone(), plain(value))).collect()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

pub fn text_of(prompts: &Mutex<Vec<Vec<u32>>>) -> String {
    let prompts = prompts.lock().unwrap();
    let vocab = Vocab::o200k_harmony();
    let bytes = vocab.decode(prompts.last().unwrap());
    String::from_utf8_lossy(&bytes.unwrap()).into_owned()
}

/// Numbers without a gap, and items that are added and done one after the other.
fn check_order(events: &[Value], num_items: usize) {
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let (mut open, mut num_done) = (None, 0);
    for event in events {
        match event["type"].as_str().unwrap() {
            "response.output_item.added" => assert_eq!(open.replace(event["output_index"].clone()), None),
            "response.output_item.done" => {
                assert_eq!(open.take(), Some(event["output_index"].clone()));
                num_done += 1;
            }
            _ => {}
        }
    }
    assert_eq!((open, num_done), (None, num_items));
}

#[test]
fn twelve_steps_are_one_response_streamed_and_not() {
    let mut texts = twelve();
    texts.push(ANSWER.to_owned());
    let (server, num_calls) = server(&[texts.clone(), texts].concat(), Limits::default());
    let ask = json!({"include": ["web_search_call.action.sources", "code_interpreter_call.outputs"]});
    let whole = post(server.address, "/v1/responses", &body(ask.clone())).json();
    let expect = [
        "mcp_list_tools",
        "web_search_call",
        "web_search_call",
        "web_search_call",
        "code_interpreter_call",
        "web_search_call",
        "web_search_call",
        "code_interpreter_call",
        "mcp_call",
        "code_interpreter_call",
        "web_search_call",
        "web_search_call",
        "function_call",
    ];
    assert_eq!((kinds(&whole), &whole["status"]), (expect.to_vec(), &json!("completed")), "{whole}");
    assert_eq!(num_calls.load(Ordering::Relaxed), 11);
    let items: Vec<&Value> =
        whole["output"].as_array().unwrap().iter().filter(|item| item["type"] != "reasoning").collect();
    let sources = json!([{"type": "url", "url": "https://site-0.example/page"}]);
    let search = json!({"type": "search", "query": "otters", "queries": ["otters"], "sources": sources});
    assert_eq!(items[1]["action"], search);
    assert_eq!(items[3]["action"]["url"], "https://site-2.example/page");
    assert_eq!(items[4]["outputs"][0]["logs"], "[mine 1] print(1)");
    assert_eq!(items[7]["outputs"][0]["logs"], "[mine 2] print(2)");
    assert_eq!(items[8]["output"], "wiki.ask of {\"question\":\"why\"}");
    assert_eq!(items[9]["status"], "failed");
    // Nothing that opens a door is told again.
    assert!(!whole.to_string().contains("secret"));
    // Each turn read all that was said before: what it took is their sum.
    let prompts: u64 = server.prompts.lock().unwrap().iter().map(|prompt| prompt.len() as u64).sum();
    assert_eq!(whole["usage"]["input_tokens"], prompts);
    assert_eq!(server.prompts.lock().unwrap().len(), 12);

    let result = json!({"input": [{"type": "function_call_output", "call_id": items[12]["call_id"], "output": "7"}],
        "previous_response_id": whole["id"]});
    let answer = post(server.address, "/v1/responses", &body(result.clone())).json();
    assert_eq!(kinds(&answer), ["mcp_list_tools", "message"], "{answer}");
    // What the response before it has shown can be cited.
    let text = &answer["output"].as_array().unwrap().last().unwrap()["content"][0]["text"];
    assert_eq!(text, "It is so  ([site-1.example](https://site-1.example/page)) .");
    let prompt = text_of(&server.prompts);
    for part in [
        "<|call|><|start|>browser.search to=assistant<|channel|>analysis<|message|>[0] Page 0",
        "[mine 2] print(2)",
    ] {
        assert!(prompt.contains(part), "{prompt}");
    }

    let streamed = post(
        server.address,
        "/v1/responses",
        &body({
            let mut ask = ask;
            ask["stream"] = json!(true);
            ask
        }),
    );
    let events = streamed.events();
    assert_eq!(plain(&events.last().unwrap()["response"]), plain(&whole));
    check_order(&events, whole["output"].as_array().unwrap().len());
    // A client that sends everything back instead of naming the response gives the same prompt.
    let output = events.last().unwrap()["response"]["output"].as_array().unwrap().clone();
    let call_id = output.last().unwrap()["call_id"].clone();
    let mut input = vec![json!({"role": "user", "content": "What do otters eat?"})];
    input.extend(output);
    input.push(json!({"type": "function_call_output", "call_id": call_id, "output": "7"}));
    let again = post(server.address, "/v1/responses", &body(json!({"input": input}))).json();
    assert_eq!(plain(&again["output"]), plain(&answer["output"]));
    assert_eq!(text_of(&server.prompts), prompt);
}

#[test]
fn an_answer_cites_what_the_response_has_seen() {
    let texts =
        [call("browser.search", "{\"query\":\"a\"}"), call("browser.open", "{\"id\":0}"), ANSWER.to_owned()];
    let (server, _) = server(&texts, Limits::default());
    let response = post(server.address, "/v1/responses", &body(json!({}))).json();
    let part = &response["output"].as_array().unwrap().last().unwrap()["content"][0];
    assert_eq!(part["text"], "It is so  ([site-1.example](https://site-1.example/page)) .");
    assert_eq!(part["annotations"][0]["title"], "Page 1");
    // What was not asked for is not told.
    let search = response["output"].as_array().unwrap().iter().find(|item| item["type"] == "web_search_call");
    assert!(search.unwrap()["action"].get("sources").is_none());
    // It is stored as it was told, and is gone on from.
    let stored = get(server.address, &format!("/v1/responses/{}", response["id"].as_str().unwrap())).json();
    assert_eq!(stored["output"], response["output"]);
}

#[test]
fn calls_tokens_and_demands_are_bounded_over_all_turns() {
    let python = call("python", "print(1)");
    let texts = [python.clone(), python.clone(), python.clone(), ANSWER.to_owned()];
    let (server, num_calls) = server(&texts, Limits::default());
    let response = post(server.address, "/v1/responses", &body(json!({"max_tool_calls": 2}))).json();
    assert_eq!(
        kinds(&response),
        ["mcp_list_tools", "code_interpreter_call", "code_interpreter_call", "message"]
    );
    assert_eq!((num_calls.load(Ordering::Relaxed), response["status"].as_str()), (2, Some("completed")));
    assert!(text_of(&server.prompts).contains("This call was not run"));

    let (server, _) =
        self::server(std::slice::from_ref(&python), Limits { tool_calls_max: 3, ..Limits::default() });
    let tokens = post(server.address, "/v1/responses", &body(json!({"max_output_tokens": 60}))).json();
    assert_eq!(tokens["incomplete_details"]["reason"], "max_output_tokens", "{tokens}");
    assert!(tokens["usage"]["output_tokens"].as_u64().unwrap() <= 60);

    // A demand is met by the first call.
    let (server, _) = self::server(&[python, ANSWER.to_owned()], Limits::default());
    let choice = json!({"tool_choice": {"type": "code_interpreter"}});
    let response = post(server.address, "/v1/responses", &body(choice)).json();
    assert_eq!(kinds(&response), ["mcp_list_tools", "code_interpreter_call", "message"], "{response}");
}

#[test]
fn a_call_that_has_to_be_allowed_waits_for_the_next_request() {
    let mcp = "<|channel|>commentary to=wiki.ask <|constrain|>json<|message|>{\"question\":\"why\"}<|call|>";
    let (server, num_calls) = server(&[mcp.to_owned(), ANSWER.to_owned()], Limits::default());
    let tools = json!([{"type": "mcp", "server_label": "wiki"}, {"type": "mcp", "server_label": "gone"}]);
    for approve in [true, false] {
        let before = num_calls.load(Ordering::Relaxed);
        let asked = post(server.address, "/v1/responses", &body(json!({"tools": tools}))).json();
        assert_eq!(kinds(&asked), ["mcp_list_tools", "mcp_list_tools", "mcp_approval_request"], "{asked}");
        assert_eq!(asked["output"][1]["error"], "it does not answer");
        let request = asked["output"].as_array().unwrap().last().unwrap()["id"].clone();
        let answer =
            json!({"type": "mcp_approval_response", "approval_request_id": request, "approve": approve});
        let mut more = json!({"input": [answer], "previous_response_id": asked["id"], "tools": tools});
        if approve {
            // Once a summary took the place of the call that waited, and its tokens were lost.
            more["context_management"] = json!([{"type": "compaction", "compact_threshold": 10}]);
        }
        let response = post(server.address, "/v1/responses", &body(more)).json();
        let expect: &[&str] = if approve { &["mcp_call", "message"] } else { &["message"] };
        assert_eq!(&kinds(&response)[2..], expect, "{response}");
        assert_eq!(num_calls.load(Ordering::Relaxed) - before, usize::from(approve));
        let said = if approve { "wiki.ask of {" } else { "The user did not allow this call." };
        assert!(text_of(&server.prompts).contains(said));
        if approve {
            let call = &response["output"][2];
            assert_eq!((&call["approval_request_id"], &call["status"]), (&request, &json!("completed")));
        }
    }
    // A label does not make a call of the browser one that is asked for.
    let forged = json!([
        {"type": "message", "role": "user", "content": "hi"},
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "browser", "name": "search", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": true},
    ]);
    let forged = json!({"input": forged, "tools": [{"type": "web_search"}]});
    assert_eq!(post(server.address, "/v1/responses", &body(forged)).status, 400);
}

/// The response that went on behind a call of the client's had a browser in which no cursor led anywhere, so
/// that citations of pages from before stayed as the model wrote them, and another Python.
#[test]
fn pages_and_python_are_kept_across_a_call_of_the_clients() {
    let before = [call("browser.search", "{}"), call("browser.open", "{}"), call("python", "1"), look()];
    let behind = [call("browser.find", "{}"), call("python", "2"), ANSWER.to_owned()];
    let texts: Vec<&str> = before.iter().chain(&behind).map(String::as_str).collect();
    let script = Script { follows_calls: true, ..Script::new(&texts) };
    let change = |app: gptoss_server::App| app.with_tools(Arc::new(TestHost::default()));
    let server = Server::changed(change, script, Limits::default(), Keys::default());
    let tools = json!([
        {"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "function", "name": "look", "parameters": {"type": "object"}},
    ]);
    let asked = post(server.address, "/v1/responses", &body(json!({"tools": tools}))).json();
    let made = asked["output"].as_array().unwrap_or_else(|| panic!("{asked}"));
    let call_id = made.last().unwrap()["call_id"].clone();
    let result = json!({"type": "function_call_output", "call_id": call_id, "output": "1"});
    let mut items = vec![json!({"role": "user", "content": "What do otters eat?"})];
    items.extend(made.iter().cloned());
    items.push(result.clone());
    let container = |items: &[Value]| {
        let code = items.iter().find(|item| item["type"] == "code_interpreter_call");
        code.unwrap_or_else(|| panic!("{items:?}"))["container_id"].clone()
    };
    let by_id = json!({"input": [result], "previous_response_id": asked["id"], "tools": tools});
    // By the id and by the items, and once more: what was kept is not used up.
    for wish in [by_id.clone(), json!({"input": items, "tools": tools}), by_id] {
        let follows = post(server.address, "/v1/responses", &body(wish)).json();
        let output = follows["output"].as_array().unwrap_or_else(|| panic!("{follows}"));
        let found = output.iter().find(|item| item["type"] == "web_search_call").unwrap();
        assert_eq!(found["action"]["url"], "https://site-2.example/page", "{follows}");
        assert_eq!(container(output), container(made));
        let annotations = &output.last().unwrap()["content"][0]["annotations"];
        assert_eq!(annotations[0]["title"], "Page 1", "{follows}");
    }
}

#[test]
fn what_code_made_is_cited_read_and_its_tenants() {
    let answer = "<|channel|>final<|message|>See [it](sandbox:/mnt/data/plot.png).<|return|>".to_owned();
    let texts = [call("python", PLOTS), answer];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let change = |app: gptoss_server::App| app.with_tools(Arc::new(TestHost::default()));
    let keys = Keys::parse("sk-0123456789abcdef name=a\nsk-fedcba9876543210 name=b").unwrap();
    let server = Server::changed(change, Script::new(&texts), Limits::default(), keys);
    let ask = |method: &str, path: &str, key: &str, body: &str| {
        let bearer = format!("Bearer {key}");
        request(server.address, method, path, &[("authorization", bearer.as_str())], body)
    };
    let made = ask("POST", "/v1/responses", "sk-0123456789abcdef", &body(json!({})).to_string()).json();
    let citation = &made["output"].as_array().unwrap().last().unwrap()["content"][0]["annotations"][0];
    let (kind, name) = (&citation["type"], &citation["filename"]);
    assert_eq!((kind, name), (&json!("container_file_citation"), &json!("plot.png")), "{made}");
    assert_eq!((&citation["start_index"], &citation["end_index"]), (&json!(9), &json!(35)));
    let folder = format!("/v1/containers/{}/files", citation["container_id"].as_str().unwrap());
    let file = format!("{folder}/{}", citation["file_id"].as_str().unwrap());
    let listed = ask("GET", &folder, "sk-0123456789abcdef", "").json();
    assert_eq!(
        (&listed["data"][0]["id"], &listed["data"][0]["path"]),
        (&citation["file_id"], &json!("/mnt/data/plot.png"))
    );
    assert_eq!(ask("GET", &file, "sk-0123456789abcdef", "").json(), listed["data"][0]);
    let content = ask("GET", &format!("{file}/content"), "sk-0123456789abcdef", "");
    assert_eq!((content.status, content.body.as_bytes()), (200, [1_u8, 2, 3].as_slice()));
    assert_eq!(content.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(ask("GET", &folder, "sk-fedcba9876543210", "").json()["data"], json!([]));
    assert_eq!(ask("GET", &format!("{file}/content"), "sk-fedcba9876543210", "").status, 404);
    assert_eq!(ask("DELETE", &file, "sk-0123456789abcdef", "").json()["deleted"], json!(true));
    assert_eq!(ask("GET", &file, "sk-0123456789abcdef", "").status, 404);
}

#[test]
fn a_tool_that_runs_is_left_when_its_response_ends() {
    let texts = [call("python", SLEEPS)];
    // A reader that has gone is seen when something is written.
    let limits = Limits { keep_alive: Duration::from_millis(50), ..Limits::default() };
    let (server, num_calls) = server(&texts, limits);
    let made = post(server.address, "/v1/responses", &body(json!({"background": true}))).json();
    let path = format!("/v1/responses/{}", made["id"].as_str().unwrap());
    eventually("a call", || num_calls.load(Ordering::Relaxed) == 1);
    let seen = get(server.address, &path).json();
    assert_eq!(
        (kinds(&seen).last(), &seen["status"]),
        (Some(&"code_interpreter_call"), &json!("in_progress"))
    );
    let ended = post(server.address, &format!("{path}/cancel"), &json!({})).json();
    assert_eq!(
        (&ended["status"], &ended["output"].as_array().unwrap().last().unwrap()["status"]),
        (&json!("cancelled"), &json!("incomplete"))
    );
    // A stream is taken up where it was left.
    let events = get(server.address, &format!("{path}?stream=true&starting_after=4")).events();
    assert_eq!(events[0]["sequence_number"], 5);
    // Whoever goes away ends it.
    let asked = body(json!({"stream": true})).to_string();
    let stream = send(server.address, "POST", "/v1/responses", &[], &asked);
    eventually("a call", || num_calls.load(Ordering::Relaxed) == 2);
    drop(stream);
    eventually("the end", || get(server.address, "/metrics").body.contains("gptoss_turns_running 0"));
}

#[test]
fn time_is_bounded_over_all_turns() {
    let limits = Limits { request_time: Duration::from_millis(300), ..Limits::default() };
    let (server, _) = server(&[call("python", SLEEPS)], limits);
    let response = post(server.address, "/v1/responses", &body(json!({}))).json();
    assert_eq!(response["incomplete_details"]["reason"], "deadline_exceeded", "{response}");
}

#[test]
fn what_is_off_is_left_out_with_a_warning_that_names_the_flag() {
    let server = Server::start(&["<|channel|>final<|message|>Yes.<|return|>"]);
    let response = post(server.address, "/v1/responses", &body(json!({}))).json();
    let warnings = response["warnings"].to_string();
    for flag in ["--tools browser", "--tools python", "--mcp"] {
        assert!(warnings.contains(flag), "{warnings}");
    }
    let refused =
        post(server.address, "/v1/responses", &body(json!({"tool_choice": {"type": "web_search"}})));
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("tool_choice")));
}
