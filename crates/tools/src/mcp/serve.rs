//! Our tools for the clients of others: over standard input and output, streamable HTTP, and the older pair
//! of routes that vLLM and SGLang still speak.
//!
//! A server offers one tool, as OpenAI's own do: its name is harmony's namespace, its instructions are the
//! description that models were trained with. Each session has a tool of its own, so that cursors are one
//! client's.

mod answer;
mod events;
mod guard;
mod offer;

use std::future::IntoFuture;
use std::io;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use rmcp::service::{ServerInitializeError, serve_server};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;

pub use offer::{OfferedTool, OwnPython, ToolOffer};

use self::answer::Answerer;
use self::events::EventSessions;
use self::guard::Guard;
use super::limits::MCP_BODY_BYTES_MAX;

/// Answers one client over standard input and output, until its input ends.
///
/// Errors: a client that does not speak the protocol, or a tool that cannot be opened.
pub async fn serve_mcp_stdio(offer: &ToolOffer) -> io::Result<()> {
    let answerer = Answerer::new(offer.open()?);
    let pipes = (tokio::io::stdin(), tokio::io::stdout());
    let running = match serve_server(answerer, pipes).await {
        // Nothing was asked, which is what a client that has ended asks.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        other => other.map_err(io::Error::other)?,
    };
    running.waiting().await.map_err(io::Error::other)?;
    Ok(())
}

/// Answers clients over HTTP until `stop` ends: `/mcp` streamable, `/sse` and `/messages` as older clients
/// have it. Pages of browsers are refused unless they are this machine's, and so are, on a loopback address,
/// names of other machines.
///
/// Errors: a listener that fails.
pub async fn serve_mcp_http(
    listener: TcpListener,
    offer: ToolOffer,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let guard = Guard { is_loopback: listener.local_addr()?.ip().is_loopback() };
    let sessions = EventSessions::new(offer.clone());
    // Whose host and origin are right is decided by the guard, for all routes alike.
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .with_max_request_body_bytes(MCP_BODY_BYTES_MAX);
    let streamable = StreamableHttpService::new(
        move || Ok(Answerer::with_sessions(offer.open()?)),
        LocalSessionManager::default().into(),
        config,
    );
    let router = Router::new()
        .route_service("/mcp", streamable)
        .route("/sse", get(events::open))
        .route("/messages", post(events::receive))
        .with_state(sessions)
        .layer(DefaultBodyLimit::max(MCP_BODY_BYTES_MAX))
        .layer(from_fn_with_state(guard, guard::check));
    tokio::select! {
        ended = axum::serve(listener, router).into_future() => ended,
        // Streams that are open would never end by themselves.
        () = stop => Ok(()),
    }
}
