//! The session of a browser: who joins, who leaves, and which navigation is attached.

use std::convert::Infallible;

use relais_core::session::change;
use relais_core::{
    Destination, Grants, Joined, Mark, Navigation, Session, SessionOp, SessionReply, TaskId,
    Timestamp, limits,
};

const READ: Grants = Grants { read: true, cancel: false, retry: false };
const ALL: Grants = Grants { read: true, cancel: true, retry: true };
const THERE: Navigation = Navigation { address: [7; 32], caller: Some([1; 32]) };
const ELSEWHERE: Navigation = Navigation { address: [8; 32], ..THERE };
const BY_ANOTHER: Navigation = Navigation { caller: Some([2; 32]), ..THERE };
const BY_NOBODY: Navigation = Navigation { caller: None, ..THERE };

fn id(n: u128) -> TaskId {
    TaskId::from_u128(n)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn joined(n: u128, until: i64) -> Joined {
    Joined::new(id(n), READ, at(until))
}

/// The same, of a navigation.
fn went(navigation: Navigation, n: u128, until: i64) -> Joined {
    Joined { navigation: Some(navigation), ..joined(n, until) }
}

/// Does it where the tasks with these numbers are over.
fn do_among(
    over: &[u128],
    session: Option<Session>,
    op: &SessionOp,
    now: i64,
) -> (Option<Session>, SessionReply) {
    let is_over = |task: TaskId| Ok::<_, Infallible>(over.contains(&task.as_u128()));
    change(session, op, at(now), is_over).unwrap()
}

fn does(session: Option<Session>, op: &SessionOp, now: i64) -> (Option<Session>, SessionReply) {
    do_among(&[], session, op, now)
}

fn with(tasks: impl IntoIterator<Item = Joined>) -> Option<Session> {
    tasks.into_iter().fold(None, |session, task| does(session, &SessionOp::Begin(task), 0).0)
}

fn numbers(session: Option<&Session>) -> Vec<u128> {
    session.into_iter().flat_map(|session| &session.tasks).map(|t| t.task.as_u128()).collect()
}

#[test]
fn a_session_begins_with_a_task_and_ends_with_its_last_right() {
    let (one, reply) = does(None, &SessionOp::Begin(joined(1, 50)), 3);
    assert_eq!(reply, SessionReply::Joined { ends_at: at(50) });
    assert_eq!(one.as_ref().unwrap().created_at, at(3));
    let (both, reply) = does(one, &SessionOp::Join(joined(2, 20)), 4);
    assert_eq!(reply, SessionReply::Joined { ends_at: at(50) });
    assert_eq!(numbers(both.clone().unwrap().at(at(19)).as_ref()), [1, 2]);
    assert_eq!(numbers(both.clone().unwrap().at(at(20)).as_ref()), [1]);
    assert_eq!(both.unwrap().at(at(50)), None);
}

#[test]
fn a_session_ends_early_unless_its_cookie_comes_back_and_the_cookie_lasts_in_any_case() {
    let hour = i64::try_from(limits::SESSION_UNSEEN_MAX.as_millis()).unwrap();
    let (begun, reply) = does(None, &SessionOp::Begin(joined(1, 9 * hour)), 5);
    assert_eq!(reply, SessionReply::Joined { ends_at: at(9 * hour) });
    let begun = begun.unwrap();
    assert_eq!(begun.ends_at(), at(hour + 5));
    assert!(begun.clone().at(at(hour + 4)).is_some());
    assert_eq!(begun.clone().at(at(hour + 5)), None);
    for op in [SessionOp::See, SessionOp::Forget(id(2)), SessionOp::Join(joined(3, 9))] {
        let seen = does(Some(begun.clone()), &op, 6).0.unwrap();
        assert_eq!((seen.is_seen, seen.ends_at()), (true, at(9 * hour)), "{op:?}");
    }
}

#[test]
fn a_session_that_is_gone_is_not_joined() {
    let ended = with([joined(1, 10)]);
    for gone in [None, ended] {
        let (after, reply) = does(gone, &SessionOp::Join(joined(2, 99)), 10);
        assert_eq!((after, reply), (None, SessionReply::Nothing));
    }
}

#[test]
fn a_right_that_has_ended_begins_nothing() {
    assert_eq!(does(None, &SessionOp::Begin(joined(1, 10)), 10).0, None);
}

#[test]
fn the_last_task_that_is_forgotten_takes_the_session_with_it() {
    let session = with([joined(1, 50), joined(2, 50)]);
    let (session, reply) = does(session, &SessionOp::Forget(id(1)), 1);
    assert_eq!((numbers(session.as_ref()), reply), (vec![2], SessionReply::Done));
    let (session, reply) = does(session, &SessionOp::Forget(id(1)), 1);
    assert_eq!((numbers(session.as_ref()), reply), (vec![2], SessionReply::Nothing));
    assert_eq!(does(session, &SessionOp::Forget(id(2)), 1), (None, SessionReply::Done));
    let session = with([joined(1, 50), joined(2, 50)]);
    assert_eq!(does(session, &SessionOp::ForgetAll, 1), (None, SessionReply::Done));
}

#[test]
fn the_51st_task_takes_the_place_of_the_oldest_that_is_over_else_of_the_oldest() {
    let full = with((1..=50).map(|n| joined(n, 99)));
    let op = || SessionOp::Join(joined(51, 99));
    let (after, _) = do_among(&[7, 9], full.clone(), &op(), 1);
    let expected: Vec<u128> = (1..=51).filter(|n| *n != 7).collect();
    assert_eq!(numbers(after.as_ref()), expected);
    let (after, _) = does(full.clone(), &op(), 1);
    assert_eq!(numbers(after.as_ref()), (2..=51).collect::<Vec<_>>());
    // Nor does what comes uncalled push out a task that is under way.
    let beside = SessionOp::JoinBeside(joined(51, 99));
    let (after, reply) = does(full.clone(), &beside, 1);
    assert_eq!(reply, SessionReply::Full);
    assert_eq!(numbers(after.as_ref()), (1..=50).collect::<Vec<_>>());
    let (after, reply) = do_among(&[7], full.clone(), &beside, 1);
    assert_eq!(
        (numbers(after.as_ref()), reply),
        (expected, SessionReply::Joined { ends_at: at(99) })
    );
    let again = does(full.clone(), &SessionOp::JoinBeside(joined(3, 99)), 1).1;
    assert_eq!(again, SessionReply::Joined { ends_at: at(99) });
    assert_eq!(does(None, &beside, 1), (None, SessionReply::Nothing));
    // Nobody is asked, and nobody leaves, where a task joins again or a right has ended.
    let (after, _) = do_among(&[7], full.clone(), &SessionOp::Join(joined(3, 999)), 1);
    assert_eq!(numbers(after.as_ref()), (1..=50).collect::<Vec<_>>());
    let mut one_short = full.unwrap();
    one_short.tasks[20].expires_at = at(1);
    let (after, _) = do_among(&[7], Some(one_short), &op(), 1);
    assert_eq!(numbers(after.as_ref()), (1..=51).filter(|n| *n != 21).collect::<Vec<_>>());
}

#[test]
fn a_task_that_joins_again_has_the_rights_of_one_of_its_tickets() {
    let grants = |session: Option<Session>| {
        let joined = session.unwrap().tasks.remove(0);
        (joined.grants, joined.expires_at)
    };
    let all = Joined::new(id(1), ALL, at(50));
    let join = |session: &Option<Session>, joined| {
        grants(does(session.clone(), &SessionOp::Join(joined), 1).0)
    };
    let session = with([all.clone()]);
    assert_eq!(join(&session, joined(1, 50)), (ALL, at(50)), "it adds nothing");
    assert_eq!(join(&session, joined(1, 60)), (READ, at(60)), "never all of both");
    assert_eq!(join(&with([joined(1, 60)]), all), (ALL, at(50)));
}

/// How long a page may take that goes on, in milliseconds.
fn in_time() -> i64 {
    i64::try_from(limits::RETURN_WITHIN.as_millis()).expect("a minute of milliseconds")
}

#[test]
fn a_mark_is_used_once_and_in_time_by_the_navigation_that_made_the_task() {
    let (long, late) = (9 * in_time(), 1 + in_time());
    let session = with([went(THERE, 1, long), joined(2, long)]);
    let try_it = |session: &Option<Session>, navigation, now| {
        let expected = session.as_ref().unwrap().awaits(navigation, at(now));
        let (session, reply) = does(session.clone(), &SessionOp::UseMark(navigation), now);
        assert_eq!(reply, expected, "who reads first is told the same");
        (session, reply)
    };
    assert_eq!(try_it(&session, THERE, 1).1, SessionReply::Nothing, "not open yet");
    let open = |task| SessionOp::GoOn { task: id(task), to: Destination::OwnAddress };
    assert_eq!(does(session.clone(), &open(2), 1).1, SessionReply::Nothing, "no navigation");
    assert_eq!(does(session.clone(), &open(3), 1).1, SessionReply::Nothing, "no task");
    let (session, reply) = does(session, &open(1), 1);
    assert_eq!(reply, SessionReply::Done);
    assert_eq!(does(session.clone(), &open(1), late - 1).1, SessionReply::Nothing, "another page");
    assert_eq!(does(session.clone(), &open(1), late).1, SessionReply::Done, "it never came");
    assert_eq!(try_it(&session, ELSEWHERE, 2).1, SessionReply::Nothing, "another request");
    assert_eq!(try_it(&session, THERE, late).1, SessionReply::Nothing, "too late");
    let (session, reply) = try_it(&session, THERE, late - 1);
    assert_eq!(reply, SessionReply::Attached(id(1)));
    assert_eq!(try_it(&session, THERE, late - 1).1, SessionReply::Nothing, "once");
    assert!(!session.as_ref().unwrap().task(id(1)).unwrap().goes_on(), "its page stays");
    // Nor does anything open it again.
    let (session, _) = does(session, &SessionOp::Join(went(THERE, 1, long)), late - 1);
    assert_eq!(does(session, &open(1), late).1, SessionReply::Nothing);
}

/// The tasks that a navigation brings back one after another, each with its mark open at first.
fn brought_back(tasks: &[(u128, Navigation)], by: Navigation) -> Vec<SessionReply> {
    let open =
        |(n, navigation)| Joined { mark: Mark::Open { until: at(60) }, ..went(navigation, n, 99) };
    let mut session = with(tasks.iter().copied().map(open));
    let mut come = || {
        let (after, reply) = does(session.clone(), &SessionOp::UseMark(by), 1);
        session = after;
        (reply != SessionReply::Nothing).then_some(reply)
    };
    std::iter::from_fn(&mut come).collect()
}

#[test]
fn of_two_tasks_of_one_navigation_the_latest_is_meant() {
    let back = brought_back(&[(1, THERE), (2, THERE)], THERE);
    assert_eq!(back, [SessionReply::Attached(id(2)), SessionReply::Attached(id(1))]);
}

#[test]
fn who_comes_back_as_another_caller_takes_the_mark_and_is_told_so_unless_one_of_its_own_is_open() {
    let tasks = [(1, THERE), (2, ELSEWHERE), (3, BY_ANOTHER), (4, THERE)];
    let (own, other) = (SessionReply::Attached, SessionReply::OtherCaller);
    assert_eq!(brought_back(&tasks, THERE), [own(id(4)), own(id(1)), other(id(3))]);
    assert_eq!(brought_back(&tasks, BY_ANOTHER), [own(id(3)), other(id(4)), other(id(1))]);
    assert_eq!(brought_back(&tasks, BY_NOBODY), [other(id(4)), other(id(3)), other(id(1))]);
    assert_eq!(brought_back(&[(1, BY_NOBODY)], BY_NOBODY), [own(id(1))]);
}

#[test]
fn a_page_that_leads_to_the_result_is_told_its_cookies_once_and_in_time() {
    let (long, late) = (9 * in_time(), 1 + in_time());
    let leads = SessionOp::GoOn { task: id(1), to: Destination::Result };
    let open = SessionOp::OpenResult(id(1));
    let session = with([went(THERE, 1, long)]);
    assert_eq!(does(session.clone(), &open, 1).1, SessionReply::Nothing, "it has not gone on");
    let (session, reply) = does(session, &leads, 1);
    assert_eq!(reply, SessionReply::Done);
    let awaited = session.as_ref().unwrap().awaits(THERE, at(2));
    assert_eq!(awaited, SessionReply::Nothing, "awaited at no address of its own");
    assert_eq!(does(session.clone(), &leads, late - 1).1, SessionReply::Nothing, "another page");
    assert_eq!(does(session.clone(), &leads, late).1, SessionReply::Done, "it never came");
    assert_eq!(does(session.clone(), &open, late).1, SessionReply::Nothing, "too late");
    let (session, reply) = does(session, &open, late - 1);
    assert_eq!(reply, SessionReply::Done);
    assert_eq!(does(session.clone(), &open, late - 1).1, SessionReply::Nothing, "once");
    assert_eq!(does(session, &leads, late).1, SessionReply::Nothing);
}
