//! The port: how many may be connected, and for how long without a websocket.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::clock::Now;

/// Takes connections, so many at most. Who has no websocket makes room for who comes.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    most: usize,
    patience: Duration,
    /// In the order in which they came. Those that ended are still here until there is no room.
    visits: VecDeque<Weak<Visit>>,
}

impl Listener {
    pub(crate) fn new(listener: TcpListener, most: usize, patience: Duration) -> Self {
        Self { listener, most, patience, visits: VecDeque::new() }
    }

    /// A place for one more; none where everybody has a websocket.
    fn admit(&mut self) -> Option<Arc<Visit>> {
        if self.visits.len() >= self.most {
            self.visits.retain(|visit| visit.strong_count() > 0);
        }
        if self.visits.len() >= self.most && !self.let_oldest_go() {
            return None;
        }
        let visit = Arc::new(Visit(Mutex::new(Phase::Asks(None))));
        self.visits.push_back(Arc::downgrade(&visit));
        Some(visit)
    }

    /// Lets go of who has been here the longest without a websocket. Whether there was anybody.
    fn let_oldest_go(&mut self) -> bool {
        let oldest = self.visits.iter().position(|visit| visit.upgrade().is_some_and(|visit| visit.let_go()));
        oldest.and_then(|oldest| self.visits.remove(oldest)).is_some()
    }
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        /// Until descriptors are free.
        const PAUSE: Duration = Duration::from_millis(100);
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => match self.admit() {
                    Some(visit) => return (Connection::new(stream, visit, self.patience), address),
                    None => tracing::warn!(most = self.most, "a connection beyond those that there may be"),
                },
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "can't take a connection");
                    self.let_oldest_go();
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionRefused | Kind::ConnectionAborted | Kind::ConnectionReset)
}

/// One connection, as the listener and its handlers know it.
#[derive(Debug)]
pub(crate) struct Visit(Mutex<Phase>);

#[derive(Debug)]
enum Phase {
    /// It has asked for nothing yet, or asks; who waits for it.
    Asks(Option<Waker>),
    /// It has a websocket, which has timeouts of its own.
    Stays,
    LetGo,
}

impl Visit {
    /// It has a websocket.
    pub(crate) fn stay(&self) {
        let mut phase = self.0.lock().expect("no holder panics");
        if matches!(*phase, Phase::Asks(_)) {
            *phase = Phase::Stays;
        }
    }

    /// Whether it could be let go.
    fn let_go(&self) -> bool {
        let mut phase = self.0.lock().expect("no holder panics");
        let Phase::Asks(waker) = &mut *phase else { return false };
        let waker = waker.take();
        *phase = Phase::LetGo;
        drop(phase);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// Gives handlers their connection.
#[derive(Clone, Debug)]
pub(crate) struct Visitor(pub(crate) Arc<Visit>);

impl Connected<IncomingStream<'_, Listener>> for Visitor {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self(Arc::clone(&stream.io().visit))
    }
}

/// A connection that ends by itself where nothing comes of it in time: a request that is answered, or a websocket.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    visit: Arc<Visit>,
    patience: Duration,
    /// None once there is a websocket.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    fn new(stream: TcpStream, visit: Arc<Visit>, patience: Duration) -> Self {
        // Signalling is short messages one after the other, which would wait for the client's acknowledgements (40 ms).
        let _ = stream.set_nodelay(true);
        Self { stream, visit, patience, deadline: Some(Box::pin(sleep(patience))) }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(deadline) = &mut self.deadline else { return Ok(()) };
        match &mut *self.visit.0.lock().expect("no holder panics") {
            Phase::Asks(waker) => *waker = Some(cx.waker().clone()),
            Phase::Stays => {
                self.deadline = None;
                return Ok(());
            }
            Phase::LetGo => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        Pin::new(&mut this.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(cx)?;
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let (Poll::Ready(Ok(_)), Some(deadline)) = (&written, &mut this.deadline) {
            // It was answered, and may ask again.
            deadline.set(sleep_until(Instant::from_std(Now::read().instant + this.patience)));
            if this.check(cx).is_err() {
                // The next one to ask is told.
                cx.waker().wake_by_ref();
            }
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
