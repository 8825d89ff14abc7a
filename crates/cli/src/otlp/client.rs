//! The HTTP client that traces are sent by: the program's own, instead of one that the exporter would bring.

use std::future::{Future, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use hyper::Uri;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

/// Longest answer of a collector that is read. Units: bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// A client that blocks its thread, which is there for nothing else.
#[derive(Debug)]
pub struct Client(ureq::Agent);

impl Client {
    /// For the collector at `url`, with so much time for a request. The proxy of the environment is for
    /// others than this machine.
    pub fn new(url: &str, timeout: Duration) -> Client {
        let config = ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false);
        let config = if is_loopback(url) { config.proxy(None) } else { config };
        Client(config.build().into())
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let (parts, mut body) = self.0.run(Request::from_parts(parts, &body[..]))?.into_parts();
        let answer = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(parts, answer.into()))
    }
}

fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<Uri>().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (url, expect) in [
            ("http://localhost:4318/v1/traces", true),
            ("http://127.1.2.3/v1/traces", true),
            ("https://[::1]:4318/", true),
            ("http://collector:4318", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(url), expect, "{url}");
        }
    }
}
