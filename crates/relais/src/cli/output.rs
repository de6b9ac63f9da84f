//! The file that a result goes into: complete, or as it was before.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use relais_client::Answer;
use tempfile::NamedTempFile;

/// Where a result goes.
pub(super) struct OutputFile {
    shown: PathBuf,
    /// What `shown` means: a link stays, what it leads to is replaced.
    target: PathBuf,
    /// What is there already.
    found: Option<Metadata>,
}

impl OutputFile {
    /// Looks whether a file could be written there, and leaves nothing behind: nobody wants to
    /// learn after the wait that it cannot.
    ///
    /// # Errors
    /// When it could not be written.
    pub(super) fn check(path: &Path) -> anyhow::Result<Self> {
        let shown = path.to_owned();
        let could_not = || format!("could not write {}", path.display());
        let target = fs::canonicalize(path).unwrap_or_else(|_| shown.clone());
        let output = Self { shown, found: fs::metadata(&target).ok(), target };
        if output.found.as_ref().is_some_and(Metadata::is_dir) {
            bail!("{}: it is a folder", could_not());
        }
        if output.found.as_ref().is_none_or(Metadata::is_file) {
            if output.found.is_some() {
                // A file that may not be written is not to be replaced either.
                OpenOptions::new().write(true).open(&output.target).with_context(could_not)?;
            }
            output.beside().with_context(could_not)?;
        }
        Ok(output)
    }

    /// Writes an answer: beside the file, which is replaced once all of it is there; into what is
    /// no file, such as a pipe, as it comes.
    ///
    /// # Errors
    /// When the answer breaks off, or cannot be written.
    pub(super) async fn keep(&self, mut answer: Answer) -> anyhow::Result<()> {
        let could_not = || format!("could not write {}", self.shown.display());
        if self.found.as_ref().is_some_and(|found| !found.is_file()) {
            let file = OpenOptions::new().write(true).open(&self.target);
            let mut file = file.with_context(could_not)?;
            while let Some(piece) = answer.chunk().await? {
                file.write_all(&piece).with_context(could_not)?;
            }
            return Ok(());
        }
        let mut file = self.beside().with_context(could_not)?;
        while let Some(piece) = answer.chunk().await? {
            file.write_all(&piece).with_context(could_not)?;
        }
        if let Some(found) = &self.found {
            file.as_file().set_permissions(found.permissions()).with_context(could_not)?;
        }
        file.persist(&self.target).with_context(could_not)?;
        Ok(())
    }

    /// A new file in the same folder, gone when it is dropped.
    fn beside(&self) -> std::io::Result<NamedTempFile> {
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        // As any new file: the umask takes from it what it takes.
        let permissions = Permissions::from_mode(0o666);
        tempfile::Builder::new().permissions(permissions).tempfile_in(folder)
    }
}
