//! The HTTP client that traces are sent by: the program's own, instead of one that the exporter would bring.

use std::future::{Future, ready};
use std::pin::Pin;
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

use crate::proxy::proxy_to;

/// Longest answer of a collector that is read. Units: bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A client that blocks its thread, which is there for nothing else.
#[derive(Debug)]
pub struct Client(ureq::Agent);

impl Client {
    /// For the collector at `url`, with so much time for a request.
    pub fn new(url: &str, timeout: Duration) -> Client {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .proxy(proxy_to(url));
        Client(config.build().into())
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        gptoss_egress::check("a collector of traces")?;
        let (parts, body) = request.into_parts();
        let (parts, mut body) = self.0.run(Request::from_parts(parts, &body[..]))?.into_parts();
        let answer = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(parts, answer.into()))
    }
}

impl HttpClient for Client {
    // As `async_trait` has it.
    fn send_bytes<'client, 'answer>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'answer>>
    where
        'client: 'answer,
        Self: 'answer,
    {
        Box::pin(ready(self.send(request)))
    }
}
