//! A server as the rest of the program sees it: what it offers, and what a call gives back.
//!
//! It is started when it is first asked. One that has ended is told in the reply and started again at the
//! next call.

use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotification,
    CancelledNotificationParam, ClientRequest, RequestId, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, ServiceError};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::config::McpServerConfig;
use super::error::McpError;
use super::limits::{MCP_ERROR_BYTES_MAX, McpLimits};
use super::listing::McpListing;
use super::reply::tool_reply;
use super::session::{McpLaunch, Session};
use super::stranger_text::one_line;
use crate::reply::ToolReply;

/// A server, reached when it is needed.
pub struct McpClient {
    config: McpServerConfig,
    limits: McpLimits,
    launch: McpLaunch,
    /// The connection, if there was one; it may have ended.
    session: Mutex<Option<Arc<Session>>>,
}

impl McpClient {
    /// A server that is not reached yet.
    pub fn new(config: McpServerConfig, limits: McpLimits, launch: McpLaunch) -> Self {
        Self { config, limits, launch, session: Mutex::default() }
    }

    /// How it is reached, and what it is trusted with.
    pub fn config(&self) -> &McpServerConfig {
        &self.config
    }

    /// What the server offers now.
    ///
    /// Errors: a server that does not start, does not answer as one, or takes too long.
    pub async fn listing(&self) -> Result<Arc<McpListing>, McpError> {
        let (session, _) = self.session().await?;
        self.timely("tell its tools", session.listing(&self.config)).await
    }

    /// Calls a function of the server's namespace with the arguments that the model wrote: JSON, or nothing.
    /// Whoever calls has asked for approval where [`super::McpApproval::is_needed`]. Dropping the future
    /// tells the server that nobody waits any more.
    pub async fn call(&self, function: &str, arguments: &str) -> ToolReply {
        let arguments = match parse_arguments(arguments) {
            Ok(arguments) => arguments,
            Err(reason) => return ToolReply::error(reason),
        };
        let (session, has_restarted) = match self.session().await {
            Ok(session) => session,
            Err(error) => return ToolReply::error(error.to_string()),
        };
        let listing = session.known_listing();
        let Some(tool) = listing.tool(function) else {
            let names: Vec<&str> = listing.tools.iter().map(|tool| tool.function.as_str()).collect();
            let asked = one_line(function, MCP_ERROR_BYTES_MAX);
            return ToolReply::error(format!(
                "there is no function {asked:?}; there are: {}",
                names.join(", ")
            ));
        };
        let params = CallToolRequestParams::new(tool.name.clone()).with_arguments(arguments);
        let mut reply = match self.answer(session.peer(), params).await {
            Ok(result) => tool_reply(&result, self.limits.output_bytes),
            Err(error) => self.failure(&session, &error).await,
        };
        if has_restarted {
            let label = &self.config.label;
            reply.text = format!("[MCP server {label:?} had ended and was started again]\n{}", reply.text);
        }
        reply
    }

    /// Ends the connection, if there is one.
    pub async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            session.close().await;
        }
    }

    /// The connection, made when there is none, and whether an earlier one had ended.
    async fn session(&self) -> Result<(Arc<Session>, bool), McpError> {
        let mut held = self.session.lock().await;
        let earlier = held.take_if(|session| session.is_closed());
        if let Some(session) = &*held {
            return Ok((Arc::clone(session), false));
        }
        if let Some(earlier) = &earlier {
            earlier.close().await;
        }
        let session = Arc::new(self.timely("start", Session::open(&self.config, &self.launch)).await?);
        *held = Some(Arc::clone(&session));
        Ok((session, earlier.is_some()))
    }

    async fn timely<T>(
        &self,
        what: &'static str,
        asked: impl Future<Output = Result<T, McpError>>,
    ) -> Result<T, McpError> {
        let late = || McpError::Time { label: self.config.label.clone(), what, limit: self.limits.start };
        timeout(self.limits.start, asked).await.unwrap_or_else(|_| Err(late()))
    }

    async fn answer(
        &self,
        peer: &Peer<RoleClient>,
        params: CallToolRequestParams,
    ) -> Result<CallToolResult, ServiceError> {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let options = PeerRequestOptions::with_timeout(self.limits.call);
        let handle = peer.send_cancellable_request(request, options).await?;
        let mut unanswered = Unanswered { peer: peer.clone(), id: Some(handle.id.clone()) };
        let answer = handle.await_response().await;
        unanswered.id = None;
        match answer? {
            ServerResult::CallToolResult(result) => Ok(result),
            ServerResult::EmptyResult(_) => Ok(CallToolResult::default()),
            _ => Err(ServiceError::UnexpectedResponse),
        }
    }

    async fn failure(&self, session: &Arc<Session>, error: &ServiceError) -> ToolReply {
        let label = &self.config.label;
        let has_ended = matches!(error, ServiceError::TransportClosed | ServiceError::TransportSend(_));
        ToolReply::error(match error {
            _ if has_ended => {
                let reason = session.reason(error).await;
                let mut held = self.session.lock().await;
                held.take_if(|held| Arc::ptr_eq(held, session));
                format!("MCP server {label:?} has ended: {reason}. It is started again at the next call.")
            }
            ServiceError::Timeout { .. } => {
                let limit = self.limits.call.as_secs_f64();
                format!("MCP server {label:?} did not answer within {limit} s; the call was canceled.")
            }
            ServiceError::McpError(error) => {
                format!("MCP server {label:?} refuses: {}", one_line(&error.message, MCP_ERROR_BYTES_MAX))
            }
            ServiceError::UnexpectedResponse => {
                format!("MCP server {label:?} asks for more than arguments, which is not given.")
            }
            error => format!("MCP server {label:?}: {}", one_line(&error.to_string(), MCP_ERROR_BYTES_MAX)),
        })
    }
}

/// Tells the server, when it is dropped before an answer, that nobody waits.
struct Unanswered {
    peer: Peer<RoleClient>,
    id: Option<RequestId>,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let peer = self.peer.clone();
        runtime.spawn(async move {
            let params = CancelledNotificationParam::new(Some(id), Some("nobody waits any more".to_owned()));
            // A server that has ended need not be told.
            let _ = peer.send_notification(CancelledNotification::new(params).into()).await;
        });
    }
}

fn parse_arguments(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(|error| format!("the arguments are not a JSON object: {error}"))
}
