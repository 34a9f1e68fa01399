//! Reading the answer of a token endpoint, field by field, so that an error can name the field.

use roomkey_token::TokenResponse;
use serde_json::{Map, Value};

/// Reads an answer: an object with `server_url` and `participant_token`, each in snake_case or camelCase and not empty;
/// unknown keys are ignored. The error is the name of what is wrong.
pub(crate) fn parse_response(body: &[u8]) -> Result<TokenResponse, &'static str> {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else { return Err("body") };
    let server_url = take(&mut fields, "server_url", "serverUrl").ok_or("server_url")?;
    let participant_token = take(&mut fields, "participant_token", "participantToken").ok_or("participant_token")?;
    let mut response = TokenResponse::new(server_url, participant_token);
    response.room_name = take(&mut fields, "room_name", "roomName");
    response.participant_name = take(&mut fields, "participant_name", "participantName");
    Ok(response)
}

/// A text under either of two names, the first of which counts where both are there.
fn take(fields: &mut Map<String, Value>, snake: &str, camel: &str) -> Option<String> {
    match fields.remove(snake).or_else(|| fields.remove(camel))? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
