//! The older transport over HTTP, of revision 2024-11-05: a stream of events that names where messages are
//! posted.
//!
//! vLLM (`--tool-server`) and SGLang open `/sse` and know no other, so the two routes are here by hand: rmcp
//! has dropped them. A stream is a session; it ends with its connection.
//!
//! Source: the specification's revision 2024-11-05, `basic/transports`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::{self, StreamExt};
use rmcp::RoleServer;
use rmcp::model::ClientJsonRpcMessage;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage, serve_server};
use rmcp::transport::Transport;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::answer::Answerer;
use super::offer::{PYTHON, ToolOffer};

/// Messages that wait on either way. Beyond it a client is told to try again, and an answer waits.
const MESSAGES_MAX: usize = 16;

type Senders = Arc<Mutex<HashMap<String, Sender<ClientJsonRpcMessage>>>>;

/// The streams that are open.
#[derive(Clone)]
pub(super) struct EventSessions {
    offer: ToolOffer,
    senders: Senders,
}

impl EventSessions {
    pub(super) fn new(offer: ToolOffer) -> Self {
        Self { offer, senders: Senders::default() }
    }
}

/// The two ends of a session, as rmcp takes them.
struct Ends {
    incoming: Receiver<ClientJsonRpcMessage>,
    outgoing: Sender<TxJsonRpcMessage<RoleServer>>,
}

impl Transport<RoleServer> for Ends {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let outgoing = self.outgoing.clone();
        async move { outgoing.send(message).await.map_err(|_| io::ErrorKind::BrokenPipe.into()) }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        self.incoming.recv().await
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.incoming.close();
        Ok(())
    }
}

/// Forgets a session when its stream is dropped, which ends it.
struct Registered {
    id: String,
    senders: Senders,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// `GET /sse`: opens a session.
pub(super) async fn open(
    State(sessions): State<EventSessions>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, (StatusCode, String)> {
    let unavailable = |error: io::Error| (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"));
    let answerer = Answerer::with_sessions(sessions.offer.open().map_err(unavailable)?);
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| unavailable(io::Error::other(error)))?;
    let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let (sender, incoming) = channel(MESSAGES_MAX);
    let (outgoing, receiver) = channel(MESSAGES_MAX);
    sessions.senders.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), sender);
    tokio::spawn(async move {
        if let Ok(running) = serve_server(answerer, Ends { incoming, outgoing }).await {
            // It ends with its stream; how is nobody's concern.
            let _ = running.waiting().await;
        }
    });
    let endpoint = Event::default().event("endpoint").data(format!("/messages?session_id={id}"));
    let registered = Registered { id, senders: sessions.senders };
    let messages = stream::unfold((receiver, registered), async |(mut receiver, registered)| {
        let message = receiver.recv().await?;
        let event = for_engines(serde_json::to_value(&message).ok()?).to_string();
        Some((Event::default().event("message").data(event), (receiver, registered)))
    });
    let events = stream::iter([endpoint]).chain(messages).map(Ok);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// A listing says of `python` what rmcp has no word for, and what vLLM asks: that the model is to read its
/// description alone, and write code as it is.
fn for_engines(mut message: Value) -> Value {
    for tool in message.pointer_mut("/result/tools").and_then(Value::as_array_mut).into_iter().flatten() {
        if tool["name"] == PYTHON {
            tool["annotations"]["include_in_prompt"] = false.into();
        }
    }
    message
}

/// Where a message belongs.
#[derive(Deserialize)]
pub(super) struct Address {
    session_id: String,
}

/// `POST /messages`: takes a message of a session; its answer comes over the stream.
pub(super) async fn receive(
    State(sessions): State<EventSessions>,
    Query(address): Query<Address>,
    body: Bytes,
) -> Result<StatusCode, (StatusCode, String)> {
    let message: ClientJsonRpcMessage = serde_json::from_slice(&body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("not a message of the protocol: {error}\n")))?;
    let unknown = || (StatusCode::NOT_FOUND, "no such session; open /sse\n".to_owned());
    let senders = sessions.senders.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = senders.get(&address.session_id).ok_or_else(unknown)?;
    match sender.try_send(message) {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(TrySendError::Full(_)) => {
            Err((StatusCode::SERVICE_UNAVAILABLE, format!("{MESSAGES_MAX} messages wait; try again\n")))
        }
        Err(TrySendError::Closed(_)) => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listing_says_which_schema_no_prompt_is_to_have() {
        let listing = |python: Value| json!({"result": {"tools": [{"name": "python", "annotations": python}, {"name": "search"}]}});
        let told = listing(json!({"readOnlyHint": false, "include_in_prompt": false}));
        assert_eq!(for_engines(listing(json!({"readOnlyHint": false}))), told);
        let other = json!({"id": 1, "result": {"content": []}});
        assert_eq!(for_engines(other.clone()), other);
    }
}
