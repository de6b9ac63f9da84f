//! What the store asks the system about its files: which file a name leads to, and how much
//! room there is on a volume. Each question is a call of the system, so that tests count
//! them and answer themselves.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What answers for the system.
pub(crate) trait System: Send + Sync {
    /// The file that a name leads to. Opens nothing.
    ///
    /// # Errors
    /// When there is none, or it cannot be looked at.
    fn identity(&self, file: &Path) -> io::Result<Identity>;

    /// The volume that a file is, or would be, on; `None` where the system does not say.
    fn volume(&self, file: &Path) -> Option<Volume>;
}

/// What tells files apart, whatever they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(file: &Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino() }
    }
}

/// A file system, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Volume {
    pub(crate) total: u64,
    pub(crate) free: u64,
}

/// The machine that this process runs on.
#[derive(Debug)]
pub(crate) struct Machine;

impl System for Machine {
    fn identity(&self, file: &Path) -> io::Result<Identity> {
        fs::metadata(file).map(|found| Identity::of(&found))
    }

    fn volume(&self, file: &Path) -> Option<Volume> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let found = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))).ok()?;
        // Some file systems, of networks and in user space, answer and know nothing.
        let found = Some(found).filter(|found| found.f_blocks > 0)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Volume { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use relais_core::{Command, Timestamp};
    use relais_store::conformance::World;
    use relais_store::conformance::fixture::{from, task};
    use relais_store::{Body, Commit, Health, Store as _, StoreError};
    use tempfile::TempDir;

    use super::*;
    use crate::fault::Fault;
    use crate::held::beside;
    use crate::{Options, SqliteStore, open};

    /// A volume of 64 MiB has a reserve of 8 and leaves 4 besides, of which
    /// an eighth comes unasked.
    const TOTAL: u64 = 64 << 20;
    const HEADROOM: u64 = 4 << 20;
    const UNASKED: u64 = 512 << 10;

    /// A system that counts what it is asked, and says of its volume what it is told to.
    #[derive(Default)]
    struct Told {
        free: AtomicU64,
        is_moved: AtomicBool,
        files: AtomicU64,
        volumes: AtomicU64,
        /// How long the log of the store was when it was last asked for a file.
        log_bytes: AtomicU64,
    }

    impl Told {
        fn set_free(&self, bytes: u64) {
            self.free.store(bytes, Ordering::Relaxed);
        }

        /// How often it was asked for files and for the volume since the last time.
        fn asked(&self) -> (u64, u64) {
            let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
            (take(&self.files), take(&self.volumes))
        }
    }

    impl System for Told {
        fn identity(&self, file: &Path) -> io::Result<Identity> {
            self.files.fetch_add(1, Ordering::Relaxed);
            if let Ok(log) = fs::metadata(log_of(file)) {
                self.log_bytes.store(log.len(), Ordering::Relaxed);
            }
            if self.is_moved.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::NotFound.into());
            }
            Machine.identity(file)
        }

        fn volume(&self, _: &Path) -> Option<Volume> {
            self.volumes.fetch_add(1, Ordering::Relaxed);
            Some(Volume { total: TOTAL, free: self.free.load(Ordering::Relaxed) })
        }
    }

    fn log_of(file: &Path) -> PathBuf {
        beside(&file.with_file_name("relais.db"), "-wal")
    }

    fn open_on(free: u64) -> (Arc<Told>, World, SqliteStore, TempDir) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let told = Arc::new(Told::default());
        told.set_free(free);
        let options = Options::new(folder.path().join("relais.db"), Timestamp::from_ms(0));
        let parts = open::open(&options, told.clone()).expect("it opens");
        let store = SqliteStore { parts: Arc::new(parts) };
        told.asked();
        (told, World::from(store.clone()), store, folder)
    }

    /// A task whose input is in a file.
    async fn accept_large(world: &World, bytes: usize) -> Result<(), StoreError> {
        if !world.store.has_room_for(bytes as u64) {
            return Err(StoreError::Full);
        }
        let mut spool = world.store.spool().await?;
        spool.write(vec![7; bytes].into()).await?;
        let input = Body { head: "".into(), data: spool.finish().await? };
        world.store.commit(vec![world.accepting(task().input(input))]).await.map(drop)
    }

    /// A store on such a file system refused every task, because it looked full.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_that_says_nothing_of_its_room_is_not_full() {
        assert!(Machine.volume(Path::new("/proc/relais.db")).is_none());
    }

    #[tokio::test]
    async fn what_is_written_together_is_looked_at_once_and_a_request_costs_no_look() {
        // It was three calls for each request, six and one for each write.
        let (told, world, store, _folder) = open_on(TOTAL);
        world.accept(task()).await;
        assert_eq!(told.asked(), (3, 1), "three files and the volume");
        world.claim(&from("mail")).await;
        assert_eq!(told.asked(), (3, 0), "what is not new needs no room");
        for _ in 0..1_000 {
            assert!(store.has_room_for(0));
        }
        assert_eq!(told.asked(), (0, 0));
        assert_eq!(store.health(), Health::Ready);
        assert_eq!(told.asked(), (3, 0), "whoever watches sees files that went meanwhile");
    }

    #[tokio::test]
    async fn pieces_of_a_body_share_a_look_at_the_volume() {
        // It was one for each piece.
        let (told, _world, store, _folder) = open_on(TOTAL);
        let piece = 16 << 10;
        for _ in 0..(4 << 20) / piece {
            assert!(store.has_room_for(piece));
        }
        let (_, volumes) = told.asked();
        assert!((1..=(4 << 20) / UNASKED).contains(&volumes), "{volumes}");
    }

    #[tokio::test]
    async fn no_more_comes_unasked_than_there_is_room_for() {
        let (told, _world, store, _folder) = open_on(HEADROOM + 100_000);
        assert!(store.has_room_for(60_000));
        assert!(store.has_room_for(40_000), "it was told of");
        told.set_free(HEADROOM);
        assert!(!store.has_room_for(1));
        assert_eq!(store.health(), Health::Ready, "what needs no room of its own is taken");
    }

    #[tokio::test]
    async fn the_look_comes_after_what_it_vouches_for() {
        // A file that goes while a commit is written would take an acknowledged task with it, had
        // the files been looked at before.
        let (told, world, _store, folder) = open_on(TOTAL);
        let log = || fs::metadata(log_of(folder.path().join("x").as_path())).expect("it is there");
        for _ in 0..3 {
            let before = log().len();
            world.accept(task()).await;
            let seen = told.log_bytes.load(Ordering::Relaxed);
            assert!(seen > before && seen == log().len(), "{before} {seen}");
        }
    }

    #[tokio::test]
    async fn an_accept_is_refused_once_a_file_is_away_and_nothing_else_that_is_stored() {
        let (told, world, store, _folder) = open_on(TOTAL);
        let waiting = world.accept(task()).await;
        told.is_moved.store(true, Ordering::Relaxed);
        assert_eq!(world.started(&from("mail")).await, [waiting], "it is stored that it runs");
        let accept = task().build(world.id());
        let id = accept.task.spec.id;
        let refused = store.commit(vec![Commit::Accept(Box::new(accept))]).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        told.is_moved.store(false, Ordering::Relaxed);
        assert_eq!(world.try_read(id).await, None, "the store knew, and wrote nothing");
        world.accept(task()).await;
        assert_eq!(store.health(), Health::Ready);
    }

    #[tokio::test]
    async fn a_body_too_large_for_what_is_left_leaves_the_store_to_others() {
        // One refused the new tasks of everybody, until somebody asked how the store is.
        let (_told, world, store, _folder) = open_on(TOTAL);
        assert!(!store.has_room_for(2 * TOTAL));
        assert!(!store.parts.shared.condition.is_full(), "it says nothing about others");
        assert!(store.has_room_for(100_000));
        world.accept(task()).await;
        // Nor does one that finds out while it is written.
        let found = crate::spool::FileSpool::new(store.parts.shared.clone());
        found.note(&Fault::Io(io::ErrorKind::StorageFull.into()));
        assert!(!store.parts.shared.condition.is_full());
        found.note(&Fault::Fsync(io::ErrorKind::Other.into()));
        assert!(matches!(store.health(), Health::Corrupt(_)), "a failed fsync is about the disk");
    }

    #[tokio::test]
    async fn a_disk_that_others_filled_takes_outcomes_only_until_there_is_room() {
        let (told, world, store, folder) = open_on(TOTAL);
        world.accept(task()).await;
        told.set_free(HEADROOM - 1);
        assert_eq!(accept_large(&world, 100_000).await, Err(StoreError::Full));
        let refused = store.commit(vec![world.accepting(task())]).await;
        assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
        assert!(!store.has_room_for(0), "known before a body is read");
        assert_eq!(store.health(), Health::Full);
        let (id, nonce) = world.start_one(&from("mail")).await;
        world.step(id, Command::succeed(nonce), 1).await;
        assert_eq!(store.health(), Health::Full);

        told.set_free(HEADROOM);
        assert!(store.has_room_for(0), "seen by the first who asks");
        assert_eq!(store.health(), Health::Ready);
        world.accept(task()).await;
        let reserve = fs::metadata(beside(&folder.path().join("relais.db"), ".reserve"));
        assert_eq!(reserve.expect("it is there").len(), 2 * HEADROOM, "it was never touched");
    }

    #[tokio::test]
    async fn large_bodies_are_taken_again_once_a_spent_reserve_could_be_had() {
        // Only a small task brought the reserve back: until one came, large
        // ones were refused for ever.
        let (told, world, store, _folder) = open_on(TOTAL);
        let shared = &store.parts.shared;
        told.set_free(0);
        shared.note_full();
        assert!(shared.reserve.spend());
        told.set_free(2 * HEADROOM);
        assert_eq!(accept_large(&world, 100_000).await, Err(StoreError::Full), "half of it only");
        told.set_free(3 * HEADROOM);
        assert_eq!(accept_large(&world, 100_000).await, Ok(()));
        assert!(!shared.reserve.is_spent());
        assert_eq!(store.health(), Health::Ready);
    }

    #[tokio::test]
    async fn a_store_opens_on_a_disk_without_room_and_says_so() {
        let (told, world, store, _folder) = open_on(0);
        // The reserve itself could be had, as this volume is only said to be full.
        let refused = store.commit(vec![world.accepting(task())]).await;
        assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
        told.set_free(TOTAL);
        world.accept(task()).await;
        assert_eq!(store.health(), Health::Ready);
    }
}
