//! The write-ahead log: bounded under load, and patient with whoever reads for long.

use std::fs;
use std::path::Path;

use relais_store::conformance::World;
use relais_store::conformance::fixture::{inline, task};

use crate::{assert_sound, file_in, new_folder, world_in};

/// What the log may hold at most, and a batch more.
const LOG_MAX: u64 = 80 << 20;

/// Writes so many megabytes, in commits of half of one; answers how long the log was at most.
async fn write(world: &World, megabytes: usize, log: &Path) -> u64 {
    let mut longest = 0;
    for _ in 0..megabytes * 2 {
        let commits =
            (0..8).map(|_| world.accepting(task().input(inline(vec![7; 64_000])))).collect();
        world.commit_all(commits).await;
        longest = longest.max(fs::metadata(log).expect("it is there").len());
    }
    longest
}

#[tokio::test]
async fn the_log_is_bounded_and_outlasts_a_long_reader() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let log = folder.path().join("relais.db-wal");
    let longest = write(&world, 100, &log).await;
    assert!(longest < LOG_MAX, "{longest} bytes");

    // A backup, say, that takes its time: the log must be kept for it, and nobody waits.
    let reader = rusqlite::Connection::open(file_in(&folder)).expect("it opens");
    reader.execute_batch("begin; select count(*) from task;").expect("it reads");
    write(&world, 90, &log).await;
    drop(reader);
    write(&world, 60, &log).await;
    let after = fs::metadata(&log).expect("it is there").len();
    assert!(after < LOG_MAX, "{after} bytes once the reader has gone");
    store.close().await;
    assert_sound(&file_in(&folder));
}
