//! How the HTTP sources send a request: a trait, so that an application can bring its own client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};

use crate::provider::BoxError;

/// Sends the requests of an [`Endpoint`](crate::Endpoint).
///
/// Each source has its own; there is none for the process. A client does not follow redirects to another host, since the
/// request has the caller's credentials: the sources take a redirect for a rejection.
pub trait HttpClient: Send + Sync + 'static {
    /// Sends a request and gives the whole response, whatever its status; of a body of more than `max_body` bytes that comes
    /// with a status other than 2xx, the beginning. Dropping the future gives up the request.
    ///
    /// # Errors
    ///
    /// There is no response ([`HttpError::Transport`]), or the body of a 2xx response is longer than `max_body` bytes
    /// ([`HttpError::BodyTooLarge`]). No more than that is held in memory.
    fn send(
        &self,
        request: Request<Vec<u8>>,
        max_body: usize,
    ) -> impl Future<Output = Result<Response<Vec<u8>>, HttpError>> + Send;
}

/// Why there is no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// The server was not reached, or the connection broke, or it took too long.
    Transport(BoxError),
    /// The body of the response is longer than was allowed.
    BodyTooLarge,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transport(_) => "failed to reach the server",
            Self::BodyTooLarge => "the server's answer is too long",
        })
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Transport(cause) => Some(&**cause),
            Self::BodyTooLarge => None,
        }
    }
}

impl<C: HttpClient> HttpClient for Arc<C> {
    fn send(
        &self,
        request: Request<Vec<u8>>,
        max_body: usize,
    ) -> impl Future<Output = Result<Response<Vec<u8>>, HttpError>> + Send {
        (**self).send(request, max_body)
    }
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, HttpError>> + Send + 'a>>;

/// [`HttpClient`] as a source holds it, whatever its type.
pub(crate) trait DynHttpClient: Send + Sync {
    fn send_dyn(&self, request: Request<Vec<u8>>, max_body: usize) -> Sending<'_>;
}

impl<C: HttpClient> DynHttpClient for C {
    fn send_dyn(&self, request: Request<Vec<u8>>, max_body: usize) -> Sending<'_> {
        Box::pin(self.send(request, max_body))
    }
}
