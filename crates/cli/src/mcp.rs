//! `gptoss mcp`: our tools for the clients of others, over the Model Context Protocol.
//!
//! Over standard input and output the client is whoever started the program, and nothing else is written to
//! standard output. Over HTTP whoever reaches the address may use the tool, which is told where that is not
//! this machine alone.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use gptoss_tools::browser::{Backend, Browser, Corpus, Limits};
use gptoss_tools::mcp::{OfferedTool, ToolOffer, serve_mcp_http, serve_mcp_stdio};
use tokio::net::TcpListener;

use crate::args::{McpArgs, McpBrowserArgs, McpToolCommand};

/// Runs the command.
pub fn run(args: &McpArgs) -> Result<ExitCode> {
    let (offer, clients) = match &args.tool {
        McpToolCommand::Browser(args) => (browser(args)?, &args.clients),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    runtime.block_on(async {
        match clients.http {
            None => serve_mcp_stdio(&offer).await.context("the client on standard input"),
            Some(address) => http(address, offer).await,
        }
    })?;
    // A read of standard input may never end.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// All sessions see the folder as it was when the program began: its memory is taken once.
fn browser(args: &McpBrowserArgs) -> Result<ToolOffer> {
    let limits = Limits::default();
    let corpus = Corpus::open(&args.corpus, limits.page_bytes_max)
        .map_err(|error| anyhow::anyhow!("--corpus: {error}"))?;
    let backend = Arc::new(Backend::Corpus(corpus));
    Ok(ToolOffer::new(move || {
        let browser = Browser::new(Arc::clone(&backend), limits.clone());
        Ok(OfferedTool::Browser(Box::new(browser)))
    }))
}

async fn http(address: SocketAddr, offer: ToolOffer) -> Result<()> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("--http: cannot listen at {address}"))?;
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
