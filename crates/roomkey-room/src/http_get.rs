//! A question that is asked by GET or HEAD, of which the answer is small.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CACHE_CONTROL, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use url::{Position, Url};

use crate::websocket;

/// How long a body is waited for once the status is there.
const BODY_WAIT: Duration = Duration::from_secs(2);

/// What a server answers.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// What came of the body within two seconds, and within the limit.
    pub(crate) body: Vec<u8>,
    /// Whether that is all of it.
    pub(crate) is_whole: bool,
    /// For how long it holds.
    pub(crate) max_age: Option<Duration>,
}

/// GETs a URL, with one header and `limit` bytes of a body at most. A redirect is an answer and is not followed, since the
/// token would go with it.
///
/// Dropping the future gives the question up.
pub(crate) async fn get(
    url: &Url,
    (name, value): (&'static str, String),
    tls: Option<Arc<ClientConfig>>,
    limit: usize,
) -> io::Result<Answer> {
    let mut token = HeaderValue::from_str(&value).map_err(io::Error::other)?;
    token.set_sensitive(true);
    let mut request = request(Method::GET, url)?;
    request.headers_mut().insert(name, token);
    ask(url, request, tls, limit).await
}

/// Asks for the head of a URL: the status of whatever is answered.
///
/// Dropping the future gives the question up.
pub(crate) async fn head(url: &Url, tls: Option<Arc<ClientConfig>>) -> io::Result<u16> {
    Ok(ask(url, request(Method::HEAD, url)?, tls, 0).await?.status)
}

fn request(method: Method, url: &Url) -> io::Result<Request<String>> {
    let request = Request::builder()
        .method(method)
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort]);
    request.body(String::new()).map_err(io::Error::other)
}

async fn ask(url: &Url, request: Request<String>, tls: Option<Arc<ClientConfig>>, limit: usize) -> io::Result<Answer> {
    let stream = websocket::connect(url, tls).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let (status, max_age) = (response.status().as_u16(), max_age(response.headers()));
        let mut body = Vec::new();
        let reading = read(response.into_body(), limit, &mut body);
        let is_whole = tokio::time::timeout(BODY_WAIT, reading).await.is_ok_and(|is_whole| is_whole);
        Ok(Answer { status, body, is_whole, max_age })
    };
    let drive = async {
        // What it has read by its end is still to be taken.
        let _ = connection.await;
        pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = drive => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether it was read to its end.
async fn read(mut body: Incoming, limit: usize, bytes: &mut Vec<u8>) -> bool {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return false };
        let Ok(data) = frame.into_data() else { continue };
        let room = limit - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return false;
        }
    }
    true
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?.split(',');
    let seconds = |directive: &str| {
        let (name, value) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.trim().parse().ok())?
    };
    directives.filter_map(seconds).next().map(Duration::from_secs)
}
