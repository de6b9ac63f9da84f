//! Rows of each format there was, as bytes (`tests/rows/`), against the program as it is now.
//!
//! A new member or variant makes the golden copy of the format differ. Decide then: a released
//! format stays as it is, [`row::FORMAT`] is raised, and the new one gets a copy of its own with
//! `UPDATE=1`. Rows of the older ones are read for ever.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use minicbor::{Decode, Encode};
use relais_core::webhook::{Dropped, MadeIn, Secret};
use relais_core::*;
use relais_store::row::{self, Unreadable};
use relais_store::{Beat, MemoryStore, Store as _};

/// A row, and how to read one like it.
struct Sample {
    name: &'static str,
    bytes: Vec<u8>,
    read: Read,
}

/// Whether bytes hold the same value; an error, if they cannot be read.
type Read = Box<dyn Fn(&[u8]) -> Result<bool, Unreadable>>;

fn sample<T>(name: &'static str, value: T) -> Sample
where
    T: Encode<u32> + for<'b> Decode<'b, u32> + PartialEq + Debug + 'static,
{
    let bytes = row::encode(&value, row::FORMAT);
    Sample { name, bytes, read: Box::new(move |bytes| Ok(row::decode::<T>(bytes)? == value)) }
}

fn event(data: EventData) -> Sample {
    let name = data.kind().as_str();
    let entry = entry(data);
    let (task, seq) = (entry.task, entry.seq);
    let mut bytes = Vec::new();
    row::encode_entry(&entry, row::FORMAT, &mut bytes);
    let read = move |bytes: &[u8]| Ok(row::decode_entry(task, seq, bytes)? == entry);
    Sample { name, bytes, read: Box::new(read) }
}

/// A moment of this century.
fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(1_764_360_000_000 + s * 1_000)
}

fn spec() -> Spec {
    Spec {
        id: TaskId::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        tenant: "default".parse().expect("a name"),
        queue: "mail".parse().expect("a name"),
        lane: Some("client 7".parse().expect("a name")),
        priority: Priority::new(-3).expect("a priority"),
        labels: vec![("order".to_owned(), "A-1".to_owned())],
        runner: Runner::Upstream { origin: "http://127.0.0.1:9000".into(), repeatable: true },
        created_at: at(0),
        run_at: at(60),
        deadline_after: Duration::from_secs(86_400),
        retention: Duration::from_secs(7 * 86_400),
        content_type: Some("application/json".to_owned()),
        input_bytes: 1_234,
        context: "context".into(),
        source: Some(Source([9; 16])),
        request: Some(RequestLine::new("POST", "/orders")),
        purpose: Purpose::Client,
        grace: Grace::of(Duration::from_secs(60)),
        webhook: Some(own_webhook()),
    }
}

fn failure() -> Failure {
    Failure {
        code: FailureCode::StoreUnavailable,
        detail: Some("it was away".to_owned()),
        problem: Some("{}".into()),
        message: Some(r#"{"en":"Sorry."}"#.into()),
        has_result: true,
        upstream_status: Some(503),
    }
}

fn progress() -> Progress {
    let message = Some("half".to_owned());
    Progress { percent: Some(50.0), done: Some(1), total: Some(2), message }
}

fn lease(holder: Holder) -> Lease {
    Lease::new(1 << 100, at(1), Duration::from_secs(30), holder)
}

fn life(state: State) -> Life {
    Life {
        version: 300,
        run: 2,
        attempt: 3,
        failures: 1,
        crashes: 1,
        updated_at: at(9),
        deadline: at(99),
        progress: Some(progress()),
        has_checkpoint: true,
        credentials: Credentials::Sealed,
        settled_by: Some(Settled { nonce: 1 << 99, how: Settlement::Released }),
        last_failure: Some(Box::new(LastFailure { failure: failure(), at: at(8), attempt: 2 })),
        state,
        attendance: None,
    }
}

fn attended(attendance: Attendance) -> Life {
    Life { attendance: Some(attendance), ..life(State::Queued { run_at: at(70) }) }
}

fn policy() -> Policy {
    let per_minute = Rate { count: 3, period: Duration::from_secs(60) };
    let retry = RetryPolicy {
        max_attempts: 4,
        initial: Duration::from_secs(1),
        max: Duration::from_secs(60),
        factor: 2.5,
    };
    Policy {
        concurrency: Some(8),
        concurrency_per_lane: Some(1),
        rate: Some(per_minute),
        rate_per_lane: Some(per_minute),
        order: Order::Strict,
        retry,
        lease: Duration::from_secs(45),
        attempt_timeout: Duration::from_millis(1_500),
        deadline: Duration::from_secs(3_600),
        retention: Duration::from_secs(7_200),
        capacity: 1_000,
        capacity_per_ip: Some(10),
        lane_weights: BTreeMap::from([("a".parse().expect("a name"), 5)]),
    }
}

fn own_webhook() -> OwnWebhook {
    let url = "https://example.com/own".to_owned();
    OwnWebhook { endpoint: EndpointId::own(7), url, topics: Topics::default() }
}

fn endpoint(standing: Standing) -> Endpoint {
    let filter = Filter { topics: Topic::all().collect(), queues: vec![spec().queue] };
    let range = Dropped { first: 5, last: 9, count: 3, since: at(1), until: at(2) };
    Endpoint {
        id: EndpointId::kept(7),
        tenant: spec().tenant,
        made_in: MadeIn::File,
        url: "https://example.com/hook".to_owned(),
        description: Some("ours".to_owned()),
        filter,
        secrets: vec![
            Secret { sealed: "second".into(), until: None },
            Secret { sealed: "first".into(), until: Some(at(9)) },
        ],
        created_at: at(0),
        updated_at: at(1),
        standing,
        dropped: vec![range],
    }
}

fn notice(what: &'static str, news: News) -> Sample {
    sample(format!("delivery {what}").leak(), Notice { news, own: Some(own_webhook()) })
}

fn entry(data: EventData) -> Entry {
    Entry { task: TaskId::from_u128(7), seq: 3, at: at(5), attempt: 2, data }
}

fn session() -> Session {
    let (task, all) = (TaskId::from_u128, Grants { read: true, cancel: true, retry: true });
    let navigation = |caller| Some(Navigation { address: [8; 32], caller });
    let by_navigation = |n, mark| Joined {
        navigation: navigation(Some([9; 32])),
        mark,
        ..Joined::new(task(n), all, at(99))
    };
    let read = Grants { read: true, ..Grants::default() };
    let tasks = vec![
        Joined::new(task(1), read, at(98)),
        Joined { navigation: navigation(None), ..by_navigation(2, Mark::None) },
        by_navigation(3, Mark::Open { until: at(97) }),
        by_navigation(4, Mark::Used),
        by_navigation(5, Mark::Leads { until: at(96) }),
    ];
    Session { created_at: at(0), tasks, is_seen: true }
}

/// A row of each kind and each variant, with all that it may hold.
fn samples() -> Vec<Sample> {
    let worker = lease(Holder::Worker { name: "w-7".to_owned() });
    let relais = lease(Holder::Relais { epoch: u64::MAX });
    let (bare, message) = (accept(spec(), Credentials::None, false).0.life, Some("{}".into()));
    let reason = CancelReason::Abandoned;
    vec![
        sample("spec", spec()),
        sample("spec of workers", Spec { runner: Runner::Workers, lane: None, ..spec() }),
        sample("spec inline", Spec { runner: Runner::Inline, request: None, ..spec() }),
        sample("spec of a delivery", Spec { runner: Runner::Delivery, webhook: None, ..spec() }),
        sample("spec internal", Spec { purpose: Purpose::Internal, ..spec() }),
        sample("life new", bare),
        sample("life queued", life(State::Queued { run_at: at(70) })),
        sample(
            "life running",
            life(State::Running {
                lease: relais.clone(),
                started_at: at(3),
                early: None,
                live: None,
            }),
        ),
        sample(
            "life running, with an early result",
            life(State::Running {
                lease: worker.clone(),
                started_at: at(3),
                early: Some(1 << 97),
                live: Some(1 << 97),
            }),
        ),
        sample("life attended", attended(Attendance::By(vec![u64::MAX, 7], true))),
        sample("life left by all", attended(Attendance::Until(at(5)))),
        sample("life waiting", life(State::Waiting { until: at(4), nonce: 1 << 98 })),
        sample(
            "life succeeded",
            life(State::Succeeded { at: at(4), message: message.clone(), is_other: false }),
        ),
        sample(
            "life failed",
            life(State::Failed { at: at(4), failure: failure(), holder: Some(relais) }),
        ),
        sample("life canceled", life(State::Canceled { at: at(4), holder: Some(worker), reason })),
        sample("policy", policy()),
        sample("policy by default", Policy::default()),
        sample("bucket", lane::Bucket::full(Rate { count: 9, period: at(1).since(at(0)) }, at(1))),
        sample("session", session()),
        sample("endpoint", endpoint(Standing::Active { failing_since: Some(at(3)) })),
        sample("endpoint disabled", endpoint(Standing::Disabled { at: at(4) })),
        sample("endpoint held", endpoint(Standing::Held { at: at(4), failing_since: Some(at(3)) })),
        notice("outlived", News::outliving(entry(EventData::Started { worker: None }))),
        notice("withdrawn", News::Withdrawn),
        notice("erased", News::Erased { task: TaskId::from_u128(7) }),
        notice("disabled", News::Disabled { endpoint: EndpointId::kept(7) }),
        notice("held", News::Held { endpoint: EndpointId::kept(7), failing_since: None }),
        notice("dropped", News::Dropped { endpoint: EndpointId::kept(7), count: 8 }),
        event(EventData::Accepted { queue: spec().queue, run_at: at(60) }),
        event(EventData::Started { worker: Some("w-7".to_owned()) }),
        event(EventData::Progressed(progress())),
        event(EventData::Output("[1]".into())),
        event(EventData::Deferred { until: at(80) }),
        event(EventData::AttemptFailed {
            cause: Cause::Stop,
            failure: failure(),
            run_at: Some(at(81)),
        }),
        event(EventData::Requeued { reason: RequeueReason::Retried, run: 2, run_at: at(82) }),
        event(EventData::Succeeded { result: Some("[1]".into()), message }),
        event(EventData::Failed(failure())),
        event(EventData::Canceled { reason }),
    ]
}

fn golden(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/rows/{format}.txt"))
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn rows_are_written_as_their_format_says() {
    let fresh: String = samples()
        .iter()
        .map(|sample| format!("{}: {}\n", sample.name, hex_of(&sample.bytes)))
        .collect();
    let file = golden(row::FORMAT);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &fresh).expect("it can be written");
    }
    let golden = std::fs::read_to_string(&file).expect("there is a golden copy");
    assert!(golden == fresh, "what is stored changed: see the head of this file\n{fresh}");
}

#[test]
fn each_kind_of_entry_has_a_row() {
    for kind in EventKind::ALL {
        assert!(samples().iter().any(|sample| sample.name == kind.as_str()), "{kind:?}");
    }
}

#[test]
fn rows_of_all_formats_are_read() {
    let samples = samples();
    for format in 1..=row::FORMAT {
        let text = std::fs::read_to_string(golden(format)).expect("there is a golden copy");
        let mut names = BTreeSet::new();
        for line in text.lines() {
            let (name, hex) = line.split_once(": ").expect("a name and bytes");
            let sample = samples.iter().find(|sample| sample.name == name).expect("there is one");
            let is_same = (sample.read)(&bytes_of(hex)).expect("it can be read");
            assert!(is_same || format < row::FORMAT, "{name} of format {format}");
            names.insert(name.to_owned());
        }
        assert_eq!(names.len(), text.lines().count(), "each name stands once");
    }
}

/// `Failure` of another version of Relais, with one member less and one more.
#[derive(Debug, Encode, Decode)]
struct OtherFailure {
    #[n(0)]
    code: FailureCode,
    #[n(1)]
    detail: Option<String>,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    problem: Option<Vec<u8>>,
    #[n(4)]
    has_result: bool,
    #[n(40)]
    hint: Option<Vec<u32>>,
}

#[test]
fn members_that_one_version_knows_and_the_other_does_not_are_skipped_and_have_defaults() {
    let code = FailureCode::HandlerFailed;
    let other =
        OtherFailure { code, detail: None, problem: None, has_result: true, hint: Some(vec![1]) };
    let read: Failure = row::decode(&row::encode(&other, row::FORMAT)).expect("it is read");
    assert_eq!(read, Failure { has_result: true, ..Failure::new(code, None) });
    let read: OtherFailure =
        row::decode(&row::encode(&failure(), row::FORMAT)).expect("it is read");
    assert_eq!((read.detail, read.hint), (failure().detail, None));
}

#[test]
fn a_row_of_a_later_format_is_named_and_not_read() {
    for sample in samples() {
        let mut later = sample.bytes.clone();
        later[0] += 1;
        assert_eq!((sample.read)(&later), Err(Unreadable::Newer(later[0])), "{}", sample.name);
        let cut = (sample.read)(&sample.bytes[..sample.bytes.len() - 1]);
        assert!(matches!(cut, Err(Unreadable::Damaged(_))), "{}: {cut:?}", sample.name);
    }
}

/// Reading it as if the member were absent would lose it with the next write.
#[test]
fn a_variant_of_a_later_version_is_an_error_also_in_an_optional_member() {
    let whole = life(State::Failed {
        at: at(4),
        failure: Failure::new(FailureCode::WorkerLost, None),
        holder: Some(lease(Holder::Worker { name: "w".to_owned() })),
    });
    let settled = Settled { nonce: 1 << 99, how: Settlement::Released };
    let known = [
        minicbor::to_vec(failure()),
        minicbor::to_vec(settled),
        minicbor::to_vec(Holder::Worker { name: "w".to_owned() }),
        minicbor::to_vec(&whole.state),
    ];
    // The number of a variant is the first item, but for the settlement, where it is the last.
    for (known, place) in known.into_iter().zip([1, 18, 1, 1]) {
        let known = known.expect("memory takes all that is written");
        let mut later = row::encode(&whole, row::FORMAT);
        let found = later.windows(known.len()).position(|window| window == known);
        later[found.expect("it is in the row") + place] = 23;
        let read = row::decode::<Life>(&later);
        assert!(matches!(&read, Err(Unreadable::Damaged(_))), "{read:?}");
    }
}

/// A row of this version, and the same of one that gave it a member in format 2.
#[derive(Debug, PartialEq, Decode)]
struct Row {
    #[n(0)]
    number: u32,
}

#[derive(Encode, Decode)]
#[cbor(context_bound = "Borrow<u32>")]
struct LaterRow {
    #[n(0)]
    number: u32,
    #[n(1)]
    #[cbor(encode_with = "cbor::since::<2, _, _, _>")]
    later: Option<u32>,
}

/// A new member was written at once: to a node of the version before the whole row was one that it
/// must not touch.
#[tokio::test]
async fn a_member_of_a_later_format_is_written_once_every_living_node_reads_it() {
    let one = MemoryStore::new();
    let other = one.clone();
    let row = async |store: &MemoryStore, node, format, now| {
        let (now, alive_for) = (Timestamp::from_ms(now), Duration::from_millis(100));
        let told = store.beat(Beat { node, format, now, alive_for }).await.expect("it works");
        row::encode(&LaterRow { number: 7, later: Some(8) }, told.format)
    };
    assert_eq!(row(&other, 2, 2, 0).await, [2, 0x82, 7, 8], "alone");
    row(&one, 1, 1, 1).await;
    let written = row(&other, 2, 2, 2).await;
    assert_eq!(written, [1, 0x82, 7, 0xf6]);
    assert_eq!(row::decode(&written), Ok(Row { number: 7 }));
    assert_eq!(row(&other, 2, 2, 101).await, [2, 0x82, 7, 8], "the older one is gone");
}
