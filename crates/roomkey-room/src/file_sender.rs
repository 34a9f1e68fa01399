//! Files that this client sends as streams of bytes.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use crate::data_stream::info::ByteStreamInfo;
use crate::data_stream::options::ByteStreamOptions;
use crate::local_participant::LocalParticipant;
use crate::stream_writer::{ByteStreamWriter, SendStreamError};

/// What is read of a file at a time: a few packets.
const PIECE: usize = 60_000;

/// A file that is being sent. Dropped before [`send`](Self::send) is done, the stream ends early, and its readers are told.
pub struct FileSender {
    file: File,
    writer: ByteStreamWriter,
    total_length: u64,
    progress: watch::Sender<u64>,
}

/// Why a file could not be read.
#[derive(Debug, Clone)]
pub struct FileError(Arc<io::Error>);

impl LocalParticipant {
    /// Sends a file as a stream of bytes, with its length, under its own name unless the options have one. A piece of it is in
    /// memory at a time.
    ///
    /// Returns when all of it is on its way. Dropping the future before ends the stream early, which its readers are told; of
    /// one that has not begun they hear nothing.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`]: [`File`](SendStreamError::File) where it can't be read or is no file,
    /// [`FileChanged`](SendStreamError::FileChanged) where it became shorter or longer meanwhile.
    pub async fn send_file(
        &self,
        path: impl AsRef<Path>,
        options: ByteStreamOptions,
    ) -> Result<ByteStreamInfo, SendStreamError> {
        self.stream_file(path, options).await?.send().await
    }

    /// Begins to send a file, for who wants to see how far it is; see [`send_file`](Self::send_file).
    ///
    /// Returns when the beginning of the stream is on its way. Dropping the future before begins no stream, or ends it early at
    /// once.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn stream_file(
        &self,
        path: impl AsRef<Path>,
        mut options: ByteStreamOptions,
    ) -> Result<FileSender, SendStreamError> {
        let path = path.as_ref();
        // Before it is opened: to open a pipe is to wait for who writes to it.
        if !tokio::fs::metadata(path).await?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file").into());
        }
        let file = File::open(path).await?;
        let total_length = file.metadata().await?.len();
        if options.name == ByteStreamOptions::UNNAMED
            && let Some(name) = path.file_name()
        {
            options.name = name.to_string_lossy().into_owned();
        }
        options.total_length = Some(total_length);
        let writer = self.stream_bytes(options).await?;
        Ok(FileSender { file, writer, total_length, progress: watch::Sender::new(0) })
    }
}

impl FileSender {
    /// The id of the stream.
    pub fn id(&self) -> &str {
        self.writer.id()
    }

    /// How long the file is, in bytes.
    pub fn total_length(&self) -> u64 {
        self.total_length
    }

    /// How many bytes are on their way, now and later.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// Sends the file to its end. Returns when all of it is on its way. Dropping the future before ends the stream early.
    ///
    /// # Errors
    ///
    /// [`SendStreamError`].
    pub async fn send(mut self) -> Result<ByteStreamInfo, SendStreamError> {
        let mut piece = vec![0; PIECE.min(usize::try_from(self.total_length).unwrap_or(PIECE))];
        let mut left = self.total_length;
        while left > 0 {
            let most = piece.len().min(usize::try_from(left).unwrap_or(PIECE));
            let read = self.file.read(&mut piece[..most]).await?;
            if read == 0 {
                return Err(SendStreamError::FileChanged);
            }
            self.writer.write(&piece[..read]).await?;
            left -= read as u64;
            self.progress.send_replace(self.total_length - left);
        }
        if self.file.read(&mut [0]).await? != 0 {
            return Err(SendStreamError::FileChanged);
        }
        self.writer.finish().await
    }
}

impl FileError {
    /// What kind of error it is.
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }
}

impl PartialEq for FileError {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }
}

impl Eq for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file can't be read")
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl From<io::Error> for SendStreamError {
    fn from(error: io::Error) -> Self {
        Self::File(FileError(Arc::new(error)))
    }
}

impl fmt::Debug for FileSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSender")
            .field("id", &self.id())
            .field("total_length", &self.total_length)
            .finish_non_exhaustive()
    }
}
