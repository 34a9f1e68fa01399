//! A stream of bytes to a server, with TLS or without.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A byte stream.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// TLS on a connection to this host; by default with the certificates that the system trusts.
pub(crate) async fn secure(
    stream: TcpStream,
    host: &str,
    tls: Option<Arc<ClientConfig>>,
) -> io::Result<Box<dyn Connection>> {
    let tls = match tls {
        Some(tls) => tls,
        None => Arc::new(system_trust().map_err(io::Error::other)?),
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(Box::new(TlsConnector::from(tls).connect(name, stream).await?))
}

/// TLS by rustls on ring, with the certificates that the system trusts.
pub(crate) fn system_trust() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}
