//! The project's only script language: every chore is `cargo xtask <chore>`, one file per chore.
//!
//! Not here: anything the product does. What a chore starts (demo, bench, torture) lives in the
//! crates it starts; this program only builds them and hands over.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod check;
mod docs;
mod launch;
mod needs;
mod packages;
mod peers;
mod run;
mod test;
mod tidy;

/// The chores of the Relais repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

/// One chore.
#[derive(Subcommand)]
enum Chore {
    /// Quick look before a commit: fmt, clippy, tidy, build, unit and conformance tests, drift.
    Check,
    /// Everything that decides whether a change lands; installs what the tests need.
    Test,
    /// Checks the house rules that no compiler knows; prints `path:line: rule: what to do`.
    Tidy,
    /// Writes the generated files again (OpenAPI, the lifecycle table, golden exchanges).
    Docs,
    /// Starts Relais in front of the example shop and tells the story of a task.
    Demo(Rest),
    /// Builds the program and puts it where cargo puts programs (`~/.cargo/bin`).
    Install(Rest),
    /// Measures speed and prints a table; `bench peers` that of others, too, which it installs.
    Bench(Rest),
    /// Kills the server at random moments and judges what is left.
    Torture(Rest),
    /// Runs for long and watches that nothing grows.
    Soak(Rest),
}

/// Arguments that belong to the program a chore starts.
#[derive(clap::Args)]
struct Rest {
    /// Passed on as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::Check => check::check(),
        Chore::Test => test::test(),
        Chore::Tidy => tidy::tidy(),
        Chore::Docs => docs::docs(),
        Chore::Demo(rest) => launch::demo(&rest.args),
        Chore::Install(rest) => launch::install(&rest.args),
        Chore::Bench(rest) => peers::bench(&rest.args),
        Chore::Torture(rest) => launch::part("torture", &rest.args),
        Chore::Soak(rest) => launch::part("soak", &rest.args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(run::exit_code(&error))
        }
    }
}
