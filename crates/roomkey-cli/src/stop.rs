//! When somebody wants the command to end.

/// Waits for Ctrl-C or a termination signal. Dropping the future loses a signal that comes later.
#[cfg(unix)]
pub(crate) async fn requested() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = terminated.recv() => {},
        _ = tokio::signal::ctrl_c() => {},
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(crate) async fn requested() {
    let _ = tokio::signal::ctrl_c().await;
}
