//! Who runs tools: the seam between this room, which knows responses, and whoever knows browsers,
//! interpreters and MCP servers.
//!
//! A [`ToolHost`] says what the operator turned on. For each response that may use it there is one
//! [`ToolSession`], which answers one call after another; a call that nobody waits for any more is dropped.
//! The session ends when the response does, unless that ends at a call of the client's: then the response
//! that goes on has a fork of it. What comes back is text of strangers: it becomes a tool message, in which
//! nothing is a control token.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Bytes;
use futures_util::future::{BoxFuture, join_all};
use gptoss_api::ApiError;
use gptoss_api::generation::hosted::{self, HostedCall, ServerTools, ToolServer};
use gptoss_api::responses::events::{CitedPage, ToolOutcome};
use gptoss_api::wire::responses::ResponsesRequest;
use gptoss_govern::Scope;

use crate::keys::Caller;
use crate::scope::Need;

/// The tools that the operator turned on.
pub trait ToolHost: Send + Sync {
    /// Whether there is a browser.
    fn has_browser(&self) -> bool;

    /// Whether there is a Python.
    fn has_python(&self) -> bool;

    /// Labels of the MCP servers in the operator's list.
    fn labels(&self) -> Vec<String>;

    /// Asks the MCP server of that label what it offers; None where there is none.
    fn list<'a>(&'a self, label: &'a str) -> BoxFuture<'a, Option<ToolServer>>;

    /// A place for the calls of one response; code runs in the tenant's container of that name.
    fn open(&self, tenant: &str, container: &str) -> Box<dyn ToolSession>;

    /// Ends what runs in a tenant's container, which has ended: one of its name is another.
    fn forget(&self, tenant: &str, container: &str);
}

/// What lies in a container before the next call of its code.
#[derive(Debug, Clone, Default)]
pub struct ContainerInputs {
    /// Files in `/mnt/data`. Each is put there once in the life of a process.
    pub files: Vec<InputFile>,
    /// Paths of files that are to go.
    pub removed: Vec<String>,
    /// Most memory of a process that is started from now on, where that is less than the host's own limit.
    /// Units: bytes.
    pub memory_bytes: Option<u64>,
}

/// A file for a container.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Which it is, whatever it is called.
    pub id: String,
    /// Its name in `/mnt/data`.
    pub name: String,
    /// What stands in it.
    pub bytes: Bytes,
}

/// The calls of one response.
pub trait ToolSession: Send {
    /// What is to lie in its container when code runs there next.
    fn furnish(&mut self, inputs: ContainerInputs);

    /// Answers a call. One that fails is answered too.
    fn run<'a>(&'a mut self, call: HostedCall<'a>, arguments: &'a str) -> BoxFuture<'a, ToolOutcome>;

    /// Another session that is where this one is, whose code runs in the tenant's container of that name.
    fn fork(&self, container: &str) -> Box<dyn ToolSession>;

    /// The pages that an answer may cite by now.
    fn pages(&self) -> Vec<CitedPage>;

    /// What it holds in memory. Units: bytes.
    fn num_bytes(&self) -> usize;
}

/// What the server runs, without a look at what its MCP servers offer.
pub(crate) fn offered(host: &Arc<dyn ToolHost>) -> ServerTools {
    let (has_browser, has_python, labels) = (host.has_browser(), host.has_python(), host.labels());
    ServerTools { has_browser, has_python, labels, servers: Vec::new() }
}

/// What the server runs, as far as a request asks for it; nothing without a host.
///
/// Errors: `Unscoped`, when it asks for a server whose tools its key may not use.
pub(crate) async fn tools_for(
    host: Option<&Arc<dyn ToolHost>>,
    caller: &Caller,
    request: &ResponsesRequest,
) -> Result<ServerTools, ApiError> {
    let Some(host) = host else { return Ok(ServerTools::default()) };
    let mut asked = hosted::labels(request.tools.as_deref().unwrap_or_default());
    let labels = if asked.is_empty() { Vec::new() } else { host.labels() };
    let mut seen = HashSet::new();
    asked.retain(|label| labels.iter().any(|known| known == label) && seen.insert(*label));
    if !asked.is_empty() {
        // Whoever may not call them has them not asked.
        caller.scopes.meet(Need::Scope(Scope::Tools))?;
    }
    // All at once: each may take its time to start.
    let servers = join_all(asked.into_iter().map(|label| host.list(label))).await;
    Ok(ServerTools {
        has_browser: host.has_browser(),
        has_python: host.has_python(),
        labels,
        servers: servers.into_iter().flatten().collect(),
    })
}
