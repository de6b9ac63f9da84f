//! The server as a process: started on the same file and ports again and again, ended by SIGKILL.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use tokio::process::{Child, Command};

use crate::clock::{SECOND, pause_ms};
use crate::world::World;

/// The program under torture.
#[derive(Debug)]
pub(crate) struct Relais {
    binary: PathBuf,
    configuration: PathBuf,
    log: PathBuf,
    fault: Option<String>,
    child: Option<Child>,
}

impl Relais {
    /// A server that was not started yet; `fault` is planted by those that know how.
    ///
    /// It runs from a copy: whoever builds the program meanwhile would swap it between two lives.
    ///
    /// # Errors
    /// Where the program cannot be copied.
    pub(crate) fn new(binary: &Path, folder: &Path, fault: Option<&str>) -> anyhow::Result<Self> {
        let copy = folder.join("relais");
        std::fs::copy(binary, &copy)
            .with_context(|| format!("could not copy {}", binary.display()))?;
        Ok(Self {
            binary: copy,
            configuration: folder.join("relais.toml"),
            log: folder.join("relais.log"),
            fault: fault.map(str::to_owned),
            child: None,
        })
    }

    /// Starts a process.
    ///
    /// # Errors
    /// Where the program cannot be run.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<()> {
        let open = || File::options().create(true).append(true).open(&self.log);
        let log = open().context("could not open the server's log")?;
        let mut command = Command::new(&self.binary);
        command
            .arg("serve")
            .arg("--config")
            .arg(&self.configuration)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("could not share the server's log")?)
            .stderr(log)
            .kill_on_drop(true);
        // Nothing but the file says how it runs.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("RELAIS_") {
                command.env_remove(name);
            }
        }
        if let Some(fault) = &self.fault {
            command.env(FAULT, fault);
        }
        let started = command.spawn();
        let child =
            started.with_context(|| format!("could not start {}", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills the process, and waits until it is dead.
    ///
    /// # Errors
    /// Where it cannot be waited for.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.context("could not kill the server")?;
        }
        Ok(())
    }

    /// How the process ended by itself, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Waits until the server says that it is ready.
    ///
    /// # Errors
    /// Where it ends by itself, or does not become ready in time.
    pub(crate) async fn until_ready(&mut self, world: &World) -> anyhow::Result<()> {
        let until = world.now() + READY_WITHIN_S * SECOND;
        while world.now() < until {
            if let Some(status) = self.ended() {
                anyhow::bail!("the server ended by itself ({status}):\n{}", self.last_words());
            }
            let answer = world.http.get("/readyz", "*/*").await.answer();
            if answer.is_some_and(|answer| answer.status == 200) {
                return Ok(());
            }
            pause_ms(10).await;
        }
        anyhow::bail!("the server was not ready in {READY_WITHIN_S} s:\n{}", self.last_words())
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
    }

    /// The lines of its log that tell of a panic.
    pub(crate) fn panics(&self) -> Vec<String> {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect()
    }
}

/// The variable by which a fault is planted in a binary built for it.
const FAULT: &str = "RELAIS_FAULT";
const READY_WITHIN_S: u64 = 30;
const LINES_MAX: usize = 30;
