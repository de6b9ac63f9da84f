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
    /// Moves the clock that the server reads; not on every machine.
    faketime: Option<Faketime>,
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
            faketime: Faketime::find(folder)?,
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
        if let Some(faketime) = &self.faketime {
            command.envs(faketime.variables());
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

    /// Stops the process as a suspended machine or a debugger does, and lets it go on after `ms`.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub(crate) async fn suspend(&mut self, ms: u64) -> anyhow::Result<()> {
        self.signal("-STOP").await?;
        pause_ms(ms).await;
        self.signal("-CONT").await
    }

    async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let Some(pid) = self.child.as_ref().and_then(Child::id) else { return Ok(()) };
        let told = Command::new("kill").args([signal, &pid.to_string()]).status().await;
        told.context("could not run kill")?;
        Ok(())
    }

    /// Moves the clock that the server reads, now and in later lives; false where nothing can.
    ///
    /// # Errors
    /// Where the file that holds it cannot be written.
    pub(crate) fn move_clock(&self, ahead_ms: i64) -> anyhow::Result<bool> {
        let Some(faketime) = &self.faketime else { return Ok(false) };
        faketime.set(ahead_ms)?;
        Ok(true)
    }

    /// Looks at the store as an operator does, with a program of its own;
    /// false where there is none.
    ///
    /// # Errors
    /// What that program complains of.
    pub(crate) async fn look_at_store(&self) -> anyhow::Result<bool> {
        let store = self.configuration.with_file_name("relais.db");
        let question = "pragma busy_timeout = 5000; select count(*) from sqlite_schema;";
        let looked = Command::new("sqlite3").arg(&store).arg(question).output().await;
        let output = match looked {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).context("could not run sqlite3"),
        };
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::ensure!(output.status.success(), "sqlite3 beside the server: {complaint}");
        Ok(true)
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

/// The library that tells a program another time (Debian package `faketime`).
#[derive(Debug)]
struct Faketime {
    library: PathBuf,
    /// Holds how far the clock is ahead; the library reads it again each second.
    file: PathBuf,
}

impl Faketime {
    fn find(folder: &Path) -> anyhow::Result<Option<Self>> {
        let places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let mut libraries = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
        let Some(library) = libraries.find(|path| path.is_file()) else { return Ok(None) };
        let faketime = Self { library, file: folder.join("clock") };
        faketime.set(0)?;
        Ok(Some(faketime))
    }

    fn set(&self, ahead_ms: i64) -> anyhow::Result<()> {
        let new = self.file.with_extension("new");
        let sign = if ahead_ms < 0 { '-' } else { '+' };
        let (whole, rest) = (ahead_ms.unsigned_abs() / 1_000, ahead_ms.unsigned_abs() % 1_000);
        let text = format!("{sign}{whole}.{rest:03}s");
        std::fs::write(&new, text).context("could not write the clock")?;
        std::fs::rename(&new, &self.file).context("could not move the clock")
    }

    fn variables(&self) -> [(&'static str, &std::ffi::OsStr); 5] {
        [
            ("LD_PRELOAD", self.library.as_os_str()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.as_os_str()),
            ("FAKETIME_CACHE_DURATION", "1".as_ref()),
            // The clock that counts durations is not one that anybody sets.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".as_ref()),
            ("DONT_FAKE_MONOTONIC", "1".as_ref()),
        ]
    }
}

/// The variable by which a fault is planted in a binary built for it.
const FAULT: &str = "RELAIS_FAULT";
const READY_WITHIN_S: u64 = 30;
const LINES_MAX: usize = 30;
