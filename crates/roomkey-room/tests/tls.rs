//! Signalling over TLS, with a certificate authority of the test's own in front of the dev server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::error::Error as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use roomkey_dev_server::{Config, DevServer};
use roomkey_room::{ConnectErrorKind, Room};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Handshakes, and whether each took up an earlier session.
type Handshakes = Arc<Mutex<Vec<Option<HandshakeKind>>>>;

/// Passes on to a server what comes over TLS, as `localhost`; gives its port, the certificate of its authority, and the
/// handshakes.
async fn terminate_tls(server: SocketAddr) -> (u16, CertificateDer<'static>, Handshakes) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let handshakes = Handshakes::default();
    let seen = Arc::clone(&handshakes);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                // A client that does not trust us ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                seen.lock().unwrap().push(stream.get_ref().1.handshake_kind());
                let mut server = TcpStream::connect(server).await.unwrap();
                // An end that breaks off is the other's business.
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (port, authority.der().clone(), handshakes)
}

#[tokio::test]
async fn a_room_is_joined_over_tls_by_who_trusts_the_certificate_and_by_nobody_else() {
    let server = DevServer::bind(Config::new()).await.unwrap();
    let (port, authority, _) = terminate_tls(server.address()).await;
    let url = format!("wss://localhost:{port}");
    let token = server.mint("alice", "room").unwrap();
    let builder = Room::builder().tls_config(trusting(authority));
    let room = builder.connect(&url, &token).await.unwrap();
    assert_eq!(room.name(), "room");
    room.close().await;

    // A token that the server refuses is refused over TLS as well, with its status.
    let refused = builder.connect(&url, "no token").await.unwrap_err();
    assert!(matches!(refused.kind(), ConnectErrorKind::NotAllowed), "{refused}");

    // With the certificates of the system.
    let mistrusting = Room::builder().connect_timeout(Duration::from_secs(5));
    let error = mistrusting.connect(&url, &token).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, None), "{error}");
    let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
    let cause = source.get_ref().unwrap().downcast_ref::<rustls::Error>();
    assert!(matches!(cause, Some(rustls::Error::InvalidCertificate(_))), "{source:?}");
}

fn trusting(authority: CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[tokio::test]
async fn a_connect_takes_up_the_tls_session_of_its_preparation() {
    let server = DevServer::bind(Config::new()).await.unwrap();
    let (port, authority, handshakes) = terminate_tls(server.address()).await;
    let url = format!("wss://localhost:{port}");
    let token = server.mint("alice", "room").unwrap();
    let builder = Room::builder().tls_config(trusting(authority));
    builder.prepare_connection(&url, Some(&token)).await;
    let room = builder.clone().connect(&url, &token).await.unwrap();
    let seen = handshakes.lock().unwrap().clone();
    assert_eq!(seen, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
    room.close().await;
}
