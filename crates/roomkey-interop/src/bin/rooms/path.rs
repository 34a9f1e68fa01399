//! A TCP path to the server that can be cut: what a client's websocket goes through.

use std::net::{Ipv4Addr, SocketAddr};

use roomkey::BoxError;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards connections until it is dropped.
pub(crate) struct Path {
    pub(crate) url: String,
    cuts: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Path {
    /// A path to the server at `url`, whose host is a literal address or a name of this machine.
    pub(crate) async fn to(url: &str) -> Result<Self, BoxError> {
        let authority = url.split("://").nth(1).ok_or("a URL has a scheme")?.trim_end_matches('/');
        let server: SocketAddr = tokio::net::lookup_host(authority).await?.next().ok_or("no such server")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let (cuts, _) = watch::channel(0);
        let subscribe = cuts.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut cut = subscribe.subscribe();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Ok(Self { url, cuts, task })
    }

    /// Ends every connection of now, without a close frame; new ones go through.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}
