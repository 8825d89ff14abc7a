//! A server whose model says what it is told to, for conformance tests with clients in other languages.
//!
//! `scripted PORT SCRIPT.json`: the file holds a list of texts in harmony's notation with control tokens
//! spelled out. A prompt with N calls in it gets text N, so that a tool loop runs through the list and a
//! client that tries again gets the same. Built-in tools are on, and answer what a test can foresee. Prints
//! one line when it listens, and runs until it is stopped.

#![expect(clippy::disallowed_methods, reason = "a program with arguments of its own")]

#[path = "../tests/api/scripted.rs"]
mod scripted;
#[path = "../tests/api/tool_host.rs"]
mod tool_host;

use std::sync::Arc;

use gptoss_harmony::Vocab;
use gptoss_server::{App, Keys, Limits, LoadedModel, Models, ServedModel, listen, run};
use gptoss_turn::{Assistant, SamplingParams, TokenTable};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("scripted PORT SCRIPT.json")?.parse()?;
    let file = arguments.next().ok_or("scripted PORT SCRIPT.json")?;
    let texts: Vec<String> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let vocab = Vocab::o200k_harmony();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let script = scripted::Script { follows_calls: true, ..scripted::Script::new(&texts) };
    let (engine, _prompts) = scripted::start(&vocab, script);
    let assistant = Assistant::new(engine, TokenTable::new(vocab)?)?;
    let model = ServedModel {
        name: "scripted".into(),
        aliases: vec!["gpt-oss-20b".into(), "gpt-oss-120b".into()],
        is_demo: false,
        max_context: scripted::MAX_CONTEXT,
        sampling: SamplingParams::default(),
        today: None,
        fingerprint: "scripted".into(),
        created: 1,
        weight_bytes: 0,
        parameter_size: "20.9B".into(),
        quantization: "MXFP4",
        parent: None,
    };
    let log = Arc::new(|line: &str| eprintln!("{line}"));
    let models = Models::one(model, LoadedModel { assistant, unload: Box::new(|| {}), adapters: None });
    let app = App::new(models, Limits::default(), Keys::default(), None, log)?;
    let app = app.with_tools(Arc::new(tool_host::TestHost::default()));
    let listener = listen(([127, 0, 0, 1], port).into(), false)?;
    println!("listening on {}", listener.local_addr()?);
    run(listener, app, std::future::pending()).await;
    Ok(())
}
