//! The order of events of each built-in tool, and that the object at the end is what they add up to.

use gptoss_harmony::{Channel, Delta, TurnEnd};
use serde_json::json;

use super::*;
use crate::containers::ContainerWish;
use crate::errors::ApiError;
use crate::generation::hosted::{Hosted, OfferedTool, ServerTool};
use crate::generation::tools::{Tool, Tools};
use crate::generation::visibility::Visibility;
use crate::machine::{ChoiceEnd, EventOptions, Machine};
use crate::responses::events::tests::object;
use crate::usage::TokenUsage;

fn server(needs_approval: bool) -> OfferedServer {
    let tool = ServerTool {
        name: "ask".into(),
        description: None,
        input_schema: json!({"type": "object"}),
        annotations: None,
        asks_always: false,
    };
    let tools = vec![OfferedTool { tool, needs_approval }];
    OfferedServer { label: "wiki".into(), description: None, tools, error: None }
}

fn machine(needs_approval: bool, calls_max: u64) -> ResponseMachine {
    let client = |kind: Kind| Tool {
        harmony_name: match kind {
            Kind::Shell => "shell",
            Kind::LocalShell => "local_shell",
            _ => "apply_patch",
        }
        .to_owned(),
        kind,
        description: String::new(),
        parameters: None,
        strict: false,
        grammar: None,
    };
    let servers = vec![server(needs_approval)];
    let tools = Tools {
        list: [Kind::Shell, Kind::LocalShell, Kind::ApplyPatch].map(client).to_vec(),
        hosted: Hosted { has_browser: true, has_python: true, container: ContainerWish::default(), servers },
        ..Tools::default()
    };
    let new_id = |prefix: &str| format!("{prefix}_1");
    let options = EventOptions { tools, visibility: Visibility::Raw, tells_logprobs: true, new_id };
    let events =
        ToolEvents { has_sources: true, has_outputs: true, container_id: "cntr_1".into(), calls_max };
    ResponseMachine::new(object(), options).with_tools(events, Vec::new())
}

fn call(name: &str, arguments: &str) -> Vec<Delta> {
    let (head, tail) = arguments.split_at(arguments.len() / 2);
    let more = |text: &str| Delta::CallArguments { text: text.to_owned(), logprobs: Vec::new() };
    let whole = Call {
        name: name.to_owned(),
        recipient: name.to_owned(),
        channel: Some("analysis".to_owned()),
        arguments: arguments.to_owned(),
    };
    vec![Delta::CallStarted { name: name.to_owned() }, more(head), more(tail), Delta::Called(whole)]
}

fn text(text: &str) -> Delta {
    Delta::Text { channel: Channel::Final, text: text.to_owned(), logprobs: Vec::new() }
}

fn end(end: TurnEnd) -> ChoiceEnd {
    ChoiceEnd { end, usage: TokenUsage::default(), rest: Vec::new(), at: 2, stop: None }
}

fn push(machine: &mut ResponseMachine, deltas: Vec<Delta>) -> Vec<Numbered> {
    deltas.into_iter().flat_map(|delta| machine.push(delta)).collect()
}

/// The names of events, without what all of them begin with.
fn names(events: &[Numbered]) -> Vec<&'static str> {
    events.iter().map(|event| event.event.name().trim_start_matches("response.")).collect()
}

fn item(machine: &ResponseMachine) -> Value {
    serde_json::to_value(machine.response().output.last().unwrap()).unwrap()
}

fn page() -> ToolOutcome {
    ToolOutcome {
        text: "[1] A page".into(),
        url: Some("https://a.example/x".into()),
        sources: vec!["https://a.example/x".into()],
        pages: vec![CitedPage { cursor: 1, url: "https://a.example/x".into(), title: "A".into() }],
        ..ToolOutcome::default()
    }
}

fn failed() -> ToolOutcome {
    ToolOutcome { text: "It broke.".into(), is_error: true, ..ToolOutcome::default() }
}

#[test]
fn a_search_is_begun_then_run_then_done() {
    let check = |name: &str, arguments: &str, outcome: ToolOutcome, expect: Value| {
        let is_error = outcome.is_error;
        let mut machine = machine(false, 9);
        let begun = push(&mut machine, call(name, arguments));
        assert_eq!(
            names(&begun),
            ["output_item.added", "web_search_call.in_progress", "web_search_call.searching"]
        );
        assert_eq!((machine.take_next(), machine.take_next()), (Some(Next::Run), None));
        assert_eq!(machine.last_call_id(), None);
        assert_eq!(item(&machine)["status"], "searching");
        let ended = machine.ran(outcome);
        let all = ["web_search_call.completed", "output_item.done"];
        assert_eq!(names(&ended), all[usize::from(is_error)..]);
        let expect = json!({"id": "ws_1", "type": "web_search_call",
            "status": if is_error { "failed" } else { "completed" }, "action": expect});
        assert_eq!(item(&machine), expect);
        assert_eq!(serde_json::to_value(&ended.last().unwrap().event).unwrap()["item"], expect);
    };
    let url = "https://a.example/x";
    let sources = json!([{"type": "url", "url": url}]);
    let search = |sources| json!({"type": "search", "query": "q", "queries": ["q"], "sources": sources});
    check("browser.search", r#"{"query": "q", "topn": 3}"#, page(), search(sources));
    check("browser.search", r#"{"query": "q"}"#, failed(), search(json!([])));
    check("browser.open", r#"{"id": 3, "cursor": 1}"#, page(), json!({"type": "open_page", "url": url}));
    check(
        "browser.open",
        r#"{"id": "https://b"}"#,
        failed(),
        json!({"type": "open_page", "url": "https://b"}),
    );
    let found = json!({"type": "find_in_page", "pattern": "p", "url": url});
    check("browser.find", r#"{"pattern": "p"}"#, page(), found);
    check("browser.find", "nothing", failed(), json!({"type": "find_in_page", "pattern": "", "url": ""}));
}

#[test]
fn code_is_written_then_interpreted_then_done() {
    let check = |outcome: ToolOutcome, ends: &[&str], outputs: Value| {
        let mut machine = machine(false, 9);
        let begun = push(&mut machine, call("python", "print(1)"));
        let expect = [
            "output_item.added",
            "code_interpreter_call.in_progress",
            "code_interpreter_call_code.delta",
            "code_interpreter_call_code.delta",
            "code_interpreter_call_code.done",
            "code_interpreter_call.interpreting",
        ];
        assert_eq!(names(&begun), expect);
        let status = if outcome.is_error { "failed" } else { "completed" };
        assert_eq!(names(&machine.ran(outcome)), ends);
        let expect = json!({"id": "ci_1", "type": "code_interpreter_call", "code": "print(1)",
            "container_id": "cntr_1", "status": status, "outputs": outputs});
        assert_eq!(item(&machine), expect);
    };
    let outcome =
        ToolOutcome { text: "1".into(), images: vec!["data:image/png".into()], ..ToolOutcome::default() };
    let outputs = json!([{"type": "logs", "logs": "1"}, {"type": "image", "url": "data:image/png"}]);
    check(outcome, &["code_interpreter_call.completed", "output_item.done"], outputs);
    check(failed(), &["output_item.done"], json!([{"type": "logs", "logs": "It broke."}]));
}

#[test]
fn a_call_of_a_server_is_listed_written_and_done() {
    let mut machine = machine(false, 9);
    let listed =
        machine.listed(&[server(false), OfferedServer { error: Some("gone".into()), ..server(false) }]);
    let list = |end| ["output_item.added", "mcp_list_tools.in_progress", end, "output_item.done"];
    assert_eq!(names(&listed), [list("mcp_list_tools.completed"), list("mcp_list_tools.failed")].concat());
    assert_eq!(item(&machine)["error"], "gone");
    let begun = push(&mut machine, call("wiki.ask", "{}"));
    let expect = [
        "output_item.added",
        "mcp_call.in_progress",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
    ];
    assert_eq!((names(&begun), machine.take_next()), (expect.to_vec(), Some(Next::Run)));
    let outcome = ToolOutcome { text: "yes".into(), ..ToolOutcome::default() };
    assert_eq!(names(&machine.ran(outcome)), ["mcp_call.completed", "output_item.done"]);
    assert_eq!((&item(&machine)["output"], &item(&machine)["status"]), (&json!("yes"), &json!("completed")));
    push(&mut machine, call("wiki.ask", "{}"));
    assert_eq!(names(&machine.ran(failed())), ["mcp_call.failed", "output_item.done"]);
    assert_eq!(item(&machine)["error"]["content"][0]["text"], "It broke.");
}

#[test]
fn a_call_that_has_to_be_allowed_ends_the_response() {
    let mut machine = machine(true, 9);
    let asked = push(&mut machine, call("wiki.ask", "{\"a\": 1}"));
    assert_eq!(names(&asked), ["output_item.added", "output_item.done"]);
    let expect = json!({"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "wiki", "name": "ask",
        "arguments": "{\"a\": 1}"});
    assert_eq!((item(&machine), machine.take_next()), (expect, None));
    assert_eq!(machine.last_call_id(), Some("mcpr_1"));
    let ended = machine.finish(end(TurnEnd::Call));
    assert_eq!((names(&ended), machine.response().output.len()), (vec!["completed"], 1));

    let mut machine = super::tests::machine(true, 9);
    let begun = machine.approved("mcpr_1", "wiki", "ask", "{}");
    let expect =
        ["output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done"];
    assert_eq!((names(&begun), machine.take_next()), (expect.to_vec(), Some(Next::Run)));
    machine.ran(ToolOutcome::default());
    assert_eq!(item(&machine)["approval_request_id"], "mcpr_1");
}

#[test]
fn calls_beyond_the_limit_are_not_seen() {
    let mut machine = machine(false, 1);
    push(&mut machine, call("python", "1"));
    assert_eq!(machine.take_next(), Some(Next::Run));
    machine.ran(ToolOutcome::default());
    for name in ["python", "browser.search", "wiki.ask"] {
        assert_eq!(names(&push(&mut machine, call(name, "{}"))), [""; 0]);
        assert_eq!(machine.take_next(), Some(Next::Refuse));
    }
    // The client's own are not counted.
    assert!(!push(&mut machine, call("shell", "{}")).is_empty());
    assert_eq!(machine.take_next(), None);
}

#[test]
fn what_the_client_runs_is_told_when_it_is_whole() {
    let mut machine = machine(false, 9);
    let events = push(&mut machine, call("shell", r#"{"commands": ["ls", "pwd"], "timeout_ms": 9}"#));
    let command = ["shell_call_command.added", "shell_call_command.delta", "shell_call_command.done"];
    let expect = [&["output_item.added"][..], &command, &command, &["output_item.done"]].concat();
    assert_eq!((names(&events), machine.last_call_id()), (expect, Some("call_1")));
    let expect = json!({"type": "shell_call", "id": "sh_1", "call_id": "call_1", "status": "completed",
        "environment": {"type": "local"},
        "action": {"commands": ["ls", "pwd"], "timeout_ms": 9, "max_output_length": null}});
    assert_eq!(item(&machine), expect);

    let events = push(&mut machine, call("local_shell", r#"{"command": ["ls"]}"#));
    assert_eq!(names(&events), ["output_item.added", "output_item.done"]);
    assert_eq!(
        (&item(&machine)["action"]["type"], &item(&machine)["action"]["env"]),
        (&json!("exec"), &json!({}))
    );
    push(&mut machine, call("local_shell", "ls -l"));
    assert_eq!(item(&machine)["action"]["command"], json!(["sh", "-c", "ls -l"]));

    let patch = "*** Begin Patch\n*** Delete File: a\n*** Add File: b\n+x\n*** End Patch";
    let events = push(&mut machine, call("apply_patch", patch));
    let once = ["output_item.added", "output_item.done"];
    assert_eq!(names(&events), [once, once].concat());
    let expect = json!({"type": "apply_patch_call", "id": "apc_1", "call_id": "call_1.2", "status": "completed",
        "operation": {"type": "create_file", "path": "b", "diff": "+x\n"}});
    assert_eq!(item(&machine), expect);
    assert_eq!(names(&machine.finish(end(TurnEnd::Call))), ["completed"]);
}

#[test]
fn what_is_cut_while_it_runs_or_is_written_is_incomplete() {
    let check = |name: &str, is_written: bool, expect: &[&str]| {
        let mut machine = machine(false, 9);
        let mut deltas = call(name, "{}");
        if !is_written {
            deltas.pop();
        }
        push(&mut machine, deltas);
        let ended = machine.finish(end(TurnEnd::Cancelled));
        assert_eq!(names(&ended), expect, "{name}");
        assert_eq!(item(&machine)["status"], "incomplete");
        // Nothing comes of it any more.
        assert!(machine.ran(ToolOutcome::default()).is_empty());
    };
    for name in ["browser.search", "python", "wiki.ask"] {
        check(name, true, &["output_item.done", "incomplete"]);
    }
    check("browser.open", false, &["output_item.done", "incomplete"]);
    check("python", false, &["code_interpreter_call_code.done", "output_item.done", "incomplete"]);
    check("wiki.ask", false, &["mcp_call_arguments.done", "output_item.done", "incomplete"]);
    let mut machine = machine(false, 9);
    push(&mut machine, call("python", "1"));
    let failed = machine.fail(&ApiError::Engine { problem: "it broke".into() });
    assert_eq!(names(&failed), ["output_item.done", "failed"]);
}

#[test]
fn a_citation_becomes_a_link_and_is_annotated_behind_it() {
    let whole = "Ü 【1†L3-L4】, 【7†L1】. 【";
    let mut last = None;
    for size in 1..=whole.chars().count() {
        let mut machine = machine(false, 9);
        push(&mut machine, call("browser.search", "{}"));
        machine.ran(page());
        let chars: Vec<char> = whole.chars().collect();
        let mut events = Vec::new();
        for part in chars.chunks(size) {
            events.extend(machine.push(text(&part.iter().collect::<String>())));
        }
        events.extend(machine.finish(end(TurnEnd::Answer)));
        let at = events.iter().position(|event| matches!(event.event, Event::AnnotationAdded { .. }));
        let link = " ([a.example](https://a.example/x)) ";
        match &events[at.unwrap() - 1].event {
            Event::TextDelta { delta, .. } => assert_eq!(delta, link),
            other => panic!("{other:?}"),
        }
        let deltas: String = events
            .iter()
            .filter_map(|event| match &event.event {
                Event::TextDelta { delta, .. } => Some(delta.as_str()),
                _ => None,
            })
            .collect();
        let part = item(&machine)["content"][0].clone();
        assert_eq!(part["text"], deltas);
        assert_eq!(deltas, format!("Ü {link}, 【7†L1】. 【"));
        let expect = json!([{"type": "url_citation", "start_index": 2, "end_index": 2 + link.chars().count(),
            "url": "https://a.example/x", "title": "A"}]);
        assert_eq!(part["annotations"], expect);
        assert_eq!(*last.get_or_insert(part.clone()), part);
    }
}

/// OpenAI's API has 0 and 0 for a file that the text does not name.
#[test]
fn files_are_cited_by_the_answer() {
    let mut machine = machine(false, 9);
    for path in ["old.csv", "d/plot.png", "old.csv"] {
        push(&mut machine, call("python", "1"));
        let file = MadeFile { id: format!("cfile_{path}"), path: path.to_owned(), bytes: Vec::new() };
        machine.ran(ToolOutcome { files: vec![file], ..ToolOutcome::default() });
    }
    let said = "Ü [plot](sandbox:/mnt/data/d/plot.png).";
    let mut events = machine.push(text(said));
    events.extend(machine.finish(end(TurnEnd::Answer)));
    let citation = |path: &str, name: &str, start: usize, end: usize| {
        json!({"type": "container_file_citation", "container_id": "cntr_1", "file_id": format!("cfile_{path}"),
            "filename": name, "start_index": start, "end_index": end})
    };
    let expect = json!([citation("d/plot.png", "plot.png", 9, 37), citation("old.csv", "old.csv", 0, 0)]);
    assert_eq!(item(&machine)["content"][0]["annotations"], expect);
    let names = names(&events);
    let at = names.iter().position(|name| *name == "output_text.annotation.added").unwrap();
    assert_eq!(
        names[at..at + 3],
        ["output_text.annotation.added", "output_text.annotation.added", "output_text.done"]
    );
}

#[test]
fn a_response_of_calls_alone_gets_a_message_and_every_event_is_read_again() {
    let mut machine = machine(false, 9);
    let mut events = machine.begin();
    events.extend(machine.listed(&[server(false)]));
    for (name, arguments) in [("browser.search", "{}"), ("python", "1"), ("wiki.ask", "{}")] {
        events.extend(push(&mut machine, call(name, arguments)));
        events.extend(machine.ran(page()));
    }
    events.extend(machine.finish(end(TurnEnd::NoAnswer)));
    assert_eq!(item(&machine)["type"], "message");
    for (number, event) in events.iter().enumerate() {
        let written = serde_json::to_value(event).unwrap();
        let read: Numbered = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), written);
        assert_eq!(
            (written["sequence_number"].as_u64(), event.event.name()),
            (Some(number as u64), written["type"].as_str().unwrap())
        );
    }
}
