//! Who judges the judge: faults are planted in Relais one by one, and each must be caught by a
//! check that looks for it. The same program without a fault must pass.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::clock::SECOND;
use crate::progress::Line;
use crate::report;
use crate::run::{Torture, torture};
use crate::storm::Plan;
use crate::verdict::Check;

/// A fault, as the program built for it knows it.
struct Fault {
    name: &'static str,
    /// What it does.
    what: &'static str,
    /// The checks that must see it: one of them is enough.
    seen_by: &'static [Check],
    kills_per_minute: u64,
}

const fn fault(
    name: &'static str,
    what: &'static str,
    seen_by: &'static [Check],
    kills_per_minute: u64,
) -> Fault {
    Fault { name, what, seen_by, kills_per_minute }
}

const FAULTS: &[Fault] = &[
    fault("early-202", "a 202 before the commit", &[Check::There], 40),
    fault("early-settle", "a settle answered before the commit", &[Check::Settles], 40),
    fault("fence-off", "a stale token settles for the live one", &[Check::Fences], 0),
    fault("double-settle", "a second settle is recorded again", &[Check::Fences], 0),
    fault("post-retried", "an unsafe request is sent again", &[Check::Once], 20),
    fault("alarm-lost", "what time makes due is not seen", &[Check::Ends], 0),
    fault("reclaim-lost", "what a dead server ran is not taken back", &[Check::Ends], 20),
    fault("slot-leaked", "a slot is not given back", &[Check::Slots, Check::Ends], 0),
    fault("key-forgotten", "an idempotency key is dropped", &[Check::Keys], 0),
    fault("early-start", "a task does not wait for its moment", &[Check::Early], 0),
    fault("event-lost", "an event is missing in a log", &[Check::Order, Check::OneLife], 0),
    fault("event-doubled", "an event is twice in a log", &[Check::Order, Check::OneLife], 0),
    fault("lane-limit-off", "lanes run more than they may", &[Check::Caps], 0),
    fault("order-off", "strict lanes are not strict", &[Check::Strict], 0),
    fault(
        "cancel-forgotten",
        "a cancel is answered and not done",
        &[Check::Hands, Check::Stays],
        0,
    ),
    fault("result-mixed", "a result has lost a byte", &[Check::Results], 0),
];

/// Plants each fault, or only those named; answers whether all were caught.
///
/// # Errors
/// Where the program cannot be built or run.
pub(crate) async fn prove(
    program: Option<&Path>,
    only: &[String],
    seed: u64,
    line: &Line,
) -> anyhow::Result<bool> {
    for name in only {
        if !FAULTS.iter().any(|fault| fault.name == name) {
            bail!("no fault is called {name}");
        }
    }
    let folder = tempfile::tempdir().context("could not make a folder")?;
    let binary = match program {
        Some(program) => program.to_owned(),
        None => build(folder.path(), line).await?,
    };
    let of = |fault: Option<&Fault>| Torture {
        binary: binary.clone(),
        seed,
        plan: Plan {
            load: LOAD_SECONDS * SECOND,
            kills_per_minute: fault.map_or(20, |fault| fault.kills_per_minute),
        },
        calm_seconds: CALM_SECONDS,
        fault: fault.map(|fault| fault.name.to_owned()),
    };
    line.say("without a fault");
    let sound = torture(&of(None), line).await?;
    if !sound.verdict.is_clean() {
        line.clear();
        print!("{}", report::report(&sound, seed));
        bail!("without a planted fault, promises are broken already: nothing can be proved");
    }
    let mut lines = vec!["  without a fault: nothing is found".to_owned()];
    let mut is_proved = true;
    let wanted = |fault: &&Fault| only.is_empty() || only.iter().any(|name| name == fault.name);
    for fault in FAULTS.iter().filter(wanted) {
        line.say(&format!("planting {}: {}", fault.name, fault.what));
        let ended = torture(&of(Some(fault)), line).await?;
        if let Some(kept) = &ended.kept {
            // What a planted fault broke is nothing to keep.
            _ = std::fs::remove_dir_all(kept);
        }
        let failures = ended.verdict.failures();
        let is_caught = failures.iter().any(|check| fault.seen_by.contains(check));
        is_proved &= is_caught;
        let mark = if is_caught { "caught " } else { "MISSED " };
        lines.push(format!("  {mark}{:<17} {:<43} {failures:?}", fault.name, fault.what));
        let violations = ended.verdict.violations().iter();
        let seen = violations.filter(|found| fault.seen_by.contains(&found.check));
        lines.extend(seen.take(1).map(|found| {
            let task = found.task.as_deref().unwrap_or("-");
            format!("           {task}: {}", shortened(&found.what))
        }));
    }
    line.clear();
    println!("faults planted (seed {seed})\n{}", lines.join("\n"));
    println!("\n{}", if is_proved { "each fault was caught" } else { "faults were missed" });
    Ok(is_proved)
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(150).collect()
}

/// Builds the program with faults in it, in the same profile as this one, and copies it away.
///
/// Cargo puts it where the sound program lies, so that is built again at once: nobody who runs that
/// shall meet the other.
async fn build(folder: &Path, line: &Line) -> anyhow::Result<PathBuf> {
    line.say("building relais with faults");
    let built = cargo(&["--features", "faults"]).await?;
    let copy = folder.join("relais-with-faults");
    std::fs::copy(&built, &copy).context("could not copy the program")?;
    line.say("building relais without faults");
    cargo(&[]).await?;
    Ok(copy)
}

/// Builds relais and answers where it lies.
async fn cargo(more: &[&str]) -> anyhow::Result<PathBuf> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--package", "relais", "--bin", "relais"]).args(more);
    command.args(["--message-format", "json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository's root")?;
    command.current_dir(root).stdin(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().await.context("could not run cargo")?;
    if !output.status.success() {
        bail!("relais does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let mut executables = said.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        path.ends_with("relais").then(|| PathBuf::from(path))
    });
    executables.next_back().context("cargo did not say where relais lies")
}

const LOAD_SECONDS: u64 = 15;
const CALM_SECONDS: u64 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_least_eight_faults_each_with_a_check() {
        assert!(FAULTS.len() >= 8);
        for fault in FAULTS {
            assert!(!fault.seen_by.is_empty(), "{}", fault.name);
            let same = FAULTS.iter().filter(|other| other.name == fault.name);
            assert_eq!(same.count(), 1, "{}", fault.name);
        }
    }
}
