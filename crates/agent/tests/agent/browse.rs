//! The browser in the loop: what the model is told, what is told of its calls, and what it may cite.

use std::fs;
use std::sync::atomic::AtomicBool;

use gptoss_agent::{Action, AgentEnd, AgentEvent, Budget, CallStatus, Decision, Host, Tool, Toolbox, run};
use gptoss_tools::browser::{self, Backend, Browser, Corpus, Limits};

use crate::bench::{Bench, FINAL};
use crate::results;

fn call_of(function: &str, arguments: &str) -> String {
    format!("<|channel|>analysis to=browser.{function} code<|message|>{arguments}<|call|>")
}

#[test]
fn pages_are_searched_opened_and_looked_through() {
    let bench = Bench::new(&[
        &call_of("search", r#"{"query": "heron"}"#),
        &call_of("open", r#"{"id": 0}"#),
        &call_of("open", r#"{"id": 7}"#),
        &call_of("find", r#"{"pattern": "fish"}"#),
        FINAL,
    ]);
    fs::write(bench.folder().join("a.txt"), "Herons wait.\nA heron eats fish.\n").unwrap();
    let corpus = Corpus::open(bench.folder(), Limits::default().page_bytes_max).unwrap();
    let browser = Browser::new(Backend::Corpus(corpus), Limits::default());
    let toolbox = Toolbox { tools: vec![Tool::Browser(browser.into())] };
    let mut ended = Vec::new();
    let on_event = |event| {
        if let AgentEvent::CallEnded { action, status, .. } = event {
            ended.push((action, status));
        }
    };
    // Nobody is asked before a page is read.
    let approve = |_: &Action| -> Decision { panic!("asked") };
    let host = Host { cancel: &AtomicBool::new(false), on_event, approve };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ending =
        runtime.block_on(run(bench.assistant(), &toolbox, bench.task(Budget::default()), host)).unwrap();
    assert_eq!(ending.end, AgentEnd::Answer);
    let pages = runtime.block_on(toolbox.pages());
    let (cursor, url) = &pages[0];
    assert!(*cursor == 1 && url.starts_with("corpus://") && url.ends_with("a.txt"), "{pages:?}");
    let (done, failed) = (CallStatus::Completed, CallStatus::Failed);
    let search = browser::Action::Search { query: "heron".into(), sources: Vec::new() };
    let found = browser::Action::FindInPage { pattern: "fish".into(), url: Some(url.clone()) };
    let expected = [
        (Action::Browse(search), done),
        (Action::Browse(browser::Action::OpenPage { url: Some(url.clone()) }), done),
        (Action::Unknown { name: "browser.open".into() }, failed),
        (Action::Browse(found), done),
    ];
    assert_eq!(ended, expected);
    let results = results(&ending);
    assert!(results[1].starts_with("[1] ") && results[1].contains("A heron eats fish."), "{results:?}");
    assert_eq!(results[2], "Invalid link id `7`.");
    assert!(bench.prompts()[0].contains("namespace browser {"), "{}", bench.prompts()[0]);
    assert!(
        bench.prompts()[1]
            .contains("<|start|>browser.search to=assistant<|channel|>analysis<|message|>[0] heron"),
        "{}",
        bench.prompts()[1]
    );
}
