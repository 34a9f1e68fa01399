//! What a connect that fails says, and what it does not say: the token.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::error::Error as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use roomkey_dev_server::{Config, DevServer};
use roomkey_room::{ConnectError, ConnectErrorKind, Room};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkiLCJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg";

/// How a server answers a request for a websocket, and one at a validate URL: bytes, and whether these are all.
#[derive(Clone)]
struct Answers {
    websocket: (String, End),
    validate: (String, End),
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Closes,
    /// It stays open, and says nothing more.
    Hangs,
    /// It repeats the last kibibyte for as long as anybody reads.
    Never,
}

fn answer(status: &str, body: &str) -> (String, End) {
    (format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()), End::Closes)
}

/// A server's address, and the paths that it was asked for.
async fn server(answers: Answers) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::default());
    let log: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answers.clone(), Arc::clone(&log)));
        }
    });
    (address, asked)
}

async fn serve(mut stream: TcpStream, answers: Answers, log: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split([' ', '?']).nth(1).unwrap().to_owned();
    let (answer, end) = if path.ends_with("/validate") { answers.validate } else { answers.websocket };
    log.lock().unwrap().push(path);
    // A client that has enough does not read the rest.
    let mut is_read = stream.write_all(answer.as_bytes()).await.is_ok();
    while end == End::Never && is_read {
        is_read = stream.write_all(&answer.as_bytes()[answer.len() - 1_024..]).await.is_ok();
    }
    if end == End::Hangs {
        let _ = stream.read_u8().await;
    }
}

async fn refused(websocket: (String, End), validate: (String, End)) -> (ConnectError, Vec<String>) {
    let (address, asked) = server(Answers { websocket, validate }).await;
    let error = Room::connect(&format!("ws://{address}"), TOKEN).await.unwrap_err();
    assert_shows_no_token(&error);
    let asked = asked.lock().unwrap().clone();
    (error, asked)
}

fn assert_shows_no_token(error: &ConnectError) {
    let mut shown = vec![format!("{error} {error:?}"), error.reason().unwrap_or_default().to_owned()];
    let mut next = error.source();
    while let Some(source) = next {
        shown.push(format!("{source} {source:?}"));
        next = source.source();
    }
    for piece in TOKEN.split('.') {
        assert!(!shown.iter().any(|shown| shown.contains(piece)), "{shown:?}");
    }
}

fn io_kind(error: &ConnectError) -> Option<io::ErrorKind> {
    error.source()?.downcast_ref::<io::Error>().map(io::Error::kind)
}

#[tokio::test]
async fn the_dev_server_says_as_livekit_does_what_is_wrong_with_a_token() {
    let server = DevServer::bind(Config::new()).await.unwrap();
    for single in [true, false] {
        let builder = Room::builder().single_peer_connection(single);
        let error = builder.connect(&server.url(), "no token").await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ConnectErrorKind::NotAllowed, Some(401)));
        assert_eq!(error.reason(), Some("invalid authorization token"));
    }
}

#[tokio::test]
async fn the_body_of_the_refusal_is_told_and_nothing_else_is_asked() {
    let words = "invalid authorization token: token has invalid claims: token is expired";
    let (error, asked) = refused(answer("401 Unauthorized", words), answer("401 Unauthorized", "other words")).await;
    assert_eq!((error.kind(), error.status()), (ConnectErrorKind::NotAllowed, Some(401)));
    assert_eq!((error.reason(), asked), (Some(words), vec!["/rtc/v1".to_owned()]));
    assert_eq!(error.source().unwrap().to_string(), words);
}

#[tokio::test]
async fn a_refusal_without_words_is_asked_for_at_the_validate_url() {
    let said = answer("400 Bad Request", "identity cannot be empty");
    for silent in [
        answer("400 Bad Request", ""),
        // Of a body that does not come with its head nobody knows how much there is.
        ("HTTP/1.1 400 Bad Request\r\ncontent-length: 900\r\n\r\nident".to_owned(), End::Hangs),
        ("HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n5\r\nident\r\n".to_owned(), End::Hangs),
    ] {
        let (error, asked) = refused(silent, said.clone()).await;
        assert_eq!((error.kind(), error.status()), (ConnectErrorKind::BadRequest, Some(400)));
        assert_eq!(error.reason(), Some("identity cannot be empty"));
        assert_eq!(asked, ["/rtc/v1", "/rtc/v1/validate"]);
    }
    // That all is well is no reason.
    let (error, _) = refused(answer("403 Forbidden", ""), answer("200 OK", "success")).await;
    assert_eq!((error.kind(), error.status(), error.reason()), (ConnectErrorKind::NotAllowed, Some(403), None));
}

#[tokio::test]
async fn a_server_that_is_out_of_order_is_quoted_too() {
    let (error, asked) = refused(answer("503 Unavailable", "no capacity"), answer("200 OK", "success")).await;
    assert_eq!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, Some(503)));
    assert_eq!((error.reason(), asked.len()), (Some("no capacity"), 8));
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_token_that_the_server_gives_back_is_not_shown() {
    let (error, _) = refused(answer("401 Unauthorized", &format!("bad: {TOKEN}!")), answer("200 OK", "")).await;
    assert_eq!(error.reason(), Some("bad: …!"));
    let echo = answer("401 Unauthorized", &format!("Bearer {TOKEN}"));
    let (error, _) = refused(answer("401 Unauthorized", ""), echo).await;
    assert_eq!(error.reason(), Some("Bearer …"));
}

#[tokio::test]
async fn a_page_of_a_proxy_is_told_by_its_title() {
    let page = "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body><center>nginx</center></body></html>";
    let (error, _) = refused(answer("403 Forbidden", page), answer("200 OK", "")).await;
    assert_eq!((error.kind(), error.reason()), (ConnectErrorKind::NotAllowed, Some("403 Forbidden")));
}

#[tokio::test]
async fn of_a_body_without_end_a_kibibyte_is_kept() {
    let endless = (format!("HTTP/1.1 401 Unauthorized\r\n\r\n{}", "lengthy ".repeat(128)), End::Never);
    let (error, asked) = refused(endless.clone(), endless).await;
    assert_eq!((error.kind(), asked.len()), (ConnectErrorKind::NotAllowed, 2));
    assert!(error.reason().is_some_and(|reason| reason.starts_with("lengthy lengthy ") && reason.len() <= 1_024));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Room::connect(&format!("ws://{address}"), TOKEN).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, None));
    assert_eq!(io_kind(&error), Some(io::ErrorKind::ConnectionRefused));
    assert_shows_no_token(&error);
}

#[tokio::test]
async fn a_host_that_is_not_there_is_told() {
    // A label of a name has 63 bytes at most (RFC 1035, section 2.3.4), so that the resolver asks nobody.
    let error = Room::connect(&format!("ws://{}.invalid", "x".repeat(64)), TOKEN).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, None));
    assert!(io_kind(&error).is_some(), "{error:?}");
    assert_shows_no_token(&error);
}

#[tokio::test]
async fn what_speaks_no_http_is_told_by_its_cause() {
    let nonsense = ("SSH-2.0-OpenSSH_9.6\r\n".to_owned(), End::Closes);
    let (error, _) = refused(nonsense.clone(), nonsense).await;
    assert_eq!((error.kind(), error.status(), error.reason()), (ConnectErrorKind::Unavailable, None, None));
    assert!(error.source().is_some());
}

#[tokio::test]
async fn a_token_that_is_no_text_for_a_header_is_not_sent() {
    let error = Room::connect("ws://127.0.0.1:9", &format!("{TOKEN}\n")).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ConnectErrorKind::NotAllowed, None));
    assert!(error.source().is_some());
    assert_shows_no_token(&error);
}
