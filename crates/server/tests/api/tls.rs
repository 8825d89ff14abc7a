//! The API over TLS: certificates made here, on disk for as long as a test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use gptoss_server::{Keys, Limits, Tls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use tungstenite::client::IntoClientRequest;

use crate::chat::ANSWER;
use crate::http::{Answer, parse};
use crate::scripted::Script;
use crate::server::Server;
use crate::shutdown::eventually;

const KEY: &str = "sk-0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn certify(&self, name: &str) -> Pair {
        self.certify_until(name, 2100)
    }

    /// For a server of this machine, or a client.
    fn certify_until(&self, name: &str, year: i32) -> Pair {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// The files of a server.
struct Folder {
    folder: TempDir,
}

impl Folder {
    fn of(pair: &Pair) -> Folder {
        let folder = Folder { folder: tempfile::tempdir().unwrap() };
        folder.write(pair);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, pair: &Pair) {
        std::fs::write(self.path("cert.pem"), &pair.certificate).unwrap();
        std::fs::write(self.path("key.pem"), &pair.key).unwrap();
    }

    /// With authorities of clients, or without.
    fn files(&self, authority: Option<&Authority>) -> TlsFiles {
        let client_authorities = authority.map(|authority| {
            std::fs::write(self.path("clients.pem"), &authority.pem).unwrap();
            self.path("clients.pem")
        });
        TlsFiles { certificate: self.path("cert.pem"), key: self.path("key.pem"), client_authorities }
    }

    fn open(&self, authority: Option<&Authority>) -> Option<Arc<Tls>> {
        Some(Arc::new(Tls::open(self.files(authority)).unwrap()))
    }
}

fn roots(authorities: &[&Authority]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    }
    roots
}

fn config_of(
    authorities: &[&Authority],
    own: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots(authorities));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn config(authorities: &[&Authority]) -> Arc<ClientConfig> {
    config_of(authorities, None, &[&TLS13, &TLS12])
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Stream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), socket)
}

fn head(method: &str, path: &str, length: usize, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: \
         {length}\r\n{more}\r\n"
    )
}

/// One request of a connection of its own.
///
/// Errors: the connection ended otherwise than an answer's does.
fn exchange(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    path: &str,
    body: &str,
    more: &str,
) -> std::io::Result<Answer> {
    let mut stream = connect(address, config);
    let method = if body.is_empty() { "GET" } else { "POST" };
    let head = head(method, path, body.len(), &format!("connection: close\r\n{more}"));
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

/// What comes in the clear until the end.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => bytes,
    }
}

/// A server with a certificate of an authority.
fn server(authority: &Authority, script: Script, limits: Limits) -> (Server, Folder) {
    let folder = Folder::of(&authority.certify("server"));
    let tls = folder.open(None);
    (Server::changed(|app| app.with_tls(tls), script, limits, Keys::default()), folder)
}

#[test]
fn requests_streams_and_sockets_go_over_tls() {
    let authority = Authority::new("authority");
    let (server, _folder) = server(&authority, Script::new(&[ANSWER]), Limits::default());
    let body = json!({"messages": [{"role": "user", "content": "hi"}]}).to_string();
    let streamed = json!({"messages": [{"role": "user", "content": "hi"}], "stream": true}).to_string();
    for version in [&TLS12, &TLS13] {
        let config = config_of(&[&authority], None, &[version]);
        // Two requests of one connection, as clients keep them.
        let mut stream = connect(server.address, &config);
        for _ in 0..2 {
            stream
                .write_all(
                    format!("{}{body}", head("POST", "/v1/chat/completions", body.len(), "")).as_bytes(),
                )
                .unwrap();
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"}") {
                let mut room = [0; 4096];
                let count = stream.read(&mut room).unwrap();
                assert!(count > 0, "{}", String::from_utf8_lossy(&bytes));
                bytes.extend_from_slice(&room[..count]);
            }
            assert_eq!(parse(&bytes).json()["choices"][0]["message"]["content"], "It is 85, né.");
        }
        assert_eq!(stream.conn.protocol_version(), Some(version.version));
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = exchange(server.address, &config, "/v1/chat/completions", &streamed, "").unwrap();
        assert!(answer.body.ends_with("data: [DONE]\n\n"), "{}", answer.body);
        let docs = exchange(server.address, &config, "/docs", "", "").unwrap();
        assert!(docs.body.contains("curl https://HOST:PORT/v1/"), "{}", docs.body);

        let request = "wss://localhost/v1/responses".into_client_request().unwrap();
        let (mut socket, _) = tungstenite::client(request, connect(server.address, &config)).unwrap();
        let create = json!({"type": "response.create", "model": "scripted", "input": "hi"});
        socket.send(tungstenite::Message::text(create.to_string())).unwrap();
        while !socket.read().unwrap().to_text().unwrap().contains("\"type\":\"response.completed\"") {}
    }
    let error =
        exchange(server.address, &config(&[&Authority::new("another")]), "/health", "", "").unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    server.logged(|line| line.contains("TLS: a handshake failed"));
}

#[test]
fn clients_need_a_certificate_and_their_key_where_authorities_are_named() {
    let (authority, clients, others) =
        (Authority::new("a"), Authority::new("clients"), Authority::new("others"));
    let folder = Folder::of(&authority.certify("server"));
    let tls = folder.open(Some(&clients));
    let keys = Keys::parse(KEY).unwrap();
    let server = Server::changed(|app| app.with_tls(tls), Script::new(&[ANSWER]), Limits::default(), keys);
    let check = |own: Option<&Pair>, key: &str, expect: Result<u16, &str>| {
        for version in [&TLS12, &TLS13] {
            let config = config_of(&[&authority], own, &[version]);
            let more = format!("authorization: Bearer {key}\r\n");
            let found = exchange(server.address, &config, "/v1/models", "", &more);
            match (found, expect) {
                (Ok(answer), Ok(status)) => assert_eq!(answer.status, status, "{version:?}"),
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{version:?} {error}"),
                (found, _) => panic!("{version:?} {key}: {found:?} for {expect:?}"),
            }
        }
    };
    let (ours, theirs) = (clients.certify("Ada\u{1b}[2J"), others.certify("Eve"));
    check(Some(&ours), KEY, Ok(200));
    check(Some(&ours), "sk-another0123456789", Ok(401));
    check(Some(&theirs), KEY, Err("received fatal alert"));
    // TLS 1.2 has no alert of its own for it.
    check(None, KEY, Err("received fatal alert"));
    let log = server.logged(|line| line.contains("/v1/models 200") && line.contains("certificate="));
    assert!(log.contains(r#" certificate="CN=Ada\u{1b}[2J""#), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}

/// Four clients ask without a pause, half of them over one connection each, while the files change to good
/// ones and to bad ones.
#[test]
fn files_are_read_again_and_no_request_is_lost() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let folder = Folder::of(&first.certify("server one"));
    let tls = folder.open(None);
    let limits = Limits { certificate_look: Duration::from_millis(5), ..Limits::default() };
    let server = Server::changed(|app| app.with_tls(tls), Script::new(&[ANSWER]), limits, Keys::default());
    let address = server.address;
    let both = config(&[&first, &second]);
    let (is_over, num_asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    // A new connection is refused unless it shows a certificate of that authority.
    let shows = |authority: &Authority| exchange(address, &config(&[authority]), "/health", "", "").is_ok();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = exchange(address, &both, "/v1/models", "", "").unwrap();
                    assert_eq!(answer.status, 200);
                    num_asked.fetch_add(1, Ordering::Relaxed);
                }
            });
            scope.spawn(|| {
                let mut stream = connect(address, &both);
                while !is_over.load(Ordering::Relaxed) {
                    stream.write_all(head("GET", "/health", 0, "").as_bytes()).unwrap();
                    let mut bytes = Vec::new();
                    while !bytes.ends_with(b"}") {
                        let mut room = [0; 1024];
                        let count = stream.read(&mut room).unwrap();
                        assert!(count > 0, "the connection was closed");
                        bytes.extend_from_slice(&room[..count]);
                    }
                    assert_eq!(parse(&bytes).status, 200);
                    num_asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Whatever fails, the clients are to end.
        let over = Over(&is_over);
        for authority in [&second, &first, &second] {
            folder.write(&authority.certify("server next"));
            eventually("the new certificate is shown", || shows(authority));
        }
        let stays = |what: &str| {
            server.logged(|line| line.contains("what was read before stays") && line.contains(what));
            assert!(shows(&second), "{what}");
        };
        std::fs::write(folder.path("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        stays("is not that of the certificate");
        std::fs::write(folder.path("cert.pem"), "nothing").unwrap();
        stays("holds no certificate in PEM");
        std::fs::remove_file(folder.path("cert.pem")).unwrap();
        stays("No such file");
        folder.write(&first.certify("server last"));
        eventually("the last certificate is shown", || shows(&first));
        let before = num_asked.load(Ordering::Relaxed);
        eventually("all clients go on", || num_asked.load(Ordering::Relaxed) > before + 20);
        drop(over);
    });
}

/// Ends the clients of a test.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn files_that_cannot_be_used_are_refused_with_the_reason() {
    let authority = Authority::new("authority");
    let (pair, other) = (authority.certify("server"), authority.certify("other"));
    let sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let older = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMAAA\n-----END RSA PRIVATE KEY-----\n";
    let check = |certificate: &str, key: &str, clients: Option<&str>, expect: &[&str]| {
        let folder = Folder::of(&Pair { certificate: certificate.to_owned(), key: key.to_owned() });
        let mut files = folder.files(None);
        if let Some(text) = clients {
            std::fs::write(folder.path("clients.pem"), text).unwrap();
            files.client_authorities = Some(folder.path("clients.pem"));
        }
        let error = Tls::open(files).unwrap_err().to_string();
        for words in expect {
            assert!(error.contains(words), "{words:?} in {error}");
        }
    };
    let (good, key) = (pair.certificate.as_str(), pair.key.as_str());
    check(good, &other.key, None, &["key.pem", "is not that of the certificate"]);
    check(good, sealed, None, &["key.pem", "is encrypted", "openssl pkey"]);
    check(good, older, None, &["key.pem", "is encrypted"]);
    check(good, good, None, &["key.pem", "no private key"]);
    check(good, "", None, &["key.pem", "no private key"]);
    check(key, good, None, &["cert.pem", "swapped"]);
    check("\u{0}\u{1}DER", key, None, &["cert.pem", "no certificate in PEM", "-inform der"]);
    check("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n", key, None, &["cert.pem"]);
    check("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", key, None, &["cert.pem"]);
    check(good, key, Some(""), &["clients.pem", "no certificate in PEM"]);
    check(good, key, Some(key), &["clients.pem", "holds a private key"]);
    let missing = TlsFiles {
        certificate: Path::new("/nowhere/cert.pem").to_owned(),
        key: Path::new("/nowhere/key.pem").to_owned(),
        client_authorities: None,
    };
    assert!(Tls::open(missing).unwrap_err().to_string().contains("/nowhere/cert.pem"));
    let expired = Folder::of(&authority.certify_until("server", 2001));
    let warning = expired.open(None).unwrap().warning().unwrap();
    assert!(warning.contains("\"CN=server\" has expired (2001-01-01T00:00:00Z)"), "{warning}");
    assert_eq!(Folder::of(&pair).open(None).unwrap().warning(), None);
}

/// Each ends, and nobody else waits for it: the handshake has an hour where its time is not what ends it.
#[test]
fn handshakes_that_lead_nowhere_are_ended() {
    let authority = Authority::new("authority");
    // A hello of TLS as it begins, and no more of it.
    let slow: [&[u8]; 3] = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"];
    let garbage: [&[u8]; 3] =
        [b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", &[0xFF; 4096]];
    let check = |patience: Duration, beginnings: &[&[u8]]| {
        let limits = Limits { handshake_patience: patience, connections_max: 4, ..Limits::default() };
        let (server, _folder) = server(&authority, Script::new(&[ANSWER]), limits);
        let streams: Vec<TcpStream> = beginnings
            .iter()
            .map(|bytes| {
                let mut stream = TcpStream::connect(server.address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(bytes).unwrap();
                stream
            })
            .collect();
        let answer = exchange(server.address, &config(&[&authority]), "/health", "", "").unwrap();
        assert_eq!(answer.status, 200);
        for (stream, bytes) in streams.into_iter().zip(beginnings) {
            let _ = stream.shutdown(std::net::Shutdown::Write).ok().filter(|()| patience == LONG);
            let found = rest(stream);
            // An alert of TLS, or nothing.
            assert!(found.first().is_none_or(|kind| *kind == 21), "{bytes:?}: {found:?}");
        }
    };
    check(LONG, &garbage);
    check(Duration::from_millis(50), &slow);
    // More than there is room for, none of which ever ends by its time: the oldest make room.
    let limits = Limits { handshake_patience: LONG, connections_max: 2, ..Limits::default() };
    let (mut server, _folder) = server(&authority, Script::new(&[ANSWER]), limits);
    let silent: Vec<TcpStream> = (0..6).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    assert_eq!(exchange(server.address, &config(&[&authority]), "/health", "", "").unwrap().status, 200);
    // Nor do they hold the stop.
    server.tell_to_stop();
    server.join();
    drop(silent);
}

#[test]
fn plain_http_is_told_what_is_wrong() {
    let authority = Authority::new("authority");
    let (server, _folder) = server(&authority, Script::new(&[ANSWER]), Limits::default());
    for length in [0, 4 << 20] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head("POST", "/v1/responses", length, "").as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; length]).unwrap();
        let answer = parse(&rest(stream));
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (400, Some("https_required")));
    }
}

fn endless() -> Script {
    let mut script = Script::new(&[]);
    script.texts = vec![format!("<|channel|>final<|message|>{}<|return|>", "word ".repeat(20_000))];
    script
}

/// As over TCP: a reader that takes nothing is cut off, one that goes away ends its turn, and one that is
/// refused while it writes sees the answer.
#[test]
fn what_binds_connections_binds_them_over_tls() {
    let authority = Authority::new("authority");
    let config = config(&[&authority]);
    let body = json!({"input": "hi", "stream": true, "store": false, "top_logprobs": 20,
        "include": ["message.output_text.logprobs"]})
    .to_string();
    let ask = format!("{}{body}", head("POST", "/v1/responses", body.len(), "connection: close\r\n"));

    let limits = Limits { write_patience: Duration::from_millis(100), ..Limits::default() };
    let (slow, _folder) = server(&authority, endless(), limits);
    let mut stream = connect(slow.address, &config);
    stream.write_all(ask.as_bytes()).unwrap();
    slow.logged(|line| line.contains(" POST /v1/responses 200 "));
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(!String::from_utf8_lossy(&bytes).contains("[DONE]"), "the reader was not cut off");

    let mut script = endless();
    script.pause = Duration::from_millis(20);
    let (gone, _folder) = server(&authority, script, Limits::default());
    let mut stream = connect(gone.address, &config);
    stream.write_all(ask.as_bytes()).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    // Without a word of TLS, as a machine that loses its power.
    stream.sock.shutdown(std::net::Shutdown::Both).unwrap();
    gone.logged(|line| line.contains("client gone"));

    let limits = Limits { body_bytes_max: 1000, ..Limits::default() };
    let (refusing, _folder) = server(&authority, Script::new(&[ANSWER]), limits);
    const BODY_BYTES: usize = 16 << 20;
    let mut stream = connect(refusing.address, &config);
    stream.write_all(head("POST", "/v1/responses", BODY_BYTES, "").as_bytes()).unwrap();
    for part in vec![b'x'; BODY_BYTES].chunks(1 << 20) {
        stream.write_all(part).unwrap();
    }
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(parse(&bytes).status, 413);
}
