//! The tools of their names, at work.

use std::env;
use std::path::Path;

use anyhow::{Context, Result};
use gptoss_agent::{Tool, Toolbox};
use gptoss_tools::cell::{Cell, Launcher};
use gptoss_tools::mcp::limits::McpLimits;
use gptoss_tools::mcp::{McpClient, parse_mcp_servers};
use gptoss_tools::{Interpreter, Python, Shell, Workspace};

use crate::args::ToolArg;
use crate::cells;
use crate::failure::usage;
use crate::input::Source;

/// Whose Python it is: there is one conversation.
const CONVERSATION: &str = "agent";

/// The tools of these names in a folder, with the servers of a file.
///
/// Errors: the folder is none; walls that cannot be built; a server that is not in the file, or does not
/// answer.
pub async fn of(tools: &[ToolArg], workspace: &Path, mcp: Option<&Path>) -> Result<Toolbox> {
    let mut toolbox = Toolbox::default();
    for tool in tools {
        toolbox.tools.push(match tool {
            ToolArg::ApplyPatch => Tool::Patch(Workspace::open(workspace)?),
            ToolArg::Shell => Tool::Shell(Shell::new(Cell::stand(Launcher::own())?, workspace)?),
            ToolArg::Python => {
                let interpreter = Interpreter::find(&cells::programs())?;
                let python = Python::new(Cell::stand(Launcher::own())?, interpreter);
                Tool::Python { python, conversation: CONVERSATION.to_owned() }
            }
            ToolArg::Mcp(name) => server(name, mcp).await?,
        });
    }
    Ok(toolbox)
}

/// A server, asked for its tools.
async fn server(name: &str, file: Option<&Path>) -> Result<Tool> {
    let Some(file) = file else {
        return Err(usage(format!("mcp:{name}: say where servers are with --mcp FILE.json")));
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
    let client = McpClient::new(config, McpLimits::default());
    let listing = client.listing().await.with_context(|| format!("mcp:{name}"))?;
    Ok(Tool::Mcp { client, listing })
}
