//! The websocket of the signalling: how it is opened, and why not.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use roomkey_signal::MAX_RESPONSE_SIZE;
use rustls::ClientConfig;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::CONTENT_LENGTH;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use crate::connection::{self, Connection};
use crate::core::Refusal;
use crate::{http_get, server_words, tcp};

/// Messages that wait for the network; a websocket that takes none of so many is broken.
const MAX_WAITING: usize = 4_096;

/// What is read of a websocket at a time, which each has memory for as long as it is open. tungstenite's own is 128 KiB.
const READ_BUFFER: usize = 4 * 1024;

/// An open websocket, with what waits to be sent on it.
pub(crate) struct Websocket {
    stream: WebSocketStream<Box<dyn Connection>>,
    waiting: VecDeque<Vec<u8>>,
    needs_flush: bool,
}

/// Opens a websocket, or says what the server answered instead, or what failed.
///
/// Dropping the future gives the attempt up.
pub(crate) async fn open(
    url: &Url,
    (name, value): (&'static str, String),
    tls: Option<Arc<ClientConfig>>,
) -> Result<Websocket, Refusal> {
    let stream = connect(url, tls).await.map_err(Refusal::failed)?;
    let mut request = url.as_str().into_client_request().map_err(Refusal::failed)?;
    let mut header = HeaderValue::from_str(&value).map_err(Refusal::failed)?;
    header.set_sensitive(true);
    request.headers_mut().insert(name, header);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_RESPONSE_SIZE))
        .max_frame_size(Some(MAX_RESPONSE_SIZE));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((stream, _)) => Ok(Websocket { stream, waiting: VecDeque::new(), needs_flush: false }),
        Err(Error::Http(response)) => {
            let body = whole_body(&response).unwrap_or_default();
            Err(Refusal { status: Some(response.status().as_u16()), body, cause: None })
        }
        Err(error) => Err(Refusal::failed(error)),
    }
}

/// The body of an answer, if all of it came with the head, or all that is looked at; nobody reads on.
fn whole_body(response: &Response<Option<Vec<u8>>>) -> Option<Vec<u8>> {
    let length: usize = response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    let body = response.body().as_deref()?.get(..length.min(server_words::MAX_BODY))?;
    Some(body.to_vec())
}

/// Asks a URL why it refuses.
///
/// Dropping the future gives the question up.
pub(crate) async fn validate(url: &Url, header: (&'static str, String), tls: Option<Arc<ClientConfig>>) -> Refusal {
    match http_get::get(url, header, tls, server_words::MAX_BODY).await {
        Ok(answer) => Refusal { status: Some(answer.status), body: answer.body, cause: None },
        Err(error) => Refusal::failed(error),
    }
}

/// A connection to the URL's host, with TLS if its scheme says so.
pub(crate) async fn connect(url: &Url, tls: Option<Arc<ClientConfig>>) -> std::io::Result<Box<dyn Connection>> {
    let host = url.host_str().ok_or(std::io::ErrorKind::InvalidInput)?.trim_matches(['[', ']']).to_owned();
    let is_secure = matches!(url.scheme(), "wss" | "https");
    let port = url.port().unwrap_or(if is_secure { 443 } else { 80 });
    let stream = tcp::connect(&host, port).await?;
    stream.set_nodelay(true)?;
    if !is_secure {
        return Ok(Box::new(stream));
    }
    connection::secure(stream, &host, tls).await
}

impl Websocket {
    /// Sends a message as soon as the network takes it; `false` if too many wait already.
    pub(crate) fn send(&mut self, bytes: Vec<u8>) -> bool {
        self.waiting.push_back(bytes);
        self.waiting.len() <= MAX_WAITING
    }

    /// The next message, while what waits is sent; `None` once the websocket is of no more use.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.poll_send(cx).is_err() {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Ready(Some(Ok(Message::Binary(bytes)))) => return Poll::Ready(Some(bytes)),
                Poll::Ready(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Poll::Ready(None),
                // LiveKit says nothing in text.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let mut stream = Pin::new(&mut self.stream);
        while !self.waiting.is_empty() {
            match stream.as_mut().poll_ready(cx)? {
                Poll::Ready(()) => {}
                Poll::Pending => return Ok(()),
            }
            if let Some(bytes) = self.waiting.pop_front() {
                stream.as_mut().start_send(Message::Binary(bytes.into()))?;
                self.needs_flush = true;
            }
        }
        if self.needs_flush && stream.poll_flush(cx)?.is_ready() {
            self.needs_flush = false;
        }
        Ok(())
    }

    /// Sends what waits, and closes, for a second at most.
    pub(crate) async fn close(mut self) {
        let close = async {
            std::future::poll_fn(|cx| {
                let sent = self.poll_send(cx);
                if sent.is_err() || (self.waiting.is_empty() && !self.needs_flush) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            // One that the server has closed already can't be closed again.
            let _ = self.stream.close(None).await;
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), close).await;
    }
}
