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
    /// The navigation that the task came from, if it came from one.
    #[n(3)]
    pub navigation: Option<Navigation>,
    /// Whether the same navigation may be attached to the task.
    #[n(4)]
    #[cbor(default)]
    pub mark: Mark,
}

impl Joined {
    /// A task that no navigation can be attached to.
    #[must_use]
    pub const fn new(task: TaskId, grants: Grants, expires_at: Timestamp) -> Self {
        Self { task, grants, expires_at, navigation: None, mark: Mark::None }
    }
}

/// What a navigation is known by when the page of its task comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Navigation {
    /// Where it goes: an HMAC of tenant, method and target.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub address: [u8; 32],
    /// Who sends it: an HMAC of the credentials; absent where there were none.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub caller: Option<[u8; 32]>,
}

/// Lets a page that has shown the end of its task go on to its answer, once.
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
    /// The page has gone on to the result instead: whoever opens that first, and before this moment, is
    /// told all of the answer.
    #[n(3)]
    Leads {
        /// The moment.
        #[n(0)]
        until: Timestamp,
    },
}

/// Where the page of a task goes on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Back to the address of its navigation, which is attached to the task when it comes.
    OwnAddress,
    /// To the result.
    Result,
}

impl Destination {
    /// What a task has whose page goes there now.
    fn mark(self, now: Timestamp) -> Mark {
        let until = now.plus(limits::RETURN_WITHIN);
        match self {
            Self::OwnAddress => Mark::Open { until },
            Self::Result => Mark::Leads { until },
        }
    }
}

/// What is done with a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOp {
    /// A task joins; the session comes into being if it is not there.
    Begin(Joined),
    /// A task joins a session that is there. What is gone is not brought back: whoever holds its
    /// cookie is given another.
    Join(Joined),
    /// The same, unless a task had to leave that is not over: who leads a browser there from
    /// elsewhere does not take what it follows.
    JoinBeside(Joined),
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
        /// Where the answer is.
        to: Destination,
    },
    /// A navigation asks for the task whose page is awaited at its address, and takes its mark.
    UseMark(Navigation),
    /// The result of this task is opened, perhaps by the page that leads there, and takes its mark.
    OpenResult(TaskId),
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
    /// It comes back to the address of this task as another caller: the browser's credentials have
    /// changed meanwhile.
    OtherCaller(TaskId),
    /// All its tasks are under way, and one would have had to leave.
    Full,
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

    /// What [`SessionOp::UseMark`] would answer at `now`: the latest task of this very navigation, else
    /// the latest that another caller went to the same address for.
    #[must_use]
    pub fn awaits(&self, navigation: Navigation, now: Timestamp) -> SessionReply {
        let comes_back = |joined: &&Joined| joined.is_open(now) && joined.went_to(navigation);
        let awaited = || self.tasks.iter().rev().filter(comes_back);
        if let Some(own) = awaited().find(|joined| joined.navigation == Some(navigation)) {
            return SessionReply::Attached(own.task);
        }
        awaited()
            .next()
            .map_or(SessionReply::Nothing, |other| SessionReply::OtherCaller(other.task))
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut Joined> {
        self.tasks.iter_mut().find(|joined| joined.task == id)
    }

    /// Takes a task in, if there is room. Where there is none, the oldest task that `is_over` goes, else
    /// the oldest, if it may be `pushed` out.
    fn take<E>(
        &mut self,
        joined: &Joined,
        pushed: bool,
        mut is_over: impl FnMut(TaskId) -> Result<bool, E>,
    ) -> Result<bool, E> {
        if let Some(before) = self.task_mut(joined.task) {
            before.join_again(joined);
            return Ok(true);
        }
        if self.tasks.len() >= limits::SESSION_TASKS_MAX {
            let mut leaves = pushed.then_some(0);
            for (at, joined) in self.tasks.iter().enumerate() {
                if is_over(joined.task)? {
                    leaves = Some(at);
                    break;
                }
            }
            let Some(leaves) = leaves else { return Ok(false) };
            self.tasks.remove(leaves);
        }
        self.tasks.push(joined.clone());
        Ok(true)
    }

    /// Takes the mark of the task whose page a navigation brings back.
    fn use_mark(&mut self, navigation: Navigation, now: Timestamp) -> SessionReply {
        let reply = self.awaits(navigation, now);
        if let SessionReply::Attached(task) | SessionReply::OtherCaller(task) = reply
            && let Some(joined) = self.task_mut(task)
        {
            joined.mark = Mark::Used;
        }
        reply
    }
}

impl Joined {
    fn went_to(&self, there: Navigation) -> bool {
        self.navigation.is_some_and(|navigation| navigation.address == there.address)
    }

    fn is_open(&self, now: Timestamp) -> bool {
        matches!(self.mark, Mark::Open { until } if now < until)
    }

    /// Whether its page goes on to the answer by itself, unless it went and has arrived.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.navigation.is_some() && self.mark != Mark::Used
    }

    /// Whether the page may go on now, or may once more: it never arrived.
    fn may_go_on(&self, now: Timestamp) -> bool {
        let is_on_its_way = match self.mark {
            Mark::Open { until } | Mark::Leads { until } => now < until,
            Mark::None | Mark::Used => false,
        };
        self.goes_on() && !is_on_its_way
    }

    /// Whether the page has gone on to the result, and did not arrive yet.
    #[must_use]
    pub fn leads(&self, now: Timestamp) -> bool {
        matches!(self.mark, Mark::Leads { until } if now < until)
    }

    /// The same task joins again. The later right counts, unless it adds nothing to the one before;
    /// two are never made into one that neither ticket gave. A mark that was used stays so.
    fn join_again(&mut self, again: &Self) {
        let adds_nothing = self.grants.include(again.grants) && again.expires_at <= self.expires_at;
        if !adds_nothing {
            (self.grants, self.expires_at) = (again.grants, again.expires_at);
        }
        self.navigation = again.navigation.or(self.navigation);
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
        SessionOp::Begin(joined) | SessionOp::Join(joined) | SessionOp::JoinBeside(joined) => {
            let pushed = !matches!(op, SessionOp::JoinBeside(_));
            if session.take(joined, pushed, is_over)? {
                SessionReply::Joined { ends_at: session.rights_end_at() }
            } else {
                SessionReply::Full
            }
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
        SessionOp::GoOn { task, to } => match session.task_mut(*task) {
            Some(joined) if joined.may_go_on(now) => {
                joined.mark = to.mark(now);
                SessionReply::Done
            }
            _ => SessionReply::Nothing,
        },
        SessionOp::UseMark(navigation) => session.use_mark(*navigation, now),
        SessionOp::OpenResult(task) => match session.task_mut(*task) {
            Some(joined) if joined.leads(now) => {
                joined.mark = Mark::Used;
                SessionReply::Done
            }
            _ => SessionReply::Nothing,
        },
    };
    Ok((session.at(now), reply))
}

const fn done_if(is_done: bool) -> SessionReply {
    if is_done { SessionReply::Done } else { SessionReply::Nothing }
}
