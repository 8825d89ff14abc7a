//! Which tool is served, and how many sessions have one.

use std::io;
use std::sync::Arc;

use gptoss_harmony::{FunctionTool, ToolNamespace};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::browser::Browser;
use crate::mcp::limits::MCP_SESSIONS_MAX;
use crate::python::{Container, Python};
use crate::reply::ToolReply;

/// A tool of one session.
#[derive(Debug)]
pub enum OfferedTool {
    /// `search`, `open` and `find`.
    Browser(Box<Browser>),
    /// `python`.
    Python(Box<OwnPython>),
}

/// The process of one session, which ends with it.
#[derive(Debug)]
pub struct OwnPython {
    python: Python,
    container: Container,
}

impl OwnPython {
    /// A process that nobody else has: no other session was given this number.
    pub fn new(python: Python, number: u64) -> Self {
        Self { python, container: Container { name: number.to_string(), ..Container::default() } }
    }
}

impl Drop for OwnPython {
    fn drop(&mut self) {
        self.python.forget(&self.container);
    }
}

/// The name of the tool that takes text, and of its one function.
pub(super) const PYTHON: &str = "python";

/// The arguments of a call of it.
#[derive(Deserialize)]
struct Code {
    code: String,
}

/// Opens a tool for each session, of which there are so many at once.
#[derive(Clone)]
pub struct ToolOffer {
    open: Arc<dyn Fn() -> io::Result<OfferedTool> + Send + Sync>,
    free: Arc<Semaphore>,
}

/// A tool that is open, and its place among them.
pub(super) struct OpenTool {
    pub(super) namespace: ToolNamespace,
    tool: Mutex<OfferedTool>,
    _place: OwnedSemaphorePermit,
}

impl ToolOffer {
    /// An offer of what `open` gives.
    pub fn new(open: impl Fn() -> io::Result<OfferedTool> + Send + Sync + 'static) -> Self {
        Self { open: Arc::new(open), free: Arc::new(Semaphore::new(MCP_SESSIONS_MAX)) }
    }

    /// A tool for a new session.
    pub(super) fn open(&self) -> io::Result<OpenTool> {
        let full = |_| io::Error::other(format!("{MCP_SESSIONS_MAX} sessions are open; try again later"));
        let place = Arc::clone(&self.free).try_acquire_owned().map_err(full)?;
        let tool = (self.open)()?;
        let namespace = match &tool {
            OfferedTool::Browser(_) => ToolNamespace::browser(),
            OfferedTool::Python(_) => python_namespace(),
        };
        Ok(OpenTool { namespace, tool: Mutex::new(tool), _place: place })
    }
}

impl OpenTool {
    /// Calls a function of the namespace, one call at a time.
    pub(super) async fn call(&self, function: &str, arguments: &str) -> ToolReply {
        match &mut *self.tool.lock().await {
            OfferedTool::Browser(browser) => browser.call(function, arguments).await.reply,
            OfferedTool::Python(own) => match serde_json::from_str(arguments) {
                Ok(Code { code }) => own.python.call(&own.container, &code).await,
                Err(_) => ToolReply::error("The call holds no code: give {\"code\": \"...\"}."),
            },
        }
    }
}

/// The models write code as it is; the protocol has only objects.
fn python_namespace() -> ToolNamespace {
    let mut namespace = ToolNamespace::python();
    namespace.tools.push(FunctionTool {
        name: PYTHON.to_owned(),
        description: namespace.description.clone().unwrap_or_default(),
        parameters: Some(json!({
            "type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"],
        })),
    });
    namespace
}

/// What people read in the place of a function's name: the words of OpenAI's servers.
pub(super) fn title(function: &str) -> Option<&'static str> {
    match function {
        "search" => Some("Search for information"),
        "open" => Some("Open a link or page"),
        "find" => Some("Find pattern in page"),
        PYTHON => Some("Execute Python code"),
        _ => None,
    }
}
