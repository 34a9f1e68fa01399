//! `roomkey dev`.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use roomkey_dev_server::{Config, DevServer, Event};
use serde_json::json;

use crate::stop;

/// LiveKit's own port for signalling.
const PORT: u16 = 7880;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The TCP port of HTTP and websockets; 0 takes a free one.
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// The port of media, UDP and TCP; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    media_port: u16,
    /// The address to listen on. Anything but loopback needs --key and --secret.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The API key whose tokens are taken, in place of devkey.
    #[arg(long, env = "LIVEKIT_API_KEY", requires = "secret")]
    key: Option<String>,
    /// The secret of that key.
    #[arg(long, env = "LIVEKIT_API_SECRET", hide_env_values = true, requires = "key")]
    secret: Option<String>,
    /// The room of the token that is printed.
    #[arg(long, default_value = "dev")]
    room: String,
    /// The identity of the token that is printed.
    #[arg(long, default_value = "dev-user")]
    identity: String,
    /// One JSON object a line; the first, once it listens, has the URL, a token and its room.
    #[arg(long)]
    json: bool,
    /// Gives a token for any room to whoever asks, also where it listens beyond loopback.
    #[arg(long)]
    token_server: bool,
    /// A demo agent that takes every dispatch no worker takes.
    #[arg(long, value_enum)]
    agent: Option<Agent>,
}

/// The secret does not show.
impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arguments")
            .field("bind", &self.bind)
            .field("port", &self.port)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Agent {
    /// Echoes audio, answers chat.
    Echo,
}

/// Runs until Ctrl-C or a termination signal.
pub(crate) fn main(arguments: Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let mut message = format!("error: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        message.push_str(&format!(": {error}"));
        source = error.source();
    }
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{message}");
    ExitCode::FAILURE
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::new()
        .with_address(arguments.bind)
        .with_port(arguments.port)
        .with_media_port(arguments.media_port)
        .with_echo_agent(arguments.agent.is_some());
    if arguments.token_server {
        config = config.with_development_token_server(true);
    }
    let gives_tokens = arguments.token_server || arguments.bind.is_loopback();
    let has_own_key = arguments.key.is_some();
    if let (Some(key), Some(secret)) = (arguments.key, arguments.secret) {
        config = config.with_key(key, secret);
    }
    let mut server = DevServer::bind(config).await?;
    let mut events = server.events().expect("nobody has taken them");
    let token = server.mint(&arguments.identity, &arguments.room)?;
    let url = server.url();
    if arguments.json {
        print(&json!({ "url": url, "token": token, "room": arguments.room }).to_string())?;
    } else {
        let key = if has_own_key { "" } else { "\n  API key devkey, secret secret" };
        let source = if gives_tokens {
            let url = url.replacen("ws", "http", 1);
            format!("  Or a token source, with this as its development token server: {url}\n")
        } else {
            String::new()
        };
        print(&format!(
            "A LiveKit room for this machine: {url}{key}\n\n  A client needs two lines:\n\n    url = \"{url}\"\n    token = \
             \"{token}\"\n\n{source}  Ctrl-C ends it.\n"
        ))?;
    }
    let mut stopped = std::pin::pin!(stop::requested());
    loop {
        tokio::select! {
            () = &mut stopped => break,
            event = events.recv() => match event {
                Some(event) if arguments.json => print(&event_json(&event).to_string())?,
                Some(event) => print(&event.to_string())?,
                None => break,
            },
        }
    }
    server.shutdown().await;
    Ok(())
}

fn event_json(event: &Event) -> serde_json::Value {
    json!({ "event": event.name(), "message": event.to_string() })
}

/// A reader that went away ends the command.
fn print(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
