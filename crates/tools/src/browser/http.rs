//! One request over one connection to an address that was checked. Nothing is kept between requests: no
//! connections, no cookies, no cache.

use std::{io, io::Read, net::SocketAddr, sync::Arc, time::Duration};

use flate2::read::MultiGzDecoder;
use gptoss_egress::Closed;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    body::{Body, Bytes},
    client::conn::http1,
    header::{CONTENT_ENCODING, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use url::{Position, Url};

use super::guard::Refused;

/// Longest time that one address of a host is tried.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Who asks.
const AGENT: &str = concat!("gptoss/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer to be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("{host} cannot be reached: {source}")]
    Unreachable { host: String, source: io::Error },
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("it took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("it leads on more than {0} times")]
    Redirects(usize),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("it is {0}, and only text can be shown")]
    NotText(String),
    #[error("it is coded as {0}, which was not asked for")]
    Coding(String),
    #[error("{name} answered {status}: {text}")]
    Service { name: &'static str, status: StatusCode, text: String },
    #[error("{name} answered something else than it is known to: {reason}")]
    Unexpected { name: &'static str, reason: String },
    #[error("{0}")]
    Nothing(String),
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether the body goes on.
    pub(super) is_cut: bool,
}

/// What is the same for all requests.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new() -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Sends a request to one of `addresses`, which are those of the URL's host.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        url: &Url,
        addresses: &[SocketAddr],
        body_bytes_max: usize,
    ) -> Result<Answer, Failure> {
        gptoss_egress::check("the browser")?;
        let host = url.host_str().unwrap_or_default();
        let unreachable = |source| Failure::Unreachable { host: host.to_owned(), source };
        let stream = connect(addresses).await.map_err(unreachable)?;
        if url.scheme() == "http" {
            return exchange(stream, request, body_bytes_max).await;
        }
        let name = host.trim_start_matches('[').trim_end_matches([']', '.']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| Refused::Invalid)?;
        let stream = self.tls.connect(name, stream).await.map_err(unreachable)?;
        exchange(stream, request, body_bytes_max).await
    }
}

/// A request for a URL: a POST of the body if there is one, else a GET.
pub(super) fn request(
    url: &Url,
    headers: &[(HeaderName, HeaderValue)],
    body: Option<Vec<u8>>,
) -> Request<Full<Bytes>> {
    let is_post = body.is_some();
    let mut request = Request::new(Full::new(Bytes::from(body.unwrap_or_default())));
    if is_post {
        *request.method_mut() = hyper::Method::POST;
    }
    // A URL's serialization is ASCII without spaces: it is a valid target and a valid header.
    *request.uri_mut() = url[Position::BeforePath..Position::AfterQuery].parse().unwrap_or_default();
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]);
    let host = host.unwrap_or(HeaderValue::from_static(""));
    let fixed = [(HOST, host), (USER_AGENT, HeaderValue::from_static(AGENT))];
    request.headers_mut().extend(fixed.into_iter().chain(headers.iter().cloned()));
    request
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for &address in addresses {
        match timeout(CONNECT_TIME_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::from(io::ErrorKind::TimedOut),
        }
    }
    Err(last)
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    body_bytes_max: usize,
) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The connection ends with this set, when the answer is read or nobody waits for it any more.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let (body, is_cut) = read(body, body_bytes_max).await?;
    let (body, is_cut) = match parts.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => (body, is_cut),
        Some(b"gzip" | b"x-gzip") => unzip(&body, is_cut, body_bytes_max),
        Some(other) => return Err(Failure::Coding(String::from_utf8_lossy(other).into_owned())),
    };
    Ok(Answer { status: parts.status, headers: parts.headers, body, is_cut })
}

async fn read<B>(mut body: B, max: usize) -> Result<(Vec<u8>, bool), hyper::Error>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = max - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

/// What a zipped body holds, up to a bound; what is damaged counts as cut there.
fn unzip(zipped: &[u8], is_cut: bool, max: usize) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let read = MultiGzDecoder::new(zipped).take(max as u64 + 1).read_to_end(&mut bytes);
    let is_cut = is_cut || read.is_err() || bytes.len() > max;
    bytes.truncate(max);
    (bytes, is_cut)
}
