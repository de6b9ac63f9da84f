//! Who waits for tasks at this node. Connections are counted here, which only this process can know; what
//! is stored of a task is whether the node has any, when the first comes and when the last goes; and how
//! the last went that held it, where others are left that only ask.
//!
//! Those of one task are counted in `seat.rs`; all of them, and what the store is to be told, are in
//! `seats.rs`. It is told in few writes, in the background (`tell.rs`): ten thousand connections that break
//! at once are no ten thousand writes. A process that dies tells nothing: its rows are struck by another,
//! or at the next start (`node.rs`).

mod seat;
mod seats;
mod tell;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard};

use relais_core::{Command, Task, TaskId};
use tokio::sync::{Notify, watch};

use self::seat::{Kind, Parting, Seat};
use self::seats::Seats;
use crate::engine::{Engine, EngineError};
use crate::log::trouble::Trouble;

/// A connection that attends tasks: it waits for them, streams their answer, follows them, or asks how
/// they stand. Dropped, it broke off, and for a task that nobody else attends the countdown begins.
#[must_use = "dropped, it has left"]
#[derive(Default)]
pub struct Attending(Option<Box<Attended>>);

struct Attended {
    engine: Engine,
    tasks: Vec<TaskId>,
    kind: Kind,
}

impl Attending {
    /// It got what it came for, was sent away and knows where to come back, or was told how they stand:
    /// that begins no countdown. Where it only asked, and the last of the others had broken off, theirs
    /// begins.
    pub fn let_go(&mut self) {
        self.end(Parting::LetGo);
    }

    /// It asked, and holds the tasks from now on.
    pub fn hold(&mut self) {
        if let Some(attended) = &mut self.0
            && std::mem::replace(&mut attended.kind, Kind::Holds) == Kind::Asks
        {
            attended.engine.inner().attendances.hold(&attended.tasks);
        }
    }

    fn end(&mut self, parting: Parting) {
        if let Some(Attended { engine, tasks, kind }) = self.0.take().map(|attended| *attended) {
            engine.inner().attendances.part(&tasks, kind, parting);
        }
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        self.end(Parting::Broke);
    }
}

impl std::fmt::Debug for Attending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.0.iter().flat_map(|attended| &attended.tasks)).finish()
    }
}

/// All tasks that are attended here.
pub(crate) struct Attendances {
    seats: Mutex<Seats>,
    queued: Notify,
    /// Up to which [count](Seats::count) the store was told.
    told: watch::Sender<u64>,
    trouble: Trouble<()>,
}

impl Default for Attendances {
    fn default() -> Self {
        Self {
            seats: Mutex::default(),
            queued: Notify::new(),
            told: watch::Sender::new(0),
            trouble: Trouble::default(),
        }
    }
}

impl Attendances {
    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().expect("nothing panics while it is held")
    }

    /// Changes who is there; the store is told of it soon.
    fn change(&self, change: impl FnOnce(&mut Seats)) {
        let mut seats = self.lock();
        change(&mut seats);
        if seats.is_any_queued() {
            self.queued.notify_one();
        }
    }

    /// The engine ends all connections: none of their clients has left, however they are cut off from now
    /// on.
    pub(crate) fn close(&self) {
        self.change(Seats::close);
    }

    /// Whoever asked for these holds them.
    fn hold(&self, tasks: &[TaskId]) {
        self.change(|seats| tasks.iter().for_each(|id| seats.hold(*id)));
    }

    fn part(&self, tasks: &[TaskId], kind: Kind, parting: Parting) {
        self.change(|seats| tasks.iter().for_each(|id| seats.part(*id, kind, parting)));
    }
}

impl Engine {
    /// A connection comes that attends these tasks, as they were read just now, for as long as what is
    /// answered lives. Costs nothing where none of them is canceled when all have left.
    pub fn attend<'a>(&self, tasks: impl IntoIterator<Item = &'a Task>) -> Attending {
        self.sit_down(tasks, Kind::Holds, note_read)
    }

    /// The same for one that only asks how a task stands. A countdown that runs stops until it is told.
    pub fn attend_asking(&self, task: &Task) -> Attending {
        self.sit_down([task], Kind::Asks, note_read)
    }

    /// The same for the connection that brought the task, and of which the store knows by its accept.
    pub fn attend_accepted(&self, task: &Task) -> Attending {
        self.sit_down([task], Kind::Holds, |seat, is_known| seat.is_stored = is_known)
    }

    /// `note` is told whether a task says that the store knows of this node.
    fn sit_down<'a>(
        &self,
        tasks: impl IntoIterator<Item = &'a Task>,
        kind: Kind,
        note: impl Fn(&mut Seat, bool),
    ) -> Attending {
        let tasks: Vec<_> = tasks.into_iter().filter(|task| task.grace().is_some()).collect();
        if tasks.is_empty() {
            return Attending::default();
        }
        let node = self.inner().node;
        self.inner().attendances.change(|seats| {
            for task in &tasks {
                let is_known = task.life.attended_by().contains(&node);
                seats.sit_down(task.spec.id, kind, |seat| note(seat, is_known));
            }
        });
        let tasks = tasks.iter().map(|task| task.spec.id).collect();
        Attending(Some(Box::new(Attended { engine: self.clone(), tasks, kind })))
    }

    /// A task changed, by whomever. If it has connections here and the store has it otherwise (another
    /// node took this one for dead, or the task runs again by hand), the store is told once more.
    pub(crate) fn go_on_attending(&self, task: &Task) {
        if task.grace().is_some() && !task.life.attended_by().contains(&self.inner().node) {
            self.inner().attendances.change(|seats| seats.tell_again(task.spec.id));
        }
    }

    /// Whatever others took away meanwhile, because this node was silent for too long: the store is told
    /// of all that is attended here.
    pub(crate) fn attend_anew(&self) {
        self.inner().attendances.change(Seats::tell_all_again);
    }

    /// Somebody asked how a task stands: a countdown that runs begins anew. Answers the task as it is
    /// then.
    ///
    /// # Errors
    /// When the store cannot be read or written, or the task is gone.
    pub async fn ask(&self, task: Task) -> Result<Task, EngineError> {
        if !task.life.is_left() {
            return Ok(task);
        }
        let step = self.step_of(&task, None, Command::Ask);
        let asked = self.take(vec![step]).await?.pop().expect("one answer per step");
        Ok(asked?.changed.task)
    }
}

/// The store may know less of this node than was remembered: another took it for dead, or the task runs
/// again by hand. It may not know more: the task may have been read before this node was struck off.
fn note_read(seat: &mut Seat, is_known: bool) {
    seat.is_stored &= is_known;
}
