//! HTTP: the upgrade to a websocket, what clients ask after a refusal, and the development token server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, OriginalUri, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION,
    CONTENT_TYPE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::map_request;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use roomkey_signal::{ConnectRequest, ParticipantToken};
use roomkey_token::{AccessToken, TokenRequest, TokenResponse, VideoGrant};
use tokio::sync::{mpsc, oneshot};

use crate::admission::{self, NO_PERMISSIONS};
use crate::clock::Now;
use crate::listener::{Listener, Visitor};
use crate::media::{Command, OUTGOING};
use crate::sfu::Refusal;
use crate::sockets::{self, LONGEST_MESSAGE};
use crate::tokens::Keys;

/// The longest body of a request for a token.
const LONGEST_BODY: usize = 64 * 1024;

/// What a websocket reads at a time, in bytes. It holds as much as long as it is open; the default is 128 KiB.
const READ_BUFFER: usize = 4 * 1024;

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    keys: Arc<Keys>,
    commands: mpsc::Sender<Command>,
    /// What its own tokens are for; none where it gives none.
    url: Option<String>,
    /// Numbers websockets, of clients and workers alike. The demo agent is 0.
    sockets: Arc<AtomicU64>,
    /// How long a worker may take to register.
    handshake_timeout: Duration,
}

impl Http {
    pub(crate) fn new(
        keys: Arc<Keys>,
        commands: mpsc::Sender<Command>,
        url: Option<String>,
        handshake_timeout: Duration,
    ) -> Self {
        Self { keys, commands, url, sockets: Arc::new(AtomicU64::new(1)), handshake_timeout }
    }

    fn number(&self) -> u64 {
        self.sockets.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks the core, and waits for its answer.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Command) -> Result<T, Refusal> {
        let gone = || Refusal::new(503, "the server is shutting down");
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn refuse(&self, refusal: Refusal) -> Response {
        // Telling of it is for whoever watches; the answer does not depend on it.
        let _ = self.commands.send(Command::Refused(refusal.clone())).await;
        refusal.into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, self.body).into_response()
    }
}

/// Serves until the task is dropped.
pub(crate) async fn serve(listener: Listener, http: Http) {
    let app = Router::new()
        .route("/", get(root).options(preflight))
        .route("/rtc", get(connect))
        .route("/rtc/v1", get(connect))
        .route("/rtc/validate", get(validate).options(preflight))
        .route("/rtc/v1/validate", get(validate).options(preflight))
        .route("/agent", get(agent))
        .route("/api/v2/sandbox/connection-details", post(connection_details).options(preflight))
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(http);
    // Clients whose URL ends with a slash ask for `//rtc`; livekit-server takes it for one.
    let app = Router::new().fallback_service(app).layer(map_request(single_slashes));
    if let Err(error) = axum::serve(listener, app.into_make_service_with_connect_info::<Visitor>()).await {
        tracing::error!(%error, "no longer listening");
    }
}

async fn single_slashes(mut request: Request) -> Request {
    let path = request.uri().path();
    if path.contains("//") {
        let mut single = String::with_capacity(path.len());
        for character in path.chars() {
            if !(character == '/' && single.ends_with('/')) {
                single.push(character);
            }
        }
        if let Some(query) = request.uri().query() {
            single.push('?');
            single.push_str(query);
        }
        if let Ok(uri) = single.parse() {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// The token of a request: in its header, or in its query.
fn token_of(uri: &OriginalUri, headers: &HeaderMap) -> Result<Option<ParticipantToken>, Refusal> {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    ParticipantToken::of_request(authorization, uri.query()).map_err(Refusal::from)
}

/// A request to join, with the claims of the token that came with it.
async fn examine(
    http: &Http,
    uri: &OriginalUri,
    headers: &HeaderMap,
) -> Result<(ConnectRequest, roomkey_token::Claims), Refusal> {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (request, claims) = admission::examine(&http.keys, uri.path(), uri.query(), authorization, Now::read().wall)?;
    http.ask(|reply| Command::Check { claims: Box::new(claims.clone()), reply }).await?;
    Ok((request, claims))
}

/// Tells that the server is there. A token is not needed, and one that is no good is refused all the same.
async fn root(State(http): State<Http>, uri: OriginalUri, headers: HeaderMap) -> Response {
    let judged = token_of(&uri, &headers).and_then(|token| {
        let Some(token) = token else { return Ok(()) };
        http.keys.authenticate(Some(token.as_str()), Now::read().wall).map(drop)
    });
    let answer = match judged {
        Ok(()) => "OK".into_response(),
        Err(refusal) => refusal.into_response(),
    };
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], answer).into_response()
}

/// A client after a refused websocket: why?
async fn validate(State(http): State<Http>, uri: OriginalUri, headers: HeaderMap) -> Response {
    let answer = match examine(&http, &uri, &headers).await {
        Ok(_) => "success".into_response(),
        Err(refusal) => refusal.into_response(),
    };
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], answer).into_response()
}

async fn connect(
    State(http): State<Http>,
    ConnectInfo(Visitor(visit)): ConnectInfo<Visitor>,
    uri: OriginalUri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let (request, claims) = match examine(&http, &uri, &headers).await {
        Ok(examined) => examined,
        Err(refusal) => return http.refuse(refusal).await,
    };
    // So says livekit-server to who does not ask for a websocket.
    let Ok(upgrade) = upgrade else { return (StatusCode::NOT_FOUND, "").into_response() };
    let (connection, protocol) = (http.number(), request.parameters.client_info.protocol);
    let joining = admission::joining(connection, request, claims);
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let joined = http.ask(|reply| Command::Join { connection, joining: Box::new(joining), outgoing, reply }).await;
    if let Err(refusal) = joined {
        return refusal.into_response();
    }
    let commands = http.commands.clone();
    let failed = commands.clone();
    upgrade
        .max_message_size(LONGEST_MESSAGE)
        .read_buffer_size(READ_BUFFER)
        .on_failed_upgrade(move |_| {
            // The core's queue is full for a moment at most; then the client's media never comes up, and it is let go.
            let _ = failed.try_send(Command::Lost { connection });
        })
        .on_upgrade(move |socket| {
            visit.stay();
            sockets::serve_client(socket, connection, protocol, messages, commands)
        })
}

async fn agent(
    State(http): State<Http>,
    ConnectInfo(Visitor(visit)): ConnectInfo<Visitor>,
    uri: OriginalUri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let examined = token_of(&uri, &headers).and_then(|token| {
        let claims = http.keys.authenticate(token.as_ref().map(ParticipantToken::as_str), Now::read().wall)?;
        let may = claims.video.is_some_and(|video| video.agent);
        if may { Ok(()) } else { Err(Refusal::new(401, NO_PERMISSIONS)) }
    });
    if let Err(refusal) = examined {
        return http.refuse(refusal).await;
    }
    match upgrade {
        Ok(upgrade) => {
            let (worker, commands) = (http.number(), http.commands.clone());
            upgrade.max_message_size(LONGEST_MESSAGE).read_buffer_size(READ_BUFFER).on_upgrade(move |socket| {
                visit.stay();
                sockets::serve_worker(socket, worker, commands, http.handshake_timeout)
            })
        }
        Err(rejection) => rejection.into_response(),
    }
}

const CORS: [(HeaderName, &str); 3] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "*"),
];

async fn preflight() -> impl IntoResponse {
    (StatusCode::NO_CONTENT, CORS)
}

/// The development token server: whoever asks gets a token, with a room and an identity of its own where it names none.
async fn connection_details(State(http): State<Http>, body: Bytes) -> Response {
    let Some(url) = http.url else {
        return (StatusCode::FORBIDDEN, CORS, "this server gives no tokens beyond loopback").into_response();
    };
    let request = if body.is_empty() { Ok(TokenRequest::default()) } else { serde_json::from_slice(&body) };
    let Ok(request) = request else {
        return (StatusCode::BAD_REQUEST, CORS, "not a request for a token").into_response();
    };
    let or_drawn = |value: String, prefix: &str| {
        if value.is_empty() { crate::ids::draw(prefix, &mut fastrand::Rng::new()) } else { value }
    };
    let room = or_drawn(request.room_name, "room-");
    let identity = or_drawn(request.participant_identity, "user-");
    let mut grant = VideoGrant::join(room.clone());
    grant.can_update_own_metadata = Some(true);
    let mut token = AccessToken::new(identity)
        .with_name(request.participant_name.clone())
        .with_metadata(request.participant_metadata)
        .with_room_config(request.room_config)
        .with_video(grant);
    for (name, value) in request.participant_attributes {
        token = token.with_attribute(name, value);
    }
    match http.keys.sign(&token, Now::read().wall) {
        Ok(token) => {
            let mut response = TokenResponse::new(url, token);
            response.room_name = Some(room);
            response.participant_name = Some(request.participant_name);
            let body = serde_json::to_string(&response).expect("strings are JSON");
            (StatusCode::CREATED, CORS, [(CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(_) => (StatusCode::BAD_REQUEST, CORS, "nothing can be signed for that").into_response(),
    }
}
