//! Fail-over between regions, each of which is a server on this machine.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roomkey_dev_server::{Config, DevServer};
use roomkey_room::{ConnectErrorKind, ConnectionState, RegionFailover, Room, RoomBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

const KEY: &str = "APIregions";
const SECRET: &str = "a secret that is long enough for a test";
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A region that answers each request with a status, but for the question where the others are.
#[derive(Clone)]
struct Region {
    address: SocketAddr,
    /// First lines of requests, and whether a token was with them.
    requests: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Region {
    async fn answering(status: &'static str, list: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let region = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = Arc::clone(&region.requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => break,
                    }
                }
                let request = String::from_utf8(request).unwrap();
                let line = request.lines().next().unwrap_or_default().to_owned();
                let has_token = request.to_ascii_lowercase().contains("authorization: bearer ");
                let answer = if line.starts_with("GET /settings/regions ") {
                    // In pieces, as a proxy sends it.
                    let (head, tail) = list.split_at(list.len() / 2);
                    let chunks = format!("{:x}\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n", head.len(), tail.len());
                    format!(
                        "HTTP/1.1 200 OK\r\ncache-control: private, max-age=60\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
                    )
                } else {
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                };
                requests.lock().unwrap().push((line, has_token));
                // A client that has gone does not read it.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        region
    }

    fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    fn count(&self, is_question: bool) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(line, _)| line.contains("/settings/regions") == is_question).count()
    }

    fn questions(&self) -> usize {
        self.count(true)
    }

    fn dials(&self) -> usize {
        self.count(false)
    }
}

fn list(urls: &[&str]) -> String {
    let region = |(distance, url): (usize, &&str)| format!(r#"{{"url":"{url}","distance":"{distance}"}}"#);
    format!(r#"{{"regions":[{}]}}"#, urls.iter().enumerate().map(region).collect::<Vec<_>>().join(","))
}

async fn server() -> DevServer {
    DevServer::bind(Config::new().with_key(KEY, SECRET)).await.unwrap()
}

/// A port of this machine that nobody listens on.
async fn closed_port() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    format!("ws://{}", listener.local_addr().unwrap())
}

fn builder() -> RoomBuilder {
    Room::builder().region_failover(RegionFailover::Domains(vec!["127.0.0.1".to_owned()]))
}

#[tokio::test]
async fn a_room_ends_up_in_the_region_that_takes_it_and_comes_back_there() {
    let (server, closed) = (server().await, closed_port().await);
    let first = Region::answering("503 Service Unavailable", list(&[&closed, &server.url()])).await;
    let token = server.mint("alice", "room").unwrap();
    let builder = builder();
    let room = timeout(PATIENCE, builder.connect(&first.url(), &token)).await.unwrap().unwrap();
    assert_eq!((room.name(), first.questions()), ("room".to_owned(), 1));
    assert!(first.requests.lock().unwrap().iter().all(|(_, has_token)| *has_token));

    let dials = first.dials();
    let mut state = room.connection_state();
    room.simulate_signal_loss();
    timeout(PATIENCE, state.wait_for(|state| *state == ConnectionState::Resuming)).await.unwrap().unwrap();
    timeout(PATIENCE, state.wait_for(|state| *state == ConnectionState::Connected)).await.unwrap().unwrap();
    assert_eq!(first.dials(), dials, "the region of the stay, not the first URL");
    timeout(PATIENCE, room.close()).await.unwrap();

    // The list holds for a minute.
    let again = timeout(PATIENCE, builder.connect(&first.url(), &token)).await.unwrap().unwrap();
    assert_eq!(first.questions(), 1);
    timeout(PATIENCE, again.close()).await.unwrap();
}

#[tokio::test]
async fn a_region_that_dies_is_left_for_another_one() {
    let (dying, living) = (server().await, server().await);
    let first = Region::answering("503 Service Unavailable", list(&[&dying.url(), &living.url()])).await;
    let token = dying.mint("alice", "room").unwrap();
    let room = timeout(PATIENCE, builder().connect(&first.url(), &token)).await.unwrap().unwrap();
    let mut state = room.connection_state();
    drop(dying);
    timeout(PATIENCE, state.wait_for(|state| *state == ConnectionState::Restarting)).await.unwrap().unwrap();
    timeout(PATIENCE, state.wait_for(|state| *state == ConnectionState::Connected)).await.unwrap().unwrap();
    timeout(PATIENCE, room.close()).await.unwrap();
}

#[tokio::test]
async fn where_no_region_takes_a_room_the_error_is_that_of_the_first_and_off_means_one_region() {
    let (server, closed) = (server().await, closed_port().await);
    let first = Region::answering("503 Service Unavailable", list(&[&closed])).await;
    let token = server.mint("alice", "room").unwrap();
    let error = timeout(PATIENCE, builder().connect(&first.url(), &token)).await.unwrap().unwrap_err();
    assert!(matches!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, Some(503))), "{error}");
    assert_eq!(first.questions(), 1);

    let elsewhere = Region::answering("503 Service Unavailable", list(&[&server.url()])).await;
    for failover in [RegionFailover::Off, RegionFailover::Cloud] {
        let builder = Room::builder().region_failover(failover);
        let error = timeout(PATIENCE, builder.connect(&elsewhere.url(), &token)).await.unwrap().unwrap_err();
        assert!(matches!((error.kind(), error.status()), (ConnectErrorKind::Unavailable, Some(503))), "{error}");
    }
    assert_eq!(elsewhere.questions(), 0);
}

#[tokio::test]
async fn a_preparation_asks_for_regions_with_the_token_and_a_connect_that_fails_has_them() {
    let server = server().await;
    let first = Region::answering("503 Service Unavailable", list(&[&server.url()])).await;
    let token = server.mint("alice", "room").unwrap();
    let builder = builder();
    builder.prepare_connection(&first.url(), Some(&token)).await;
    assert_eq!(*first.requests.lock().unwrap(), [("GET /settings/regions HTTP/1.1".to_owned(), true)]);
    let room = timeout(PATIENCE, builder.connect(&first.url(), &token)).await.unwrap().unwrap();
    assert_eq!(first.questions(), 1);
    timeout(PATIENCE, room.close()).await.unwrap();

    // The list holds for a minute, so that there is nothing to ask for but the server itself.
    let dials = first.dials();
    builder.prepare_connection(&first.url(), Some(&token)).await;
    assert_eq!((first.questions(), first.dials()), (1, dials + 1));
    assert_eq!(first.requests.lock().unwrap().last(), Some(&("HEAD / HTTP/1.1".to_owned(), false)));
    server.shutdown().await;
}

#[tokio::test]
async fn a_preparation_sends_no_token_to_a_server_that_has_no_regions() {
    let url = Region::answering("200 OK", list(&[])).await;
    for (builder, token) in [(Room::builder(), Some("secret")), (builder(), None)] {
        builder.prepare_connection(&url.url(), token).await;
        assert_eq!(url.requests.lock().unwrap().pop(), Some(("HEAD / HTTP/1.1".to_owned(), false)));
    }
    assert!(url.requests.lock().unwrap().is_empty());
    // What can't be prepared is not the preparation's business.
    Room::builder().prepare_connection(&closed_port().await, None).await;
    Room::builder().prepare_connection("no url", Some("secret")).await;
}

#[tokio::test]
async fn a_preparation_that_gets_no_answer_ends() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let builder = Room::builder();
    let preparing = tokio::spawn(async move { builder.prepare_connection(&url, None).await });
    let (mut stream, _) = timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'H');
    // Its time is over, and nobody waits for it.
    tokio::time::pause();
    preparing.await.unwrap();
    tokio::time::resume();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"EAD / "), "the connection is closed");
}
