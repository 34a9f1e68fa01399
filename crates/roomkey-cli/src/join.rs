//! `roomkey join`.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use failure::Failure;
use headless::Headless;
use source::Choice;

mod conversation;
mod failure;
mod headless;
mod input_line;
mod interactive;
mod json;
mod plain;
mod screen;
mod script;
mod sound;
mod source;
mod speaker;
mod view;
mod words;
mod wrap;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The server's URL, with --token.
    #[arg(long, env = "LIVEKIT_URL")]
    url: Option<String>,
    /// A participant's token for that server.
    #[arg(long, env = "LIVEKIT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A token endpoint, in place of --url and --token. Without either, the dev server of this machine gives a token.
    #[arg(long, value_name = "URL")]
    token_endpoint: Option<String>,
    /// The room that the endpoint is asked for.
    #[arg(long)]
    room: Option<String>,
    /// The identity that it is asked for.
    #[arg(long)]
    identity: Option<String>,
    /// The participant's name that it is asked for.
    #[arg(long)]
    name: Option<String>,
    /// The agent that it is asked to dispatch.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Metadata for that agent's job.
    #[arg(long, value_name = "TEXT", requires = "agent")]
    agent_metadata: Option<String>,
    /// Says this to the agent, prints what it answers, and leaves. Can be repeated: each is said when the one before it has
    /// been answered.
    #[arg(long, value_name = "TEXT")]
    say: Vec<String>,
    /// One JSON object a line for whatever happens. Without --say, each line of standard input is said, until it ends.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sound: sound::DeviceArguments,
    /// How long --say may take, the join included; without it, how long the join may.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
}

/// The token does not show, nor what is said.
impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arguments")
            .field("url", &self.url)
            .field("room", &self.room)
            .field("json", &self.json)
            .finish_non_exhaustive()
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    // A day is longer than anybody waits, and far from what a clock can't add.
    let seconds: f64 = text.parse().map_err(|_| "it is a number of seconds".to_owned())?;
    let range = 0.001..=86_400.0;
    range
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
        .ok_or_else(|| "it is from 0.001 to 86400".to_owned())
}

/// Runs until the user leaves, or all is said and answered.
pub(crate) fn main(arguments: Arguments) -> ExitCode {
    let choice = match Choice::of(&arguments) {
        Ok(choice) => choice,
        Err(error) => return usage(&Failure::new(error.to_string())),
    };
    let is_headless = arguments.json || !arguments.say.is_empty();
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !is_headless && !is_terminal {
        return usage(
            &Failure::new("there is no terminal to show the room in")
                .with_advice("--say TEXT or --json, which need none"),
        );
    }
    let is_local = choice.is_local();
    let source = match choice.into_source() {
        Ok(source) => source,
        Err(error) => return usage(&Failure::new(words::of_error(&error))),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let Arguments { say: texts, json, timeout, sound, .. } = arguments;
    let outcome = if is_headless {
        runtime.block_on(Headless { texts, json, timeout, is_local }.run(source))
    } else {
        runtime.block_on(interactive::run(source, &sound, timeout, is_local))
    };
    outcome.map_or_else(|failure| fail(&failure), |()| ExitCode::SUCCESS)
}

fn fail(failure: &Failure) -> ExitCode {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{failure}");
    ExitCode::FAILURE
}

/// The command line can't be followed: the exit code that clap has for it.
fn usage(failure: &Failure) -> ExitCode {
    fail(failure);
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    /// Without what the environment says.
    fn parse(given: &[&str]) -> Result<Arguments, clap::Error> {
        let command = Arguments::augment_args(clap::Command::new("join"));
        let matches = command.try_get_matches_from([&["join"], given].concat())?;
        let mut arguments = Arguments::from_arg_matches(&matches)?;
        arguments.url = arguments.url.filter(|_| given.contains(&"--url"));
        arguments.token = arguments.token.filter(|_| given.contains(&"--token"));
        Ok(arguments)
    }

    pub(super) fn arguments(given: &[&str]) -> Arguments {
        parse(given).unwrap()
    }

    #[test]
    fn texts_are_said_in_the_order_in_which_they_are_given() {
        let given = arguments(&["--say", "hello", "--json", "--say", "and bye", "--timeout", "2.5"]);
        assert_eq!(given.say, ["hello", "and bye"]);
        assert!(given.json);
        assert_eq!(given.timeout, Duration::from_millis(2_500));
        assert_eq!(arguments(&[]).timeout, Duration::from_secs(30));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for given in [["--timeout", "soon"], ["--timeout", "-1"], ["--timeout", "inf"], ["--agent-metadata", "{}"]] {
            assert!(parse(&given).is_err(), "{given:?}");
        }
    }

    #[cfg(feature = "cpal")]
    #[test]
    fn devices_are_named_or_the_systems_and_for_a_terminal_alone() {
        for given in [&["--mic"][..], &["--mic", "hw:0", "--speaker"], &["--speaker", "hw:1"]] {
            assert!(parse(given).is_ok(), "{given:?}");
        }
        for given in [["--mic", "--json"], ["--speaker", "--say=hello"]] {
            assert!(parse(&given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn a_token_is_not_in_what_is_printed_for_debugging() {
        let given = arguments(&["--url", "ws://x", "--token", "t0ps3cret", "--say", "pr1vate"]);
        let shown = format!("{given:?}");
        assert!(!shown.contains("t0ps3cret") && !shown.contains("pr1vate"), "{shown}");
    }
}
