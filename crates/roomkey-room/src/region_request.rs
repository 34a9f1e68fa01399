//! The question where the regions of a server are.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use url::Url;

use crate::http_get;

/// The longest list that is read: a region takes about a hundred bytes.
const MAX_BODY: usize = 64 << 10;

/// GETs a URL: the body of a 200, and for how long it holds. `None` for whatever else comes.
///
/// Dropping the future gives the question up.
pub(crate) async fn get(
    url: &Url,
    header: (&'static str, String),
    tls: Option<Arc<ClientConfig>>,
) -> Option<(Vec<u8>, Option<Duration>)> {
    let answer = http_get::get(url, header, tls, MAX_BODY).await.ok()?;
    (answer.status == 200 && answer.is_whole).then_some((answer.body, answer.max_age))
}
