//! A server as the rest of the program sees it: what it offers, and what a call gives back.
//!
//! It is started when it is first asked. One that has ended is told in the reply and started again at the
//! next call.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotification,
    CancelledNotificationParam, ClientRequest, RequestId, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, ServiceError};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::{timeout, timeout_at};

use super::config::McpServerConfig;
use super::error::McpError;
use super::limits::{
    MCP_CALL_GRACE_MAX, MCP_ERROR_BYTES_MAX, MCP_FAILURE_TIME_MAX, MCP_STOP_TIME_MAX, McpLimits,
};
use super::listing::McpListing;
use super::reply::tool_reply;
use super::session::Session;
use super::stranger_text::one_line;
use crate::reply::ToolReply;

/// Which tool is called.
#[derive(Debug, Clone, Copy)]
enum Asked<'a> {
    /// By the name that models know.
    Function(&'a str),
    /// By the server's.
    Tool(&'a str),
}

/// A server, reached when it is needed.
pub struct McpClient {
    config: McpServerConfig,
    limits: McpLimits,
    /// The connection, if there was one; it may have ended.
    session: Mutex<Option<Arc<Session>>>,
    /// When it could not be asked, and why; none once it could.
    failed: std::sync::Mutex<Option<(Instant, McpError)>>,
}

impl McpClient {
    /// A server that is not reached yet.
    pub fn new(config: McpServerConfig, limits: McpLimits) -> Self {
        Self { config, limits, session: Mutex::default(), failed: std::sync::Mutex::default() }
    }

    /// How it is reached, and what it is trusted with.
    pub fn config(&self) -> &McpServerConfig {
        &self.config
    }

    /// What the server offers now.
    ///
    /// Errors: a server that does not start, does not answer as one, or takes too long, now or a moment ago.
    pub async fn listing(&self) -> Result<Arc<McpListing>, McpError> {
        if let Some(error) = self.recent_failure() {
            return Err(error);
        }
        let end = tokio::time::Instant::now() + self.limits.start;
        let (session, _) = self.reach(end).await?;
        let listing = self.timely("tell its tools", end, session.listing(&self.config)).await;
        self.remember(listing.as_ref().err());
        listing
    }

    /// Calls a function of the server's namespace with the arguments that the model wrote: JSON, or nothing.
    /// Whoever calls has asked for approval where [`super::McpApproval::is_needed`]. Dropping the future
    /// tells the server that nobody waits any more. Where the server could not be asked, or ended before it
    /// answered, the reply has the whole reason.
    pub async fn call(&self, function: &str, arguments: &str) -> ToolReply {
        match self.ask(Asked::Function(function), arguments).await {
            Ok(reply) => reply,
            Err(error) => ToolReply::error(error.to_string()),
        }
    }

    /// The same by the server's own name of the tool, which stays when the server starts again and lists its
    /// tools otherwise.
    ///
    /// Errors: a server that could not be asked, or ended before it answered.
    pub async fn try_call_tool(&self, name: &str, arguments: &str) -> Result<ToolReply, McpError> {
        self.ask(Asked::Tool(name), arguments).await
    }

    async fn ask(&self, asked: Asked<'_>, arguments: &str) -> Result<ToolReply, McpError> {
        let arguments = match parse_arguments(arguments) {
            Ok(arguments) => arguments,
            Err(reason) => return Ok(ToolReply::error(reason)),
        };
        let (session, has_restarted) = self.reach(tokio::time::Instant::now() + self.limits.start).await?;
        let listing = session.known_listing();
        let tool = match asked {
            Asked::Function(function) => listing.tool(function),
            Asked::Tool(name) => listing.tools.iter().find(|tool| tool.name == name),
        };
        let Some(tool) = tool else {
            let names: Vec<&str> = listing.tools.iter().map(|tool| tool.function.as_str()).collect();
            let (Asked::Function(asked) | Asked::Tool(asked)) = asked;
            let asked = one_line(asked, MCP_ERROR_BYTES_MAX);
            let problem = format!("there is no function {asked:?}; there are: {}", names.join(", "));
            return Ok(ToolReply::error(problem));
        };
        let params = CallToolRequestParams::new(tool.name.clone()).with_arguments(arguments);
        let late = self.limits.call.saturating_add(MCP_CALL_GRACE_MAX);
        let mut reply = match timeout(late, self.answer(session.peer(), params)).await {
            Ok(Ok(result)) => tool_reply(&result, self.limits.output_bytes),
            Ok(Err(error)) => self.failure(&session, &error).await?,
            Err(_) => {
                // What does not even take a cancellation is started again at the next call.
                session.close().await;
                let (label, what) = (self.config.label.clone(), "answer");
                return Err(McpError::Time { label, what, limit: self.limits.call });
            }
        };
        if has_restarted {
            let label = &self.config.label;
            reply.text = format!("[MCP server {label:?} had ended and was started again]\n{}", reply.text);
        }
        Ok(reply)
    }

    /// Ends the connection, if there is one.
    pub async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            session.close().await;
        }
    }

    /// The connection, by `end`, and whether an earlier one had ended.
    async fn reach(&self, end: tokio::time::Instant) -> Result<(Arc<Session>, bool), McpError> {
        let reached = self.timely("start", end, self.session()).await;
        self.remember(reached.as_ref().err());
        reached
    }

    /// Why the server could not be asked a moment ago.
    fn recent_failure(&self) -> Option<McpError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = failed.as_ref().filter(|(at, _)| at.elapsed() < MCP_FAILURE_TIME_MAX);
        recent.map(|(_, error)| error.clone())
    }

    /// Keeps why the server could not be asked. Those who were told of a failure do not prolong it.
    fn remember(&self, error: Option<&McpError>) {
        let is_known = error.is_some() && self.recent_failure().is_some();
        if !is_known {
            let failed = error.map(|error| (Instant::now(), error.clone()));
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        }
    }

    /// The connection, made when there is none, and whether an earlier one had ended. Whoever calls bounds
    /// the time.
    async fn session(&self) -> Result<(Arc<Session>, bool), McpError> {
        let mut held = self.session.lock().await;
        let earlier = held.take_if(|session| session.is_closed());
        if let Some(session) = &*held {
            return Ok((Arc::clone(session), false));
        }
        if let Some(earlier) = &earlier {
            earlier.close().await;
        }
        // Whoever waited while it did not start need not try too.
        if let Some(error) = self.recent_failure() {
            return Err(error);
        }
        let opened = Session::open(&self.config).await;
        // Before the lock is free, so that it is known to whoever gets it.
        self.remember(opened.as_ref().err());
        let session = Arc::new(opened?);
        *held = Some(Arc::clone(&session));
        Ok((session, earlier.is_some()))
    }

    async fn timely<T>(
        &self,
        what: &'static str,
        end: tokio::time::Instant,
        asked: impl Future<Output = Result<T, McpError>>,
    ) -> Result<T, McpError> {
        let late = || McpError::Time { label: self.config.label.clone(), what, limit: self.limits.start };
        timeout_at(end, asked).await.unwrap_or_else(|_| Err(late()))
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

    /// What the model reads instead of a result.
    ///
    /// Errors: the server has ended, or did not answer as one.
    async fn failure(&self, session: &Arc<Session>, error: &ServiceError) -> Result<ToolReply, McpError> {
        let label = &self.config.label;
        let has_ended = matches!(error, ServiceError::TransportClosed | ServiceError::TransportSend(_));
        Ok(ToolReply::error(match error {
            _ if has_ended => {
                let reason = session.reason(error).await;
                let mut held = self.session.lock().await;
                held.take_if(|held| Arc::ptr_eq(held, session));
                return Err(McpError::Ended { label: label.clone(), reason });
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
            error => {
                let reason = one_line(&error.to_string(), MCP_ERROR_BYTES_MAX);
                return Err(McpError::Answer { label: label.clone(), reason });
            }
        }))
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
            let told = peer.send_notification(CancelledNotification::new(params).into());
            let _ = timeout(MCP_STOP_TIME_MAX, told).await;
        });
    }
}

fn parse_arguments(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(|error| format!("the arguments are not a JSON object: {error}"))
}
