//! What is recorded: a store at work, and a note of each answer it gave.
//!
//! A note is a line in a file beside the store, written after the answer came. So it has its place
//! in the journal: what the world outside knew when the power went.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use relais_core::{BodyKind, Command, Task, TaskId};
use relais_store::conformance::World;
use relais_store::conformance::fixture::{Ask, erasing, from, inline, task};
use relais_store::conformance::random::Dice;
use relais_store::{Body, Claim, Claimed, Commit, Committed, Data, Filter, StepOf};
use relais_store_sqlite::SqliteStore;

use super::journal::{FOLDER, LIFE};
use crate::{assert_sound, new_folder, try_open};

/// Where the load is among the tests of this binary.
pub(crate) const TEST: &str = "power::load::a_load_with_power_leaves_a_sound_store";
/// The notes, beside the database.
pub(crate) const NOTES: &str = ".acked";
pub(crate) const DATABASE: &str = "relais.db";

/// Submitters at once, and what each of them does.
const SUBMITTERS: u64 = 4;
const ROUNDS: u64 = 8;
/// Commits that fill the log until it is copied beside the writer, and some of the next log.
const BULK_COMMITS: u64 = 36;
const BULK_TASKS: usize = 8;
const BULK_BYTES: usize = 64_000;
/// The number of each result that is stored before its settle.
const EARLY: u128 = 7;

/// With power all the time it is an ordinary test. With the environment of a recording it is one
/// life of the recorded load: the first is killed, the second closes its store and opens it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_with_power_leaves_a_sound_store() {
    let told = env::var_os(FOLDER).zip(env::var(LIFE).ok());
    let Some((folder, life)) = told else {
        let folder = new_folder();
        for life in [1, 2] {
            live(folder.path(), life).await.close().await;
        }
        return assert_sound(&folder.path().join(DATABASE));
    };
    let folder = Path::new(&folder);
    let life = life.parse().expect("a recording numbers its lives");
    let store = live(folder, life).await;
    if life > 1 {
        store.close().await;
        drop(store);
        live(folder, life + 1).await;
    }
    // As if killed: nothing is closed.
    std::process::exit(0);
}

/// The body of a task, known from its id.
pub(crate) fn bytes_of(id: TaskId, kind: BodyKind, len: usize) -> Vec<u8> {
    let mut dice = Dice::new(id.as_u128() as u64 ^ (kind as u64) << 32);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.roll(u64::MAX).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// One life: small work by several at once, then so much that the log begins anew, then small work.
async fn live(folder: &Path, life: u64) -> SqliteStore {
    let store = try_open(&folder.join(DATABASE)).expect("the store opens");
    let notes = File::options().create(true).append(true).open(folder.join(NOTES));
    let load = Arc::new(Load {
        world: World::from(store.clone()),
        notes: notes.expect("it is ours"),
        life,
        drawn: AtomicU64::new(0),
        known: Mutex::default(),
    });
    load.clone().work_together().await;
    if life == 2 {
        load.bulk().await;
        load.work_together().await;
    }
    store
}

struct Load {
    world: World,
    notes: File,
    life: u64,
    drawn: AtomicU64,
    /// The versions that were noted last.
    known: Mutex<BTreeMap<u128, u64>>,
}

impl Load {
    fn note(&self, line: &str) {
        (&self.notes).write_all(format!("{line}\n").as_bytes()).expect("it is ours");
    }

    /// Notes a version of a task, unless it was only seen and is known already.
    fn note_version(&self, said: &str, task: &Task, more: &str) {
        let (id, version) = (task.spec.id.as_u128(), task.life.version);
        let known = self.known.lock().expect("nothing panics").insert(id, version);
        if said != "seen" || known.is_none_or(|known| known < version) {
            self.note(&format!("{said} {id} {version}{more}"));
        }
    }

    /// What no other life draws.
    fn draw(&self) -> u128 {
        u128::from(self.life << 32 | self.drawn.fetch_add(1, Ordering::Relaxed))
    }

    async fn work_together(self: Arc<Self>) {
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn(self.clone().look(is_over.clone()));
        let works: Vec<_> = (0..SUBMITTERS).map(|at| tokio::spawn(self.clone().work(at))).collect();
        for work in works {
            work.await.expect("no panic");
        }
        is_over.store(true, Ordering::Relaxed);
        reader.await.expect("no panic");
    }

    /// Reads tasks and lists all the time: what anybody was shown is promised as well.
    async fn look(self: Arc<Self>, is_over: Arc<AtomicBool>) {
        while !is_over.load(Ordering::Relaxed) {
            let newest = self.drawn.load(Ordering::Relaxed);
            let drawn = newest.saturating_sub(8)..=newest;
            let id =
                |drawn: u64| TaskId::from_u128(0x0190 << 112 | u128::from(self.life << 32 | drawn));
            let read = self.world.store.read(drawn.map(id).collect()).await.expect("it works");
            let some = Filter { limit: 4, ..Filter::default() };
            let listed = self.world.store.list(some).await.expect("it works").tasks;
            for task in read.into_iter().flatten().chain(listed) {
                self.note_version("seen", &task, "");
            }
            tokio::task::yield_now().await;
        }
    }

    /// Submits, starts, settles and erases, one after the other.
    async fn work(self: Arc<Self>, at: u64) {
        let mut dice = Dice::new(self.life << 8 | at);
        for round in 0..ROUNDS {
            self.submit(length(&mut dice)).await;
            if round % 3 == 0 {
                continue;
            }
            for claimed in self.start().await {
                let (len, is_early) = (length(&mut dice), dice.roll(2) == 0);
                let id = self.settle(&claimed, len, is_early).await;
                if round % 3 == 1 {
                    self.erase(id).await;
                }
            }
        }
    }

    async fn submit(&self, len: usize) {
        let id = TaskId::from_u128(0x0190 << 112 | self.draw());
        let input = self.body(id, BodyKind::Input, len).await;
        self.world.accept(task().id(id).input(input)).await;
        self.note(&format!("accepted {} 1 {len}", id.as_u128()));
    }

    async fn start(&self) -> Vec<Claimed> {
        let Ask { pool, policy, now, .. } = from("mail");
        let claim = Claim {
            pool,
            policy: Arc::new(policy),
            holder: relais_core::Holder::Worker { name: "w".to_owned() },
            nonces: vec![7 << 100 | self.draw()],
            held: Arc::default(),
            now: relais_core::Timestamp::from_ms(now),
        };
        let started = self.world.store.claim(claim).await.expect("the store works").started;
        for task in started.iter().map(Claimed::task) {
            self.note_version("started", task, "");
        }
        started
    }

    /// Settles with a result that comes along, or was stored before.
    async fn settle(&self, claimed: &Claimed, len: usize, is_early: bool) -> TaskId {
        let (id, nonce) = (claimed.task().spec.id, claimed.nonce);
        let result = self.body(id, BodyKind::Result, len).await;
        let (succeed, result) = if is_early {
            let store = Command::StoreEarly { nonce, id: EARLY };
            let bodies = vec![(BodyKind::Early, result)];
            let store = StepOf { bodies, ..World::stepping(id, store, 5) };
            self.world.try_step_of(store).await.expect("it has the lease");
            let stored = self.world.store.body(id, BodyKind::Early).await;
            let stored = stored.expect("it works").expect("it was stored");
            let data = Data::Early { id: EARLY, stored };
            let early = Some(EARLY);
            (
                Command::Succeed { nonce, result: None, message: None, early },
                Body { head: Bytes::new(), data },
            )
        } else {
            (Command::succeed(nonce), result)
        };
        let bodies = vec![(BodyKind::Result, result)];
        let step = StepOf { bodies, ..World::stepping(id, succeed, 5) };
        let stepped = self.world.try_step_of(step).await.expect("it has the lease");
        self.note_version("settled", &stepped.changed.task, &format!(" {len}"));
        id
    }

    async fn erase(&self, id: TaskId) {
        self.note(&format!("erasing {}", id.as_u128()));
        self.world.commit(erasing(id)).await.expect("it is over");
        self.note(&format!("erased {}", id.as_u128()));
    }

    async fn body(&self, id: TaskId, kind: BodyKind, len: usize) -> Body {
        let mut spool = self.world.store.spool().await.expect("it works");
        for piece in bytes_of(id, kind, len).chunks(50_000) {
            spool.write(Bytes::copy_from_slice(piece)).await.expect("it works");
        }
        Body { head: Bytes::new(), data: spool.finish().await.expect("it works") }
    }

    /// Tasks that come and go, whole batches at once: the log grows, the database does not.
    async fn bulk(&self) {
        for _ in 0..BULK_COMMITS {
            let (mut accepts, mut cancels, mut erasures) = (vec![], vec![], vec![]);
            for _ in 0..BULK_TASKS {
                let id = TaskId::from_u128(0x0190 << 112 | self.draw());
                let input = inline(vec![7; BULK_BYTES]);
                let accept = task().id(id).queue("bulk").input(input).build(id);
                let cancel = World::stepping(id, Command::Cancel, 1);
                accepts.push(Commit::Accept(Box::new(accept)));
                cancels.push(Commit::Step(Box::new(cancel)));
                erasures.push(erasing(id));
            }
            for commits in [accepts, cancels, erasures] {
                let done = self.world.commit_all(commits).await;
                assert!(done.iter().all(Result::is_ok), "{done:?}");
                let is_over = matches!(done[0], Ok(Committed::Erased(..)));
                assert!(!is_over || done.len() == BULK_TASKS, "all are gone");
            }
        }
    }
}

/// Empty, small, large in its row, or larger: in a file, written in one piece or several.
fn length(dice: &mut Dice) -> usize {
    let (least, span) = match dice.roll(16) {
        0 => (0, 1),
        1..11 => (1, 400),
        11..13 => (3_000, 60_000),
        13..15 => (66_000, 8_000),
        _ => (270_000, 20_000),
    };
    usize::try_from(least + dice.roll(span)).expect("small")
}
