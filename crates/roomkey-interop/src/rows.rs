//! The rows of the table.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use livekit_token_source::{TokenSourceConfigurable as _, TokenSourceFetchOptions};
use roomkey::token::{AccessToken, Claims, JobRestartPolicy, Signer, SipGrant, Verifier, VideoGrant};
use roomkey::{BoxError, Endpoint, FetchOptions, RoomAgentDispatch, RoomConfiguration};
use serde_json::{Value, json};

use crate::capture::{Capture, Captured};
use crate::peer::{ExpressEndpoint, node, python};

type Outcome = Result<(), BoxError>;

/// One thing that is tried with one peer.
pub(crate) struct Row {
    pub(crate) peer: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: Pin<Box<dyn Future<Output = Outcome>>>,
}

const SERVER_SDK: &str = "livekit-server-sdk (Node)";
const API: &str = "livekit-api (Python)";
const CLIENT: &str = "livekit-client (Node)";
const CRATE: &str = "livekit-token-source (Rust)";

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(SERVER_SDK, "verifies a token of ours, with all that is in it", ours_verified_by_node()),
        row(SERVER_SDK, "makes a token that we verify, with all that is in it", nodes_verified_here()),
        row(SERVER_SDK, "refuses our token with another secret", ours_refused_by_node()),
        row(API, "verifies a token of ours, with all that is in it", ours_verified_by_python()),
        row(API, "makes a token that we verify, with all that is in it", pythons_verified_here()),
        row(API, "refuses our token with another secret", ours_refused_by_python()),
        row(SERVER_SDK, "in Express is an endpoint for our source", express_is_our_endpoint()),
        row(CLIENT, "TokenSource.endpoint sends what our endpoint source sends", client_endpoint_sends_the_same()),
        row(CLIENT, "TokenSource.developmentTokenServer sends what ours sends", client_development_sends_the_same()),
        row(CLIENT, "takes the answer that our types write", client_takes_our_answer()),
        row(CRATE, "sends what our endpoint source sends", crate_sends_the_same()),
        row(CRATE, "makes of an answer what our source makes of it", crate_answers_the_same()),
    ]
}

fn row(peer: &'static str, what: &'static str, run: impl Future<Output = Outcome> + 'static) -> Row {
    Row { peer, what, run: Box::pin(run) }
}

const KEY: &str = "APIinterop";
const SECRET: &str = "a-secret-that-is-long-enough-to-keep";

#[expect(clippy::disallowed_methods, reason = "peers read the real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn same(what: &str, ours: &Value, theirs: &Value) -> Outcome {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: ours {ours}, theirs {theirs}").into()) }
}

fn expect(is_so: bool, what: &str) -> Outcome {
    if is_so { Ok(()) } else { Err(what.to_owned().into()) }
}

/// A token of ours with what a token can have; the peers' scripts make the same.
fn our_token() -> Result<String, BoxError> {
    let token = AccessToken::new("ours")
        .with_name("Zoë 🧑‍🚀")
        .with_metadata("{\"a\":1}")
        .with_attribute("lang", "de")
        .with_video(VideoGrant::join("lobby").with_can_publish(false).with_can_publish_data(true).with_hidden(true))
        .with_sip(SipGrant::default().with_call(true))
        .with_room_config(room_config())
        .with_ttl(Duration::from_secs(600))
        .sign(&Signer::new(KEY, SECRET)?, now())?;
    Ok(token.into())
}

fn room_config() -> RoomConfiguration {
    let agent = RoomAgentDispatch::new("helper")
        .with_metadata("m")
        .with_deployment("staging")
        .with_restart_policy(JobRestartPolicy::Never);
    let mut config = RoomConfiguration::new().with_empty_timeout(30).with_max_participants(7).with_tag("team", "blue");
    config.sync_streams = true;
    config.with_agent(agent)
}

/// What a peer has to read in our token.
fn check_read(claims: &Value) -> Outcome {
    for (name, value) in [
        ("sub", json!("ours")),
        ("name", json!("Zoë 🧑‍🚀")),
        ("metadata", json!("{\"a\":1}")),
        ("attributes", json!({"lang": "de"})),
        ("sip", json!({"call": true})),
        (
            "video",
            json!({"roomJoin": true, "room": "lobby", "canPublish": false, "canPublishData": true, "hidden": true}),
        ),
        (
            "roomConfig",
            json!({
                "emptyTimeout": 30, "maxParticipants": 7, "syncStreams": true, "tags": {"team": "blue"},
                "agents": [{
                    "agentName": "helper", "metadata": "m", "deployment": "staging", "restartPolicy": "JRP_NEVER",
                }],
            }),
        ),
    ] {
        same(name, &value, &claims[name])?;
    }
    Ok(())
}

/// What we have to read in a peer's token.
fn check_theirs(token: &Value, identity: &str) -> Outcome {
    let token = token["token"].as_str().ok_or("the peer made no token")?;
    let claims: Claims = Verifier::new().with_key(KEY, SECRET).verify(token, now())?;
    expect(claims.identity() == identity, "identity")?;
    expect(claims.name == "Zoë 🧑‍🚀" && claims.metadata == "{\"a\":1}", "name and metadata")?;
    expect(claims.attributes.get("lang").is_some_and(|lang| lang == "de"), "attributes")?;
    let video = claims.video.as_ref().ok_or("no video grant")?;
    let permission = video.permission();
    expect(video.room_join && video.room == "lobby", "the grant to join")?;
    expect(!permission.can_publish && permission.can_publish_data && permission.hidden, "permissions")?;
    expect(claims.sip == Some(SipGrant::default().with_call(true)), "sip")?;
    expect(claims.room_config == Some(room_config()), &format!("room configuration: {:?}", claims.room_config))
}

async fn ours_verified_by_node() -> Outcome {
    check_read(&node("verify", &json!({"key": KEY, "secret": SECRET, "token": our_token()?})).await?)
}

async fn nodes_verified_here() -> Outcome {
    check_theirs(&node("mint", &json!({"key": KEY, "secret": SECRET})).await?, "node")
}

async fn ours_refused_by_node() -> Outcome {
    let verified = node("verify", &json!({"key": KEY, "secret": SECRET.to_uppercase(), "token": our_token()?})).await?;
    same("verdict", &json!("JWSSignatureVerificationFailed"), &verified["refused"])
}

async fn ours_verified_by_python() -> Outcome {
    check_read(&python("verify", &json!({"key": KEY, "secret": SECRET, "token": our_token()?})).await?)
}

async fn pythons_verified_here() -> Outcome {
    check_theirs(&python("mint", &json!({"key": KEY, "secret": SECRET})).await?, "python")
}

async fn ours_refused_by_python() -> Outcome {
    let verified =
        python("verify", &json!({"key": KEY, "secret": SECRET.to_uppercase(), "token": our_token()?})).await?;
    same("verdict", &json!("InvalidSignatureError"), &verified["refused"])
}

async fn express_is_our_endpoint() -> Outcome {
    let endpoint = ExpressEndpoint::start(&json!({"key": KEY, "secret": SECRET})).await?;
    let source = Endpoint::new(&endpoint.url).build()?;
    let options = FetchOptions::new()
        .with_room_name("lobby")
        .with_participant_identity("alice")
        .with_participant_attribute("lang", "de")
        .with_agent_name("helper")
        .with_room_config(RoomConfiguration::new().with_max_participants(2));
    let credentials = source.fetch(&options).await?;
    let claims = Verifier::new().with_key(KEY, SECRET).verify(credentials.participant_token(), now())?;
    expect(claims.identity() == "alice" && claims.attributes.contains_key("lang"), "identity and attributes")?;
    let asked = RoomConfiguration::new().with_max_participants(2).with_agent(RoomAgentDispatch::new("helper"));
    expect(claims.room_config == Some(asked), "room configuration")?;
    expect(source.fetch(&options).await? == credentials, "the token is held")
}

/// Options by the names of the browser SDK, and ours.
fn pairs() -> Vec<(Value, FetchOptions)> {
    let none = FetchOptions::new();
    vec![
        (json!({}), none.clone()),
        (json!({"roomName": "lobby"}), none.clone().with_room_name("lobby")),
        (json!({"participantAttributes": {"k": "v"}}), none.clone().with_participant_attribute("k", "v")),
        (json!({"agentName": "helper"}), none.clone().with_agent_name("helper")),
        (json!({"deployment": "staging"}), none.clone().with_deployment("staging")),
        (
            json!({
                "roomName": "r", "participantName": "n", "participantIdentity": "i", "participantMetadata": "m",
                "participantAttributes": {"k": "v"}, "agentName": "a", "agentMetadata": "am", "deployment": "d",
            }),
            none.with_room_name("r")
                .with_participant_name("n")
                .with_participant_identity("i")
                .with_participant_metadata("m")
                .with_participant_attribute("k", "v")
                .with_agent_name("a")
                .with_agent_metadata("am")
                .with_deployment("d"),
        ),
    ]
}

fn answer() -> Result<Value, BoxError> {
    Ok(json!({"server_url": "ws://localhost:7880", "participant_token": our_token()?}))
}

/// Compares requests: method, path, the headers that count, the body as JSON and, for one field, to the byte.
fn compare(ours: &[Captured], theirs: &[Captured], headers: &[&str]) -> Outcome {
    expect(!ours.is_empty() && ours.len() == theirs.len(), "as many requests")?;
    for (ours, theirs) in ours.iter().zip(theirs) {
        expect((&ours.method, &ours.path) == (&theirs.method, &theirs.path), "method and path")?;
        for name in headers {
            expect(
                ours.headers.get(*name) == theirs.headers.get(*name) && ours.headers.contains_key(*name),
                &format!("{name}: ours {:?}, theirs {:?}", ours.headers.get(*name), theirs.headers.get(*name)),
            )?;
        }
        same("body", &ours.body, &theirs.body)?;
        // Objects of one field have one order.
        let has_one_field = ours.body.as_object().is_some_and(|fields| fields.len() <= 1);
        expect(!has_one_field || ours.text == theirs.text, &format!("bytes: {} / {}", ours.text, theirs.text))?;
    }
    Ok(())
}

async fn compare_with_client(id: Option<&str>, headers: &[&str]) -> Outcome {
    let capture = Capture::start(answer()?).await?;
    let theirs: Vec<Value> = pairs().into_iter().map(|(theirs, _)| theirs).collect();
    let url = if id.is_some() { capture.url.clone() } else { format!("{}/token", capture.url) };
    node("fetch", &json!({"url": url, "id": id, "options": theirs})).await?;
    let theirs = capture.take();
    let endpoint = match id {
        Some(id) => Endpoint::development_token_server_at(&url, id),
        None => Endpoint::new(&url).with_header("authorization", "Bearer me"),
    };
    let source = endpoint.build()?;
    for (_, options) in pairs() {
        source.fetch(&options).await?;
    }
    compare(&capture.take(), &theirs, headers)
}

async fn client_endpoint_sends_the_same() -> Outcome {
    compare_with_client(None, &["content-type", "authorization"]).await
}

async fn client_development_sends_the_same() -> Outcome {
    compare_with_client(Some("my-id"), &["content-type", "x-sandbox-id"]).await
}

async fn client_takes_our_answer() -> Outcome {
    let token = our_token()?;
    let mut response = roomkey::TokenResponse::new("ws://localhost:7880", token.clone());
    response.room_name = Some("lobby".to_owned());
    let capture = Capture::start(serde_json::to_value(&response)?).await?;
    let fetched = node("fetch", &json!({"url": capture.url, "options": [{"roomName": "lobby"}]})).await?;
    same("serverUrl", &json!("ws://localhost:7880"), &fetched["answers"][0]["serverUrl"])?;
    expect(fetched["answers"][0]["participantToken"] == json!(token), "the token")
}

async fn crate_sends_the_same() -> Outcome {
    let capture = Capture::start(answer()?).await?;
    let url = format!("{}/token", capture.url);
    let theirs = livekit_token_source::endpoint(url.clone());
    let none = TokenSourceFetchOptions::new;
    for options in [
        none(),
        none().with_room_name("lobby"),
        none().with_participant_attribute("k", "v"),
        none().with_agent_name("helper"),
        none().with_deployment("staging"),
        none()
            .with_room_name("r")
            .with_participant_name("n")
            .with_participant_identity("i")
            .with_participant_metadata("m")
            .with_participant_attribute("k", "v")
            .with_agent_name("a")
            .with_agent_metadata("am")
            .with_deployment("d"),
    ] {
        theirs.fetch(&options).await?;
    }
    let theirs = capture.take();
    let source = Endpoint::new(&url).build()?;
    for (_, options) in pairs() {
        source.fetch(&options).await?;
    }
    compare(&capture.take(), &theirs, &["content-type"])
}

async fn crate_answers_the_same() -> Outcome {
    let capture = Capture::start(answer()?).await?;
    let url = format!("{}/token", capture.url);
    let theirs = livekit_token_source::endpoint(url.clone()).fetch(&TokenSourceFetchOptions::new()).await?;
    let ours = Endpoint::new(&url).build()?.fetch(&FetchOptions::new()).await?;
    expect(ours.server_url() == theirs.server_url, "server_url")?;
    expect(ours.participant_token() == theirs.participant_token, "participant_token")
}
