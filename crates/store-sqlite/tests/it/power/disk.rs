//! A disk that keeps what was synced, and of the rest what chance leaves.
//!
//! Files: each sector of 512 bytes was last written back at a moment of its own after the last
//! sync, and so was the length. Folders: each entry that was made, moved or removed since the last
//! sync of the folder is there or not, whatever became of the file itself. That is more than most
//! file systems would do, and no more than they may.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Range;
use std::path::Path;

use relais_store::conformance::random::Dice;

use super::journal::{Deed, Record};

const SECTOR: usize = 512;
/// Maps memory: does not outlive its processes, so that the disk's copy never matters.
const MAPPED: &str = "-shm";
/// Takes up room: its bytes mean nothing.
const RESERVE: &str = ".reserve";

/// Whether the disk ignores syncs of what was made under a path.
pub(crate) type Ignores = fn(&str) -> bool;

/// What becomes of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Lost,
    Kept,
    Torn,
}

/// A place in memory of a file or folder.
type Node = usize;

/// A change of a file that is not synced yet.
#[derive(Clone)]
enum Change {
    Write(u64, Range<usize>),
    SetLen(u64),
}

/// A change of a folder that is not synced yet.
#[derive(Clone)]
enum Move {
    Link(String, Node),
    Unlink(String),
    Rename { from: String, to: String, node: Node },
}

enum Content {
    File { durable: Vec<u8>, pending: Vec<(u64, Change)> },
    Folder { durable: BTreeMap<String, Node>, pending: Vec<(u64, Move)> },
}

/// The disk, and the page cache above it.
pub(crate) struct Disk<'r> {
    bytes: &'r [u8],
    ignores: Ignores,
    nodes: Vec<Content>,
    /// The paths under which they were made.
    names: Vec<String>,
    /// What processes see: every path, as if nothing could be lost.
    seen: HashMap<String, Node>,
    fds: HashMap<i32, Node>,
}

const ROOT: Node = 0;

impl<'r> Disk<'r> {
    /// An empty folder. What is written are ranges of `bytes`.
    pub(crate) fn new(bytes: &'r [u8], ignores: Ignores) -> Self {
        let seen = HashMap::from([(String::new(), ROOT)]);
        let (nodes, names) = (vec![folder()], vec![String::new()]);
        Self { bytes, ignores, nodes, names, seen, fds: HashMap::new() }
    }

    /// Does what was recorded.
    pub(crate) fn apply(&mut self, record: &Record) {
        let place = record.place;
        match &record.deed {
            Deed::Begin => self.fds.clear(),
            Deed::Open { fd, is_creating, is_cutting, path } => {
                let node = match self.seen.get(path) {
                    Some(node) => *node,
                    None => {
                        assert!(*is_creating, "{path} is opened and was never made");
                        self.make(place, path, file())
                    }
                };
                self.fds.insert(*fd, node);
                if *is_cutting {
                    self.change(place, *fd, Change::SetLen(0));
                }
            }
            Deed::Close { fd } => _ = self.fds.remove(fd),
            Deed::Write { fd, offset, data } => {
                self.change(place, *fd, Change::Write(*offset, data.clone()));
            }
            Deed::SetLen { fd, len } => self.change(place, *fd, Change::SetLen(*len)),
            Deed::Sync { fd, upto } => self.sync(*fd, *upto),
            Deed::Rename { from, to } => {
                let node = self.seen.remove(from).expect("what is moved was made");
                self.seen.insert(to.clone(), node);
                let (folder, name) = split(from);
                let (target, new_name) = split(to);
                assert_eq!(folder, target, "nothing moves between folders");
                let (from, to) = (name.to_owned(), new_name.to_owned());
                self.moves(folder).push((place, Move::Rename { from, to, node }));
            }
            Deed::Unlink { path } => {
                self.seen.remove(path).expect("what is removed was made");
                let (folder, name) = split(path);
                self.moves(folder).push((place, Move::Unlink(name.to_owned())));
            }
            Deed::MakeFolder { path } => _ = self.make(place, path, folder()),
        }
    }

    /// Whether a descriptor is that of a path.
    pub(crate) fn is_open(&self, fd: i32, path: &str) -> bool {
        self.fds.get(&fd).is_some_and(|node| self.seen.get(path) == Some(node))
    }

    fn make(&mut self, place: u64, path: &str, content: Content) -> Node {
        let node = self.nodes.len();
        self.nodes.push(content);
        self.names.push(path.to_owned());
        self.seen.insert(path.to_owned(), node);
        let (folder, name) = split(path);
        self.moves(folder).push((place, Move::Link(name.to_owned(), node)));
        node
    }

    fn moves(&mut self, folder: &str) -> &mut Vec<(u64, Move)> {
        match &mut self.nodes[self.seen[folder]] {
            Content::Folder { pending, .. } => pending,
            Content::File { .. } => panic!("{folder} is no folder"),
        }
    }

    fn change(&mut self, place: u64, fd: i32, change: Change) {
        match &mut self.nodes[self.fds[&fd]] {
            Content::File { pending, .. } => pending.push((place, change)),
            Content::Folder { .. } => panic!("folders are not written"),
        }
    }

    fn sync(&mut self, fd: i32, upto: u64) {
        let node = self.fds[&fd];
        if (self.ignores)(&self.names[node]) {
            return;
        }
        match &mut self.nodes[node] {
            Content::File { durable, pending } => {
                let count = pending.partition_point(|(place, _)| *place < upto);
                for (_, change) in pending.drain(..count) {
                    write(durable, self.bytes, &change);
                }
            }
            Content::Folder { durable, pending } => {
                let count = pending.partition_point(|(place, _)| *place < upto);
                for (_, change) in pending.drain(..count) {
                    link(durable, &change);
                }
            }
        }
    }

    /// Writes what the power loss left into an empty folder.
    pub(crate) fn leave(&self, to: &Path, files: Fate, folders: Fate, dice: &mut Dice) {
        self.leave_node(ROOT, to, (files, folders), dice);
    }

    fn leave_node(&self, node: Node, to: &Path, fates: (Fate, Fate), dice: &mut Dice) {
        match &self.nodes[node] {
            Content::File { durable, pending } => {
                let content = file_after(durable, pending, self.bytes, fates.0, dice);
                fs::write(to, content).expect("it is ours");
            }
            Content::Folder { durable, pending } => {
                let mut entries = durable.clone();
                for (_, change) in pending {
                    let is_kept = match fates.1 {
                        Fate::Lost => false,
                        Fate::Kept => true,
                        Fate::Torn => dice.roll(2) == 0,
                    };
                    if is_kept {
                        link(&mut entries, change);
                    }
                }
                fs::create_dir_all(to).expect("it is ours");
                for (name, node) in entries {
                    if is_kept(&name) {
                        self.leave_node(node, &to.join(name), fates, dice);
                    }
                }
            }
        }
    }
}

/// Whether the bytes of a file mean something after a power loss.
pub(crate) fn is_kept(path: &str) -> bool {
    !path.ends_with(MAPPED) && !path.ends_with(RESERVE)
}

fn file() -> Content {
    Content::File { durable: Vec::new(), pending: Vec::new() }
}

fn folder() -> Content {
    Content::Folder { durable: BTreeMap::new(), pending: Vec::new() }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("files of tests are small")
}

/// Changes a folder. An entry may move although nothing of its making was kept.
fn link(entries: &mut BTreeMap<String, Node>, change: &Move) {
    match change {
        Move::Link(name, node) => _ = entries.insert(name.clone(), *node),
        Move::Unlink(name) => _ = entries.remove(name),
        Move::Rename { from, to, node } => {
            if entries.get(from) == Some(node) {
                entries.remove(from);
            }
            entries.insert(to.clone(), *node);
        }
    }
}

/// Changes a whole file.
fn write(content: &mut Vec<u8>, bytes: &[u8], change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let from = index(*offset);
            let to = from + data.len();
            content.resize(content.len().max(to), 0);
            content[from..to].copy_from_slice(&bytes[data.clone()]);
        }
        Change::SetLen(len) => content.resize(index(*len), 0),
    }
}

fn file_after(
    durable: &[u8],
    pending: &[(u64, Change)],
    bytes: &[u8],
    fate: Fate,
    dice: &mut Dice,
) -> Vec<u8> {
    let mut content = durable.to_vec();
    match fate {
        Fate::Lost => {}
        Fate::Kept => pending.iter().for_each(|(_, change)| write(&mut content, bytes, change)),
        Fate::Torn if pending.is_empty() => {}
        Fate::Torn => tear(&mut content, pending, bytes, dice),
    }
    content
}

/// Brings each sector, and the length, to a moment of its own.
fn tear(content: &mut Vec<u8>, pending: &[(u64, Change)], bytes: &[u8], dice: &mut Dice) {
    let count = pending.len();
    // The first and the last moment are as likely as all between.
    let mut moment = || match dice.roll(3) {
        0 => 0,
        1 => count,
        _ => index(dice.roll(count as u64 + 1)),
    };
    let mut len = content.len();
    let len_moment = moment();
    let mut moments = HashMap::new();
    for (at, (_, change)) in pending.iter().enumerate() {
        let (touched, data) = match change {
            Change::Write(offset, data) => {
                let from = index(*offset);
                (from..from + data.len(), Some(data.start))
            }
            Change::SetLen(to) => (index(*to)..content.len(), None),
        };
        let len_now = match change {
            Change::Write(..) => len.max(touched.end),
            Change::SetLen(to) => index(*to),
        };
        len = if at < len_moment { len_now } else { len };
        content.resize(content.len().max(touched.end), 0);
        let mut from = touched.start;
        while from < touched.end {
            let to = touched.end.min((from / SECTOR + 1) * SECTOR);
            if at < *moments.entry(from / SECTOR).or_insert_with(&mut moment) {
                match data {
                    Some(start) => {
                        let start = start + from - touched.start;
                        content[from..to].copy_from_slice(&bytes[start..start + to - from]);
                    }
                    None => content[from..to].fill(0),
                }
            }
            from = to;
        }
    }
    content.resize(len, 0);
}
