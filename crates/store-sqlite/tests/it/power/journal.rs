//! What a process did to its files, in order: recorded by `shim.c`, read here.
//!
//! Not here: what that means for the disk (`disk`).

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::{env, fs, str};

use tempfile::TempDir;

use super::load;

/// One operation that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A process begins: the page cache lives on, descriptors do not.
    Begin,
    Open {
        fd: i32,
        is_creating: bool,
        is_cutting: bool,
        path: String,
    },
    Close {
        fd: i32,
    },
    Write {
        fd: i32,
        offset: u64,
        data: Range<usize>,
    },
    SetLen {
        fd: i32,
        len: u64,
    },
    /// Covers what the journal has before the place `upto`.
    Sync {
        fd: i32,
        upto: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    Unlink {
        path: String,
    },
    MakeFolder {
        path: String,
    },
}

/// An operation, and the place it has in the journal.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) place: u64,
    pub(crate) deed: Deed,
}

/// A recorded load. Paths are relative to its folder; the folder itself is the empty path.
pub(crate) struct Recording {
    pub(crate) records: Vec<Record>,
    /// The whole journal: what was written are ranges of it.
    pub(crate) bytes: Vec<u8>,
    /// Where the load ran, as it was left; nowhere any more if this was recorded before.
    pub(crate) folder: Option<TempDir>,
}

/// What one process of a load is told.
pub(crate) const FOLDER: &str = "RELAIS_POWER_FOLDER";
pub(crate) const LIFE: &str = "RELAIS_POWER_LIFE";
const JOURNAL: &str = "RELAIS_POWER_JOURNAL";

const SHIM: &str = include_str!("shim.c");
const HEAD: usize = 17;

impl Recording {
    /// Runs so many lives of the load, each in a process of its own, and reads what they did.
    pub(crate) fn of(lives: u32) -> Self {
        let tools = tempfile::tempdir().expect("a folder for the test");
        let folder = tempfile::tempdir().expect("a folder for the test");
        let root = folder.path().canonicalize().expect("it is there");
        let (shim, journal) = (tools.path().join("shim.so"), tools.path().join("journal"));
        compile(tools.path(), &shim);
        for life in 1..=lives {
            let output = Command::new(env::current_exe().expect("it runs"))
                .args(["--exact", load::TEST, "--nocapture", "--test-threads=1"])
                .env("LD_PRELOAD", &shim)
                .env(JOURNAL, &journal)
                .env(FOLDER, &root)
                .env(LIFE, life.to_string())
                .output()
                .expect("it starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "life {life}: {}\n{said}", output.status);
        }
        Self { folder: Some(folder), ..Self::read(&journal) }
    }

    /// Reads what was recorded before.
    pub(crate) fn read(journal: &Path) -> Self {
        let bytes = fs::read(journal).expect("there is a journal");
        Self { records: parse(&bytes), bytes, folder: None }
    }
}

fn compile(tools: &Path, shim: &Path) {
    let source = tools.join("shim.c");
    fs::write(&source, SHIM).expect("it is ours");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let output = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([shim, &source])
        .args(["-ldl", "-lpthread"])
        .output()
        .expect("a C compiler is there: SQLite needs one as well");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the shim does not compile:\n{said}");
}

/// Reads the records, and checks that each is understood.
fn parse(bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let (mut at, mut root) = (0, "");
    while at < bytes.len() {
        let head = &bytes[at..at + HEAD];
        let fd = i32::from_le_bytes(head[1..5].try_into().expect("four bytes"));
        let number = u64::from_le_bytes(head[5..13].try_into().expect("eight bytes"));
        let len = u32::from_le_bytes(head[13..].try_into().expect("four bytes")) as usize;
        let data = at + HEAD..at + HEAD + len;
        let text = || str::from_utf8(&bytes[data.clone()]).expect("paths of tests are UTF-8");
        let inside = |path: &str| {
            let path = path.strip_prefix(root).expect("only what is beneath is recorded");
            path.trim_start_matches('/').to_owned()
        };
        let deed = match head[0] {
            b'B' => {
                root = text();
                Deed::Begin
            }
            b'O' => {
                let (is_creating, is_cutting) = (number & 1 != 0, number & 2 != 0);
                Deed::Open { fd, is_creating, is_cutting, path: inside(text()) }
            }
            b'C' => Deed::Close { fd },
            b'W' => Deed::Write { fd, offset: number, data: data.clone() },
            b'T' => Deed::SetLen { fd, len: number },
            b'S' => Deed::Sync { fd, upto: number },
            b'R' => {
                let (from, to) = text().split_once('\0').expect("two paths");
                Deed::Rename { from: inside(from), to: inside(to) }
            }
            b'U' => Deed::Unlink { path: inside(text()) },
            b'M' => Deed::MakeFolder { path: inside(text()) },
            kind => panic!("{:?} {}: teach shim.c and disk.rs", char::from(kind), text()),
        };
        records.push(Record { place: at as u64, deed });
        at = data.end;
    }
    records
}
