//! The tools of their names, at work.

use std::env;
use std::path::Path;

use anyhow::{Context, Result};
use gptoss_agent::{Tool, Toolbox};
use gptoss_tools::browser::{Browser, Limits};
use gptoss_tools::cell::{Cell, Launcher};
use gptoss_tools::mcp::limits::McpLimits;
use gptoss_tools::mcp::{McpClient, parse_mcp_servers};
use gptoss_tools::{Container, Shell, Workspace};

use crate::air_gap;
use crate::args::{BrowserSource, ToolArg};
use crate::browser;
use crate::cells;
use crate::failure::usage;
use crate::input::Source;

/// What tools of a name alone do not have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Where the browser searches and reads.
    pub browser: Option<&'a BrowserSource>,
    /// The file of servers.
    pub mcp: Option<&'a Path>,
    /// A Python in WebAssembly.
    pub python_wasm: Option<&'a Path>,
}

/// The tools of these names in a folder.
///
/// Errors: the folder is none; walls that cannot be built; a browser without a source, or one that cannot be
/// used; a server that is not in the file, or does not answer.
pub async fn of(tools: &[ToolArg], workspace: &Path, beside: Beside<'_>) -> Result<Toolbox> {
    let mut toolbox = Toolbox::default();
    for tool in tools {
        toolbox.tools.push(match tool {
            ToolArg::ApplyPatch => Tool::Patch(Workspace::open(workspace)?),
            ToolArg::Shell => Tool::Shell(Shell::new(Cell::stand(Launcher::own())?, workspace)?),
            ToolArg::Python => {
                Tool::Python { python: cells::python(beside.python_wasm)?, container: Container::default() }
            }
            ToolArg::Browser => {
                let source =
                    beside.browser.context("browser: say where it searches with --browser SOURCE")?;
                Tool::Browser(Browser::new(browser::open(source)?, Limits::default()).into())
            }
            ToolArg::Mcp(name) => server(name, beside.mcp).await?,
        });
    }
    Ok(toolbox)
}

/// A server, asked for its tools.
async fn server(name: &str, file: Option<&Path>) -> Result<Tool> {
    let Some(file) = file else {
        return Err(usage(format!("mcp:{name}: say where servers are with --mcp FILE")));
    };
    let text = Source::File(file).read_text()?;
    let servers = parse_mcp_servers(&text, &|variable| env::var(variable).ok())
        .with_context(|| format!("{}: not usable as --mcp", file.display()))?;
    let labels: Vec<&str> = servers.iter().map(|server| server.label.as_str()).collect();
    let labels = labels.join(", ");
    let config = servers
        .into_iter()
        .find(|server| server.label == name)
        .with_context(|| format!("{}: there is no server {name}; there are {labels}", file.display()))?;
    air_gap::check_servers([&config])?;
    let client = McpClient::new(config, McpLimits::default());
    let listing = client.listing().await.with_context(|| format!("mcp:{name}"))?;
    Ok(Tool::Mcp { client, listing })
}
