//! The command line: one file for each subcommand, and what they all share.

mod argument;
mod backup;
mod bench;
mod cancel;
mod check;
mod connect;
mod demo;
mod generate;
mod key;
mod limits;
mod output;
mod queues;
mod restore;
mod result;
mod retry;
mod serve;
pub(crate) mod show;
mod show_task;
mod submit;
mod table;
mod tasks;
mod token;
mod watch;
mod why;
mod work;

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use argument::{Usage, WRONG};
pub use connect::Connection;
pub(crate) use serve::variable;

/// The asynchronous front door for HTTP: hand a request in, get a ticket at once, collect
/// the answer when it is done.
#[derive(Debug, Parser)]
#[command(name = "relais", version, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Exit status: 0 done; 1 it failed, or the task did; 2 the command line is wrong, and \
                  nothing was done; 130 interrupted by Ctrl-C."
)]
pub struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server
    Serve(serve::Serve),
    /// Judges the configuration and says what it means
    Check(check::Check),
    /// Copies the store while its server goes on
    Backup(backup::Backup),
    /// Makes a backup the store again
    Restore(restore::Restore),
    /// Hands in a task
    Submit(submit::Submit),
    /// Follows tasks until they are done
    Watch(watch::Watch),
    /// Lists tasks
    Tasks(tasks::Tasks),
    /// Shows one task
    Show(show_task::ShowTask),
    /// Says what a task waits for
    Why(why::WhyCommand),
    /// Prints the result of a task
    Result(result::ResultCommand),
    /// Cancels tasks
    Cancel(cancel::Cancel),
    /// Runs failed or canceled tasks again
    Retry(retry::Retry),
    /// Makes any program a worker
    Work(work::Work),
    /// Makes, lists and revokes API keys
    Key(key::Key),
    /// Shows what a ticket says
    Token(token::Token),
    /// Shows queues, pauses and resumes them
    Queues(queues::Queues),
    /// Prints every limit and what happens at it
    Limits(limits::Limits),
    /// Measures a server: of its own on this machine, or a running one
    Bench(bench::Bench),
    /// Tells the story of a request, with a shop as the upstream
    Demo(demo::Demo),
    /// Prints the completions of a shell
    #[command(hide = true)]
    Completions(generate::Completions),
    /// Writes the manual pages
    #[command(hide = true)]
    Man(generate::Man),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let mut command = Cli::command();
    // Only then do subcommands know what they are called by.
    command.build();
    let matches = saying_whole_usage(command).get_matches();
    let is_server_named = matches
        .subcommand_matches("bench")
        .is_some_and(|bench| bench.value_source("url") == Some(ValueSource::CommandLine));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("could not start: {error}")),
    };
    let code = match runtime.block_on(run(cli, is_server_named)) {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<Usage>() {
            Some(usage) => {
                let command = matches.subcommand_name().unwrap_or_default();
                let more = format!("For more information, try 'relais {command} --help'.");
                show::error(&format!("error: {usage}\n\n{more}"));
                ExitCode::from(WRONG)
            }
            None => fail(&(show::causes(&error) + connect::advice(&error))),
        },
    };
    // A thread that reads a terminal or a pipe would hold the program until somebody types.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli, is_server_named: bool) -> anyhow::Result<ExitCode> {
    let connection = cli.connection.located();
    match cli.command {
        Command::Serve(command) => command.run().await,
        Command::Check(command) => command.run(connection.json).await,
        Command::Backup(command) => command.run(connection.json).await,
        Command::Restore(command) => command.run(connection.json).await,
        Command::Submit(command) => command.run(&connection).await,
        Command::Watch(command) => command.run(&connection).await,
        Command::Tasks(command) => command.run(&connection).await,
        Command::Show(command) => command.run(&connection).await,
        Command::Why(command) => command.run(&connection).await,
        Command::Result(command) => command.run(&connection).await,
        Command::Cancel(command) => command.run(&connection).await,
        Command::Retry(command) => command.run(&connection).await,
        Command::Work(command) => command.run(&connection).await,
        Command::Key(command) => command.run(connection.json).await,
        Command::Token(command) => command.run(&connection),
        Command::Queues(command) => command.run(&connection).await,
        Command::Limits(command) => command.run(connection.json),
        Command::Bench(command) => command.run(&connection, is_server_named).await,
        Command::Demo(command) => command.run().await,
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    }
}

/// The same, but for the usage that goes with an error: it names what was given as if it were
/// needed, also what a variable gave.
fn saying_whole_usage(mut command: clap::Command) -> clap::Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    command.override_usage(usage).mut_subcommands(saying_whole_usage)
}

/// The whole command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The last words. Whoever does not read them must not keep the program from ending: then it
/// could not be started again.
fn fail(text: &str) -> ExitCode {
    let text = format!("relais: {text}");
    let (said, is_said) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        show::error(&text);
        let _ = said.send(());
    });
    let _ = is_said.recv_timeout(LAST_WORDS);
    ExitCode::FAILURE
}

/// How long the program waits for its last words to be taken.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);
