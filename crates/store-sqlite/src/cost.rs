//! What single questions cost: counted in steps of SQLite's virtual machine, which no load changes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use relais_core::{Command, Grants, Joined, Purpose, SessionOp, Status, Timestamp};
use relais_store::conformance::fixture::{Ask, TaskBuilder, from, queue, task, tenant};
use relais_store::conformance::{World, webhooks};
use relais_store::{Commit, EventQuery, Filter, Queues, SessionCapacity, SessionOf};
use rusqlite::Connection;

use crate::fault::Fault;
use crate::open::connect_reader;
use crate::{Options, SqliteStore, events, list, read, session};

/// A store, and the folder it lives in.
fn new_world() -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let options = Options::new(file_in(&folder), Timestamp::from_ms(0));
    (World::from(SqliteStore::open(&options).expect("it opens")), folder)
}

fn file_in(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("relais.db")
}

/// The steps that a question takes over a connection of its own.
fn steps<T>(path: &Path, ask: impl Fn(&Connection) -> Result<T, Fault>) -> i64 {
    let mut conn = connect_reader(path).expect("it opens");
    let steps = Arc::new(AtomicI64::new(0));
    let counted = steps.clone();
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    conn.progress_handler(1, Some(count)).expect("it can be counted");
    ask(&conn).expect("it can be asked");
    steps.load(Ordering::Relaxed)
}

/// Accepts as many tasks, each in a queue of its own of the tenant `other`.
async fn fill_queues(world: &World, count: usize) {
    let new = |n| world.accepting(task().tenant("other").queue(&format!("q{n}")));
    let commits: Vec<Commit> = (0..count).map(new).collect();
    for commits in commits.chunks(1_000) {
        world.commit_all(commits.to_vec()).await;
    }
}

/// What one tenant pays to look at its task, its queue, its list, or at a key, beside so many
/// queues of another.
async fn looks_beside(queues: usize) -> Vec<i64> {
    let (world, folder) = new_world();
    fill_queues(&world, queues).await;
    let id = world.accept(task()).await;
    let labeled = world.accept(task().label("k", "v")).await;
    world.step(labeled, Command::Cancel, 1).await;
    let path = file_in(&folder);
    let (tenant, mail) = (tenant("default"), queue("mail"));
    let of = Queues::Of { tenant: tenant.clone(), after: None, limit: 50 };
    let mine = Filter { tenant: Some(tenant.clone()), limit: 50, ..Filter::default() };
    let failed = Filter { status: Some(Status::Failed), ..mine.clone() };
    let canceled = Filter { status: Some(Status::Canceled), ..mine.clone() };
    let labeled = Filter { label: Some(("k".to_owned(), "v".to_owned())), ..mine };
    vec![
        steps(&path, |conn| read::place(conn, id)),
        steps(&path, |conn| read::queue(conn, &tenant, &mail)),
        steps(&path, |conn| read::ready_pools_of(conn, &tenant, &mail)),
        steps(&path, |conn| read::queues(conn, &of)),
        steps(&path, |conn| list::page(conn, &failed)),
        steps(&path, |conn| list::page(conn, &canceled)),
        steps(&path, |conn| list::page(conn, &labeled)),
    ]
}

/// A look at a task or a queue read all queues of all tenants: 0.2 ms beside one, 14 beside 10,000.
#[tokio::test]
async fn a_look_costs_the_same_beside_ten_thousand_queues() {
    let (alone, beside) = (looks_beside(1).await, looks_beside(10_000).await);
    let is_same = |(alone, beside): (&i64, &i64)| *beside <= alone + 20;
    assert!(alone.iter().zip(&beside).all(is_same), "{beside:?} steps, {alone:?} alone");
}

/// Tasks that a list of the tenant `default` does not show: another's, and internal ones in the very
/// queue that it is of.
fn hidden() -> [(TaskBuilder, Ask); 2] {
    let purpose = Purpose::Internal;
    [
        (task().tenant("other").queue("crowd"), from("crowd").tenant("other").limit(1_000)),
        (task().purpose(purpose), from("mail").purpose(purpose).limit(1_000)),
    ]
}

/// Accepts, in batches, as many tasks of a kind, and takes as many of them to their end as are
/// kept; the others wait behind all the first tenant has.
async fn crowd(world: &World, (kind, ask): &(TaskBuilder, Ask), kept: usize, queued: usize) {
    for batch in 0..(kept + queued) / 1_000 {
        let new = |_| world.accepting(kind.clone());
        world.commit_all((0..1_000).map(new).collect()).await;
        if batch < kept / 1_000 {
            let claims = world.claim(ask).await.started;
            let settle = |claimed: &relais_store::Claimed| {
                let (id, nonce) = (claimed.task().spec.id, claimed.nonce);
                Commit::Step(Box::new(World::stepping(id, Command::succeed(nonce), 1)))
            };
            world.commit_all(claims.iter().map(settle).collect()).await;
        }
    }
}

/// Steps to list the tasks of one tenant, and of one queue of it, with each status and with any,
/// behind so many tasks that are not shown.
async fn lists_behind(kind: &(TaskBuilder, Ask), others: usize) -> Vec<i64> {
    let (world, folder) = new_world();
    for _ in 0..3 {
        let canceled = world.accept(task()).await;
        world.step(canceled, Command::Cancel, 1).await;
        world.accept(task()).await;
        world.run(&from("mail")).await;
    }
    world.accept(task()).await;
    world.start_one(&from("mail").limit(1)).await;
    world.accept(task().lane("a").run_at(9)).await;
    world.accept(task()).await;
    crowd(&world, kind, others / 2, others / 2).await;
    let of = |queue: Option<&str>, status, shown: usize| {
        let queue = queue.map(self::queue);
        let tenant = Some(tenant("default"));
        let filter = Filter { tenant, queue, status, limit: 50, ..Filter::default() };
        steps(&file_in(&folder), |conn| {
            let page = list::page(conn, &filter)?;
            assert_eq!((page.tasks.len(), page.next), (shown, None), "{status:?}");
            Ok(())
        })
    };
    let expected = [2, 1, 0, 3, 0, 3];
    let statuses = Status::ALL.into_iter().zip(expected);
    let cases = statuses.map(|(status, shown)| (Some(status), shown)).chain([(None, 9)]);
    cases
        .flat_map(|(status, shown)| [of(None, status, shown), of(Some("mail"), status, shown)])
        .collect()
}

/// A tenant with nine tasks was shown its first page after hundreds of empty ones, beside millions of
/// others.
#[tokio::test]
async fn a_list_costs_what_it_shows_whatever_else_there_is() {
    for kind in &hidden() {
        let (few, many) = (lists_behind(kind, 2_000).await, lists_behind(kind, 40_000).await);
        for (few, many) in few.iter().zip(&many) {
            assert!(*many <= few + 80, "{many:?} steps behind 40,000, {few:?} behind 2,000");
        }
    }
}

/// Bytes that this process has read from files.
#[cfg(target_os = "linux")]
fn bytes_read() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("it is there");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.expect("it is told").parse().expect("a number")
}

/// A page of one event read all that the log said behind it: 220 ms beside 2,000 outputs of 50 kB. So did each
/// piece of a stream.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_page_of_a_log_does_not_read_what_the_others_say() {
    let (world, folder) = new_world();
    let mut ids = Vec::new();
    for _ in 0..20 {
        let id = world.accept(task()).await;
        let (_, nonce) = world.start_one(&from("mail").limit(1)).await;
        for _ in 0..20 {
            let output = Some(vec![b'1'; 60_000].into());
            let (until, progress, checkpoint) = (Timestamp::from_ms(90_000), None, false);
            world.step(id, Command::Report { nonce, until, progress, output, checkpoint }, 1).await;
        }
        ids.push(id);
    }
    let conn = connect_reader(&file_in(&folder)).expect("it opens");
    let of_one = EventQuery::Task { id: ids[0], after: 0, limit: 3 };
    let (tenant, label) = (tenant("default"), None);
    let of_many = EventQuery::Store { tenant, tasks: ids, label, after: 0, limit: 3 };
    for (query, most) in [(of_one, 300_000), (of_many, 3_000_000)] {
        let before = bytes_read();
        let told = events::events(&conn, &query).expect("it can be asked");
        let read = bytes_read() - before;
        assert!(told.len() == 3 && read < most, "{} events, {read} bytes", told.len());
    }
}

/// Steps of the writer for the whole lives of a hundred tasks of the tenant `default`, beside so many
/// endpoints of another, and with as many of its own.
async fn lives_beside(others: u64, own: u64) -> i64 {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let options = Options::new(file_in(&folder), Timestamp::from_ms(0));
    let store = SqliteStore::open(&options).expect("it opens");
    let world = World::from(store.clone());
    for number in 0..others + own {
        let tenant = tenant(if number < others { "other" } else { "default" });
        let endpoint = webhooks::setting::endpoint(number);
        webhooks::setting::create(&world, relais_core::Endpoint { tenant, ..endpoint }).await;
    }
    world.accept(task()).await;
    let before = store.effort().await.expect("it can be asked");
    for _ in 0..100 {
        world.accept(task()).await;
        world.run(&from("mail")).await;
    }
    store.effort().await.expect("it can be asked") - before
}

/// Nobody who subscribed: nothing is read or written for it. Who did pays for its rows alone.
#[tokio::test]
async fn a_task_that_is_told_to_nobody_costs_what_it_did() {
    let (alone, beside) = (lives_beside(0, 0).await, lives_beside(90, 0).await);
    assert_eq!(alone, beside, "steps, without and beside the endpoints of another tenant");
    let one = lives_beside(0, 1).await - alone;
    let ten = lives_beside(0, 10).await - alone;
    assert!(one < 30_000 && ten < 10 * one + 1_000, "{one} steps for 300 rows, {ten} for 3,000");
}

/// API keys are read without all else that is kept under names.
#[tokio::test]
async fn secrets_of_a_kind_cost_what_they_are() {
    let (world, folder) = new_world();
    let put = async |name: String| {
        let value = Some(bytes::Bytes::from_static(b"1"));
        world.commit(Commit::Secret { name, value }).await.expect("it is taken");
    };
    put("key/one".to_owned()).await;
    let cost = || steps(&file_in(&folder), |conn| read::secrets(conn, "key/"));
    let before = cost();
    for n in 0..200 {
        put(format!("other/{n}")).await;
    }
    assert!(cost() <= before + 2, "{} steps, {before} alone", cost());
}

/// A session is found, changed and begun without a look at others; those that have ended go a few at
/// a time.
#[tokio::test]
async fn a_session_costs_the_same_beside_thousands() {
    let (world, folder) = new_world();
    let change = |mac: u32, op: SessionOp| {
        let mut id_mac = [0; 32];
        id_mac[..4].copy_from_slice(&mac.to_be_bytes());
        let (source, capacity) = (None, SessionCapacity::default());
        let of = SessionOf { id_mac, op, source, capacity, now: Timestamp::from_ms(1) };
        Commit::Session(Box::new(of))
    };
    let until = Timestamp::from_ms(99);
    let begin = |mac| {
        let joined = Joined::new(world.id(), Grants::default(), until);
        change(mac, SessionOp::Begin(joined))
    };
    let path = file_in(&folder);
    let look = || steps(&path, |conn| session::session(conn, [0; 32]));
    world.commit(begin(0)).await.expect("it is taken");
    let alone = look();
    world.commit_all((1..3_000).map(begin).collect()).await;
    assert!(look() <= alone + 2, "{} steps, {alone} alone", look());
    let left = async || {
        world.due(99).await;
        let count = "select count(*) from session";
        let conn = connect_reader(&path).expect("it opens");
        conn.query_row(count, [], |row| row.get::<_, i64>(0)).expect("it is counted")
    };
    assert_eq!([left().await, left().await, left().await], [2_000, 1_000, 0]);
}

/// Each part of a log was found by a walk over all that comes after it: the first page of 4,001 events took
/// 27 ms, the last 3, and a stream from the start read the log 63 times.
#[tokio::test]
async fn a_part_of_a_log_costs_the_same_wherever_it_is() {
    let (world, folder) = new_world();
    world.accept(task()).await;
    let (id, nonce) = world.start_one(&from("mail")).await;
    let until = Timestamp::from_ms(60_000);
    let (progress, output, checkpoint) = (None, Some("1".into()), false);
    let report = Command::Report { nonce, until, progress, output, checkpoint };
    for _ in 0..10 {
        let step = || Commit::Step(Box::new(World::stepping(id, report.clone(), 1)));
        world.commit_all((0..400).map(|_| step()).collect()).await;
    }
    let (log, limit) = (world.log(id).await, 65);
    assert_eq!(log.len(), 4_002);
    let path = file_in(&folder);
    let read = |query: &EventQuery, after: usize| {
        let steps = steps(&path, |conn| {
            let part = events::events(conn, query)?;
            let expected = log.iter().skip(after).take(limit);
            assert!(part.iter().map(|logged| &logged.entry).eq(expected), "after {after}");
            Ok(())
        });
        assert!(steps < 15_000, "{steps} steps after {after}");
    };
    for after in [0, 1, 62, 63, 64, 65, 128, 2_000, 3_900, 3_968, 4_000, 4_002] {
        read(&EventQuery::Task { id, after: after as u64, limit }, after);
        // Alone in its store: positions and numbers are the same.
        let (tenant, tasks) = (tenant("default"), vec![id]);
        let after_pos = after as u64;
        read(&EventQuery::Store { tenant, tasks, label: None, after: after_pos, limit }, after);
    }
}
