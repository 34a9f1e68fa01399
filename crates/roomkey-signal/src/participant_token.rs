//! The token that a participant connects with.

use std::fmt;

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
    fn a_header_and_a_query_that_are_written_are_found_again() {
        let token = ParticipantToken::new("a.b-_c");
        let (_, value) = token.authorization_header();
        assert_eq!(ParticipantToken::of_request(Some(&value), None).unwrap(), Some(token.clone()));
        let mut url = Url::parse("wss://host/rtc?sdk=rust").unwrap();
        token.append_to(&mut url);
        assert_eq!(ParticipantToken::of_request(None, url.query()).unwrap(), Some(token));
    }
}
