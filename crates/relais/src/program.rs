//! A program that runs beside this one: how it is started, killed and stopped.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// A program that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Program {
    /// Starts a program and waits until it says `ready` on one of its lines. All lines go to `log`.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not get ready in time.
    pub(crate) async fn start(
        name: &'static str,
        mut command: Command,
        ready: &'static str,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        for (variable, _) in std::env::vars_os() {
            // What the reader has set for servers of their own must not change this one.
            let name = variable.to_string_lossy();
            let is_theirs = name.starts_with("RELAIS_") || name.starts_with("SHOP_");
            if is_theirs && command.as_std().get_envs().all(|(given, _)| given != variable) {
                command.env_remove(&variable);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("could not start {name}"))?;
        let pid = child.id().context("a program that was just started has an id")?;
        let (is_ready, mut readiness) = watch::channel(false);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(keep(stdout, open(&log)?, ready, is_ready.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(keep(stderr, open(&log)?, ready, is_ready));
        }
        let program = Self { name, child, pid, log };
        let what = format!("{name}: a line with {ready:?}");
        let came = async { readiness.wait_for(|is_ready| *is_ready).await.is_ok() };
        match within(START_MAX, &what, came).await {
            Ok(true) => Ok(program),
            Ok(false) => bail!("{name} ended instead of getting ready\n{}", program.last_words()),
            Err(error) => Err(error.context(program.last_words())),
        }
    }

    /// Its process id.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its lines are kept.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Ends it by SIGKILL, which it cannot see coming.
    ///
    /// # Errors
    /// When it had ended before.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} had ended by itself ({status})\n{}", self.name, self.last_words());
        }
        self.child.start_kill()?;
        within(STOP_MAX, &format!("the end of {}", self.name), self.child.wait()).await??;
        Ok(())
    }

    /// Asks it to stop by SIGTERM.
    ///
    /// # Errors
    /// When it does not stop in time, or not successfully.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
            && self.child.try_wait()?.is_none()
        {
            kill_process(pid, Signal::TERM)?;
        }
        let what = format!("the graceful end of {}", self.name);
        let status: ExitStatus = within(STOP_MAX, &what, self.child.wait()).await??;
        if !status.success() {
            bail!("{} did not stop gracefully ({status})\n{}", self.name, self.last_words());
        }
        Ok(())
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        let mut words = format!("{}, the last of {} lines:", self.name, lines.len());
        for line in last {
            words.push_str("\n  | ");
            words.push_str(line);
        }
        words
    }
}

/// Waits for `what`, and says so when it does not come.
async fn within<T>(
    patience: Duration,
    what: &str,
    awaited: impl Future<Output = T>,
) -> anyhow::Result<T> {
    let came = tokio::time::timeout(patience, awaited).await;
    came.with_context(|| format!("{what} did not come within {} s", patience.as_secs()))
}

fn open(log: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.with_context(|| format!("could not write {}", log.display()))
}

/// Keeps what a program says, until it says no more.
async fn keep(
    said: impl AsyncRead + Unpin,
    mut log: File,
    ready: &str,
    is_ready: watch::Sender<bool>,
) {
    let mut lines = BufReader::new(said).split(b'\n');
    while let Ok(Some(mut line)) = lines.next_segment().await {
        line.push(b'\n');
        // A full disk must not stop the program by a pipe that nobody reads.
        let _ = log.write_all(&line);
        // Only now: whoever waits for the line may read it in the log.
        if line.windows(ready.len()).any(|part| part == ready.as_bytes()) {
            is_ready.send_replace(true);
        }
    }
}

/// How long a program may take to get ready.
const START_MAX: Duration = Duration::from_secs(15);
/// How long a program may take to end.
const STOP_MAX: Duration = Duration::from_secs(15);
/// Lines of a log shown when something went wrong.
const LAST_LINES: usize = 15;
