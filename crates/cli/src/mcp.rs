//! `gptoss mcp`: our tools for the clients of others, over the Model Context Protocol.
//!
//! Over standard input and output the client is whoever started the program, and nothing else is written to
//! standard output. Over HTTP whoever reaches the address may use the tool, which is told where that is not
//! this machine alone.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use gptoss_tools::browser::{Browser, Limits};
use gptoss_tools::mcp::{OfferedTool, OwnPython, ToolOffer, serve_mcp_http, serve_mcp_stdio};
use tokio::net::TcpListener;

use crate::air_gap;
use crate::args::{BrowserSource, McpArgs, McpToolCommand};
use crate::browser;
use crate::cells;

/// Runs the command.
pub fn run(args: &McpArgs) -> Result<ExitCode> {
    let (McpToolCommand::Browser { clients, .. } | McpToolCommand::Python { clients, .. }) = &args.tool;
    let listener = clients.http.map(bind).transpose()?;
    if listener.is_some() {
        air_gap::wall()?;
    }
    let offer = match &args.tool {
        McpToolCommand::Browser { source, .. } => browser(source)?,
        McpToolCommand::Python { python_wasm, .. } => python(python_wasm.as_deref())?,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        match listener {
            None => serve_mcp_stdio(&offer).await.context("the client on standard input"),
            Some(listener) => http(listener, offer).await,
        }
    })?;
    // A read of standard input may never end.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// All sessions see a folder as it was when the program began: its memory is taken once.
fn browser(source: &BrowserSource) -> Result<ToolOffer> {
    let backend = Arc::new(browser::open(source)?);
    Ok(ToolOffer::new(move || {
        let browser = Browser::new(Arc::clone(&backend), Limits::default());
        Ok(OfferedTool::Browser(Box::new(browser)))
    }))
}

/// Each session has a process of its own, with a number for a name.
fn python(wasm: Option<&Path>) -> Result<ToolOffer> {
    let python = cells::python(wasm)?;
    let num_sessions = AtomicU64::new(0);
    Ok(ToolOffer::new(move || {
        let number = num_sessions.fetch_add(1, Ordering::Relaxed);
        Ok(OfferedTool::Python(Box::new(OwnPython::new(python.clone(), number))))
    }))
}

/// Before anything else: then no socket is made any more.
fn bind(address: SocketAddr) -> Result<std::net::TcpListener> {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        std::io::Result::Ok(listener)
    };
    bind().with_context(|| format!("--http: cannot listen at {address}"))
}

async fn http(listener: std::net::TcpListener, offer: ToolOffer) -> Result<()> {
    let listener = TcpListener::from_std(listener).context("--http")?;
    let address = listener.local_addr().context("the port has no address")?;
    if !address.ip().is_loopback() {
        eprintln!("warning: whoever reaches {address} may use this tool; no key is asked for");
    }
    eprintln!("listening at http://{address}/mcp, and at http://{address}/sse for older clients");
    let stop = async {
        // Without its signal the program ends as any other does.
        let _ = tokio::signal::ctrl_c().await;
    };
    serve_mcp_http(listener, offer, stop).await.context("the listener failed")
}
