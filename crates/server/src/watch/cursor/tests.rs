use relais_core::{CancelReason, Entry, EventData, TaskId, TenantName, Timestamp};
use relais_engine::{Many, Published};

use super::*;

const TASK: TaskId = TaskId::from_u128(1);
const LONG: Duration = Duration::from_secs(3_600);

fn event(seq: u64, data: EventData) -> Happening {
    let entry = Entry { task: TASK, seq, at: Timestamp::EPOCH, attempt: 0, data };
    Happening::Event(Published::new(entry, 10 * seq))
}

fn started(seq: u64) -> Happening {
    event(seq, EventData::Started { worker: None })
}

fn canceled(seq: u64) -> Happening {
    event(seq, EventData::Canceled { reason: CancelReason::Requested })
}

fn view(first: u64, recent: &[Happening]) -> View {
    View { first, recent: recent.to_vec() }
}

fn one() -> Subscription {
    Subscription::Task(TASK)
}

fn many() -> Subscription {
    let tenant: TenantName = "default".parse().expect("a name");
    Subscription::Many(Many { tenant, tasks: Vec::new(), label: None, only_open: false })
}

/// A stream that has read the log up to `after`, and waits for the index `next`.
fn stream(of: &Subscription, after: u64, next: u64, now: Instant) -> Cursor {
    let mut cursor = Cursor::stream(after, now, None, life(1.0));
    cursor.told(of, &Batch::of_log(Vec::new(), after, Some(next)), 0, now);
    cursor
}

#[test]
fn a_number_beyond_the_log_is_of_another_log() {
    for (resume, expected) in [
        (Resume::After(0), (0, false)),
        (Resume::After(7), (7, false)),
        (Resume::After(8), (0, true)),
        (Resume::Now, (7, false)),
        (Resume::Unknown, (0, true)),
    ] {
        assert_eq!(resume.within(7), expected, "{resume:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_happened_is_told_once_and_in_order() {
    let (of, now) = (one(), Instant::now());
    let mut cursor = stream(&of, 2, 5, now);
    let seen = view(5, &[started(2), started(3), started(4)]);
    // The log had the first of them already.
    assert_eq!(cursor.step(&of, &seen, now, false), Step::Tell(1..3));
    cursor.told(&of, &Batch::of_view(&seen, 1..3), 1, now);
    assert_eq!(cursor.after(), 3, "a piece may have room for less");
    assert_eq!(cursor.step(&of, &seen, now, false), Step::Tell(2..3));
    cursor.told(&of, &Batch::of_view(&seen, 2..3), 1, now);
    assert_eq!(cursor.step(&of, &seen, now, false), Step::Wait(now + SILENCE_MAX));
}

#[tokio::test(start_paused = true)]
async fn who_is_behind_what_is_at_hand_reads_the_log() {
    let (of, now) = (one(), Instant::now());
    let mut cursor = stream(&of, 2, 5, now);
    assert_eq!(cursor.step(&of, &view(6, &[started(9)]), now, false), Step::Read);
    assert_eq!(cursor.step(&of, &view(5, &[started(4)]), now, false), Step::Read, "one is missing");
    let part = Batch::of_log(vec![started(3), started(4)], 4, None);
    cursor.told(&of, &part, 2, now);
    assert_eq!(cursor.step(&of, &view(5, &[]), now, false), Step::Read, "more follows in the log");
    // Places in the store's order have gaps.
    let mut cursor = stream(&many(), 20, 5, now);
    assert_eq!(cursor.step(&many(), &view(5, &[started(9)]), now, false), Step::Tell(0..1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_over_with_a_terminal_event_that_nothing_follows() {
    let (of, now) = (one(), Instant::now());
    let mut cursor = stream(&of, 0, 0, now);
    let again = view(0, &[canceled(1), started(2), canceled(3)]);
    cursor.told(&of, &Batch::of_view(&again, 0..1), 1, now);
    assert_eq!(cursor.step(&of, &again, now, false), Step::Tell(1..3));
    cursor.told(&of, &Batch::of_view(&again, 1..3), 2, now);
    assert_eq!(cursor.step(&of, &again, now, false), Step::End(End::Over));
    let mut cursor = stream(&many(), 0, 0, now);
    cursor.told(&many(), &Batch::of_view(&again, 0..3), 3, now);
    assert!(matches!(cursor.step(&many(), &again, now, false), Step::Wait(_)), "others go on");
}

#[tokio::test(start_paused = true)]
async fn an_erasure_ends_a_stream_of_its_task_and_is_told_on_others() {
    let now = Instant::now();
    let erased = view(0, &[canceled(1), Happening::Erased(TASK)]);
    let mut cursor = stream(&one(), 0, 0, now);
    assert_eq!(cursor.step(&one(), &erased, now, false), Step::Tell(0..1));
    cursor.told(&one(), &Batch::of_view(&erased, 0..1), 1, now);
    assert_eq!(cursor.step(&one(), &erased, now, false), Step::End(End::Gone));
    let mut cursor = stream(&many(), 0, 0, now);
    assert_eq!(cursor.step(&many(), &erased, now, false), Step::Tell(0..2));
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_and_life_ends_in_time() {
    let (of, now) = (one(), Instant::now());
    let nothing = view(0, &[]);
    let mut cursor = stream(&of, 0, 0, now);
    assert_eq!(cursor.step(&of, &nothing, now, false), Step::Wait(now + SILENCE_MAX));
    let later = now + SILENCE_MAX;
    assert_eq!(cursor.step(&of, &nothing, later, false), Step::Quiet);
    cursor.told_quiet(later);
    assert_eq!(cursor.step(&of, &nothing, later, false), Step::Wait(later + SILENCE_MAX));
    assert_eq!(cursor.step(&of, &nothing, later, true), Step::End(End::Stop));
    let end = now + limits::STREAM_LIFETIME_MAX;
    assert_eq!(cursor.step(&of, &nothing, end, false), Step::End(End::Late));
    // With the right to it, if that ends sooner; half as long at least otherwise.
    for (left, chance, lasts) in [
        (Some(Duration::from_secs(9)), 1.0, Duration::from_secs(9)),
        (Some(LONG), 0.0, limits::STREAM_LIFETIME_MAX / 2),
    ] {
        let mut cursor = Cursor::stream(0, now, left, life(chance));
        let before = now + lasts.checked_sub(Duration::from_millis(1)).expect("longer");
        assert_eq!(cursor.step(&of, &nothing, before, false), Step::Read);
        assert_eq!(cursor.step(&of, &nothing, now + lasts, false), Step::End(End::Late));
    }
    // Who only waits is told nothing meanwhile.
    let mut cursor = Cursor::new(0, now, now + LONG);
    assert_eq!(cursor.step(&of, &nothing, now, false), Step::Wait(now + LONG));
}

#[test]
fn a_cursor_is_small() {
    assert!(size_of::<Cursor>() <= 72, "{}", size_of::<Cursor>());
}
