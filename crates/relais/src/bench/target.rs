//! A server that is there for the bench only.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::process::Command;

use crate::program::Program;

/// A fresh server on free ports, with its store in a folder that is gone afterwards.
#[derive(Debug)]
pub(crate) struct OwnServer {
    // Dropped in this order: the program before the folder it writes to.
    program: Program,
    folder: TempDir,
    url: String,
}

impl OwnServer {
    /// Starts it, with its store below `folder` or where temporary files go.
    ///
    /// # Errors
    /// When the folder cannot be written, or the server does not get ready.
    pub(crate) async fn start(folder: Option<&Path>) -> anyhow::Result<Self> {
        let parent = folder.map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::Builder::new().prefix("relais-bench-").tempdir_in(&parent);
        let folder =
            folder.with_context(|| format!("could not make a folder in {}", parent.display()))?;
        let relais = std::env::current_exe().context("could not find this program's own file")?;
        let mut command = Command::new(relais);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.current_dir(folder.path()).env("RUST_LOG", "warn");
        let log = folder.path().join("relais.log");
        let program = Program::start("relais", command, READY, log).await?;
        let said = std::fs::read_to_string(program.log()).context("could not read its log")?;
        let url = url_in(&said).context("it did not say where it listens")?;
        Ok(Self { program, folder, url })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where its store is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it said last.
    pub(crate) fn last_words(&self) -> String {
        self.program.last_words()
    }

    /// Stops it and removes its folder.
    ///
    /// # Errors
    /// When it does not stop gracefully, or the folder cannot be removed.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        let stopped = self.program.stop().await;
        let folder = self.folder.path().to_owned();
        let removed = self.folder.close();
        stopped?;
        removed.with_context(|| format!("could not remove {}", folder.display()))
    }
}

fn url_in(said: &str) -> Option<String> {
    let (_, rest) = said.split_once(READY)?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// What comes before the URL of the front door and the task API.
const READY: &str = "relais ready: api ";

#[cfg(test)]
mod tests {
    #[test]
    fn a_server_says_where_it_listens() {
        let said = "a warning\nrelais ready: api http://127.0.0.1:1 admin http://127.0.0.1:2\n";
        assert_eq!(super::url_in(said).as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(super::url_in("relais ready:"), None);
    }
}
