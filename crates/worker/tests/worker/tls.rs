//! Who is let in: this machine, and others by certificate alone.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use gptoss_engine::{Inbox, QueuedRequest};
use gptoss_worker::{Limits, Worker, WorkerTls, check_address};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tonic::codegen::{Service, http::Uri};
use tonic::transport::Channel;
use vllm_proto::AbortRequest;
use vllm_proto::control_client::ControlClient;
use vllm_proto::inference_client::InferenceClient;

use crate::fixture;

#[test]
fn other_machines_come_by_certificate_alone() {
    for (address, asks, is_taken) in [
        ("127.0.0.1:8001", false, true),
        ("[::1]:8001", false, true),
        ("0.0.0.0:8001", false, false),
        ("10.0.0.7:8001", false, false),
        ("0.0.0.0:8001", true, true),
    ] {
        let found = check_address(address.parse().expect("an address"), asks);
        assert_eq!(found.is_ok(), is_taken, "{address}");
        if let Err(error) = found {
            assert!(error.to_string().contains("certificate"), "{error}");
        }
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Certificates of one authority, for a server and its clients.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("signed");
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("an authority");
        Authority { issuer: Issuer::new(params, key), roots: Arc::new(roots) }
    }

    fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    /// What asks clients for a certificate, and knows them by one of these names.
    fn tls(&self, names: &'static [&'static str]) -> WorkerTls {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::clone(&self.roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let (chain, key) = self.identity("server");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(chain, key)
            .expect("a certificate");
        let config = Arc::new(config);
        let has = |der: &[u8], name: &str| der.windows(name.len()).any(|part| part == name.as_bytes());
        let subject =
            move |der: &[u8]| names.iter().find(|name| has(der, name)).map(|name| (*name).to_owned());
        WorkerTls { config: Arc::new(move || Arc::clone(&config)), subject: Arc::new(subject) }
    }

    fn client(&self, identity: Option<Identity>) -> TlsConnector {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a certificate"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

/// A worker over TLS on an engine that the test plays, what it tells an operator, and where it is.
async fn served(tls: WorkerTls, limits: Limits) -> (SocketAddr, Inbox, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (model, inbox) = fixture::played_model(8);
    let worker = Worker::new(model, limits).expect("a worker");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let log = Arc::new(move |line: &str| kept.lock().expect("no panic").push(line.to_owned()));
    tokio::spawn(worker.run(listener, Some(tls), log, std::future::pending()));
    (address, inbox, lines)
}

async fn connected(connector: TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    connector.connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

/// The type of the first frame, which of a server of HTTP/2 is its settings, 4.
async fn first_frame(connector: TlsConnector, address: SocketAddr) -> std::io::Result<u8> {
    let mut stream = connected(connector, address).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await?;
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    Ok(head[3])
}

/// Peers without a certificate held the places of those that have one, and each was a line of log.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_certificate_is_not_heard() {
    let authority = Authority::new();
    // The one place is for those that have shown a certificate.
    let limits = Limits { connections: 1, arrival_time: Duration::from_secs(60), ..fixture::at_once() };
    let (address, _inbox, lines) = served(authority.tls(&[]), limits).await;
    let silent = TcpStream::connect(address).await.expect("connects");
    for _ in 0..5 {
        first_frame(authority.client(None), address).await.expect_err("no certificate");
    }
    let own = authority.identity("client");
    assert_eq!(first_frame(authority.client(Some(own)), address).await.expect("is let in"), 4);
    // The alert may be here before the line is.
    while lines.lock().expect("no panic").is_empty() {
        tokio::task::yield_now().await;
    }
    let lines = lines.lock().expect("no panic");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("(1 since the start)") && lines[0].contains("certificate"), "{lines:?}");
    drop(silent);
}

/// What a channel connects by.
#[derive(Clone)]
struct Connector(TlsConnector, SocketAddr);

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Connector(connector, address) = self.clone();
        Box::pin(async move { Ok(TokioIo::new(connected(connector, address).await?)) })
    }
}

/// The way of a client by its certificate.
async fn channel(authority: &Authority, name: &str, address: SocketAddr) -> Channel {
    let connector = Connector(authority.client(Some(authority.identity(name))), address);
    let endpoint = tonic::transport::Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.expect("connects")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_is_that_of_a_certificates_subject() {
    let authority = Authority::new();
    let (address, mut inbox, _lines) =
        served(authority.tls(&["router-a", "router-b"]), fixture::at_once()).await;
    let mut tenants = Vec::new();
    for name in ["router-a", "router-a", "router-b", "nobody"] {
        let channel = channel(&authority, name, address).await;
        let asked = fixture::request(vec![1], 5);
        let stream = InferenceClient::new(channel).generate_stream(asked).await.expect("begins");
        tenants.push(inbox.try_recv().expect("it was handed in").request.tenant);
        drop(stream);
    }
    let [a, again, b, nobody] = tenants.as_slice() else { panic!("{tenants:?}") };
    assert!(a == again && a != b && a != nobody && b != nobody, "{tenants:?}");
}

/// Routers number their requests each for itself, so one's number is another's request.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_ends_its_own_requests_alone() {
    let authority = Authority::new();
    let (address, mut inbox, _lines) =
        served(authority.tls(&["router-a", "router-b"]), fixture::at_once()).await;
    let (mut streams, mut queued) = (Vec::new(), Vec::new());
    for name in ["router-a", "router-b"] {
        let channel = channel(&authority, name, address).await;
        let asked = fixture::request(vec![1], 5);
        streams.push(InferenceClient::new(channel).generate_stream(asked).await.expect("begins"));
        queued.push(inbox.try_recv().expect("it was handed in"));
    }
    let is_ended = |queued: &[QueuedRequest]| [0, 1].map(|at: usize| queued[at].events.is_cancelled());
    for (name, ended) in [("nobody", [false, false]), ("router-b", [false, true]), ("router-a", [true, true])]
    {
        let mut control = ControlClient::new(channel(&authority, name, address).await);
        let abort = AbortRequest { request_ids: vec!["r".into()] };
        control.abort(abort).await.expect("an id that is not known is none");
        assert_eq!(is_ended(&queued), ended, "{name}");
    }
}
