//! The tools that `gptoss serve` runs for its requests: what the operator turned on, opened once.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::{env, fs};

use anyhow::{Context, Result};
use futures_util::future::{BoxFuture, FutureExt};
use gptoss_server::{
    CitedPage, ContainerInputs, HostedCall, InputFile, Log, LogFormat, MadeFile, ServerTool, ToolHost,
    ToolOutcome, ToolServer, ToolSession,
};
use gptoss_tools::browser::{Action, Backend, Browsed, Browser, Limits};
use gptoss_tools::mcp::limits::McpLimits;
use gptoss_tools::mcp::{McpClient, McpError, McpTransport, parse_mcp_servers};
use gptoss_tools::{Container, Inputs, Python, ToolFile, ToolReply};

use crate::air_gap;
use crate::args::{LogForm, ServeArgs, ServedTool};
use crate::browser;
use crate::cells;

/// Opens the tools that are on; None when none is.
///
/// Errors: a usage error for flags that do not go together; a folder, file, key or Python that cannot be
/// used; walls that do not stand.
pub fn open(args: &ServeArgs) -> Result<Option<Arc<dyn ToolHost>>> {
    let is_on = args.tools.contains(&ServedTool::Browser);
    let source = browser::check(args.browser.as_ref(), is_on)?;
    let browser = source.map(browser::open).transpose()?.map(Arc::new);
    let is_on = args.tools.contains(&ServedTool::Python);
    let wasm = cells::check(args.python_wasm.as_deref(), is_on)?;
    let python = is_on.then(|| cells::python(wasm)).transpose()?;
    let servers = servers(args)?;
    if browser.is_none() && python.is_none() && servers.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(ServedTools { browser, python, servers: Arc::new(servers) })))
}

/// The MCP servers of the operator's file; none is started before it is asked.
fn servers(args: &ServeArgs) -> Result<BTreeMap<String, Server>> {
    let Some(file) = &args.mcp else { return Ok(BTreeMap::new()) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let configs = parse_mcp_servers(&text, &|name| env::var(name).ok())
        .with_context(|| format!("--mcp {} cannot be used", file.display()))?;
    air_gap::check_servers(&configs)?;
    let log = notices(args.log_format);
    let server =
        |config| Server { client: McpClient::new(config, McpLimits::default()), log: Arc::clone(&log) };
    Ok(configs.into_iter().map(|config| (config.label.clone(), server(config))).collect())
}

/// Writes what only the operator is told to standard error, as lines of the log look.
fn notices(form: LogForm) -> Log {
    let format = match form {
        LogForm::Text => LogFormat::Text,
        LogForm::Json => LogFormat::Json,
    };
    Arc::new(move |message| {
        // Without a reader there is nobody to tell.
        let _ = writeln!(io::stderr(), "{}", format.notice(message));
    })
}

/// The tools that are on.
struct ServedTools {
    browser: Option<Arc<Backend>>,
    python: Option<Python>,
    servers: Arc<BTreeMap<String, Server>>,
}

/// An MCP server.
struct Server {
    client: McpClient,
    /// Where the operator reads why it could not be asked.
    log: Log,
}

impl Server {
    /// What a tenant is told; the reason may have words of the operator's program in it, and is noted.
    fn told(&self, error: &McpError) -> String {
        (self.log)(&error.to_string());
        error.kind()
    }

    async fn list(&self) -> ToolServer {
        let config = self.client.config();
        let url = match &config.transport {
            McpTransport::Http(http) => Some(http.url.clone()),
            McpTransport::Stdio(_) => None,
        };
        let mut server =
            ToolServer { label: config.label.clone(), url, description: None, tools: Ok(Vec::new()) };
        match self.client.listing().await {
            Ok(listing) => {
                server.description.clone_from(&listing.instructions);
                let tools = listing.tools.iter().map(|tool| ServerTool {
                    name: tool.name.clone(),
                    description: Some(tool.description.clone()).filter(|text| !text.is_empty()),
                    input_schema: tool.input_schema.clone(),
                    annotations: tool.annotations.clone(),
                    asks_always: config.approval.is_needed(&tool.name),
                });
                server.tools = Ok(tools.collect());
            }
            Err(error) => server.tools = Err(self.told(&error)),
        }
        server
    }

    async fn call(&self, tool: &str, arguments: &str) -> ToolReply {
        match self.client.try_call_tool(tool, arguments).await {
            Ok(reply) => reply,
            Err(error) => ToolReply::error(self.told(&error)),
        }
    }
}

impl ToolHost for ServedTools {
    fn has_browser(&self) -> bool {
        self.browser.is_some()
    }

    fn has_python(&self) -> bool {
        self.python.is_some()
    }

    fn labels(&self) -> Vec<String> {
        self.servers.keys().cloned().collect()
    }

    fn list<'a>(&'a self, label: &'a str) -> BoxFuture<'a, Option<ToolServer>> {
        async move {
            match self.servers.get(label) {
                Some(server) => Some(server.list().await),
                None => None,
            }
        }
        .boxed()
    }

    fn open(&self, tenant: &str, container: &str) -> Box<dyn ToolSession> {
        let browser = self.browser.clone().map(|backend| Browser::new(backend, Limits::default()));
        let container = Container { owner: tenant.to_owned(), name: container.to_owned() };
        Box::new(Session {
            browser,
            python: self.python.clone(),
            container,
            inputs: Inputs::default(),
            servers: Arc::clone(&self.servers),
        })
    }

    fn forget(&self, tenant: &str, container: &str) {
        if let Some(python) = &self.python {
            python.end(&Container { owner: tenant.to_owned(), name: container.to_owned() });
        }
    }
}

/// The calls of one response.
#[derive(Clone)]
struct Session {
    browser: Option<Browser>,
    python: Option<Python>,
    /// Where code runs.
    container: Container,
    /// What is to lie there.
    inputs: Inputs,
    servers: Arc<BTreeMap<String, Server>>,
}

impl ToolSession for Session {
    fn furnish(&mut self, inputs: ContainerInputs) {
        let file =
            |file: InputFile| gptoss_tools::InputFile { id: file.id, name: file.name, bytes: file.bytes };
        let name = |path: String| path.strip_prefix("/mnt/data/").map(str::to_owned);
        self.inputs = Inputs {
            files: inputs.files.into_iter().map(file).collect(),
            removed: inputs.removed.into_iter().filter_map(name).collect(),
            memory_bytes: inputs.memory_bytes,
        };
    }

    fn run<'a>(&'a mut self, call: HostedCall<'a>, arguments: &'a str) -> BoxFuture<'a, ToolOutcome> {
        async move {
            let function = match call {
                HostedCall::Search => "search",
                HostedCall::Open => "open",
                HostedCall::Find => "find",
                HostedCall::Python => {
                    return match &self.python {
                        Some(python) => {
                            told(python.call_with(&self.container, arguments, &self.inputs).await)
                        }
                        None => told(ToolReply::error("Python is off.")),
                    };
                }
                HostedCall::Mcp(server, offered) => {
                    return match self.servers.get(&server.label) {
                        Some(found) => told(found.call(&offered.tool.name, arguments).await),
                        None => told(ToolReply::error("There is no such server.")),
                    };
                }
            };
            match &mut self.browser {
                Some(browser) => {
                    let browsed = browser.call(function, arguments).await;
                    seen(browsed, browser)
                }
                None => told(ToolReply::error("The browser is off.")),
            }
        }
        .boxed()
    }

    fn fork(&self, container: &str) -> Box<dyn ToolSession> {
        let container = Container { name: container.to_owned(), ..self.container.clone() };
        // What lies in a container is said before each call.
        Box::new(Session { container, inputs: Inputs::default(), ..self.clone() })
    }

    fn pages(&self) -> Vec<CitedPage> {
        self.browser.iter().flat_map(Browser::pages).map(cited).collect()
    }

    fn num_bytes(&self) -> usize {
        self.browser.as_ref().map_or(0, Browser::kept_bytes)
    }
}

fn cited((cursor, url): (usize, &str)) -> CitedPage {
    CitedPage { cursor: cursor as u64, url: url.to_owned(), title: String::new() }
}

/// Largest image that stands in a response as an address of its own. Units: bytes.
const IMAGE_BYTES_MAX: usize = 1 << 20;

fn told(reply: ToolReply) -> ToolOutcome {
    let images = reply.files.iter().filter_map(|file| file.image_url(IMAGE_BYTES_MAX)).collect();
    let made = |file: ToolFile| MadeFile { id: String::new(), path: file.path, bytes: file.bytes };
    let files = reply.files.into_iter().map(made).collect();
    ToolOutcome { text: reply.text, is_error: reply.is_error, images, files, ..ToolOutcome::default() }
}

/// What a call of the browser came to.
fn seen(Browsed { reply, action }: Browsed, browser: &Browser) -> ToolOutcome {
    let (url, sources) = match action {
        Some(Action::Search { sources, .. }) => (None, sources),
        Some(Action::OpenPage { url } | Action::FindInPage { url, .. }) => (url, Vec::new()),
        None => (None, Vec::new()),
    };
    // A call shows one page at most; those before it were told.
    let pages = browser.pages().last().map(cited).into_iter().collect();
    ToolOutcome { url, sources, pages, ..told(reply) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn tenants_are_not_told_what_a_program_wrote() {
        let entry = r#"{"mcpServers": {"wiki": {"command": "/bin/sh", "args": ["-c", "echo password >&2; exit 1"]}}}"#;
        let config = parse_mcp_servers(entry, &|_| None).unwrap().remove(0);
        let noted = Arc::new(Mutex::new(String::new()));
        let notes = Arc::clone(&noted);
        let server = Server {
            client: McpClient::new(config, McpLimits::default()),
            log: Arc::new(move |message| notes.lock().unwrap().push_str(message)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let told = runtime.block_on(server.list()).tools.unwrap_err();
        assert_eq!(told, "MCP server \"wiki\" could not be asked: it does not answer as one.");
        assert!(noted.lock().unwrap().contains("password"), "{noted:?}");
    }
}
