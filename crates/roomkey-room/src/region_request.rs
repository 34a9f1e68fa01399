//! The question where the regions of a server are, and whether a server is there.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CACHE_CONTROL, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use url::{Position, Url};

use crate::websocket;

/// The longest list that is read: a region takes about a hundred bytes.
const MAX_BODY: usize = 64 << 10;

/// A body, and for how long it holds.
type Answer = (Vec<u8>, Option<Duration>);

/// GETs a URL: the body of a 200, and for how long it holds. `None` for whatever else comes; a redirect is not followed, since
/// the token would go with it.
///
/// Dropping the future gives the question up.
pub(crate) async fn get(
    url: &Url,
    (name, value): (&'static str, String),
    tls: Option<Arc<ClientConfig>>,
) -> Option<Answer> {
    let mut token = HeaderValue::from_str(&value).ok()?;
    token.set_sensitive(true);
    let mut request = request(Method::GET, url)?;
    request.headers_mut().insert(name, token);
    let (response, body) = ask(url, request, tls).await?;
    (response == StatusCode::OK).then_some(body)
}

/// Asks for the head of a URL: the status of whatever is answered.
///
/// Dropping the future gives the question up.
pub(crate) async fn head(url: &Url, tls: Option<Arc<ClientConfig>>) -> Option<StatusCode> {
    Some(ask(url, request(Method::HEAD, url)?, tls).await?.0)
}

fn request(method: Method, url: &Url) -> Option<Request<String>> {
    let request = Request::builder()
        .method(method)
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort]);
    request.body(String::new()).ok()
}

async fn ask(url: &Url, request: Request<String>, tls: Option<Arc<ClientConfig>>) -> Option<(StatusCode, Answer)> {
    let stream = websocket::connect(url, tls).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let answer = async {
        let response = sender.send_request(request).await.ok()?;
        let (status, max_age) = (response.status(), max_age(response.headers()));
        Some((status, (read(response.into_body()).await?, max_age)))
    };
    let drive = async {
        // What it has read by its end is still to be taken.
        let _ = connection.await;
        pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = drive => None,
    }
}

async fn read(mut body: Incoming) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY {
            return None;
        }
        bytes.extend_from_slice(&data);
    }
    Some(bytes)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?.split(',');
    let seconds = |directive: &str| {
        let (name, value) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.trim().parse().ok())?
    };
    directives.filter_map(seconds).next().map(Duration::from_secs)
}
