//! Judging a token as livekit-server judges it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::claims::{Claims, Issuer};
use crate::compact::{self, Compact};
use crate::fill::Rigor;
use crate::go_syntax;
use crate::numeric_date::NumericDate;

/// How far `exp` and `nbf` may be off, in seconds (`tokenLeeway` in livekit/protocol's `auth/verifier.go`).
pub const LEEWAY_SECONDS: i64 = 60;

/// Verifies access tokens exactly as livekit-server 1.13.5 does: what it accepts, this accepts, with the same claims; what
/// it refuses, this refuses, for the same reason.
///
/// That is: HS256 only; the secret chosen by `iss` alone; `exp` required; [60 seconds](LEEWAY_SECONDS) of leeway; `aud`,
/// `iat`, `kid` and `crit` not looked at; JSON read with Go's rules. Whether a valid token also lets its holder join is
/// [`Claims::check_join`]'s question.
///
/// Verification needs no I/O and no clock, and uses memory in proportion to the token: bound the length of what you take
/// from strangers (servers bound the request line or header that carries it).
///
/// ```
/// use std::time::SystemTime;
/// use roomkey_token::Verifier;
///
/// # fn check(token: &str, now: SystemTime) -> Result<(), roomkey_token::VerifyError> {
/// let verifier = Verifier::new().with_key("devkey", "secret");
/// let claims = verifier.verify(token, now)?;
/// println!("{} may join", claims.identity());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Verifier {
    keys: BTreeMap<String, Hmac<Sha256>>,
}

impl Verifier {
    /// A verifier without a key, which refuses every token.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an API key and its secret, or replaces that key's secret. Every key may sign, so that a rotation overlaps.
    ///
    /// A secret of any length is taken, as livekit-server does; an empty key or secret names nobody and is left out.
    #[must_use]
    pub fn with_key(mut self, api_key: impl Into<String>, api_secret: &(impl AsRef<[u8]> + ?Sized)) -> Self {
        let (api_key, api_secret) = (api_key.into(), api_secret.as_ref());
        if !api_key.is_empty() && !api_secret.is_empty() {
            let mac = Hmac::new_from_slice(api_secret).expect("HMAC takes a key of any length");
            self.keys.insert(api_key, mac);
        }
        self
    }

    /// Verifies a token at a time and gives its claims.
    ///
    /// # Errors
    ///
    /// The token is refused; [`VerifyError`] says why, in livekit-server's order of checks.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, VerifyError> {
        let compact = Compact::split(token).ok_or(VerifyError::Malformed)?;
        let algorithm = read_algorithm(compact.header).ok_or(VerifyError::Malformed)?;
        let payload = compact::decode_segment(compact.payload).ok_or(VerifyError::Malformed)?;
        let payload = compact::into_text(payload);
        if go_syntax::is_refused(&payload) {
            return Err(VerifyError::Malformed);
        }
        let claims = Claims::from_json(&payload, Rigor::server(&payload));
        let signature = compact::decode_segment(compact.signature).ok_or(VerifyError::Malformed)?;

        // livekit-server reads the registered claims alone first, so that an unknown key is told before a bad grant.
        let Ok(claims) = claims else {
            let Issuer(iss) = Issuer::from_json(&payload).map_err(|_| VerifyError::Malformed)?;
            let is_known = self.keys.contains_key(&iss);
            return Err(if is_known { VerifyError::MisfitClaim } else { VerifyError::UnknownApiKey });
        };
        let mac = self.keys.get(&claims.iss).ok_or(VerifyError::UnknownApiKey)?;
        if algorithm != "HS256" {
            return Err(VerifyError::Algorithm(algorithm));
        }
        let mut mac = mac.clone();
        mac.update(compact.signing_input.as_bytes());
        mac.verify_slice(&signature).map_err(|_| VerifyError::Signature)?;

        let problem = TimeProblem::of(&claims, NumericDate::from(now));
        if problem.is_none() { Ok(claims) } else { Err(VerifyError::Time(problem)) }
    }
}

/// Shows the API keys, never a secret.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.keys.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// The algorithms that golang-jwt knows; any other name is malformed.
const ALGORITHMS: [&str; 14] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
    "EdDSA", "none",
];

/// The header segments that the official SDKs write: Rust and Go and Python, Node.
const COMMON_HEADERS: [&str; 3] =
    ["eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJhbGciOiJIUzI1NiJ9"];

/// The algorithm that a header names, or `None` where the header is malformed.
fn read_algorithm(segment: &str) -> Option<&'static str> {
    if COMMON_HEADERS.contains(&segment) {
        return Some("HS256");
    }
    let header = compact::into_text(compact::decode_segment(segment)?);
    if go_syntax::is_refused(&header) {
        return None;
    }
    // A map, because keys match exactly here and the last of two counts.
    let header: BTreeMap<String, &RawValue> = serde_json::from_str(&header).ok()?;
    let name: String = serde_json::from_str(header.get("alg")?.get()).ok()?;
    ALGORITHMS.into_iter().find(|algorithm| *algorithm == name)
}

/// Why a [`Verifier`] refused a token.
///
/// livekit-server answers each with status 401 and [`response_body`](Self::response_body).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is no JWT, or a registered claim is not of its type, or its algorithm is unknown.
    Malformed,
    /// `iss` is missing or names no API key that the verifier has.
    UnknownApiKey,
    /// A grant or another claim of LiveKit's is not of its type.
    MisfitClaim,
    /// It is signed with another algorithm than HS256.
    Algorithm(&'static str),
    /// The signature is not that of the secret of `iss`.
    Signature,
    /// `exp` or `nbf` do not allow it now.
    Time(TimeProblem),
}

impl VerifyError {
    /// The status of livekit-server's answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        401
    }

    /// The body of livekit-server's answer. Of [`Self::MisfitClaim`] it is the part before the words of Go's JSON
    /// decoder, which follow there.
    #[must_use]
    pub fn response_body(&self) -> String {
        const INVALID: &str = "invalid authorization token";
        match self {
            Self::Malformed => INVALID.to_owned(),
            Self::UnknownApiKey => "invalid API key".to_owned(),
            Self::MisfitClaim => {
                format!("{INVALID}: token is malformed: could not JSON decode claim: ")
            }
            Self::Algorithm(name) => {
                format!("{INVALID}: token signature is invalid: signing method {name} is invalid")
            }
            Self::Signature => {
                format!("{INVALID}: token signature is invalid: signature is invalid")
            }
            Self::Time(problem) => {
                let told = [
                    problem.missing_exp.then_some("token is missing required claim: exp claim is required"),
                    problem.expired.then_some("token is expired"),
                    problem.not_yet_valid.then_some("token is not valid yet"),
                ];
                let told: Vec<_> = told.into_iter().flatten().collect();
                format!("{INVALID}: token has invalid claims: {}", told.join(", "))
            }
        }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the token is not a well-formed JWT"),
            Self::UnknownApiKey => f.write_str("the token is issued by an API key that is not configured (iss)"),
            Self::MisfitClaim => f.write_str("a claim of the token is not of the type that LiveKit expects"),
            Self::Algorithm(name) => write!(f, "the token is signed with {name}; LiveKit takes only HS256"),
            Self::Signature => f.write_str("the token is not signed with the secret of its API key (iss)"),
            Self::Time(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for VerifyError {}

/// What is wrong with a token's times; livekit-server tells all of it at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimeProblem {
    /// There is no `exp`.
    pub missing_exp: bool,
    /// `exp` lies 60 seconds back or more.
    pub expired: bool,
    /// `nbf` lies more than 60 seconds ahead.
    pub not_yet_valid: bool,
}

impl TimeProblem {
    fn of(claims: &Claims, now: NumericDate) -> Self {
        // Whole seconds are enough: `now < exp` with a whole `exp` is the same for `now` and its whole second.
        let now = GoTime::new(now);
        Self {
            missing_exp: claims.exp.is_none(),
            expired: claims.exp.is_some_and(|exp| now >= GoTime::new(exp).plus(LEEWAY_SECONDS)),
            not_yet_valid: claims.nbf.is_some_and(|nbf| now < GoTime::new(nbf).plus(-LEEWAY_SECONDS)),
        }
    }

    fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for TimeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing_exp {
            f.write_str("the token has no expiry (exp)")
        } else if self.expired {
            f.write_str("the token is expired")
        } else {
            f.write_str("the token is not valid yet (nbf); compare the clocks of its issuer and this machine")
        }
    }
}

/// Seconds since the year 1 that wrap around, as those of Go's `time.Time` do.
#[derive(PartialEq, PartialOrd)]
struct GoTime(i64);

impl GoTime {
    fn new(date: NumericDate) -> Self {
        const YEAR_1_TO_1970: i64 = 62_135_596_800;
        Self(date.as_secs().wrapping_add(YEAR_1_TO_1970))
    }

    fn plus(self, seconds: i64) -> Self {
        Self(self.0.wrapping_add(seconds))
    }
}
