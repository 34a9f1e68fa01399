//! What went wrong, in words.

use std::error::Error;
use std::time::Duration;

use roomkey::session::StartError;
use roomkey::{ConnectErrorKind, FetchError, FetchErrorKind};

use crate::join::plain;

/// An error and what it comes of, on a line. A source within a source says the same thing twice; the inner one is told.
pub(crate) fn of_error(error: &(dyn Error + 'static)) -> String {
    let mut parts = Vec::new();
    for error in chain(error) {
        let has_inner = error.is::<FetchError>() && chain(error).skip(1).any(|inner| inner.is::<FetchError>());
        let part = error.to_string();
        if !has_inner && parts.last() != Some(&part) {
            parts.push(part);
        }
    }
    plain::line(&parts.join(": "))
}

/// An error, and what it comes of.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// What to try after a start that failed.
pub(crate) fn advice(error: &StartError, is_local: bool) -> Option<&'static str> {
    match error {
        StartError::Token(error) => match innermost(error).kind() {
            FetchErrorKind::Transport if is_local => Some(
                "run `roomkey dev --agent echo` on this machine, or say where the token comes from: --url and --token, or \
                 --token-endpoint",
            ),
            FetchErrorKind::Transport => {
                Some("is the address of --token-endpoint right, and can it be reached from here?")
            }
            FetchErrorKind::Rejected { .. } if is_local => {
                Some("something else than `roomkey dev` listens on port 7880: name a --token-endpoint")
            }
            FetchErrorKind::Rejected { .. } => {
                Some("what does the endpoint want to know, and do --room, --identity and --agent say it?")
            }
            FetchErrorKind::InvalidResponse { .. } => {
                Some("--token-endpoint has to give `server_url` and `participant_token` as JSON")
            }
            FetchErrorKind::Timeout => Some("try again, or look at what keeps the token endpoint busy"),
            FetchErrorKind::Provider | FetchErrorKind::GrantMismatch | FetchErrorKind::PartitionChanged | _ => None,
        },
        StartError::NotAllowed(error) | StartError::Connect(error) => of_connect(error.kind()),
        StartError::Timeout => Some("is the server running, and can it be reached from here? More --timeout may help"),
        StartError::Agent(_) => Some("does the token dispatch an agent, and is one running? --agent NAME asks for one"),
        StartError::AlreadyStarted | StartError::Cancelled | StartError::Ended | _ => None,
    }
}

fn of_connect(kind: ConnectErrorKind) -> Option<&'static str> {
    match kind {
        ConnectErrorKind::NotAllowed => {
            Some("the token may have expired, or be of another server's API key: get a new one")
        }
        ConnectErrorKind::InvalidUrl => Some("it looks like wss://example.livekit.cloud or ws://127.0.0.1:7880"),
        ConnectErrorKind::NotFound | ConnectErrorKind::BadRequest | ConnectErrorKind::Protocol => {
            Some("is there a LiveKit server at that URL?")
        }
        ConnectErrorKind::Unavailable => Some("is the server running, and can it be reached from here?"),
        ConnectErrorKind::MediaTimeout => Some("does a firewall block UDP?"),
        ConnectErrorKind::Refused(_) | ConnectErrorKind::NoAddress | ConnectErrorKind::Cancelled | _ => None,
    }
}

fn innermost(error: &FetchError) -> &FetchError {
    chain(error).filter_map(|error| error.downcast_ref()).last().unwrap_or(error)
}

/// About how long something is: its largest unit and the next one.
pub(crate) fn of_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if seconds < 60 => format!("{seconds} s"),
        () if minutes < 10 => format!("{minutes} min {} s", seconds % 60),
        () if hours < 1 => format!("{minutes} min"),
        () if days < 1 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use roomkey::TokenSource;

    use super::*;

    #[test]
    fn durations_are_about_right() {
        let shown = |seconds| of_duration(Duration::from_secs(seconds));
        assert_eq!([shown(0), shown(59), shown(61), shown(601)], ["0 s", "59 s", "1 min 1 s", "10 min"]);
        assert_eq!([shown(3_661), shown(90_000)], ["1 h 1 min", "1 d 1 h"]);
    }

    #[tokio::test]
    async fn a_source_within_a_source_is_told_once() {
        let inner = TokenSource::literal_with(|| async { Err("the vault is\u{1b}[2J shut".into()) });
        let outer = TokenSource::literal_with(move || {
            let token = inner.fetch();
            async move { Ok(token.await?) }
        });
        let error = StartError::Token(outer.fetch().await.expect_err("it fails"));
        let told = of_error(&error);
        assert_eq!(
            told,
            "there is no token: failed to fetch a token: the provider gave an error: the vault is\u{fffd}[2J shut"
        );
    }

    #[tokio::test]
    async fn who_has_no_dev_server_is_told_how_to_get_one() {
        let endpoint = roomkey::Endpoint::new("http://127.0.0.1:9/").with_retry(roomkey::RetryPolicy::never());
        let source = endpoint.build().expect("the URL is good").bind(roomkey::FetchOptions::new());
        let error = StartError::Token(source.fetch().await.expect_err("nobody listens there"));
        assert!(advice(&error, true).is_some_and(|advice| advice.contains("roomkey dev --agent echo")));
        assert!(advice(&error, false).is_some_and(|advice| advice.contains("--token-endpoint")));
    }
}
