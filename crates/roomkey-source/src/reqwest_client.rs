//! The HTTP client that a source has unless it is given another: reqwest, with rustls on ring.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use reqwest::redirect::Policy;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;

use crate::http_client::{HttpClient, HttpError};
use crate::provider::BoxError;

/// An [`HttpClient`] over a [`reqwest::Client`].
///
/// [`new`](Self::new) has what a token source needs: no redirects, a timeout of 10 seconds for each request, TLS by rustls
/// on ring with the certificates that the system trusts, the proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`).
/// [`builder`](Self::builder) adds certificate authorities and a proxy. For a client with other settings (mutual TLS, another
/// TLS library) use `From<reqwest::Client>`, with the features of reqwest that it takes; let it follow no redirects to other
/// hosts.
#[derive(Clone)]
pub struct ReqwestClient(reqwest::Client);

/// Shows nothing: a client may have default headers.
impl std::fmt::Debug for ReqwestClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReqwestClient").finish_non_exhaustive()
    }
}

impl ReqwestClient {
    /// A client with the settings above.
    ///
    /// # Errors
    ///
    /// The system's certificates can't be read, or there are none.
    pub fn new() -> Result<Self, BoxError> {
        Self::builder().build()
    }

    /// A client that is to trust more, or to go through a proxy of its own.
    pub fn builder() -> ReqwestClientBuilder {
        ReqwestClientBuilder::default()
    }

    /// A client that trusts more certificate authorities than the system does.
    ///
    /// # Errors
    ///
    /// `pem` has no certificate, or one that can't be read.
    pub fn with_extra_roots(pem: &[u8]) -> Result<Self, BoxError> {
        Self::builder().extra_roots(pem).build()
    }

    /// A client for plain `http`, which needs no certificates. What is for this machine goes through no proxy, which would
    /// see the caller's credentials.
    pub(crate) fn for_plain_http(is_loopback: bool) -> Result<Self, BoxError> {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let builder = Self::settings(config);
        Ok(Self(if is_loopback { builder.no_proxy() } else { builder }.build()?))
    }

    fn settings(tls: ClientConfig) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .timeout(Duration::from_secs(10))
    }
}

/// What a [`ReqwestClient`] is made of, beside what [`ReqwestClient::new`] has.
///
/// `Debug` shows nothing: a proxy's URL may have a password.
#[derive(Clone, Default)]
#[must_use]
pub struct ReqwestClientBuilder {
    roots: Vec<u8>,
    proxy: Option<String>,
}

impl ReqwestClientBuilder {
    /// Trusts the certificate authorities in this PEM text too. Another call adds more.
    pub fn extra_roots(mut self, pem: &[u8]) -> Self {
        self.roots.extend_from_slice(pem);
        self.roots.push(b'\n');
        self
    }

    /// Sends every request through this proxy, whatever the environment says. `http://user:password@host:port`; to a site
    /// with TLS it is a tunnel, in which the proxy sees nothing.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// The PEM text has no certificate, or one that can't be read; the proxy's URL is none; the system's certificates can't
    /// be read, or there are none.
    pub fn build(self) -> Result<ReqwestClient, BoxError> {
        let roots: Vec<_> = CertificateDer::pem_slice_iter(&self.roots).collect::<Result<_, _>>()?;
        if roots.is_empty() && !self.roots.is_empty() {
            return Err("there is no certificate in the PEM text".into());
        }
        let mut settings = ReqwestClient::settings(tls(roots)?);
        if let Some(url) = self.proxy {
            // Its error would show the URL, and with it a password.
            let proxy = reqwest::Proxy::all(url).map_err(|_| "the proxy's URL can't be used")?;
            settings = settings.no_proxy().proxy(proxy);
        }
        Ok(ReqwestClient(settings.build()?))
    }
}

impl std::fmt::Debug for ReqwestClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReqwestClientBuilder").finish_non_exhaustive()
    }
}

fn tls(extra_roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, BoxError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra_roots, Arc::clone(&provider))?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

impl From<reqwest::Client> for ReqwestClient {
    fn from(client: reqwest::Client) -> Self {
        Self(client)
    }
}

impl HttpClient for ReqwestClient {
    async fn send(&self, request: Request<Vec<u8>>, max_body: usize) -> Result<Response<Vec<u8>>, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(transport)?;
        let mut response = self.0.execute(request).await.map_err(transport)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            let room = max_body - body.len();
            if chunk.len() > room {
                if response.status().is_success() {
                    return Err(HttpError::BodyTooLarge);
                }
                // What counts of a rejection is its status.
                body.extend_from_slice(&chunk[..room]);
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let mut whole = Response::new(body);
        *whole.status_mut() = response.status();
        *whole.headers_mut() = std::mem::take(response.headers_mut());
        Ok(whole)
    }
}

/// Without the URL, whose query may be a secret.
fn transport(error: reqwest::Error) -> HttpError {
    HttpError::Transport(error.without_url().into())
}
