//! Token endpoints: sources that ask a server for credentials over HTTP.
//!
//! The contract is LiveKit's (docs.livekit.io, "Endpoint token generation"; `livekit_token_source.proto`): `POST` a
//! [`TokenRequest`](roomkey_token::TokenRequest) as JSON, get `server_url` and `participant_token`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{AGE, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};

use crate::builder::TokenSourceBuilder;
use crate::chance::chance;
use crate::credentials::Credentials;
use crate::endpoint_error::{EndpointError, EndpointFailure};
use crate::http_client::{DynHttpClient, HttpClient, HttpError};
use crate::options::FetchOptions;
use crate::provider::{BoxError, TokenProvider};
use crate::response::parse_response;
use crate::retry::RetryPolicy;
use crate::source::TokenSource;

/// The longest answer that is read, in bytes.
const MAX_BODY: usize = 256 * 1024;

/// Where LiveKit Cloud's development token server is.
const CLOUD_API: &str = "https://cloud-api.livekit.io";

/// A token endpoint to ask for credentials: its URL, and how to ask.
///
/// ```no_run
/// use roomkey_source::{Endpoint, FetchOptions};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let source = Endpoint::new("https://example.com/token").with_header("x-tenant", "blue").build()?;
/// let credentials = source.fetch(&FetchOptions::new().with_room_name("lobby")).await?;
/// # Ok(())
/// # }
/// ```
///
/// The request is a `POST` of [`FetchOptions::to_request`]. Any 2xx answer with a `server_url` and a `participant_token`
/// (or `serverUrl`, `participantToken`) is taken; redirects are not followed, since the request may have credentials. What
/// else comes is a [`FetchError`](crate::FetchError) of kind [`Rejected`](crate::FetchErrorKind::Rejected),
/// [`InvalidResponse`](crate::FetchErrorKind::InvalidResponse) or [`Transport`](crate::FetchErrorKind::Transport); the first
/// two say by [`is_auth`](crate::FetchError::is_auth) whether logging in helps.
///
/// The answer's `Date` is taken for the time of whoever made the token, so that a clock of this machine that is off does
/// not shorten or prolong its reuse.
#[must_use]
#[doc(alias = "EndpointTokenSource")]
#[doc(alias = "TokenSourceEndpoint")]
pub struct Endpoint {
    url: Result<Uri, EndpointError>,
    method: Method,
    headers: HeaderMap,
    headers_for_each: Vec<HeaderProvider>,
    client: Option<Arc<dyn DynHttpClient>>,
    retry: RetryPolicy,
    /// The first thing that was wrong with a setting.
    mistake: Option<EndpointError>,
}

/// Makes headers for a request.
type HeaderProvider = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<HeaderMap, BoxError>> + Send>> + Send + Sync>;

impl Endpoint {
    /// An endpoint at an `http` or `https` URL. Plain `http` is for this machine; elsewhere the token and your credentials
    /// can be read on the way, which a warning says.
    pub fn new(url: impl AsRef<str>) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self {
            url: parse_url(url.as_ref()),
            method: Method::POST,
            headers,
            headers_for_each: Vec::new(),
            client: None,
            retry: RetryPolicy::default(),
            mistake: None,
        }
    }

    /// LiveKit Cloud's development token server, by the id of the token server in the project's settings. Anybody who knows
    /// the id gets any token: it is for development.
    ///
    /// White space, quotes and the like around the id are cut off; if nothing is left, [`build`](Self::build) fails.
    #[doc(alias = "sandbox")]
    pub fn development_token_server(id: impl AsRef<str>) -> Self {
        Self::development_token_server_at(CLOUD_API, id)
    }

    /// A development token server elsewhere: one that serves `/api/v2/sandbox/connection-details` below `base_url`.
    pub fn development_token_server_at(base_url: impl AsRef<str>, id: impl AsRef<str>) -> Self {
        let id = id.as_ref().trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let base = base_url.as_ref().trim_end_matches('/');
        let mut endpoint =
            Self::new(format!("{base}/api/v2/sandbox/connection-details")).with_header("x-sandbox-id", id);
        if id.is_empty() {
            endpoint.note(EndpointError::DevelopmentServerId);
        }
        endpoint
    }

    /// Sets a header of every request, in place of one of that name, `Content-Type` included. A value is not shown by
    /// `Debug`.
    pub fn with_header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let name = HeaderName::try_from(name.as_ref());
        match (name, HeaderValue::try_from(value.as_ref())) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            (Err(_), _) => self.note(EndpointError::HeaderName),
            (Ok(name), Err(_)) => self.note(EndpointError::HeaderValue(name)),
        }
        self
    }

    /// Adds a function that makes headers, called once for each request, retries included: for credentials that rotate.
    /// Its headers replace those of [`with_header`](Self::with_header), and those of that name that a function added before
    /// has made.
    pub fn with_headers_for_each<F, Fut>(mut self, headers: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HeaderMap, BoxError>> + Send + 'static,
    {
        self.headers_for_each.push(Arc::new(move || Box::pin(headers())));
        self
    }

    /// Adds a function that gives a bearer token for the `Authorization` of each request, called once for each, retries
    /// included.
    ///
    /// ```
    /// use roomkey_source::Endpoint;
    ///
    /// # async fn my_session_token() -> Result<String, std::io::Error> { Ok(String::new()) }
    /// let endpoint = Endpoint::new("https://example.com/token")
    ///     .with_bearer_for_each(|| async { Ok(my_session_token().await?) });
    /// ```
    pub fn with_bearer_for_each<F, Fut>(self, token: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        self.with_headers_for_each(move || {
            let token = token();
            async move {
                let text = format!("Bearer {}", token.await?);
                // The error would show nothing of the token, but neither would it say what is wrong.
                let mut value = HeaderValue::try_from(text)
                    .map_err(|_| "the bearer token has characters that no header can have")?;
                value.set_sensitive(true);
                Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
            }
        })
    }

    /// Sets the method, `POST` unless set. A `GET` or `HEAD` has no body, and so tells the server none of the options. The
    /// methods of HTTP can be in lower case; one of your own goes out as it is given.
    pub fn with_method(mut self, method: impl AsRef<str>) -> Self {
        let method = method.as_ref();
        let known =
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
        let known = known.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(method));
        match known.map_or_else(|| Method::from_bytes(method.as_bytes()), Ok) {
            Ok(method) => self.method = method,
            Err(_) => self.note(EndpointError::Method),
        }
        self
    }

    /// Sets the HTTP client, in place of the one that comes with the feature `reqwest`.
    pub fn with_client(mut self, client: impl HttpClient) -> Self {
        self.client = Some(Arc::new(client));
        self
    }

    /// Sets when to ask again, in place of [`RetryPolicy::default`].
    pub fn with_retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Makes the source, with default settings.
    ///
    /// # Errors
    ///
    /// The URL or another setting is wrong, or there is no HTTP client.
    pub fn build(self) -> Result<TokenSource, EndpointError> {
        Ok(self.into_builder()?.build())
    }

    /// The same for further settings, such as a [partition](TokenSourceBuilder::partition).
    ///
    /// # Errors
    ///
    /// The URL or another setting is wrong, or there is no HTTP client.
    pub fn into_builder(self) -> Result<TokenSourceBuilder, EndpointError> {
        let url = self.url?;
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let is_https = url.scheme_str() == Some("https");
        let is_loopback = is_loopback(&url);
        if !is_https && !is_loopback {
            tracing::warn!(
                host = url.host(),
                "the token endpoint is plain http: tokens and credentials can be read on the way"
            );
        }
        let client = match self.client {
            Some(client) => client,
            None => default_client(is_https, is_loopback)?,
        };
        Ok(TokenSource::builder(EndpointProvider {
            url,
            method: self.method,
            headers: self.headers,
            headers_for_each: self.headers_for_each,
            client,
            retry: self.retry,
        }))
    }

    fn note(&mut self, mistake: EndpointError) {
        self.mistake.get_or_insert(mistake);
    }
}

#[cfg(feature = "reqwest")]
fn default_client(is_https: bool, is_loopback: bool) -> Result<Arc<dyn DynHttpClient>, EndpointError> {
    use crate::reqwest_client::ReqwestClient;

    let client = if is_https { ReqwestClient::new() } else { ReqwestClient::for_plain_http(is_loopback) };
    Ok(Arc::new(client.map_err(|cause| EndpointError::Client(cause.into()))?))
}

#[cfg(not(feature = "reqwest"))]
fn default_client(_: bool, _: bool) -> Result<Arc<dyn DynHttpClient>, EndpointError> {
    Err(EndpointError::Client(Arc::from(BoxError::from("there is none without the feature reqwest; use with_client"))))
}

fn parse_url(url: &str) -> Result<Uri, EndpointError> {
    let url: Uri = url.trim().parse().map_err(|_| EndpointError::Url)?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    // A user and a password in the URL would be left out of the request without a word.
    let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if is_http && !has_user && url.host().is_some_and(|host| !host.is_empty()) {
        Ok(url)
    } else {
        Err(EndpointError::Url)
    }
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Shows neither the values of headers nor the query of the URL.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.url.as_ref().map(|url| format!("{}{}", url.host().unwrap_or_default(), url.path()));
        f.debug_struct("Endpoint")
            .field("url", &place)
            .field("method", &self.method)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

struct EndpointProvider {
    url: Uri,
    method: Method,
    headers: HeaderMap,
    headers_for_each: Vec<HeaderProvider>,
    client: Arc<dyn DynHttpClient>,
    retry: RetryPolicy,
}

impl TokenProvider for EndpointProvider {
    async fn fetch(&self, options: &FetchOptions) -> Result<Credentials, BoxError> {
        let mut attempt = 1;
        loop {
            let failure = match self.ask(options).await? {
                Ok(credentials) => return Ok(credentials),
                Err(failure) => failure,
            };
            let wait = failure
                .is_transient()
                .then(|| self.retry.wait_after(attempt, failure.retry_after(), chance()))
                .flatten()
                // The timer is tokio's; elsewhere one attempt has to do.
                .filter(|_| tokio::runtime::Handle::try_current().is_ok());
            let Some(wait) = wait else { return Err(failure.into()) };
            tracing::debug!(attempt, ?wait, kind = ?failure.kind(), "token endpoint is asked again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

impl EndpointProvider {
    /// Asks once. The outer error is one of the application's own, which is not tried again.
    async fn ask(&self, options: &FetchOptions) -> Result<Result<Credentials, EndpointFailure>, BoxError> {
        let request = self.request(options).await?;
        Ok(match self.client.send_dyn(request, MAX_BODY).await {
            Ok(response) => read(&response),
            Err(HttpError::Transport(cause)) => Err(EndpointFailure::transport(cause)),
            Err(HttpError::BodyTooLarge) => Err(EndpointFailure::invalid("body")),
        })
    }

    async fn request(&self, options: &FetchOptions) -> Result<Request<Vec<u8>>, BoxError> {
        let has_body = !matches!(self.method, Method::GET | Method::HEAD);
        let body = if has_body { serde_json::to_vec(&options.to_request())? } else { Vec::new() };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.clone();
        let mut headers = self.headers.clone();
        if !has_body {
            headers.remove(CONTENT_TYPE);
        }
        for more in &self.headers_for_each {
            let more = more().await?;
            for name in more.keys() {
                headers.remove(name);
            }
            headers.extend(more);
        }
        if !self.headers_for_each.is_empty() {
            // They are made for each request because they are credentials.
            headers.values_mut().for_each(|value| value.set_sensitive(true));
        }
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn read(response: &Response<Vec<u8>>) -> Result<Credentials, EndpointFailure> {
    if !response.status().is_success() {
        let date = read_date(response);
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| read_retry_after(value, date));
        return Err(EndpointFailure::rejected(response.status().as_u16(), retry_after, response.body()));
    }
    let credentials = Credentials::from(parse_response(response.body()).map_err(EndpointFailure::invalid)?);
    // An answer out of a cache on the way is as old as its `Age` says (RFC 9111, section 5.1).
    let age = response.headers().get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    let age = Duration::from_secs(age.unwrap_or(0));
    Ok(match read_date(response).map(|date| date.checked_add(age).unwrap_or(date)) {
        Some(date) => credentials.with_server_time(date),
        None => credentials,
    })
}

fn read_date(response: &Response<Vec<u8>>) -> Option<SystemTime> {
    httpdate::parse_http_date(response.headers().get(DATE)?.to_str().ok()?).ok()
}

/// `Retry-After` in seconds, or as a date that is compared with the answer's own (RFC 9110, section 10.2.3).
fn read_retry_after(value: &HeaderValue, date: Option<SystemTime>) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(date?).unwrap_or(Duration::ZERO))
}
