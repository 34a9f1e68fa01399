//! An endpoint over TLS, with a certificate authority of the test's own.

#![cfg(feature = "reqwest")]
#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use roomkey_source::{Endpoint, FetchErrorKind, ReqwestClient, RetryPolicy};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves one answer to every connection, as `localhost`; gives its port and the certificate of its authority.
async fn serve(body: String) -> (u16, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();

    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, body) = (acceptor.clone(), body.clone());
            tokio::spawn(async move {
                // A client that does not trust us ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let head =
                    format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, authority.pem())
}

#[tokio::test]
async fn an_authority_that_is_added_is_trusted_and_another_is_not() {
    let body = serde_json::json!({ "server_url": "wss://x", "participant_token": expiring(3_600) }).to_string();
    let (port, authority) = serve(body).await;
    let (_, another) = serve(String::new()).await;
    let endpoint = |pem: &str| {
        let client = ReqwestClient::with_extra_roots(pem.as_bytes()).unwrap();
        Endpoint::new(format!("https://localhost:{port}/token")).with_client(client).with_retry(RetryPolicy::never())
    };
    let credentials = endpoint(&authority).build().unwrap().fetch(&room("a")).await.unwrap();
    assert_eq!(credentials.server_url(), "wss://x");

    let error = endpoint(&another).build().unwrap().fetch(&room("a")).await.unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Transport);
    assert!(format!("{error:?}").to_lowercase().contains("certificate"), "{error:?}");
}

#[tokio::test]
async fn requests_go_through_a_proxy_of_ones_own() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = format!("http://someone:hush@{}", listener.local_addr().unwrap());
    let client = ReqwestClient::builder().proxy(&proxy);
    assert!(!format!("{client:?}").contains("hush"));
    let source = Endpoint::new("http://backend.example/token").with_client(client.build().unwrap()).build().unwrap();
    let proxied = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4_096];
        let length = stream.read(&mut request).await.unwrap();
        let body = serde_json::json!({ "server_url": "wss://x", "participant_token": expiring(3_600) }).to_string();
        let head = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..length]).to_lowercase()
    };
    let options = room("a");
    let (credentials, request) = tokio::join!(source.fetch(&options), proxied);
    assert_eq!(credentials.unwrap().server_url(), "wss://x");
    assert!(request.starts_with("post http://backend.example/token http/1.1\r\n"), "{request}");
    assert!(request.contains("proxy-authorization: basic "), "{request}");

    let error = ReqwestClient::builder().proxy("http://someone:hush@[").build().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
}

#[test]
fn a_pem_text_without_a_certificate_is_refused() {
    assert!(ReqwestClient::with_extra_roots(b"").is_err());
    assert!(ReqwestClient::with_extra_roots(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").is_err());
}
