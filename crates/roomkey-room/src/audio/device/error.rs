//! Why a device is not there.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Why a device could not be opened, or is open no more. What the driver says is in [`source`](Error::source).
#[derive(Debug)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no such device, or none at all.
    NotFound(Box<dyn Error + Send + Sync>),
    /// Somebody else has it. Later it may be free.
    Busy(Box<dyn Error + Send + Sync>),
    /// The system does not let this program or user have it: a privacy setting, a group such as `audio`.
    Denied(Box<dyn Error + Send + Sync>),
    /// It has no rate, number of channels or format of samples that can be used.
    Unsupported(Box<dyn Error + Send + Sync>),
    /// It was open, and has gone or changed. Open another, or this one again.
    Lost(Box<dyn Error + Send + Sync>),
    /// It is open, and has given or taken nothing for five seconds.
    Stalled,
    /// Something else, of which only the driver knows.
    Other(Box<dyn Error + Send + Sync>),
}

impl DeviceError {
    /// Waits for the one that a device's task tells.
    pub(super) async fn told(mut lost: watch::Receiver<Option<Arc<Self>>>) -> Arc<Self> {
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(error)) => Arc::clone(error),
            // The runtime has ended, and the task with it.
            Ok(None) | Err(_) => Arc::new(Self::Stalled),
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound(_) => "there is no such audio device",
            Self::Busy(_) => "the audio device is in use",
            Self::Denied(_) => "access to the audio device was denied",
            Self::Unsupported(_) => "the audio device has no format that can be used",
            Self::Lost(_) => "the audio device has gone",
            Self::Stalled => "the audio device has stopped",
            Self::Other(_) => "the audio device failed",
        })
    }
}

impl Error for DeviceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotFound(cause)
            | Self::Busy(cause)
            | Self::Denied(cause)
            | Self::Unsupported(cause)
            | Self::Lost(cause)
            | Self::Other(cause) => Some(&**cause),
            Self::Stalled => None,
        }
    }
}
