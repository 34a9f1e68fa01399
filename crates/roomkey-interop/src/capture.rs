//! A token endpoint that remembers what it was asked, and answers with what it is told.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::OriginalUri;
use axum::http::{HeaderMap, Method, StatusCode};
use roomkey::BoxError;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

/// The server; it ends when this is dropped.
pub(crate) struct Capture {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Captured>>>,
    server: JoinHandle<()>,
}

impl Capture {
    pub(crate) async fn start(answer: Value) -> Result<Self, BoxError> {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&requests);
        let handler = move |method: Method, OriginalUri(uri): OriginalUri, headers: HeaderMap, body: Bytes| async move {
            let text = String::from_utf8_lossy(&body).into_owned();
            let body = serde_json::from_str(&text).unwrap_or(Value::Null);
            let captured = Captured { method: method.to_string(), path: uri.path().to_owned(), headers, body, text };
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(captured);
            (StatusCode::CREATED, [("content-type", "application/json")], answer.to_string())
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move {
            axum::serve(listener, Router::new().fallback(handler)).await.ok();
        });
        Ok(Self { url, requests, server })
    }

    /// What has come since this was asked last.
    pub(crate) fn take(&self) -> Vec<Captured> {
        std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.server.abort();
    }
}
