//! One request over HTTP: when it was sent, what came back and when.
//!
//! A time is taken as soon as bytes are there, before anybody looks at them. Requests share connections as a
//! client library's do: an idle one is taken again, otherwise a new one is made.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout_at};

use super::record::{Asked, Failure, Fault, Reading, Record};
use super::wire;
use crate::args::EndpointArg;

/// Bytes of an answer that is no stream, as far as it is read: a refusal, a list of models.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Characters of a server's words that are told.
const DETAIL_CHARS_MAX: usize = 200;

/// How connections are made outside tests.
pub type Connector = HttpsConnector<HttpConnector>;

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The body, JSON.
    pub body: Bytes,
    /// How long it and its answer were to be.
    pub asked: Asked,
}

/// What all requests of a run have in common.
#[derive(Debug, Clone)]
pub struct Server<C> {
    client: Client<C, Full<Bytes>>,
    /// Opens a connection for each request.
    unpooled: Client<C, Full<Bytes>>,
    base: String,
    /// Which path is asked.
    pub endpoint: EndpointArg,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

impl Server<Connector> {
    /// A server at a base address, over http or https with the roots that browsers have.
    pub fn new(
        base: &str,
        endpoint: EndpointArg,
        authorization: Option<HeaderValue>,
        timeout: Duration,
    ) -> Self {
        let mut http = HttpConnector::new();
        // Small requests leave at once.
        http.set_nodelay(true);
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Server::with_connector(connector, base, endpoint, authorization, timeout)
    }
}

impl<C: Connect + Clone + Send + Sync + 'static> Server<C> {
    /// A server that is reached by this connector.
    pub fn with_connector(
        connector: C,
        base: &str,
        endpoint: EndpointArg,
        authorization: Option<HeaderValue>,
        timeout: Duration,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(connector.clone());
        let unpooled = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let base = base.trim_end_matches('/').to_owned();
        Server { client, unpooled, base, endpoint, authorization, timeout }
    }

    /// Sends a request and reads its answer to the end. It was due at `due`, or is now; `origin` is the start
    /// of its level. Dropping the future closes the connection.
    pub async fn exchange(&self, ask: Ask, origin: Instant, due: Option<Instant>) -> Record {
        let sent = Instant::now();
        let due = due.unwrap_or(sent);
        let mut reading = Reading::new(self.endpoint);
        let read = timeout_at(due + self.timeout, self.read(ask.body, due, &mut reading)).await;
        let ended = due.elapsed();
        let (answer, unfinished) = reading.finish();
        let failure = match read {
            Ok(Ok(())) => unfinished,
            Ok(Err(failure)) => Some(failure),
            Err(_) => {
                let seconds = self.timeout.as_secs_f64();
                Some(Failure::new(Fault::Timeout, format!("not over after {seconds} s")))
            }
        };
        let late = sent.saturating_duration_since(due);
        Record { due: due.saturating_duration_since(origin), late, ended, asked: ask.asked, answer, failure }
    }

    async fn read(&self, body: Bytes, due: Instant, reading: &mut Reading) -> Result<(), Failure> {
        let mut response = self.request(Method::POST, self.endpoint.path(), body).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        while let Some(frame) = response.body_mut().frame().await {
            let at = due.elapsed();
            let frame = frame.map_err(|error| cut(&error))?;
            if let Some(bytes) = frame.data_ref() {
                reading.take(bytes, at)?;
            }
        }
        Ok(())
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, Failure> {
        let address = format!("{}{path}", self.base);
        let uri = address
            .parse::<Uri>()
            .map_err(|error| Failure::new(Fault::Refused, format!("{address}: {error}")))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("gptoss/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        // A server may close a connection in the moment in which it is taken for another request.
        let again = request.clone();
        match self.client.request(request).await {
            Err(error) if is_incomplete(&error) => self.unpooled.request(again).await,
            answered => answered,
        }
        .map_err(|error| unsent(&error))
    }

    /// The first model that the server lists.
    ///
    /// Errors: it lists none, or does not answer.
    pub async fn first_model(&self) -> Result<String, Failure> {
        let ask = async {
            let response = self.request(Method::GET, "/models", Bytes::new()).await?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response).await);
            }
            let body = body(response).await.map_err(|error| cut(&*error))?;
            let list: serde_json::Value = serde_json::from_slice(&body)
                .map_err(|error| Failure::new(Fault::Malformed, format!("the list of models: {error}")))?;
            let name = list["data"][0]["id"].as_str();
            name.map(str::to_owned).ok_or_else(|| Failure::new(Fault::Empty, "the list of models is empty"))
        };
        tokio::time::timeout(self.timeout, ask)
            .await
            .unwrap_or_else(|_| Err(Failure::new(Fault::Timeout, "no list of models came")))
    }
}

/// The first [`BODY_BYTES_MAX`] of a body that is no stream.
async fn body(response: Response<Incoming>) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    Ok(http_body_util::Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes())
}

async fn refusal(response: Response<Incoming>) -> Failure {
    let status = response.status();
    let bytes = body(response).await.unwrap_or_default();
    let said = match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(json) if !json["error"].is_null() => wire::message(&json["error"]),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    };
    Failure::new(
        Fault::Status(status.as_u16()),
        said.trim().chars().take(DETAIL_CHARS_MAX).collect::<String>(),
    )
}

fn unsent(error: &ClientError) -> Failure {
    if error.is_connect() { Failure::new(Fault::Refused, causes(error)) } else { cut(error) }
}

/// A connection that ended too early, or that speaks no HTTP.
fn cut(error: &(dyn std::error::Error + 'static)) -> Failure {
    let is_malformed = is_caused_by(error, hyper::Error::is_parse);
    Failure::new(if is_malformed { Fault::Malformed } else { Fault::Cut }, causes(error))
}

/// Whether a connection ended before there was an answer.
fn is_incomplete(error: &ClientError) -> bool {
    is_caused_by(error, hyper::Error::is_incomplete_message)
}

fn is_caused_by(error: &(dyn std::error::Error + 'static), is_so: impl Fn(&hyper::Error) -> bool) -> bool {
    anyhow::Chain::new(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(&is_so))
}

/// An error with what caused it.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    anyhow::Chain::new(error).map(|cause| cause.to_string()).collect::<Vec<_>>().join(": ")
}
