//! Bodies as they are read back, and the folder of the large ones.
//!
//! A spilled body is a file beside the database. Its row comes after it and goes before it, so that a
//! crash leaves at most a file without a row, which the next start removes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use relais_core::limits;
use relais_store::{BodyRead, BodySource, StoreError, StoreFuture, StoredBody};
use rusqlite::{Connection, Row};

use crate::fault::Fault;
use crate::sql;

/// What a file is called until it is whole.
const UNFINISHED: &str = ".part";

/// The folder of spilled bodies.
pub(crate) struct BodyFiles {
    folder: PathBuf,
    /// How often the store was opened: part of the names, so that they never come again.
    boot: i64,
    serial: AtomicU64,
}

impl BodyFiles {
    /// The folder beside a database.
    pub(crate) fn folder_of(database: &Path) -> PathBuf {
        let mut folder = database.as_os_str().to_owned();
        folder.push(".bodies");
        folder.into()
    }

    /// Makes the folder if need be; durable when this returns.
    pub(crate) fn open(database: &Path, boot: i64) -> io::Result<Self> {
        let folder = Self::folder_of(database);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        // Each body is synced into this folder, which a power loss would take away as a whole. A process
        // that died right after it made the folder may have left that to this one.
        let parent = database.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Self { folder, boot, serial: AtomicU64::new(0) })
    }

    /// A name that was never used.
    pub(crate) fn new_name(&self) -> String {
        format!("{:x}-{:x}", self.boot, self.serial.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600);
        options.open(self.unfinished(name))
    }

    /// The name becomes visible; durable when this returns.
    pub(crate) fn publish(&self, name: &str) -> Result<(), Fault> {
        // First, so that the name is not changed yet where there are no descriptors left.
        let folder = File::open(&self.folder)?;
        fs::rename(self.unfinished(name), self.folder.join(name))?;
        folder.sync_all().map_err(Fault::Fsync)
    }

    pub(crate) fn remove_unfinished(&self, name: &str) {
        self.remove_path(&self.unfinished(name));
    }

    /// Keeps the files of a database from being removed, while a copy is made of what their rows say. All
    /// that are there now stay; `None` if there is no folder.
    pub(crate) fn hold(database: &Path) -> io::Result<Option<File>> {
        match File::open(Self::folder_of(database)) {
            Ok(folder) => folder.lock_shared().map(|()| Some(folder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes files whose rows are gone, durably, unless somebody holds them; answers whether it did.
    pub(crate) fn remove_all(&self, names: &[String]) -> bool {
        File::open(&self.folder).is_ok_and(|folder| {
            let is_free = folder.try_lock().is_ok();
            if is_free {
                names.iter().for_each(|name| self.remove(name));
            }
            is_free
        })
    }

    pub(crate) fn remove(&self, name: &str) {
        if is_name(name) {
            self.remove_path(&self.folder.join(name));
        }
    }

    fn remove_path(&self, path: &Path) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // It is removed as an orphan at the next start.
                tracing::warn!("could not remove a body of the store: {error}");
            }
            _ => {}
        }
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{UNFINISHED}"))
    }

    /// Removes files of earlier runs that no row names. Those of this run may still get their row.
    pub(crate) fn sweep(&self, conn: &Connection) -> Result<usize, Fault> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.folder)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            let bare = name.strip_suffix(UNFINISHED).unwrap_or(&name);
            let boot =
                bare.split_once('-').and_then(|(boot, _)| i64::from_str_radix(boot, 16).ok());
            if !is_name(bare) || boot.is_none_or(|boot| boot >= self.boot) {
                continue;
            }
            if bare != name || !conn.prepare_cached(sql::BODY_HAS_FILE)?.exists([bare])? {
                self.remove_path(&self.folder.join(&name));
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Reads a whole file of a database and compares it with its row.
    pub(crate) fn verify(database: &Path, name: &str, len: u64, crc: u32) -> Result<(), Fault> {
        let reader = open_body(&Self::folder_of(database), name, len, crc)?;
        verify(&reader.file, len, crc)
    }
}

const PIECE: usize = 256 << 10;

fn open_body(folder: &Path, name: &str, len: u64, crc: u32) -> Result<FileReader, Fault> {
    if !is_name(name) {
        return Err(Fault::Body("its file has another name than Relais gives".to_owned()));
    }
    let file = File::open(folder.join(name)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Body(format!("its file {name} is missing")),
        _ => error.into(),
    })?;
    let found = file.metadata()?.len();
    if found != len {
        return Err(Fault::Body(format!("its file {name} has {found} of {len} bytes")));
    }
    let sum = Mutex::new((0, crc32fast::Hasher::new()));
    Ok(FileReader { file: Arc::new(file), len, crc, sum })
}

/// Reads a whole file and compares it with its row.
fn verify(file: &File, len: u64, crc: u32) -> Result<(), Fault> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let count = file.read_at(&mut buffer, offset)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        offset += count as u64;
    }
    if offset != len || hasher.finalize() != crc {
        return Err(Fault::Body("its file is not what was stored".to_owned()));
    }
    Ok(())
}

/// Names are ours: anything else could lead out of the folder.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Reads a body's row: length, checksum, file, head, data.
pub(crate) fn stored_body(row: &Row<'_>, files: &BodyFiles) -> Result<StoredBody, Fault> {
    let len: i64 = row.get(0)?;
    let len = u64::try_from(len).map_err(|_| Fault::Body("its length is negative".to_owned()))?;
    let crc: u32 = row.get(1)?;
    let head = Bytes::copy_from_slice(row.get_ref(3)?.as_blob()?);
    let data = match row.get_ref(2)?.as_str_or_null()? {
        Some(file) => BodySource::Reader(match open_body(&files.folder, file, len, crc) {
            Ok(reader) => Arc::new(reader),
            Err(fault @ Fault::Io(_)) => Arc::new(Unopened(fault.as_error())),
            Err(fault) => return Err(fault),
        }),
        None => {
            let bytes = row.get_ref(4)?.as_blob()?;
            if bytes.len() as u64 != len || crc32fast::hash(bytes) != crc {
                return Err(Fault::Body("it is not what was stored".to_owned()));
            }
            BodySource::Inline(Bytes::copy_from_slice(bytes))
        }
    };
    Ok(StoredBody { head, len, data })
}

/// Reads a spilled body. It holds the file open, so that it outlives an erasure.
struct FileReader {
    file: Arc<File>,
    len: u64,
    crc: u32,
    /// How far it was read in one go from the start, and the checksum of that.
    sum: Mutex<(u64, crc32fast::Hasher)>,
}

impl BodyRead for FileReader {
    fn read_at(&self, offset: u64, max: usize) -> StoreFuture<'_, Bytes> {
        Box::pin(async move {
            let max = max.min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(max));
            if max == 0 {
                return Ok(Bytes::new());
            }
            let piece = read_file(self.file.clone(), offset, max).await?;
            if piece.is_empty() {
                return Err(StoreError::BodyDamaged("its file ends early".to_owned()));
            }
            self.check(offset, &piece)?;
            Ok(piece)
        })
    }

    fn verify(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (file, len, crc) = (self.file.clone(), self.len, self.crc);
            if len > limits::BODY_VERIFIED_BYTES_MAX {
                return Ok(());
            }
            let verified = tokio::task::spawn_blocking(move || verify(&file, len, crc)).await;
            let stopped = || StoreError::Unavailable("the process is shutting down".to_owned());
            verified.map_err(|_| stopped())?.map_err(|fault| fault.as_error())
        })
    }
}

impl FileReader {
    /// Compares the checksum once a body was read from its start to its end.
    fn check(&self, offset: u64, piece: &[u8]) -> Result<(), StoreError> {
        let mut sum = self.sum.lock().expect("nothing panics while it is held");
        if offset != sum.0 {
            return Ok(());
        }
        sum.1.update(piece);
        sum.0 += piece.len() as u64;
        if sum.0 == self.len && sum.1.clone().finalize() != self.crc {
            return Err(StoreError::BodyDamaged("its file is not what was stored".to_owned()));
        }
        Ok(())
    }
}

/// A body whose file could not be opened, which may pass: only who reads it is told.
struct Unopened(StoreError);

impl BodyRead for Unopened {
    fn read_at(&self, _: u64, _: usize) -> StoreFuture<'_, Bytes> {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }

    fn verify(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::ready(Err(self.0.clone())))
    }
}

/// Reads a piece of a file where it may block.
pub(crate) async fn read_file(
    file: Arc<File>,
    offset: u64,
    max: usize,
) -> Result<Bytes, StoreError> {
    // Made here and not by the thread that reads: there are as many of those as readers, and the
    // allocator keeps for each what it once gave to it.
    let mut piece = vec![0; max.min(PIECE)];
    let read = move || {
        let count = file.read_at(&mut piece, offset)?;
        piece.truncate(count);
        Ok::<_, io::Error>(Bytes::from(piece))
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(piece) => piece.map_err(|error| Fault::from(error).as_error()),
        Err(_) => Err(StoreError::Unavailable("the process is shutting down".to_owned())),
    }
}
