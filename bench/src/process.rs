//! The real program, as a process of its own.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Relais while it runs.
pub(crate) struct Relais {
    /// Where the front door listens.
    pub(crate) address: String,
    /// Its process id.
    pub(crate) pid: u32,
    child: Child,
}

impl Relais {
    /// Starts it on `folder`, with `more` appended to its configuration, and
    /// waits until it is ready.
    pub(crate) async fn start(relais: &Path, folder: &Path, more: &str) -> anyhow::Result<Self> {
        Self::start_at(relais, folder, "127.0.0.1:0", more).await
    }

    /// The same at a given address.
    pub(crate) async fn start_at(
        relais: &Path,
        folder: &Path,
        listen: &str,
        more: &str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).context("could not make a folder")?;
        let config = folder.join("relais.toml");
        let database = folder.join("relais.db");
        let text = format!(
            "[server]\nlisten = \"{listen}\"\nadmin_listen = \"127.0.0.1:0\"\n\n[store]\nurl = \"sqlite:{}\"\n\n[queue.\"*\"]\n\n{more}\n",
            database.display()
        );
        std::fs::write(&config, text).context("could not write the configuration")?;
        Self::start_again(relais, folder).await
    }

    /// Starts it on a folder where it ran before, and waits until it is ready.
    pub(crate) async fn start_again(relais: &Path, folder: &Path) -> anyhow::Result<Self> {
        let config = folder.join("relais.toml");
        let mut child = Command::new(relais)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", relais.display()))?;
        let pid = child.id().context("it ended at once")?;
        let stdout = child.stdout.take().context("it has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.next_line().await?.context("it said nothing")?;
        let address = line
            .split(|c: char| c.is_whitespace() || c == ',')
            .find_map(|word| word.strip_prefix("http://"))
            .with_context(|| format!("no address in {line:?}"))?
            .trim_end_matches('/')
            .to_owned();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { address, pid, child })
    }

    /// Memory in use, bytes.
    pub(crate) fn rss_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib << 10)
    }

    /// Stops it the hard way.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("could not stop it")
    }
}

/// Bytes of a folder's files.
pub(crate) fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let meta = entry?.metadata()?;
        bytes += if meta.is_file() { meta.len() } else { 0 };
    }
    Ok(bytes)
}
