//! Power loss: what was acknowledged is there whenever the power goes, whatever was not synced.
//!
//! A process that is killed loses nothing it wrote, because the page cache lives on: a missing
//! fsync is not seen that way. So a load runs in a process of its own (`load`), under a shim that
//! records what it does to its files (`shim.c`, `journal`). Then a disk is built for one moment
//! of the journal after the other, which keeps what was synced until then and of the rest what
//! chance leaves (`disk`), and the store that opens it is asked for everything that had been
//! answered by then (`promises`).
//!
//! The moments are: while the store is made, around each record that is no write; after each
//! note of an answer, with a disk that loses all it may lose; and as many as
//! `RELAIS_POWER_CUTS` says (200 unless it is set), by seed, with every mixture of what is
//! lost, kept and torn. Recordings differ, because threads do: a failure keeps its journal and
//! names it, and `RELAIS_POWER_REPLAY=path` tries that one again. Not here: disks that lie
//! about a sync, or spoil what was synced.

mod disk;
mod journal;
mod load;
mod promises;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use disk::{Disk, Fate, Ignores};
use journal::{Deed, Recording};
use promises::Promises;
use relais_store::conformance::random::Dice;
use tempfile::TempDir;

/// Cuts by chance, unless the environment says otherwise.
const CUTS: u64 = 200;
const SEED: u64 = 17;
const LOSSES_SHOWN: usize = 10;
const FOLDER_OF_BODIES: &str = "relais.db.bodies";
const FATES: [Fate; 3] = [Fate::Lost, Fate::Kept, Fate::Torn];

/// One power loss: so many records took effect, and what became of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cut {
    after: usize,
    files: Fate,
    folders: Fate,
    seed: u64,
}

/// P17, with a disk that drops what was not synced: kill -9 cannot see a missing fsync.
#[test]
fn what_was_acknowledged_survives_a_power_loss() {
    let replayed = env::var_os("RELAIS_POWER_REPLAY");
    let recording =
        replayed.map_or_else(|| Recording::of(2), |path| Recording::read(path.as_ref()));
    let cuts = env::var("RELAIS_POWER_CUTS").ok().and_then(|text| text.parse().ok());
    let chance = by_chance(&recording, cuts.unwrap_or(CUTS));
    let cuts = [before_notes(&recording), after_notes(&recording), chance].concat();
    let losses = survey(&recording, |_| false, &cuts, usize::MAX);
    if !losses.is_empty() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("power.journal");
        fs::write(&kept, &recording.bytes).expect("it is ours");
        let first = &losses[..losses.len().min(LOSSES_SHOWN)];
        panic!("{} of {} cuts, see {}: {first:#?}", losses.len(), cuts.len(), kept.display());
    }
}

/// The layer is not blind: whichever sync is left out, it is missed.
#[test]
fn every_missing_fsync_is_seen() {
    let recording = Recording::of(2);
    let cuts = after_notes(&recording);
    let rows: [(&str, Ignores); 7] = [
        ("anything", |_| true),
        ("the folders", |path| path.is_empty() || path == FOLDER_OF_BODIES),
        ("the folder of the database", str::is_empty),
        ("the folder of bodies", |path| path == FOLDER_OF_BODIES),
        ("the log", |path| path.ends_with("-wal")),
        ("the database", |path| path == load::DATABASE),
        ("bodies", |path| path.starts_with(FOLDER_OF_BODIES) && path != FOLDER_OF_BODIES),
    ];
    for (what, ignores) in rows {
        let losses = survey(&recording, ignores, &cuts, 1);
        assert!(!losses.is_empty(), "nobody misses the sync of {what}");
    }
}

/// A replay without loss is the folder as it is: nothing escaped the shim.
#[test]
fn the_recording_has_everything_that_was_written() {
    let recording = Recording::of(2);
    let mut disk = Disk::new(&recording.bytes, |_| false);
    recording.records.iter().for_each(|record| disk.apply(record));
    let copy = tempfile::tempdir().expect("a folder for the test");
    disk.leave(copy.path(), Fate::Kept, Fate::Kept, &mut Dice::new(SEED));
    let (mut found, mut expected) = (BTreeMap::new(), BTreeMap::new());
    read_all(copy.path(), "", &mut found);
    let folder = recording.folder.as_ref().expect("it was recorded just now");
    read_all(folder.path(), "", &mut expected);
    assert!(found.keys().eq(expected.keys()), "{:?} {:?}", found.keys(), expected.keys());
    for (path, bytes) in &expected {
        assert!(found[path] == *bytes, "{path} is not what was written");
    }
}

/// The files beneath a folder whose bytes mean something.
fn read_all(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("it is there") {
        let entry = entry.expect("it is there");
        let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("it is there").is_dir() {
            read_all(&entry.path(), &path, files);
        } else if disk::is_kept(&path) {
            files.insert(path, fs::read(entry.path()).expect("it is there"));
        }
    }
}

/// Right after each answer, all that may be lost is.
fn after_notes(recording: &Recording) -> Vec<Cut> {
    let mut disk = Disk::new(&recording.bytes, |_| false);
    let mut cuts = Vec::new();
    for (at, record) in recording.records.iter().enumerate() {
        disk.apply(record);
        if note(&disk, recording, at).is_some() {
            cuts.push(Cut { after: at + 1, files: Fate::Lost, folders: Fate::Lost, seed: SEED });
        }
    }
    assert!(cuts.len() > 50, "{} answers in {} records", cuts.len(), recording.records.len());
    cuts
}

/// While the store is made, which happens once and is soon over: around all
/// but writes, every mixture.
fn before_notes(recording: &Recording) -> Vec<Cut> {
    let first = after_notes(recording)[0].after;
    let mut seeds = SEED..;
    let mut cuts = Vec::new();
    for after in around_others(recording).into_iter().filter(|after| *after < first) {
        for files in FATES {
            for folders in FATES {
                let seed = seeds.next().expect("there is no last number");
                cuts.push(Cut { after, files, folders, seed });
            }
        }
    }
    cuts
}

/// Right before and right after whatever is no write: syncs above all.
fn around_others(recording: &Recording) -> BTreeSet<usize> {
    let records = recording.records.iter().enumerate();
    let others = records.filter(|(_, record)| !matches!(record.deed, Deed::Write { .. }));
    others.flat_map(|(at, _)| [at, at + 1]).collect()
}

/// Half of them anywhere, which is mostly among writes, half next to something else than a write.
fn by_chance(recording: &Recording, count: u64) -> Vec<Cut> {
    let mut dice = Dice::new(SEED);
    let others: Vec<_> = around_others(recording).into_iter().collect();
    let cut = |at| {
        let after = match at % 2 {
            0 => usize::try_from(dice.roll(recording.records.len() as u64)).expect("an index"),
            _ => dice.pick(&others),
        };
        let (files, folders) = (dice.pick(&FATES), dice.pick(&FATES));
        Cut { after, files, folders, seed: dice.roll(u64::MAX) }
    };
    (0..count).map(cut).collect()
}

/// What the load noted with a record, if it did.
fn note<'r>(disk: &Disk<'_>, recording: &'r Recording, at: usize) -> Option<&'r [u8]> {
    match &recording.records[at].deed {
        Deed::Write { fd, data, .. } if disk.is_open(*fd, load::NOTES) => {
            Some(&recording.bytes[data.clone()])
        }
        _ => None,
    }
}

/// Tries the cuts, on each processor some; answers the first losses found, one line each.
fn survey(recording: &Recording, ignores: Ignores, cuts: &[Cut], losses_max: usize) -> Vec<String> {
    let mut cuts = cuts.to_vec();
    cuts.sort_unstable();
    let next = AtomicUsize::new(0);
    let losses = Mutex::new(Vec::new());
    let try_some = || {
        let mut disk = Disk::new(&recording.bytes, ignores);
        let (mut promises, mut done) = (Promises::default(), 0);
        while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
            for record in &recording.records[done..cut.after] {
                disk.apply(record);
                if let Some(note) = note(&disk, recording, done) {
                    promises.hear(note);
                }
                done += 1;
            }
            let left = try_cut(&disk, *cut, &promises);
            let mut losses = losses.lock().expect("nothing panics while it is held");
            losses.extend(left.err().map(|loss| format!("{cut:?}: {loss}")));
            if losses.len() >= losses_max {
                break;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX) {
            scope.spawn(try_some);
        }
    });
    losses.into_inner().expect("nothing panicked while it was held")
}

/// Cuts tried at once.
const THREADS_MAX: usize = 4;

fn try_cut(disk: &Disk<'_>, cut: Cut, promises: &Promises) -> Result<(), String> {
    let folder = new_disk();
    disk.leave(folder.path(), cut.files, cut.folders, &mut Dice::new(cut.seed));
    promises.keep(&folder.path().join(load::DATABASE))
}

/// A folder in memory where there is one: these files need no disk.
fn new_disk() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| crate::new_folder())
}
