//! `GET /v1/responses` as a WebSocket: responses on one connection, one after another.
//!
//! A text message is a request, and its answer the events that a stream of HTTP would have, a message each.
//! Messages that come while a response is written wait for it, a few of them. The response is cancelled when
//! the client goes away. What a response without `store` comes to is kept for the connection alone, so that
//! the next can go on from it; after a failure nothing goes on from the same place, and the client has to
//! send the conversation whole.
//!
//! The connection has the key, and so the tenant, that it was opened with. It ends with a typed error and a
//! code of the protocol: when the server stops, when its time is up, when a message is too long or not text.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use gptoss_api::ApiError;
use gptoss_api::responses::socket::{Create, Refused, in_lane, read, refusal};
use gptoss_api::wire::response_socket::SocketError;
use tokio::time::{sleep, timeout};

use self::kept::Kept;
use self::waiting::Waiting;
use crate::access_log::{Line, RequestId, Spent};
use crate::declared_label::labelled;
use crate::keys::Caller;
use crate::limits::STOP_PATIENCE;
use crate::place::Place;
use crate::rejection::Rejection;
use crate::response_log::{CancelOnDrop, Found, ResponseLog};
use crate::responses::{self, Origin};
use crate::said::Said;
use crate::state::{App, Shared};
use crate::trace::TraceParent;

mod kept;
mod waiting;

/// The route, for logs and metrics.
const ROUTE: &str = "/v1/responses";
/// The same, for the audit.
const AUDITED: &str = "WEBSOCKET /v1/responses";

/// `GET /v1/responses`, which is taken by a WebSocket alone.
pub(crate) async fn open(
    State(app): State<Shared>,
    Extension(caller): Extension<Caller>,
    Extension(RequestId(id)): Extension<RequestId>,
    place: Option<Extension<Place>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Rejection> {
    let Ok(upgrade) = upgrade else {
        return Err(ApiError::Method { path: ROUTE.to_owned(), method: "GET".to_owned() }.into());
    };
    let caller = labelled(&app, caller, &headers)?;
    let Ok(socket_place) = Arc::clone(&app.sockets).try_acquire_owned() else {
        let what = "as many WebSockets are open as may be".to_owned();
        return Err(ApiError::Busy { what, retry_seconds: 10 }.into());
    };
    let bytes_max = app.limits.body_bytes_max;
    let upgrade = upgrade.max_message_size(bytes_max).max_frame_size(bytes_max);
    Ok(upgrade.on_upgrade(move |socket| async move {
        // The place of the connection that this was; a stop waits for it. It is given back last: who waits
        // for it may be a WebSocket.
        let _held = (socket_place, place);
        // Every message is a request of its own.
        let caller = Caller { bill: None, ..caller };
        let waiting = Waiting::new(bytes_max);
        let kept = Kept::new(bytes_max);
        Connection { app, caller, id, socket, begun: Instant::now(), waiting, kept }.serve().await;
    }))
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client is gone.
    Gone,
    /// The server stops.
    Stopping,
    /// Its time is up.
    Old,
    /// A message is longer than is read.
    TooLong,
    /// A message is not text.
    NotText,
}

impl End {
    /// What the client is told, and the code of RFC 6455, section 7.4.1.
    fn farewell(self, app: &App) -> Option<(ApiError, u16)> {
        Some(match self {
            End::Gone => return None,
            End::Stopping => (ApiError::ShuttingDown, 1001),
            End::Old => (ApiError::ConnectionTime { seconds: app.limits.socket_time.as_secs() }, 1001),
            End::TooLong => (ApiError::BodyTooLarge { max: app.limits.body_bytes_max }, 1009),
            End::NotText => (ApiError::MessageKind, 1003),
        })
    }
}

struct Connection {
    app: Shared,
    caller: Caller,
    /// Of the request that opened it.
    id: String,
    socket: WebSocket,
    begun: Instant,
    waiting: Waiting,
    kept: Kept,
}

impl Connection {
    async fn serve(mut self) {
        let end = loop {
            let message = match self.next().await {
                Ok(message) => message,
                Err(end) => break end,
            };
            if let Err(end) = self.answer(message).await {
                break end;
            }
        };
        let Some((error, code)) = end.farewell(&self.app) else { return };
        // What waits has not begun, and is to be asked for again elsewhere.
        while let Some(message) = self.waiting.pop() {
            let lane = read(message.as_bytes()).map_or_else(|refused| refused.lane, |create| create.lane);
            let _ = self.refuse(&error, lane).await;
        }
        let _ = self.refuse(&error, None).await;
        let frame = CloseFrame { code, reason: Utf8Bytes::default() };
        if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
            let closing = async { while let Some(Ok(_)) = self.socket.recv().await {} };
            let _ = timeout(STOP_PATIENCE, closing).await;
        }
    }

    /// Waits for the next message.
    async fn next(&mut self) -> Result<Utf8Bytes, End> {
        loop {
            if self.app.is_stopping() {
                return Err(End::Stopping);
            }
            if let Some(message) = self.waiting.pop() {
                return Ok(message);
            }
            let left = self.app.limits.socket_time.saturating_sub(self.begun.elapsed());
            if left.is_zero() {
                return Err(End::Old);
            }
            let app = Arc::clone(&self.app);
            tokio::select! {
                heard = self.socket.recv() => self.hear(heard).await?,
                () = app.stopping() => {}
                () = sleep(left) => {}
                () = sleep(self.app.limits.keep_alive) => self.ping().await?,
            }
        }
    }

    /// Waits for `work`, and hears meanwhile what the client says.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                heard = self.socket.recv() => self.hear(heard).await?,
                () = sleep(self.app.limits.keep_alive) => self.ping().await?,
            }
        }
    }

    async fn hear(&mut self, heard: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        match heard {
            Some(Ok(Message::Text(message))) => match self.waiting.push(message) {
                Ok(()) => Ok(()),
                Err(refused) => {
                    let lane =
                        read(refused.as_bytes()).map_or_else(|refused| refused.lane, |create| create.lane);
                    let what = "as many messages wait on this connection as may".to_owned();
                    self.refuse(&ApiError::Busy { what, retry_seconds: 1 }, lane).await
                }
            },
            Some(Ok(Message::Binary(_))) => Err(End::NotText),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => Err(End::Gone),
            Some(Err(error)) => Err(end_of(error)),
        }
    }

    /// One response, from the message to its last event.
    async fn answer(&mut self, message: Utf8Bytes) -> Result<(), End> {
        let begun = Instant::now();
        let Create { request, lane, generates } = match read(message.as_bytes()) {
            Ok(create) => create,
            Err(Refused { error, lane }) => {
                self.log(begun, error.row().status, None);
                return self.refuse(&error, lane).await;
            }
        };
        let previous = request.previous_response_id.clone().unwrap_or_default();
        let origin = Origin { entries: self.kept.find(&previous), generates, spent: Spent::default() };
        let (app, caller, id) = (Arc::clone(&self.app), self.caller.clone(), self.id.clone());
        let beginning = async move {
            let caller = app.renewed(&caller).map_err(ApiError::from)?.admitted(AUDITED, &id).await?;
            let said = caller.bill.as_ref().and_then(|bill| bill.said().cloned());
            if let Some(said) = &said {
                said.heard(message.as_bytes());
            }
            drop(message);
            let begun = responses::begin(&app, &caller, &request, origin).await;
            if let (Some(bill), Err(error)) = (&caller.bill, &begun) {
                bill.failed(error);
            }
            Ok::<_, ApiError>((begun?, said))
        };
        let (live, said) = match self.meanwhile(beginning).await? {
            Ok(begun) => begun,
            Err(error) => {
                self.kept.forget(&previous);
                self.log(begun, error.row().status, None);
                return self.refuse(&error, lane).await;
            }
        };
        // Dropped when the client goes away, and then the response is cancelled.
        let reader = CancelOnDrop(Arc::clone(&live));
        let told = self.tell(&live, lane, said.as_deref()).await;
        if let Some(said) = &said {
            said.begins(200);
            if told.is_err() {
                said.is_cut();
            }
        }
        told?;
        let failure = live.failure();
        match (&failure, live.take_entries()) {
            (Some(_), _) => self.kept.forget(&previous),
            (None, Some(entries)) => self.kept.keep(live.response().id, entries),
            (None, None) => {}
        }
        self.log(begun, failure.map_or(200, |error| error.row().status), Some(live.spent.clone()));
        drop(reader);
        Ok(())
    }

    /// The events of a response, to the last.
    async fn tell(
        &mut self,
        live: &ResponseLog,
        lane: Option<String>,
        said: Option<&Said>,
    ) -> Result<(), End> {
        let mut index = 0;
        loop {
            match self.meanwhile(live.event(index)).await? {
                Found::Event(line) => {
                    let event = String::from_utf8_lossy(line.json());
                    let event = in_lane(&event, lane.as_deref());
                    if let Some(said) = said {
                        said.told(event.as_bytes());
                        said.told(b"\n");
                    }
                    self.send(event).await?;
                }
                Found::End => return Ok(()),
                Found::Dropped => return self.refuse(&ApiError::EventsDropped, lane).await,
            }
            index += 1;
        }
    }

    async fn refuse(&mut self, error: &ApiError, lane: Option<String>) -> Result<(), End> {
        let refusal: SocketError = refusal(error, lane);
        // Plain data with text keys: writing it to memory cannot fail.
        self.send(serde_json::to_string(&refusal).unwrap_or_default()).await
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.socket.send(Message::Ping(Default::default())).await.map_err(|_| End::Gone)
    }

    /// Waits for the client to take it, for as long as a connection may (`timed_stream`).
    async fn send(&mut self, text: String) -> Result<(), End> {
        self.socket.send(Message::Text(text.into())).await.map_err(|_| End::Gone)
    }

    fn log(&self, begun: Instant, status: u16, spent: Option<Spent>) {
        self.app.metrics.responded(ROUTE, status);
        let mut line = Line::new(&self.app.log, Method::GET, ROUTE.to_owned(), self.id.clone(), begun);
        line.tenant = Some(self.caller.tenant.clone());
        line.trace = self.app.log.traces.is_some().then(TraceParent::default);
        line.end(status, spent);
    }
}

/// What an error of the connection means.
fn end_of(error: axum::Error) -> End {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => End::TooLong,
        _ => End::Gone,
    }
}
