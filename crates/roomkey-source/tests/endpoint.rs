//! Token endpoints: what goes over the wire, and what is made of what comes back. The numbers are those of the black-box
//! cases.

#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a panic is the report")]

mod support;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap as AxumHeaders, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use roomkey_source::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use roomkey_source::{
    Endpoint, EndpointError, FetchErrorKind, FetchOptions, HttpClient, HttpError, RetryPolicy, RoomAgentDispatch,
    RoomConfiguration, TokenSource,
};
use serde_json::{Value, json};
use support::*;

/// A header that credentials are not in.
const TRACE: HeaderName = HeaderName::from_static("x-trace");

/// An HTTP client that answers from a script and remembers what it was asked.
#[derive(Clone, Default)]
struct ScriptedClient(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    answers: VecDeque<Result<Response<Vec<u8>>, HttpError>>,
    requests: Vec<Request<Vec<u8>>>,
}

impl ScriptedClient {
    /// A client whose answers are these, the last one again and again.
    fn answering(answers: impl IntoIterator<Item = Response<Vec<u8>>>) -> Self {
        let client = Self::default();
        client.0.lock().unwrap().answers.extend(answers.into_iter().map(Ok));
        client
    }

    fn giving(body: &str) -> Self {
        Self::answering([answer(200, body)])
    }

    fn requests(&self) -> usize {
        self.0.lock().unwrap().requests.len()
    }

    fn last(&self) -> Request<Vec<u8>> {
        self.0.lock().unwrap().requests.last().unwrap().clone()
    }

    fn body(&self) -> Value {
        serde_json::from_slice(self.last().body()).unwrap()
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::new("https://example.com/token?key=k").with_client(self.clone())
    }

    fn source(&self) -> TokenSource {
        self.endpoint().build().unwrap()
    }
}

impl HttpClient for ScriptedClient {
    async fn send(&self, request: Request<Vec<u8>>, max_body: usize) -> Result<Response<Vec<u8>>, HttpError> {
        tokio::task::yield_now().await;
        let mut script = self.0.lock().unwrap();
        script.requests.push(request);
        let answer = match script.answers.pop_front() {
            Some(Ok(answer)) if script.answers.is_empty() => {
                script.answers.push_back(Ok(answer.clone()));
                answer
            }
            Some(answer) => answer?,
            None => return Err(HttpError::Transport("no answer".into())),
        };
        if answer.body().len() > max_body { Err(HttpError::BodyTooLarge) } else { Ok(answer) }
    }
}

fn answer(status: u16, body: &str) -> Response<Vec<u8>> {
    Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap()
}

fn token_answer() -> String {
    json!({ "server_url": "wss://x", "participant_token": expiring(3_600) }).to_string()
}

/// Case 37.
#[tokio::test]
async fn the_request_is_the_one_that_livekits_clients_send() {
    let client = ScriptedClient::giving(&token_answer());
    let source = client.source();
    let full = full_options();
    source.fetch(&full).await.unwrap();
    let request = client.last();
    assert_eq!(
        (request.method().as_str(), request.uri().to_string().as_str()),
        ("POST", "https://example.com/token?key=k")
    );
    assert_eq!(request.headers().iter().collect::<Vec<_>>().len(), 1);
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(
        client.body(),
        json!({"room_name":"r","participant_name":"n","participant_identity":"i","participant_metadata":"m","participant_attributes":{"k":"v"},"room_config":{"agents":[{"agent_name":"a","metadata":"am","deployment":"staging"}]}})
    );

    source.fetch(&FetchOptions::new()).await.unwrap();
    assert_eq!(client.last().body(), b"{}");
    source.fetch(&FetchOptions::new().with_deployment("d")).await.unwrap();
    assert_eq!(client.body(), json!({"room_config": {"agents": [{"deployment": "d"}]}}));
    let config =
        RoomConfiguration::new().with_empty_timeout(5).with_agent(RoomAgentDispatch::default().with_metadata("m"));
    source.fetch(&FetchOptions::new().with_room_config(config).with_agent_name("a")).await.unwrap();
    assert_eq!(
        client.body(),
        json!({"room_config": {"empty_timeout": 5, "agents": [{"agent_name": "a", "metadata": "m"}]}})
    );
}

/// Case 38.
#[tokio::test]
async fn an_empty_option_is_not_sent() {
    let client = ScriptedClient::giving(&token_answer());
    client.source().fetch(&FetchOptions::new().with_agent_name("").with_room_name("")).await.unwrap();
    assert_eq!(client.last().body(), b"{}");
}

/// Case 39, what is taken.
#[tokio::test]
async fn an_answer_in_either_case_per_field_is_taken() {
    for body in [
        json!({"server_url": "wss://x", "participant_token": "t", "room_name": "r", "participant_name": "n"}),
        json!({"serverUrl": "wss://x", "participantToken": "t", "roomName": "r", "participantName": "n"}),
        json!({"serverUrl": "wss://x", "participant_token": "t", "roomName": "r", "participant_name": "n"}),
        json!({"server_url": "wss://x", "serverUrl": 7, "participant_token": "t", "room_name": "r", "participant_name": "n", "more": {"x": [1]}}),
    ] {
        for status in [200, 201] {
            let client = ScriptedClient::answering([answer(status, &body.to_string())]);
            let credentials = client.source().fetch(&room("a")).await.unwrap();
            assert_eq!((credentials.server_url(), credentials.participant_token()), ("wss://x", "t"));
            assert_eq!((credentials.room_name(), credentials.participant_name()), (Some("r"), Some("n")));
        }
    }
    let client =
        ScriptedClient::giving(r#"{"server_url":"u","participant_token":"t","room_name":null,"participant_name":""}"#);
    let credentials = client.source().fetch(&room("a")).await.unwrap();
    assert_eq!((credentials.room_name(), credentials.participant_name()), (None, None));
}

/// Case 39, what is not.
#[tokio::test]
async fn an_answer_that_can_not_be_used_names_the_field() {
    for (body, field) in [
        (r#"{"participant_token":"t"}"#, "server_url"),
        (r#"{"server_url":"","participant_token":"t"}"#, "server_url"),
        (r#"{"server_url":7,"participant_token":"t"}"#, "server_url"),
        (r#"{"server_url":"u"}"#, "participant_token"),
        (r#"{"server_url":"u","participant_token":null}"#, "participant_token"),
        (r#"{"server_url":"u","participant_token":["t"]}"#, "participant_token"),
        ("[]", "body"),
        ("", "body"),
        ("<html>eyJhbGciOiJIUzI1NiJ9.e30.sig</html>", "body"),
        (r#""eyJhbGciOiJIUzI1NiJ9.e30.sig""#, "body"),
        (r#"{"server_url":"u","participant_token":"t""#, "body"),
    ] {
        let client = ScriptedClient::giving(body);
        let error = client.source().fetch(&room("a")).await.unwrap_err();
        assert_eq!(error.kind(), FetchErrorKind::InvalidResponse { field }, "{body}");
        assert!(!error.is_retryable() && !error.is_auth());
        assert!(error.to_string().contains(field));
        assert!(!format!("{error:?} {error}").contains("eyJ"));
        assert_eq!(client.requests(), 1);
    }
    let long = format!(r#"{{"server_url":"u","participant_token":"{}"}}"#, "t".repeat(300_000));
    let error = ScriptedClient::giving(&long).source().fetch(&room("a")).await.unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::InvalidResponse { field: "body" });
}

/// Case 40.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_not_success_is_a_rejection_that_shows_nothing_and_changes_nothing() {
    let body = format!("no: eyJhbGciOiJIUzI1NiJ9.e30.sig {}", "x".repeat(5_000));
    for (status, retryable, auth) in [
        (301, false, false),
        (302, false, false),
        (307, false, false),
        (400, false, false),
        (401, false, true),
        (403, false, true),
        (404, false, false),
        (429, true, false),
        (500, true, false),
        (503, true, false),
    ] {
        let client = ScriptedClient::answering([answer(200, &token_answer()), answer(status, &body)]);
        let source = client
            .endpoint()
            .with_header("Authorization", "Bearer hush")
            .into_builder()
            .unwrap()
            .clock(clock())
            .build();
        let held = source.fetch(&room("a")).await.unwrap();
        let error = source.fetch_fresh(&room("a")).await.unwrap_err();
        assert_eq!(error.kind(), FetchErrorKind::Rejected { status });
        assert_eq!((error.is_retryable(), error.is_auth()), (retryable, auth), "{status}");
        let said = error.rejection().unwrap();
        assert!(said.starts_with("no: [redacted] x") && said.len() <= 1_024);
        let shown = format!("{error:?} {error}");
        assert!(!shown.contains("eyJ") && !shown.contains("hush") && !shown.contains("no:"), "{shown}");
        assert_eq!(source.fetch(&room("a")).await.unwrap(), held);
    }
}

/// Case 40, the header.
#[tokio::test(start_paused = true)]
async fn a_retry_after_is_told_in_seconds_or_as_a_date() {
    let told = |value: &str| {
        let mut answer = answer(429, "");
        answer.headers_mut().insert("retry-after", value.parse().unwrap());
        answer.headers_mut().insert("date", "Fri, 15 Jan 2027 08:00:00 GMT".parse().unwrap());
        ScriptedClient::answering([answer]).endpoint().with_retry(RetryPolicy::never()).build().unwrap()
    };
    for (value, wait) in [
        ("120", Some(120)),
        ("Fri, 15 Jan 2027 08:00:30 GMT", Some(30)),
        ("Fri, 15 Jan 2027 07:00:00 GMT", Some(0)),
        ("soon", None),
        ("-1", None),
        ("99999999999999999999", None),
    ] {
        let error = told(value).fetch(&room("a")).await.unwrap_err();
        assert_eq!(error.retry_after(), wait.map(Duration::from_secs), "{value}");
    }
}

/// Case 41.
#[tokio::test]
async fn a_header_replaces_the_one_of_its_name_in_any_case() {
    let client = ScriptedClient::giving(&token_answer());
    let endpoint = client
        .endpoint()
        .with_header("authorization", "one")
        .with_header("Authorization", "two")
        .with_header("CONTENT-TYPE", "application/json; charset=utf-8");
    assert!(!format!("{endpoint:?}").contains("two") && !format!("{endpoint:?}").contains("key=k"));
    endpoint.build().unwrap().fetch(&room("a")).await.unwrap();
    let headers = client.last().headers().clone();
    assert_eq!(headers.get_all("authorization").iter().collect::<Vec<_>>(), ["two"]);
    assert_eq!(headers.get_all("content-type").iter().collect::<Vec<_>>(), ["application/json; charset=utf-8"]);
    assert!(headers["authorization"].is_sensitive());

    let bad = client.endpoint().with_header("x-token", "line\nbreak").build().unwrap_err();
    assert!(matches!(&bad, EndpointError::HeaderValue(name) if name == "x-token"), "{bad}");
    assert!(matches!(client.endpoint().with_header("x y", "z").build().unwrap_err(), EndpointError::HeaderName));
}

/// Case 41, headers that rotate.
#[tokio::test(start_paused = true)]
async fn a_header_function_is_called_once_for_each_request() {
    let client = ScriptedClient::answering([answer(503, ""), answer(200, &token_answer())]);
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let source = client
        .endpoint()
        .with_header("authorization", "static")
        .with_bearer_for_each(move || {
            let call = counter.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Ok(format!("session-{call}")) }
        })
        .build()
        .unwrap();
    source.fetch(&room("a")).await.unwrap();
    assert_eq!((client.requests(), calls.load(Ordering::SeqCst)), (2, 2));
    let headers = client.last().headers().clone();
    assert_eq!(headers.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer session-2"]);
    assert!(headers["authorization"].is_sensitive());

    let many = client.endpoint().with_headers_for_each(|| async {
        let mut headers = HeaderMap::new();
        headers.append("x-many", HeaderValue::from_static("1"));
        headers.append("x-many", HeaderValue::from_static("2"));
        Ok(headers)
    });
    many.build().unwrap().fetch(&room("a")).await.unwrap();
    assert_eq!(client.last().headers().get_all("x-many").iter().count(), 2);

    let trace = |value| HeaderMap::from_iter([(TRACE, HeaderValue::from_static(value))]);
    let both = client
        .endpoint()
        .with_headers_for_each(move || async move { Ok(trace("first")) })
        .with_bearer_for_each(|| async { Ok("session".to_owned()) })
        .with_headers_for_each(move || async move { Ok(trace("second")) });
    both.build().unwrap().fetch(&room("a")).await.unwrap();
    let headers = client.last().headers().clone();
    assert_eq!(headers["authorization"], "Bearer session", "one function does not undo another");
    assert_eq!(headers.get_all(TRACE).iter().collect::<Vec<_>>(), ["second"], "the later one counts");

    let failing = client.endpoint().with_bearer_for_each(|| async { Err("logged out".into()) }).build().unwrap();
    let before = client.requests();
    let error = failing.fetch(&room("a")).await.unwrap_err();
    assert_eq!((error.kind(), client.requests()), (FetchErrorKind::Provider, before));
    let odd = client.endpoint().with_bearer_for_each(|| async { Ok("secret\n".to_owned()) }).build().unwrap();
    assert!(!format!("{:?}", odd.fetch(&room("a")).await.unwrap_err()).contains("secret"));
}

/// Case 42.
#[tokio::test]
async fn a_get_has_no_body_and_a_development_server_its_path_and_id() {
    let client = ScriptedClient::giving(&token_answer());
    for name in ["GET", "get"] {
        client.endpoint().with_method(name).build().unwrap().fetch(&room("a")).await.unwrap();
        assert_eq!((client.last().method().as_str(), client.last().body().len()), ("GET", 0));
        assert!(!client.last().headers().contains_key("content-type"));
    }
    client.endpoint().with_method("Put").build().unwrap().fetch(&room("a")).await.unwrap();
    assert_eq!((client.last().method().as_str(), client.body()), ("PUT", json!({"room_name": "a"})));
    client.endpoint().with_method("mint").build().unwrap().fetch(&room("a")).await.unwrap();
    assert_eq!(client.last().method().as_str(), "mint", "a method of one's own is as it is given");
    assert!(matches!(client.endpoint().with_method("GE T").build().unwrap_err(), EndpointError::Method));

    for base in ["http://localhost:7880", "http://localhost:7880/", "http://localhost:7880//"] {
        let source =
            Endpoint::development_token_server_at(base, "  \"my-id\" ").with_client(client.clone()).build().unwrap();
        source.fetch(&room("a")).await.unwrap();
        let request = client.last();
        assert_eq!(request.uri(), "http://localhost:7880/api/v2/sandbox/connection-details");
        assert_eq!(request.headers()["X-Sandbox-ID"], "my-id");
        assert_eq!(client.body(), json!({"room_name": "a"}));
    }
    let cloud = Endpoint::development_token_server("id").with_client(client.clone()).build().unwrap();
    cloud.fetch(&room("a")).await.unwrap();
    assert_eq!(client.last().uri(), "https://cloud-api.livekit.io/api/v2/sandbox/connection-details");
}

#[test]
fn a_development_server_without_an_id_is_refused_at_once() {
    for id in ["", "  ", "\"\"", "--"] {
        let error = TokenSource::development_token_server(id).unwrap_err();
        assert!(matches!(error, EndpointError::DevelopmentServerId), "{id:?}: {error:?}");
    }
}

#[test]
fn a_url_that_is_no_http_url_is_refused_at_once() {
    for url in [
        "",
        "example.com/token",
        "/token",
        "ftp://example.com",
        "http://",
        "https:///token",
        "wss://example.com",
        "http://a b",
        "https://user:password@example.com",
    ] {
        let error = Endpoint::new(url).with_client(ScriptedClient::default()).build().unwrap_err();
        assert!(matches!(error, EndpointError::Url), "{url}");
    }
    for url in ["http://localhost:1", "https://example.com", " https://example.com/x ", "http://[::1]:80/x"] {
        assert!(Endpoint::new(url).with_client(ScriptedClient::default()).build().is_ok(), "{url}");
    }
}

/// Case 43.
#[tokio::test(start_paused = true)]
async fn what_may_be_gone_is_tried_again_and_nothing_else() {
    let client = ScriptedClient::answering([answer(503, ""), answer(503, ""), answer(200, &token_answer())]);
    client.source().fetch(&room("a")).await.unwrap();
    assert_eq!(client.requests(), 3);

    for status in [400, 401, 403, 404, 307] {
        let client = ScriptedClient::answering([answer(status, "")]);
        client.source().fetch(&room("a")).await.unwrap_err();
        assert_eq!(client.requests(), 1, "{status}");
    }

    let unreachable = ScriptedClient::default();
    let error = unreachable.source().fetch(&room("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable(), unreachable.requests()), (FetchErrorKind::Transport, true, 3));
    let once = ScriptedClient::default();
    once.endpoint().with_retry(RetryPolicy::never()).build().unwrap().fetch(&room("a")).await.unwrap_err();
    assert_eq!(once.requests(), 1);
}

/// Case 43: the load timeout is for all attempts together.
#[tokio::test(start_paused = true)]
async fn attempts_end_with_the_load_timeout() {
    let client = ScriptedClient::answering([answer(503, "")]);
    let patient = RetryPolicy::default().with_attempts(1_000).with_first_wait(Duration::from_secs(1));
    let source = client.endpoint().with_retry(patient).build().unwrap();
    let error = source.fetch(&room("a")).await.unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Timeout);
    let requests = client.requests();
    assert!((8..20).contains(&requests), "{requests}");
}

/// Case 33.
#[tokio::test]
async fn the_answers_date_makes_up_for_a_clock_that_is_off() {
    let at = |seconds: u64| json!(seconds);
    let (server_now, local_now) = (NOW, NOW + 20 * 60);
    let token = jwt(&json!({ "iat": at(server_now), "nbf": at(server_now), "exp": at(server_now + 900) }));
    let body = json!({ "server_url": "wss://x", "participant_token": token }).to_string();
    let date = "Fri, 15 Jan 2027 08:00:00 GMT";
    for (has_date, is_relative, requests) in [(true, false, 1), (false, false, 4), (false, true, 1), (true, true, 1)] {
        let mut answer = answer(200, &body);
        if has_date {
            answer.headers_mut().insert("date", date.parse().unwrap());
        }
        let client = ScriptedClient::answering([answer]);
        let clock = Arc::new(roomkey_source::ManualClock::new(wall(local_now)));
        let builder = client.endpoint().into_builder().unwrap().clock(Arc::clone(&clock));
        let source = if is_relative { builder.relative_lifetime() } else { builder }.build();
        for _ in 0..4 {
            source.fetch(&room("a")).await.unwrap();
        }
        assert_eq!(client.requests(), requests, "with date: {has_date}, relative: {is_relative}");
        clock.advance(seconds(841));
        source.fetch(&room("a")).await.unwrap();
        assert_eq!(client.requests(), requests + 1);
    }

    // A token that the backend has held for long is as old as it says, also where one without a date would pass for new.
    let old = jwt(&json!({ "iat": at(NOW - 7_200), "exp": at(NOW - 3_600) }));
    let mut answer = answer(200, &json!({ "server_url": "wss://x", "participant_token": old }).to_string());
    answer.headers_mut().insert("date", date.parse().unwrap());
    let client = ScriptedClient::answering([answer]);
    for (times, relative) in [false, true].into_iter().enumerate() {
        let builder = client.endpoint().into_builder().unwrap().clock(clock());
        let source = if relative { builder.relative_lifetime() } else { builder }.build();
        source.fetch(&room("a")).await.unwrap();
        source.fetch(&room("a")).await.unwrap();
        assert_eq!(client.requests(), 2 * (times + 1));
    }
}

/// A server on a port of its own, which ends with the test.
async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

#[tokio::test]
async fn a_real_endpoint_is_asked_over_http() {
    let seen = Arc::new(Mutex::new(None));
    let router = Router::new().route(
        "/token",
        post({
            let seen = Arc::clone(&seen);
            move |headers: AxumHeaders, body: Bytes| async move {
                *seen.lock().unwrap() = Some((headers, body));
                (StatusCode::CREATED, token_answer())
            }
        }),
    );
    let address = serve(router).await;
    let source =
        Endpoint::new(format!("http://{address}/token")).with_bearer_for_each(|| async { Ok("me".to_owned()) });
    let credentials = source.build().unwrap().fetch(&room("lobby")).await.unwrap();
    assert_eq!(credentials.server_url(), "wss://x");
    assert!(credentials.server_time().is_some(), "a real server sends a Date");
    let (headers, body) = seen.lock().unwrap().take().unwrap();
    assert_eq!(
        (&headers["content-type"], &headers["authorization"]),
        (&"application/json".parse().unwrap(), &"Bearer me".parse().unwrap())
    );
    assert_eq!(body, r#"{"room_name":"lobby"}"#);
}

/// Case 44.
#[tokio::test]
async fn a_redirect_is_a_rejection_and_takes_no_credentials_anywhere() {
    let asked = Arc::new(AtomicUsize::new(0));
    let elsewhere = serve(Router::new().fallback({
        let asked = Arc::clone(&asked);
        move || async move {
            asked.fetch_add(1, Ordering::SeqCst);
            token_answer()
        }
    }))
    .await;
    let router = Router::new()
        .route("/temporary", post(move || async move { Redirect::temporary(&format!("http://{elsewhere}/")) }))
        .route("/see-other", post(move || async move { Redirect::to(&format!("http://{elsewhere}/")) }));
    let address = serve(router).await;
    for (path, status) in [("temporary", 307), ("see-other", 303)] {
        let source = Endpoint::new(format!("http://{address}/{path}")).with_header("authorization", "Bearer hush");
        let error = source.build().unwrap().fetch(&room("a")).await.unwrap_err();
        assert_eq!(error.kind(), FetchErrorKind::Rejected { status });
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_that_is_too_long_and_a_closed_port_are_errors() {
    let chunk = || axum::body::Body::from(vec![b'x'; 1 << 20]);
    let address = serve(
        Router::new()
            .route("/", get(move || async move { chunk().into_response() }).post(move || async move { chunk() })),
    )
    .await;
    let source = Endpoint::new(format!("http://{address}/")).build().unwrap();
    assert_eq!(source.fetch(&room("a")).await.unwrap_err().kind(), FetchErrorKind::InvalidResponse { field: "body" });

    // Of a rejection the status counts, however long its body.
    let long = || (StatusCode::UNAUTHORIZED, vec![b'x'; 1 << 20]);
    let address = serve(Router::new().route("/", post(move || async move { long() }))).await;
    let error = Endpoint::new(format!("http://{address}/")).build().unwrap().fetch(&room("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_auth()), (FetchErrorKind::Rejected { status: 401 }, true));
    assert_eq!(error.rejection().unwrap().len(), 1_024);

    let closed = {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        listener.local_addr().unwrap()
    };
    let source = Endpoint::new(format!("http://{closed}/?key=hush")).with_retry(RetryPolicy::never()).build().unwrap();
    let error = source.fetch(&room("a")).await.unwrap_err();
    assert_eq!(error.kind(), FetchErrorKind::Transport);
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
}

#[test]
fn any_answer_is_read_or_refused_without_a_panic_and_without_being_shown() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // As signed tokens look: the beginning is what they are known by.
    let token = format!("eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg", &expiring(60)[4..]);
    let original = json!({ "server_url": "wss://x", "participantToken": token, "room_name": "r" }).to_string();
    let mut refused = 0;
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut body = original.clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..body.len());
            match random.u8(..3) {
                0 => body[at] = random.u8(..),
                1 => drop(body.drain(at..random.usize(at..body.len()))),
                _ => drop(body.splice(at..at, *b"\",null:{[\\u")),
            }
            body.push(b'}');
        }
        let status = if random.bool() { 200 } else { 400 };
        let client = ScriptedClient::answering([Response::builder().status(status).body(body).unwrap()]);
        let fetched = runtime.block_on(client.source().fetch(&room("a")));
        let shown = match fetched {
            Ok(credentials) => {
                assert!(
                    !credentials.server_url().is_empty() && !credentials.participant_token().is_empty(),
                    "seed {seed}"
                );
                format!("{credentials:?}")
            }
            Err(error) => {
                refused += 1;
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                format!("{error} {error:?} {cause:?}")
            }
        };
        // Twelve characters in a row of the token would be too many, wherever it was torn apart.
        for at in 0..token.len() - 12 {
            assert!(!shown.contains(&token[at..at + 12]), "seed {seed}: {shown}");
        }
    }
    assert!(refused > 1_000, "{refused}");
}
