//! A client of the server over real sockets, without media.

#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::disallowed_methods, reason = "tokens are judged by the real time")]

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A websocket to the server.
pub(crate) struct Connected(pub(crate) WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Connected {
    /// The next message; `None` where the server has closed.
    pub(crate) async fn next(&mut self) -> Option<proto::signal_response::Message> {
        loop {
            let message =
                tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("a message in time");
            match message? {
                Ok(Message::Binary(bytes)) => return proto::SignalResponse::decode(bytes).unwrap().message,
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The code with which the server closes, after whatever it has to say.
    pub(crate) async fn closed(mut self) -> u16 {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.expect("a close in time");
            match message {
                Some(Ok(Message::Close(frame))) => return frame.map_or(1005, |frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return 1006,
            }
        }
    }

    pub(crate) async fn send(&mut self, message: proto::signal_request::Message) {
        let request = proto::SignalRequest { message: Some(message) };
        self.0.send(Message::Binary(request.encode_to_vec().into())).await.unwrap();
    }
}

/// Opens a websocket, or gives the status and body of the refusal.
pub(crate) async fn dial(
    address: SocketAddr,
    path: &str,
    authorization: Option<&str>,
) -> Result<Connected, (u16, String)> {
    let Ok(mut request) = format!("ws://{address}{path}").into_client_request() else {
        // Longer than that client takes.
        let upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        return Err(ask(address, path, authorization, upgrade).await);
    };
    if let Some(authorization) = authorization {
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(Connected(socket)),
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Err((response.status().as_u16(), String::from_utf8(body).unwrap()))
        }
        Err(error) => panic!("{error}"),
    }
}

/// A plain POST of JSON.
pub(crate) async fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    send(
        address,
        &format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"),
    )
    .await
}

/// A plain GET.
pub(crate) async fn get(address: SocketAddr, path: &str, authorization: Option<&str>) -> (u16, String) {
    ask(address, path, authorization, "connection: close\r\n").await
}

async fn ask(address: SocketAddr, path: &str, authorization: Option<&str>, headers: &str) -> (u16, String) {
    let authorization = authorization.map(|it| format!("authorization: {it}\r\n")).unwrap_or_default();
    send(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}{authorization}\r\n")).await
}

async fn send(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
