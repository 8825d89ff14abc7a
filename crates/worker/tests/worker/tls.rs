//! Who is let in: this machine, and others by certificate alone.

use std::sync::Arc;
use std::time::Duration;

use gptoss_worker::{Limits, TlsSource, Worker, check_address};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

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

fn identity(issuer: &Issuer<'_, KeyPair>) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, issuer).expect("signed");
    (vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_certificate_is_not_heard() {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("signed");
    let issuer = Issuer::new(params, key);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let (chain, key) = identity(&issuer);
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a certificate");
    let config = Arc::new(config);
    let tls: TlsSource = Arc::new(move || Arc::clone(&config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (model, _inbox) = fixture::played_model(1);
    let worker = Worker::new(model, Limits { drain: Duration::ZERO, ..Limits::default() }).expect("a worker");
    tokio::spawn(worker.run(listener, Some(tls), Arc::new(|_| {}), std::future::pending()));

    let client = |identity: Option<Identity>| {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(Arc::clone(&roots));
        let mut config = match identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a certificate"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    };
    // The first frame of a server of HTTP/2 is its settings, of type 4.
    let settings = async |connector: TlsConnector| -> std::io::Result<u8> {
        let stream = TcpStream::connect(address).await?;
        let mut stream =
            connector.connect(ServerName::try_from("localhost").expect("a name"), stream).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await?;
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        Ok(head[3])
    };
    assert_eq!(settings(client(Some(identity(&issuer)))).await.expect("is let in"), 4);
    settings(client(None)).await.expect_err("no certificate");
}
