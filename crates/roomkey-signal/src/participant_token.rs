//! The token that a participant connects with.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::{Url, form_urlencoded};

use crate::ConnectRequestError;

/// A participant's token, as text. Neither `Debug` nor an error shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct ParticipantToken(String);

impl ParticipantToken {
    /// Holds a token. Nothing is checked.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token of a request, found as livekit-server 1.13.5 finds it: in the `Authorization` header, and in the
    /// query's `access_token` only if there is no such header.
    ///
    /// # Errors
    /// If the header is not of the form `Bearer …`.
    pub fn of_request(authorization: Option<&str>, query: Option<&str>) -> Result<Option<Self>, ConnectRequestError> {
        let token = match authorization.filter(|header| !header.is_empty()) {
            Some(header) => Some(Self::new(header.strip_prefix("Bearer ").ok_or(ConnectRequestError::NotBearer)?)),
            None => Self::of_query(query.unwrap_or_default()),
        };
        Ok(token.filter(|token| !token.0.is_empty()))
    }

    pub(crate) fn of_query(query: &str) -> Option<Self> {
        let token = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "access_token")?.1;
        (!token.is_empty()).then(|| Self(token.into_owned()))
    }

    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the token was made and when it expires, as far as it says so; its signature is not looked at. LiveKit's tokens say
    /// the first as `nbf`.
    pub fn times(&self) -> (Option<SystemTime>, Option<SystemTime>) {
        let claims = self.0.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
        let claims: serde_json::Value =
            claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
        let time = |name: &str| {
            let seconds = Duration::try_from_secs_f64(claims[name].as_f64()?).ok()?;
            UNIX_EPOCH.checked_add(seconds)
        };
        (time("iat").or_else(|| time("nbf")), time("exp"))
    }

    /// The header that carries the token: its name and value. Headers stay out of logs that URLs get into.
    pub fn authorization_header(&self) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", self.0))
    }

    /// Puts the token into a URL, for a peer that can't set headers, such as a browser's `WebSocket`. The URL is then
    /// as secret as the token.
    pub fn append_to(&self, url: &mut Url) {
        url.query_pairs_mut().append_pair("access_token", &self.0);
    }
}

impl fmt::Debug for ParticipantToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ParticipantToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_goes_before_the_query_and_debug_shows_neither() {
        let of = |header, query| ParticipantToken::of_request(header, query);
        assert_eq!(of(Some("Bearer a.b.c"), Some("access_token=q")).unwrap().unwrap().as_str(), "a.b.c");
        assert_eq!(of(None, Some("x=1&access_token=q&access_token=r")).unwrap().unwrap().as_str(), "q");
        assert_eq!(of(Some(""), Some("access_token=q")).unwrap().unwrap().as_str(), "q");
        assert_eq!(of(None, Some("access_token=")).unwrap(), None);
        assert_eq!(of(None, None).unwrap(), None);
        let refused = of(Some("Basic c2VjcmV0"), None).unwrap_err();
        assert_eq!(refused.status(), 401);
        assert!(!format!("{refused:?} {refused}").contains("c2VjcmV0"));
        assert!(!format!("{:?}", ParticipantToken::new("secret")).contains("secret"));
    }

    #[test]
    fn a_token_says_when_it_was_made_and_when_it_expires() {
        let times = |claims: &str| ParticipantToken::new(format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims))).times();
        let second = |second| UNIX_EPOCH.checked_add(Duration::from_secs(second));
        assert_eq!(times(r#"{"nbf":100,"exp":700}"#), (second(100), second(700)));
        assert_eq!(times(r#"{"nbf":100,"iat":90}"#), (second(90), None));
        for claims in ["", "7", r#"{"nbf":-1,"exp":"x"}"#, r#"{"exp":1e300}"#] {
            assert_eq!(times(claims), (None, None), "{claims}");
        }
        assert_eq!(ParticipantToken::new("opaque").times(), (None, None));
    }

    #[test]
    fn a_header_and_a_query_that_are_written_are_found_again() {
        let token = ParticipantToken::new("a.b-_c");
        let (_, value) = token.authorization_header();
        assert_eq!(ParticipantToken::of_request(Some(&value), None).unwrap(), Some(token.clone()));
        let mut url = Url::parse("wss://host/rtc?sdk=rust").unwrap();
        token.append_to(&mut url);
        assert_eq!(ParticipantToken::of_request(None, url.query()).unwrap(), Some(token));
    }
}
