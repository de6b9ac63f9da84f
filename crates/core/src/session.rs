//! The session of a browser: the tasks that it may follow by its cookie, without a ticket in any address.
//!
//! Not here: the cookie, and who may ask. A store applies [`change`] inside its own transaction, so
//! that two tabs, or two nodes, lose nothing of each other.

use minicbor::{Decode, Encode};

use crate::id::TaskId;
use crate::limits;
use crate::time::Timestamp;

/// What a ticket, or a session, lets its bearer do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Grants {
    /// See the task, its events and its result.
    #[n(0)]
    pub read: bool,
    /// Call it off.
    #[n(1)]
    pub cancel: bool,
    /// Run it again.
    #[n(2)]
    pub retry: bool,
}

impl Grants {
    /// Whether all that `others` allow is allowed.
    #[must_use]
    pub const fn include(self, others: Self) -> bool {
        (self.read || !others.read)
            && (self.cancel || !others.cancel)
            && (self.retry || !others.retry)
    }

    /// What both allow.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self {
            read: self.read && others.read,
            cancel: self.cancel && others.cancel,
            retry: self.retry && others.retry,
        }
    }
}

/// What a browser may follow.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Session {
    /// When its first task joined.
    #[n(0)]
    pub created_at: Timestamp,
    /// Its tasks in the order in which they joined: at least one, at most
    /// [`limits::SESSION_TASKS_MAX`].
    #[n(1)]
    pub tasks: Vec<Joined>,
    /// Whether its cookie ever came back: a browser keeps it.
    #[n(2)]
    pub is_seen: bool,
}

/// A task in a session, with the right that its ticket gave.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Joined {
    /// The task.
    #[n(0)]
    pub task: TaskId,
    /// What the browser may do with it.
    #[n(1)]
    pub grants: Grants,
    /// When the right ends.
    #[n(2)]
    pub expires_at: Timestamp,
    /// If the task came from a navigation that the page returns to: an HMAC of its method, its
    /// target and its caller.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub request: Option<[u8; 32]>,
    /// Whether the same navigation may be attached to the task.
    #[n(4)]
    #[cbor(default)]
    pub mark: Mark,
}

impl Joined {
    /// A task that no navigation can be attached to.
    #[must_use]
    pub const fn new(task: TaskId, grants: Grants, expires_at: Timestamp) -> Self {
        Self { task, grants, expires_at, request: None, mark: Mark::None }
    }
}

/// Lets a page that has shown the end of its task return to its own address, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(flat)]
pub enum Mark {
    /// The page has not shown the end yet.
    #[default]
    #[n(0)]
    None,
    /// The navigation is attached, if it comes before this moment.
    #[n(1)]
    Open {
        /// The moment.
        #[n(0)]
        until: Timestamp,
    },
    /// It was attached: the next is a request of its own.
    #[n(2)]
    Used,
}

/// What is done with a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOp {
    /// A task joins; the session comes into being if it is not there.
    Begin(Joined),
    /// A task joins a session that is there. What is gone is not brought back: whoever holds its
    /// cookie is given another.
    Join(Joined),
    /// Its cookie came back.
    See,
    /// The browser is no longer to follow a task.
    Forget(TaskId),
    /// The session ends.
    ForgetAll,
    /// The page of a task shows its end and goes on to its answer, unless one has before: of two that
    /// show it at once only one does.
    GoOn {
        /// The task.
        task: TaskId,
        /// What it has from then on: open where the page returns to its own address, else used.
        mark: Mark,
    },
    /// A navigation asks for the task that it may be attached to, and takes its mark.
    UseMark {
        /// The HMAC of its method, its target and its caller.
        request: [u8; 32],
    },
}

/// What became of a [`SessionOp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionReply {
    /// The task is in the session, which ends then.
    Joined {
        /// When its last right ends.
        ends_at: Timestamp,
    },
    /// It is done.
    Done,
    /// The navigation belongs to this task.
    Attached(TaskId),
    /// There is no such session, no such task in it, or no such mark: nothing was done.
    Nothing,
}

impl Session {
    /// The session as it is at `now`: without the rights that have ended, and gone with the last.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Option<Self> {
        self.tasks.retain(|joined| now < joined.expires_at);
        (now < self.ends_at()).then_some(self)
    }

    /// When it ends: with its last right, and early while nobody has come by it.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        let unseen = self.created_at.plus(limits::SESSION_UNSEEN_MAX);
        let rights = self.rights_end_at();
        if self.is_seen { rights } else { rights.min(unseen) }
    }

    /// When its last right ends.
    fn rights_end_at(&self) -> Timestamp {
        self.tasks.iter().map(|joined| joined.expires_at).max().unwrap_or(Timestamp::MIN)
    }

    /// Its right to a task.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Joined> {
        self.tasks.iter().find(|joined| joined.task == id)
    }

    /// The tasks that some navigation may be attached to at `now`.
    pub fn open(&self, now: Timestamp) -> impl DoubleEndedIterator<Item = &Joined> {
        self.tasks.iter().filter(move |joined| joined.is_open(now))
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut Joined> {
        self.tasks.iter_mut().find(|joined| joined.task == id)
    }

    /// Takes a task in. Where there is no room, the oldest task that `is_over` goes, else the oldest.
    fn take<E>(
        &mut self,
        joined: &Joined,
        mut is_over: impl FnMut(TaskId) -> Result<bool, E>,
    ) -> Result<(), E> {
        if let Some(before) = self.task_mut(joined.task) {
            before.join_again(joined);
            return Ok(());
        }
        if self.tasks.len() >= limits::SESSION_TASKS_MAX {
            let mut leaves = 0;
            for (at, joined) in self.tasks.iter().enumerate() {
                if is_over(joined.task)? {
                    leaves = at;
                    break;
                }
            }
            self.tasks.remove(leaves);
        }
        self.tasks.push(joined.clone());
        Ok(())
    }
}

impl Joined {
    fn takes(&self, request: [u8; 32], now: Timestamp) -> bool {
        self.request == Some(request) && self.is_open(now)
    }

    fn is_open(&self, now: Timestamp) -> bool {
        matches!(self.mark, Mark::Open { until } if now < until)
    }

    /// Whether the page may go on now, or may once more: its return never came.
    fn may_go_on(&self, now: Timestamp) -> bool {
        self.mark != Mark::Used && !self.is_open(now)
    }

    /// The same task joins again. The later right counts, unless it adds nothing to the one before;
    /// two are never made into one that neither ticket gave. A mark that was used stays so.
    fn join_again(&mut self, again: &Self) {
        let adds_nothing = self.grants.include(again.grants) && again.expires_at <= self.expires_at;
        if !adds_nothing {
            (self.grants, self.expires_at) = (again.grants, again.expires_at);
        }
        self.request = again.request.or(self.request);
    }
}

/// Does `op` to a session at `now`: the session afterwards, if there is one, and the answer.
///
/// `is_over` says whether a task is terminal, or gone; it is asked only where one must leave.
///
/// # Errors
/// Those of `is_over`.
pub fn change<E>(
    session: Option<Session>,
    op: &SessionOp,
    now: Timestamp,
    is_over: impl FnMut(TaskId) -> Result<bool, E>,
) -> Result<(Option<Session>, SessionReply), E> {
    let before = session.and_then(|session| session.at(now));
    // Whatever is done with one that is there is done by its cookie.
    let seen = before.map(|session| Session { is_seen: true, ..session });
    let begun = matches!(op, SessionOp::Begin(_)).then(|| Session {
        created_at: now,
        tasks: Vec::new(),
        is_seen: false,
    });
    let Some(mut session) = seen.or(begun) else { return Ok((None, SessionReply::Nothing)) };
    let reply = match op {
        SessionOp::Begin(joined) | SessionOp::Join(joined) => {
            session.take(joined, is_over)?;
            SessionReply::Joined { ends_at: session.rights_end_at() }
        }
        SessionOp::See => SessionReply::Done,
        SessionOp::Forget(task) => {
            let count = session.tasks.len();
            session.tasks.retain(|joined| joined.task != *task);
            done_if(session.tasks.len() < count)
        }
        SessionOp::ForgetAll => {
            session.tasks.clear();
            SessionReply::Done
        }
        SessionOp::GoOn { task, mark } => match session.task_mut(*task) {
            Some(joined) if joined.request.is_some() && joined.may_go_on(now) => {
                joined.mark = *mark;
                SessionReply::Done
            }
            _ => SessionReply::Nothing,
        },
        SessionOp::UseMark { request } => {
            match session.tasks.iter_mut().rev().find(|joined| joined.takes(*request, now)) {
                Some(joined) => {
                    joined.mark = Mark::Used;
                    SessionReply::Attached(joined.task)
                }
                None => SessionReply::Nothing,
            }
        }
    };
    Ok((session.at(now), reply))
}

const fn done_if(is_done: bool) -> SessionReply {
    if is_done { SessionReply::Done } else { SessionReply::Nothing }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const READ: Grants = Grants { read: true, cancel: false, retry: false };
    const ALL: Grants = Grants { read: true, cancel: true, retry: true };

    fn id(n: u128) -> TaskId {
        TaskId::from_u128(n)
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn joined(n: u128, until: i64) -> Joined {
        Joined::new(id(n), READ, at(until))
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

    #[test]
    fn a_mark_is_used_once_and_in_time_by_the_navigation_that_made_the_task() {
        let request = [7; 32];
        let session = with([Joined { request: Some(request), ..joined(1, 99) }, joined(2, 99)]);
        let try_it = |session: &Option<Session>, request, now| {
            does(session.clone(), &SessionOp::UseMark { request }, now)
        };
        assert_eq!(try_it(&session, request, 1).1, SessionReply::Nothing, "not open yet");
        let open = |task, until| {
            let mark = Mark::Open { until: at(until) };
            SessionOp::GoOn { task: id(task), mark }
        };
        assert_eq!(
            does(session.clone(), &open(2, 60), 1).1,
            SessionReply::Nothing,
            "no navigation"
        );
        assert_eq!(does(session.clone(), &open(3, 60), 1).1, SessionReply::Nothing, "no task");
        let (session, reply) = does(session, &open(1, 60), 1);
        assert_eq!(reply, SessionReply::Done);
        assert_eq!(
            does(session.clone(), &open(1, 99), 59).1,
            SessionReply::Nothing,
            "another page"
        );
        assert_eq!(does(session.clone(), &open(1, 99), 60).1, SessionReply::Done, "it never came");
        let session_at = session.as_ref().unwrap();
        let tasks = |now| session_at.open(at(now)).map(|joined| joined.task).collect::<Vec<_>>();
        assert_eq!((tasks(59), tasks(60)), (vec![id(1)], vec![]));
        assert_eq!(try_it(&session, [8; 32], 2).1, SessionReply::Nothing, "another request");
        assert_eq!(try_it(&session, request, 60).1, SessionReply::Nothing, "too late");
        let (session, reply) = try_it(&session, request, 59);
        assert_eq!(reply, SessionReply::Attached(id(1)));
        assert_eq!(try_it(&session, request, 59).1, SessionReply::Nothing, "once");
        // A page that goes on to another address than its own is awaited nowhere.
        let used = SessionOp::GoOn { task: id(1), mark: Mark::Used };
        let other = with([Joined { request: Some([6; 32]), ..joined(1, 99) }]);
        let (other, reply) = does(other, &used, 1);
        assert_eq!(
            (reply, try_it(&other, [6; 32], 1).1),
            (SessionReply::Done, SessionReply::Nothing)
        );
        assert_eq!(does(other, &used, 1).1, SessionReply::Nothing, "once");
        // Nor does anything open it again.
        let again = Joined { request: Some(request), ..joined(1, 99) };
        let (session, _) = does(session, &SessionOp::Join(again), 59);
        assert_eq!(does(session, &open(1, 90), 59).1, SessionReply::Nothing);
    }

    #[test]
    fn of_two_tasks_of_one_request_the_latest_is_meant() {
        let request = Some([7; 32]);
        let open = Mark::Open { until: at(60) };
        let task = |n| Joined { request, mark: open, ..joined(n, 99) };
        let session = with([task(1), task(2)]);
        let (session, reply) = does(session, &SessionOp::UseMark { request: [7; 32] }, 1);
        assert_eq!(reply, SessionReply::Attached(id(2)));
        let (_, reply) = does(session, &SessionOp::UseMark { request: [7; 32] }, 1);
        assert_eq!(reply, SessionReply::Attached(id(1)));
    }
}
