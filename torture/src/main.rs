//! The judge: kills Relais under load and checks from outside that it kept its promises.
//!
//! It knows only HTTP and what it did itself: it shares no code with what it judges, or
//! it would share its mistakes. Its ledger has every 202, every settle and every call
//! that reached an upstream.

mod chance;
mod checks;
mod clients;
mod clock;
mod facts;
mod followers;
mod hands;
mod ledger;
mod probe;
mod progress;
mod prove;
mod relais;
mod report;
mod run;
mod scene;
mod script;
mod settle;
mod storm;
mod submit;
mod upstream;
mod verdict;
mod wire;
mod workers;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::clock::{Moment, SECOND};
use crate::progress::Line;
use crate::run::{Torture, binary_beside_us};
use crate::storm::Plan;

/// Kills Relais at random moments under load, and checks that it kept its promises.
#[derive(Debug, Parser)]
#[command(name = "relais-torture", version)]
struct Arguments {
    /// How long the load lasts; waiting and judging come on top.
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// Repeats what the judge did in another run, though not what it met.
    #[arg(long)]
    seed: Option<u64>,
    /// The program; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    relais: Option<PathBuf>,
    /// Plants faults in a program built for it, one after the other, and
    /// fails unless each is caught.
    #[arg(long)]
    prove: bool,
    /// With `--prove`: only these faults.
    #[arg(long, value_name = "FAULT", requires = "prove")]
    fault: Vec<String>,
    /// How often the server is killed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=60))]
    kills_per_minute: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(chance::draw_seed);
    let line = Line::new();
    if arguments.prove {
        let program = arguments.relais.as_deref();
        let is_proved = prove::prove(program, &arguments.fault, seed, &line).await?;
        return Ok(if is_proved { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let binary = match arguments.relais {
        Some(binary) => binary,
        None => binary_beside_us()?,
    };
    let torture = Torture {
        binary,
        seed,
        plan: Plan {
            load: moment(arguments.minutes),
            kills_per_minute: arguments.kills_per_minute,
        },
        calm_seconds: 60,
        fault: None,
    };
    let ended = run::torture(&torture, &line).await?;
    line.clear();
    print!("{}", report::report(&ended, seed));
    if ended.verdict.is_clean() {
        println!("\nevery promise was kept");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("\npromises were broken");
        Ok(ExitCode::FAILURE)
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if minutes.is_finite() && (0.05..=600.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("from 0.05 to 600 minutes".to_owned())
    }
}

/// Minutes as the judge counts time.
fn moment(minutes: f64) -> Moment {
    let seconds = std::time::Duration::try_from_secs_f64(minutes * 60.0).unwrap_or_default();
    Moment::try_from(seconds.as_micros()).unwrap_or(60 * SECOND)
}
