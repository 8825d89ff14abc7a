//! Tools that answer what a test can foresee: the other side of the seam `ToolHost`.
//!
//! Each display of the browser is one page, `https://site-N.example/page` under cursor N; Python prints its own
//! source and counts its cells; the one MCP server has the label `wiki`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use gptoss_server::{
    CitedPage, ContainerInputs, HostedCall, InputFile, MadeFile, ServerTool, ToolHost, ToolOutcome,
    ToolServer, ToolSession,
};
use serde_json::json;

/// Code that never ends.
pub const SLEEPS: &str = "sleep()";
/// Code that makes a file.
pub const PLOTS: &str = "plot()";
/// Code that fails.
pub const FAILS: &str = "fail()";

/// Code that breaks the session off, with its own words.
pub const PANICS: &str = "panic()";

/// Tools that are all on.
#[derive(Debug, Default)]
pub struct TestHost {
    /// Calls that were begun.
    pub num_calls: Arc<AtomicUsize>,
    /// Containers that were ended, each behind its tenant.
    pub ended: Arc<Mutex<Vec<(String, String)>>>,
}

impl ToolHost for TestHost {
    fn has_browser(&self) -> bool {
        true
    }

    fn has_python(&self) -> bool {
        true
    }

    fn labels(&self) -> Vec<String> {
        vec!["wiki".to_owned(), "gone".to_owned()]
    }

    fn list<'a>(&'a self, label: &'a str) -> BoxFuture<'a, Option<ToolServer>> {
        let tool = ServerTool {
            name: "ask".to_owned(),
            description: Some("Asks.".to_owned()),
            input_schema: json!({"type": "object", "properties": {"question": {"type": "string"}}}),
            annotations: Some(json!({"readOnlyHint": true})),
            asks_always: false,
        };
        let tools = if label == "wiki" { Ok(vec![tool]) } else { Err("it does not answer".to_owned()) };
        let server = ToolServer { label: label.to_owned(), url: None, description: None, tools };
        std::future::ready(Some(server)).boxed()
    }

    fn forget(&self, tenant: &str, container: &str) {
        self.ended.lock().unwrap().push((tenant.to_owned(), container.to_owned()));
    }

    fn open(&self, _: &str, container: &str) -> Box<dyn ToolSession> {
        let (num_calls, container) = (Arc::clone(&self.num_calls), container.to_owned());
        Box::new(TestSession {
            num_calls,
            container,
            inputs: ContainerInputs::default(),
            num_pages: 0,
            num_cells: 0,
        })
    }
}

/// Code that tells what lies in its container.
pub const LISTS: &str = "list()";

#[derive(Clone)]
struct TestSession {
    inputs: ContainerInputs,
    num_calls: Arc<AtomicUsize>,
    container: String,
    num_pages: u64,
    num_cells: u64,
}

impl ToolSession for TestSession {
    fn furnish(&mut self, inputs: ContainerInputs) {
        self.inputs = inputs;
    }

    fn run<'a>(&'a mut self, call: HostedCall<'a>, arguments: &'a str) -> BoxFuture<'a, ToolOutcome> {
        self.num_calls.fetch_add(1, Ordering::Relaxed);
        async move {
            match call {
                HostedCall::Search | HostedCall::Open | HostedCall::Find => self.page(call),
                HostedCall::Python if arguments == SLEEPS => {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                    ToolOutcome::default()
                }
                HostedCall::Python if arguments.starts_with(PANICS) => panic!("{arguments}"),
                HostedCall::Python if arguments == FAILS => {
                    ToolOutcome { text: "It broke.".to_owned(), is_error: true, ..ToolOutcome::default() }
                }
                HostedCall::Python if arguments == PLOTS => {
                    let file =
                        MadeFile { path: "plot.png".to_owned(), bytes: vec![1, 2, 3], ..MadeFile::default() };
                    ToolOutcome { text: "Plotted.".to_owned(), files: vec![file], ..ToolOutcome::default() }
                }
                HostedCall::Python if arguments == LISTS => {
                    let ContainerInputs { files, removed, memory_bytes } = &self.inputs;
                    let text =
                        |file: &InputFile| format!("{}={}", file.name, String::from_utf8_lossy(&file.bytes));
                    let files: Vec<String> = files.iter().map(text).collect();
                    let text = format!("{} -{removed:?} {memory_bytes:?}", files.join(" "));
                    ToolOutcome { text, ..ToolOutcome::default() }
                }
                HostedCall::Python => {
                    self.num_cells += 1;
                    let text = format!("[{} {}] {arguments}", self.container, self.num_cells);
                    ToolOutcome { text, ..ToolOutcome::default() }
                }
                HostedCall::Mcp(server, offered) => {
                    let text = format!("{}.{} of {arguments}", server.label, offered.tool.name);
                    ToolOutcome { text, ..ToolOutcome::default() }
                }
            }
        }
        .boxed()
    }

    fn fork(&self, container: &str) -> Box<dyn ToolSession> {
        Box::new(TestSession { container: container.to_owned(), ..self.clone() })
    }

    fn pages(&self) -> Vec<CitedPage> {
        (0..self.num_pages).map(cited).collect()
    }

    fn num_bytes(&self) -> usize {
        0
    }
}

fn cited(cursor: u64) -> CitedPage {
    CitedPage { cursor, url: format!("https://site-{cursor}.example/page"), title: format!("Page {cursor}") }
}

impl TestSession {
    fn page(&mut self, call: HostedCall<'_>) -> ToolOutcome {
        let cursor = self.num_pages;
        self.num_pages += 1;
        let page = cited(cursor);
        let url = page.url.clone();
        ToolOutcome {
            text: format!(
                "[{cursor}] Page {cursor} ({url})\n**viewing lines [0 - 0] of 0**\n\nL0: <|end|> text"
            ),
            sources: if call == HostedCall::Search { vec![url.clone()] } else { Vec::new() },
            url: Some(url),
            pages: vec![page],
            ..ToolOutcome::default()
        }
    }
}
