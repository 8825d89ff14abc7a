//! One connection to a server, from its start to its end.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{PaginatedRequestParams, ProtocolVersion, Tool};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, RunningService, ServiceError,
    serve_client_with_lifecycle,
};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};
use tokio::process::Command;

use super::child::Child;
use super::config::{McpHttp, McpProgram, McpServerConfig, McpTransport};
use super::error::McpError;
use super::handler::Handler;
use super::http_client::HttpClient;
use super::limits::{MCP_ERROR_BYTES_MAX, MCP_MESSAGE_BYTES_MAX, MCP_TOOLS_MAX};
use super::listing::{McpListing, listing};
use super::stranger_text::one_line;

/// How often a broken stream of a server is opened again.
const STREAM_TRIES_MAX: usize = 3;

/// A program as it is, with the environment of its entry alone.
fn command(program: &McpProgram) -> Command {
    let mut command = Command::new(&program.command);
    command.args(&program.args).env_clear().envs(program.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &program.cwd {
        command.current_dir(cwd);
    }
    command
}

/// A server that answers.
pub(super) struct Session {
    service: RunningService<RoleClient, Handler>,
    child: Mutex<Option<Child>>,
    listing: Mutex<Arc<McpListing>>,
}

impl Session {
    /// Starts or reaches a server and reads its tools. Whoever calls bounds the time.
    pub(super) async fn open(config: &McpServerConfig) -> Result<Self, McpError> {
        let (service, child) = connect(config).await?;
        let session = Self { service, child: Mutex::new(child), listing: Mutex::default() };
        session.read_tools(config).await?;
        Ok(session)
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.service.is_closed() || self.service.is_transport_closed()
    }

    /// Where requests go.
    pub(super) fn peer(&self) -> &Peer<RoleClient> {
        self.service.peer()
    }

    /// What the server offers, read again if it said that this has changed.
    pub(super) async fn listing(&self, config: &McpServerConfig) -> Result<Arc<McpListing>, McpError> {
        let changed: &AtomicBool = &self.service.service().tools_changed;
        if changed.swap(false, Ordering::Relaxed) {
            let mut unread = Unread(Some(changed));
            self.read_tools(config).await?;
            unread.0 = None;
        }
        Ok(self.known_listing())
    }

    /// What the server offered when its tools were last read.
    pub(super) fn known_listing(&self) -> Arc<McpListing> {
        Arc::clone(&self.listing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn read_tools(&self, config: &McpServerConfig) -> Result<(), McpError> {
        let tools = match all_tools(self.peer()).await {
            Ok(tools) => tools,
            Err(error) => {
                let reason = self.reason(&error).await;
                return Err(McpError::Handshake { label: config.label.clone(), reason });
            }
        };
        let info = self.peer().peer_info();
        let instructions = info.as_ref().and_then(|info| info.instructions.as_deref());
        let listing = listing(config, instructions, tools);
        *self.listing.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(listing);
        Ok(())
    }

    /// What went wrong, with a program's last words if it has ended.
    pub(super) async fn reason(&self, error: &ServiceError) -> String {
        let child = match error {
            ServiceError::TransportClosed | ServiceError::TransportSend(_) => {
                self.child.lock().unwrap_or_else(PoisonError::into_inner).take()
            }
            _ => None,
        };
        match child {
            Some(mut child) => child.last_words().await,
            None => told(error),
        }
    }

    /// Ends the connection, and the program behind it.
    pub(super) async fn close(&self) {
        self.service.cancellation_token().cancel();
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(child) = child {
            child.stop().await;
        }
    }
}

/// Sets a flag again if what it stands for was not done: it failed, or nobody waited.
struct Unread<'a>(Option<&'a AtomicBool>);

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if let Some(changed) = self.0 {
            changed.store(true, Ordering::Relaxed);
        }
    }
}

fn told(error: &dyn std::fmt::Display) -> String {
    one_line(&error.to_string(), MCP_ERROR_BYTES_MAX)
}

/// By the handshake that all servers have had, or where that is refused by the newer one that has none.
async fn connect(
    config: &McpServerConfig,
) -> Result<(RunningService<RoleClient, Handler>, Option<Child>), McpError> {
    let newer = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    match attempt(config, ClientLifecycleMode::Initialize).await? {
        Ok(connected) => Ok(connected),
        Err(refused) => match attempt(config, newer).await? {
            Ok(connected) => Ok(connected),
            Err(_) => Err(McpError::Handshake { label: config.label.clone(), reason: refused }),
        },
    }
}

type Attempt = Result<(RunningService<RoleClient, Handler>, Option<Child>), String>;

/// The connection, or the words in which the server refuses this handshake and may take another.
async fn attempt(config: &McpServerConfig, mode: ClientLifecycleMode) -> Result<Attempt, McpError> {
    match &config.transport {
        McpTransport::Http(http) => {
            gptoss_egress::check(format_args!("the MCP server {:?}", config.label))
                .map_err(|refused| McpError::Closed { label: config.label.clone(), refused })?;
            let transport = http_transport(http);
            let served = serve_client_with_lifecycle(Handler::default(), transport, mode).await;
            Ok(served.map(|service| (service, None)).map_err(|error| told(&error)))
        }
        McpTransport::Stdio(program) => {
            let failed = |error: io::Error| McpError::Start {
                label: config.label.clone(),
                command: program.command.clone(),
                reason: error.to_string(),
            };
            let (mut child, output, input) = Child::start(command(program)).map_err(failed)?;
            let transport =
                AsyncRwTransport::new_client(output, input).with_max_line_length(MCP_MESSAGE_BYTES_MAX);
            match serve_client_with_lifecycle(Handler::default(), transport, mode).await {
                Ok(service) => Ok(Ok((service, Some(child)))),
                Err(error @ ClientInitializeError::JsonRpcError(_)) => Ok(Err(told(&error))),
                Err(
                    ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. },
                ) => {
                    Err(McpError::Handshake { label: config.label.clone(), reason: child.last_words().await })
                }
                Err(error) => Err(McpError::Handshake { label: config.label.clone(), reason: told(&error) }),
            }
        }
    }
}

fn http_transport(http: &McpHttp) -> StreamableHttpClientTransport<HttpClient> {
    let headers: HashMap<_, _> = http.headers.iter().cloned().collect();
    let mut config = StreamableHttpClientTransportConfig::with_uri(http.url.as_str()).custom_headers(headers);
    let mut retry = ExponentialBackoff::default();
    retry.max_times = Some(STREAM_TRIES_MAX);
    retry.max_delay = Some(Duration::from_secs(5));
    config.retry_config = Arc::new(retry);
    StreamableHttpClientTransport::with_client(HttpClient::new(), config)
}

/// All tools, page by page.
async fn all_tools(peer: &Peer<RoleClient>) -> Result<Vec<Tool>, ServiceError> {
    let mut tools = Vec::new();
    let mut cursor = None;
    for _ in 0..MCP_TOOLS_MAX {
        let page = peer.list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await?;
        tools.extend(page.tools);
        cursor = page.next_cursor;
        if cursor.is_none() || tools.len() > MCP_TOOLS_MAX {
            break;
        }
    }
    Ok(tools)
}
