//! Which tool is served, and how many sessions have one.

use std::io;
use std::sync::Arc;

use gptoss_harmony::ToolNamespace;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::browser::Browser;
use crate::mcp::limits::MCP_SESSIONS_MAX;
use crate::reply::ToolReply;

/// A tool of one session.
#[derive(Debug)]
pub enum OfferedTool {
    /// `search`, `open` and `find`.
    Browser(Box<Browser>),
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
        };
        Ok(OpenTool { namespace, tool: Mutex::new(tool), _place: place })
    }
}

impl OpenTool {
    /// Calls a function of the namespace, one call at a time.
    pub(super) async fn call(&self, function: &str, arguments: &str) -> ToolReply {
        match &mut *self.tool.lock().await {
            OfferedTool::Browser(browser) => browser.call(function, arguments).await.reply,
        }
    }
}

/// What people read in the place of a function's name: the words of OpenAI's servers.
pub(super) fn title(function: &str) -> Option<&'static str> {
    match function {
        "search" => Some("Search for information"),
        "open" => Some("Open a link or page"),
        "find" => Some("Find pattern in page"),
        _ => None,
    }
}
