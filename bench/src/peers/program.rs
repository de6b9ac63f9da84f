//! A peer's server while it runs: started on loopback, measured from outside, ended with all it began.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::net::TcpStream;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(60);
/// How long it may take until it has ended.
const END: Duration = Duration::from_secs(10);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// A process and those that it started. Dropping it ends them all, however the run ends: what they
/// stored is of no use to anybody.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command`; what it prints goes to `log`.
    ///
    /// # Errors
    /// Where the program cannot be started.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::create(log).context("could not make a log file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("could not start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `address` takes connections.
    ///
    /// # Errors
    /// Where it ends before, or does not listen within a minute; the message has the end of its log.
    pub(crate) async fn listens(&mut self, address: &str) -> anyhow::Result<()> {
        self.until(|| async { TcpStream::connect(address).await.is_ok() }).await
    }

    /// Waits for the first line that it prints.
    ///
    /// # Errors
    /// As [`listens`](Self::listens).
    pub(crate) async fn first_line(&mut self) -> anyhow::Result<String> {
        let log = self.log.clone();
        let has_line =
            || async { std::fs::read_to_string(&log).is_ok_and(|text| text.contains('\n')) };
        self.until(has_line).await?;
        let text = std::fs::read_to_string(&log)?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Waits until `is_ready` says so.
    ///
    /// # Errors
    /// As [`listens`](Self::listens).
    pub(crate) async fn until(&mut self, is_ready: impl AsyncFn() -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + START;
        while !is_ready().await {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", self.last_words());
            }
            ensure!(Instant::now() < until, "it is not ready: {}", self.last_words());
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The parent first, so that it starts no child anew.
        let pids = tree(self.child.id());
        let names = pids.iter().map(u32::to_string);
        let _ = Command::new("kill").arg("-KILL").args(names).stderr(Stdio::null()).status();
        let _ = self.child.wait();
        // Thousands of sockets take a while to close; the next server is measured after that.
        let until = Instant::now() + END;
        while pids.iter().any(|pid| runs(*pid)) && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
    }
}

/// Whether a process is there. One that nobody has waited for yet (a zombie) is not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, after)| !after.starts_with('Z'))
}

/// A port that nobody listens on now.
///
/// # Errors
/// Where there is none.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

/// What a program prints when it is asked for its version.
///
/// # Errors
/// Where it cannot be run.
pub(crate) fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{} failed", command.get_program().display());
    // nginx says it on the error output.
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Memory that `pid` and the processes it started have in use, bytes. Pages that several have are
/// counted once (PSS): of a server that is one process this is its RSS.
///
/// # Errors
/// Where the system does not tell.
pub(crate) fn memory(pid: u32) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for pid in tree(pid) {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .context("could not read how much memory a server has")?;
        let line = text.lines().find(|line| line.starts_with("Pss:")).context("no Pss")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        bytes += kib << 10;
    }
    Ok(bytes)
}

/// Processor time that `pid` and the processes it started have had until now.
///
/// # Errors
/// Where the system does not tell.
pub(crate) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let mut ticks = 0;
    for pid in tree(pid) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .context("could not read what a server has used of the processor")?;
        // After the name: the time in the program is the 12th, that in the kernel the 13th.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let times = after.split_whitespace().skip(11).take(2);
        ticks += times.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    }
    // Linux tells them in hundredths of a second, whatever it counts in.
    Ok(Duration::from_millis(ticks * 10))
}

/// `pid`, and all that it started, parents first.
fn tree(pid: u32) -> Vec<u32> {
    let mut parents: Vec<(u32, u32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name, which may have blanks and brackets: the state, then the parent.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        if let Some(parent) = after.split_whitespace().nth(1).and_then(|word| word.parse().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & echo started; wait"]);
        let mut program = Program::start(&mut shell, &folder.path().join("log")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(program.first_line()).unwrap(), "started");
        let pids = tree(program.pid());
        assert_eq!(pids.len(), 2);
        assert!(memory(program.pid()).unwrap() > 0);
        drop(program);
        assert!(!pids.iter().any(|pid| runs(*pid)));
    }
}
