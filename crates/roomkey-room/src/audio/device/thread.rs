//! The thread that holds a device.

use std::any::Any;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::error::DeviceError;

/// Opens and closes a device in a thread of its own: on some systems an open device may not go to another, and both may block.
///
/// Dropping it closes the device and waits for that.
#[derive(Debug)]
pub(super) struct DeviceThread {
    close: Close,
    thread: Option<JoinHandle<()>>,
}

/// Closes the device without waiting for it.
#[derive(Clone, Debug)]
pub(super) struct Close(SyncSender<()>);

impl DeviceThread {
    /// Calls `open` in the thread, and keeps there what it gives second until the device is closed.
    ///
    /// Dropping the future closes the device as soon as it is open, and waits for nothing.
    pub(super) async fn open<T: Send + 'static>(
        name: &str,
        open: impl FnOnce() -> Result<(T, Box<dyn Any>), DeviceError> + Send + 'static,
    ) -> Result<(T, Self), DeviceError> {
        let (close, closed) = sync_channel(1);
        let (opened, opening) = oneshot::channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || match open() {
            Ok((opened_with, _device)) => {
                if opened.send(Ok(opened_with)).is_ok() {
                    // Either way it is time.
                    let _ = closed.recv();
                }
            }
            Err(error) => _ = opened.send(Err(error)),
        });
        let thread = thread.map_err(|error| DeviceError::Other(error.into()))?;
        let opened = opening.await.map_err(|_| DeviceError::Other("the driver panicked".into()))??;
        Ok((opened, Self { close: Close(close), thread: Some(thread) }))
    }

    pub(super) fn closer(&self) -> Close {
        self.close.clone()
    }
}

impl Close {
    pub(super) fn close(&self) {
        // Where it was closed already there is no room, or nobody.
        let _ = self.0.try_send(());
    }
}

impl Drop for DeviceThread {
    fn drop(&mut self) {
        self.close.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::debug!("an audio driver panicked as its device was closed");
        }
    }
}
