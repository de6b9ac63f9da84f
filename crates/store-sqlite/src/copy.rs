//! A copy of a store beside its running server: what a backup is, and a restore as well.
//!
//! SQLite copies the database, over a connection of its own and as of one moment; no
//! descriptor of ours touches it. The bodies beside it are copied after that: while somebody
//! holds their folder, the server erases rows but no files (see `bodies`), so that all that
//! the copy names are still there.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::bodies::{BodyFiles, is_name};
use crate::check::{Report, StoredFile, View, check};
use crate::fault::Fault;
use crate::held::beside;
use crate::ledger::each;
use crate::open::OpenError;
use crate::sql;

/// How long to leave a store alone that is just being checkpointed.
const PAUSE: Duration = Duration::from_millis(50);
const PIECE: usize = 256 << 10;
/// What a copy is called until it is whole.
const UNFINISHED: &str = ".part";

/// Why a store could not be copied, fit for "could not copy {path}: {error}".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The original could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is something already.
    #[error("{0} exists, and is not overwritten")]
    Exists(PathBuf),
    /// The copy could not be written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The copy was read back, and is not as it should be.
    #[error("the copy is damaged, and left as {0}: {1}")]
    Damaged(PathBuf, String),
}

impl From<Fault> for CopyError {
    fn from(fault: Fault) -> Self {
        Self::Open(fault.into())
    }
}

impl From<rusqlite::Error> for CopyError {
    fn from(error: rusqlite::Error) -> Self {
        Fault::from(error).into()
    }
}

/// Copies the store in `from`, with its bodies, to `to` and beside it; reads the copy back whole,
/// and only then gives it its name.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<Report, CopyError> {
    for path in [to.to_owned(), BodyFiles::folder_of(to), beside(to, "-wal")] {
        if path.symlink_metadata().is_ok() {
            return Err(CopyError::Exists(path));
        }
    }
    let part = beside(to, UNFINISHED);
    clear(&part)?;
    let view = View::open(from)?;
    let _hold = BodyFiles::hold(view.held.path()).map_err(failed(from))?;
    copy_database(&view.conn, &part)?;
    copy_bodies(view.held.path(), &part)?;
    let report = check(&part, true)?;
    // What is damaged of single tasks is so in the original: whoever has such a store needs a copy
    // most. A file that is whole there was damaged on the way.
    let is_whole = |file: &&StoredFile| {
        BodyFiles::verify(view.held.path(), &file.name, file.len, file.crc).is_ok()
    };
    let lost = report.damaged_files.iter().find(is_whole);
    let lost = lost.map(|file| format!("the file {} was not copied whole", file.name));
    if let Some(problem) = report.problems.first().cloned().or(lost) {
        return Err(CopyError::Damaged(part, problem));
    }
    // The database comes last: where it is, all of it is.
    let bodies = BodyFiles::folder_of(to);
    fs::rename(BodyFiles::folder_of(&part), &bodies).map_err(failed(&bodies))?;
    fs::rename(&part, to).map_err(failed(to))?;
    sync_folder_of(to)?;
    Ok(report)
}

/// Removes what an earlier copy that was broken off has left.
fn clear(part: &Path) -> Result<(), CopyError> {
    let is_gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    is_gone(fs::remove_file(part)).map_err(failed(part))?;
    let bodies = BodyFiles::folder_of(part);
    is_gone(fs::remove_dir_all(&bodies)).map_err(failed(&bodies))
}

fn copy_database(conn: &Connection, part: &Path) -> Result<(), CopyError> {
    let mut options = File::options();
    let made = options.write(true).create_new(true).mode(0o600).open(part);
    let file = made.map_err(failed(part))?;
    let mut copy = Connection::open(part)?;
    let backup = Backup::new(conn, &mut copy)?;
    while backup.step(-1)? != StepResult::Done {
        std::thread::sleep(PAUSE);
    }
    drop(backup);
    // One file, without a log beside it.
    copy.pragma_update(None, "journal_mode", "delete")?;
    copy.close().map_err(|(_, error)| error)?;
    file.sync_all().map_err(failed(part))
}

/// Copies the files that the rows of the copy name. What is missing or damaged
/// shows when it is read back; where their folder is missing, somebody forgot it.
fn copy_bodies(from: &Path, part: &Path) -> Result<(), CopyError> {
    let (from, to) = (BodyFiles::folder_of(from), BodyFiles::folder_of(part));
    fs::DirBuilder::new().mode(0o700).create(&to).map_err(failed(&to))?;
    let view = View::open(part)?;
    let mut names: Vec<String> = Vec::new();
    each(&view.conn, sql::BODY_FILES, |row| {
        names.push(row.get(0)?);
        Ok(())
    })?;
    if !names.is_empty() {
        fs::metadata(&from).map_err(failed(&from))?;
    }
    for name in names.iter().filter(|name| is_name(name)) {
        let path = to.join(name);
        copy_file(&from.join(name), &path).map_err(failed(&path))?;
    }
    File::open(&to).and_then(|folder| folder.sync_all()).map_err(failed(&to))
}

/// Fails where the copy cannot be written: what cannot be read is damaged in the original.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(mut from) = File::open(from) else { return Ok(()) };
    let mut to = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) | Err(_) => return to.sync_all(),
            Ok(count) => to.write_all(&piece[..count])?,
        }
    }
}

fn sync_folder_of(path: &Path) -> Result<(), CopyError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CopyError {
    move |error| CopyError::Io(path.to_owned(), error)
}
