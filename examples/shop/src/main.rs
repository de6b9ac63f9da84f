//! The program `shop`: see the library and the README.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use shop::import::{self, Checkpoint, RealPace};
use shop::{sample, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A slow shop, and the worker that imports its files.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the shop over HTTP/1.1 until SIGTERM.
    Serve {
        /// The address; port 0 takes a free one and says which on standard error.
        #[arg(long, default_value = "127.0.0.1:9000")]
        listen: SocketAddr,
        /// The same seed gives the same stock.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How long open requests may take to end after SIGTERM.
        #[arg(long, default_value_t = 10, value_name = "SECONDS")]
        drain: u64,
        /// The time that each line of an import takes whose caller waits, in microseconds.
        #[arg(long, env = "SHOP_IMPORT_DELAY_US", default_value_t = 100, value_name = "N")]
        delay_us: u64,
    },
    /// Imports the CSV file on standard input; the result is JSON on standard output.
    Import {
        /// The time that each line takes, in microseconds.
        #[arg(long, env = "SHOP_IMPORT_DELAY_US", default_value_t = 100, value_name = "N")]
        delay_us: u64,
        /// Where to go on, as an earlier run wrote it on file descriptor 3.
        #[arg(long, env = "RELAIS_CHECKPOINT", value_name = "JSON")]
        checkpoint: Option<String>,
    },
    /// Prints a products file.
    Sample {
        /// Lines after the header.
        #[arg(long, value_name = "N")]
        lines: u64,
        /// Makes every M-th line a bad one; at least 2.
        #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(2..))]
        bad_every: Option<u64>,
        /// The same seed gives the same file.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve { listen, seed, drain, delay_us } => {
            let (drain, per_line) = (Duration::from_secs(drain), Duration::from_micros(delay_us));
            run_serve(listen, serve::Options { seed, drain, per_line })
        }
        Command::Import { delay_us, checkpoint } => run_import(delay_us, checkpoint.as_deref()),
        Command::Sample { lines, bad_every, seed } => {
            run_sample(sample::Options { lines, bad_every, seed })
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run_serve(listen: SocketAddr, options: serve::Options) -> Result<(), String> {
    let text = |error: io::Error| format!("could not listen on {listen}: {error}");
    let signals = signal(SignalKind::terminate()).and_then(|terminate| {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok((terminate, interrupt))
    });
    let (mut terminate, mut interrupt) =
        signals.map_err(|error| format!("could not watch signals: {error}"))?;
    let listener = TcpListener::bind(listen).await.map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    let _ = writeln!(io::stderr(), "shop: listening on http://{address}");
    serve::serve(listener, options, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await;
    Ok(())
}

fn run_import(delay_us: u64, checkpoint: Option<&str>) -> Result<(), String> {
    let checkpoint: Option<Checkpoint> = match checkpoint {
        None | Some("") => None,
        Some(json) => serde_json::from_str(json)
            .map_err(|error| format!("could not read RELAIS_CHECKPOINT: {error}"))?,
    };
    let mut reports =
        import::reports().map_err(|error| format!("could not open file descriptor 3: {error}"))?;
    let input = import::read_input(&mut io::stdin().lock())
        .map_err(|error| format!("could not read the input: {error}"))?;
    let mut pace = RealPace::new(Duration::from_micros(delay_us));
    let summary = import::import(&input, checkpoint.as_ref(), &mut pace, &mut reports)
        .map_err(|error| format!("could not import: {error}"))?;
    let json = serde_json::to_string(&summary).map_err(|error| error.to_string())?;
    writeln!(io::stdout(), "{json}").map_err(|error| format!("could not answer: {error}"))
}

fn run_sample(options: sample::Options) -> Result<(), String> {
    match sample::write(options, &mut io::BufWriter::new(io::stdout().lock())) {
        // `shop sample | head` has what it wants.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("could not print: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
