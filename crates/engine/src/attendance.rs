//! Who waits for tasks at this node. Connections are counted here, which only this process can know; what
//! is stored of a task is whether the node has any, when the first comes and when the last goes; and how
//! the last went that held it, where others are left that only ask.
//!
//! What the store is to be told is gathered and told in few writes, in the background: ten thousand
//! connections that break at once are no ten thousand writes. A process that dies tells nothing:
//! its rows are struck by another, or at the next start (`node.rs`).

mod seat;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use relais_core::{Command, Policy, Reply, Task, TaskId};
use relais_store::StepOf;
use tokio::sync::{Notify, watch};

use self::seat::{Kind, Parting, Seat};
use crate::engine::{Engine, EngineError};
use crate::log::trouble::Trouble;

/// Tasks told of in one write.
const TOLD_AT_ONCE: usize = 1_024;
/// How long to wait after a store that could not be written.
const AGAIN: Duration = Duration::from_secs(1);
/// How long anybody waits for the store to be told: whoever asked has waited already.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

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
    /// it begins no countdown. One that only asked leaves one owed that the others do who broke off.
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
    /// Of how many of the times that something was queued the store was told.
    told: watch::Sender<u64>,
    /// When this node gave a sign of life last, of the time that is counted, milliseconds.
    beaten_ms: AtomicU64,
    trouble: Trouble<()>,
}

#[derive(Default)]
struct Seats {
    tasks: HashMap<TaskId, Seat>,
    queue: VecDeque<TaskId>,
    /// How many times something was queued.
    count: u64,
    /// Whether nobody is counted any more.
    are_closed: bool,
}

impl Default for Attendances {
    fn default() -> Self {
        Self {
            seats: Mutex::default(),
            queued: Notify::new(),
            told: watch::Sender::new(0),
            beaten_ms: AtomicU64::new(0),
            trouble: Trouble::default(),
        }
    }
}

impl Seats {
    /// The store is to be told of a task.
    fn queue(&mut self, id: TaskId) {
        let Some(seat) = self.tasks.get_mut(&id) else { return };
        self.count += 1;
        if seat.queued.is_none() {
            seat.queued = Some(self.count);
            self.queue.push_back(id);
        }
    }

    /// A connection comes; `note` says what its task tells of the store.
    fn sit_down(&mut self, id: TaskId, kind: Kind, note: impl FnOnce(&mut Seat)) {
        let seat = self.tasks.entry(id).or_default();
        seat.come(kind);
        note(seat);
        if !seat.is_stored || seat.parted.is_some() || seat.queued.is_some() {
            self.queue(id);
        }
    }

    /// The times of which nothing is queued any more: what came since the oldest that waits may have been
    /// said of that one.
    fn unqueued(&self) -> u64 {
        let oldest = self.queue.front().and_then(|id| self.tasks.get(id)?.queued);
        oldest.map_or(self.count, |oldest| oldest - 1)
    }

    /// What the store is to be told next, of a bounded number of tasks.
    fn owed(&mut self, node: u64) -> Vec<(TaskId, Vec<Command>)> {
        let mut owed = Vec::new();
        while owed.len() < TOLD_AT_ONCE
            && let Some(id) = self.queue.pop_front()
        {
            let Some(seat) = self.tasks.get_mut(&id) else { continue };
            seat.queued = None;
            let commands = seat.owed(node);
            if !commands.is_empty() {
                owed.push((id, commands));
            } else if seat.is_empty() {
                self.tasks.remove(&id);
            }
        }
        owed
    }

    /// The store was told.
    fn stored(&mut self, id: TaskId, last: &Command) {
        let Some(seat) = self.tasks.get_mut(&id) else { return };
        seat.is_stored = matches!(last, Command::Attend { .. });
        if seat.is_stored {
            return;
        }
        if !seat.is_empty() {
            // It came meanwhile, and may have read the task before: nobody else says so.
            self.queue(id);
        } else if seat.parted.is_none() {
            self.tasks.remove(&id);
        }
    }

    /// The store could not be told: it will be.
    fn owe_again(&mut self, id: TaskId, commands: &[Command]) {
        let Some(seat) = self.tasks.get_mut(&id) else { return };
        seat.owe_again(commands);
        if seat.queued.is_none() {
            // Before all others: who waits until it is told waits on.
            seat.queued = Some(1);
            self.queue.push_front(id);
        }
    }
}

impl Attendances {
    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().expect("nothing panics while it is held")
    }

    /// The node gives a sign of life; answers how long it was silent before.
    pub(crate) fn beaten(&self, now: Duration) -> Duration {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let before_ms = self.beaten_ms.swap(now_ms, Ordering::AcqRel);
        Duration::from_millis(now_ms.saturating_sub(before_ms))
    }

    /// The engine ends all connections: none of their clients has left, however they are cut off from now
    /// on.
    pub(crate) fn close(&self) {
        let mut seats = self.lock();
        seats.are_closed = true;
        let attended = seats.tasks.iter_mut().filter(|(_, seat)| !seat.is_empty());
        let attended = attended.map(|(id, seat)| {
            (seat.holding, seat.asking) = (0, 0);
            (seat.parted, seat.has_broken) = (Some(Parting::LetGo), Some(false));
            *id
        });
        for id in attended.collect::<Vec<_>>() {
            seats.queue(id);
        }
        drop(seats);
        self.queued.notify_one();
    }

    /// Whoever asked for these holds them.
    fn hold(&self, tasks: &[TaskId]) {
        let mut seats = self.lock();
        for id in tasks {
            if let Some(seat) = seats.tasks.get_mut(id).filter(|seat| seat.asking > 0) {
                seat.asking -= 1;
                seat.come(Kind::Holds);
            }
        }
    }

    fn part(&self, tasks: &[TaskId], kind: Kind, parting: Parting) {
        let mut seats = self.lock();
        if seats.are_closed {
            return;
        }
        for id in tasks {
            if seats.tasks.get_mut(id).is_some_and(|seat| seat.part(kind, parting)) {
                seats.queue(*id);
            }
        }
        drop(seats);
        self.queued.notify_one();
    }
}

impl Engine {
    /// A connection comes that attends these tasks, as they were read just now, for as long as what is
    /// answered lives. Costs nothing where none of them is canceled when all have left.
    pub fn attend<'a>(&self, tasks: impl IntoIterator<Item = &'a Task>) -> Attending {
        self.sit_down(tasks, Kind::Holds, note_known(self.inner().node))
    }

    /// The same for one that only asks how a task stands. A countdown that runs stops until it is told.
    pub fn attend_asking(&self, task: &Task) -> Attending {
        self.sit_down([task], Kind::Asks, note_known(self.inner().node))
    }

    /// The same for the connection that brought the task, and of which the store knows by its accept.
    pub fn attend_accepted(&self, task: &Task) -> Attending {
        let node = self.inner().node;
        self.sit_down([task], Kind::Holds, |seat, task| {
            seat.is_stored = task.life.attended_by().contains(&node);
        })
    }

    fn sit_down<'a>(
        &self,
        tasks: impl IntoIterator<Item = &'a Task>,
        kind: Kind,
        note: impl Fn(&mut Seat, &Task),
    ) -> Attending {
        let is_counted =
            |task: &&Task| task.spec.grace.is_some() && !task.life.status().is_terminal();
        let mut tasks = tasks.into_iter().filter(is_counted).peekable();
        if tasks.peek().is_none() {
            return Attending::default();
        }
        let attendances = &self.inner().attendances;
        let mut seats = attendances.lock();
        if seats.are_closed {
            return Attending::default();
        }
        let mut ids = Vec::new();
        for task in tasks {
            let id = task.spec.id;
            seats.sit_down(id, kind, |seat| note(seat, task));
            ids.push(id);
        }
        drop(seats);
        attendances.queued.notify_one();
        Attending(Some(Box::new(Attended { engine: self.clone(), tasks: ids, kind })))
    }

    /// A task changed, by whomever. If it has connections here and the store has it otherwise (another
    /// node took this one for dead, or the task runs again by hand), the store is told once more.
    pub(crate) fn go_on_attending(&self, task: &Task) {
        let is_nobodys = task.spec.grace.is_some()
            && !task.life.status().is_terminal()
            && !task.life.attended_by().contains(&self.inner().node);
        if !is_nobodys {
            return;
        }
        let attendances = &self.inner().attendances;
        let mut seats = attendances.lock();
        if let Some(seat) = seats.tasks.get_mut(&task.spec.id)
            && !seat.is_empty()
            && seat.is_stored
        {
            seat.is_stored = false;
            seats.queue(task.spec.id);
            drop(seats);
            attendances.queued.notify_one();
        }
    }

    /// Whatever others took away meanwhile, because this node was silent for too long: the store is told
    /// of all that is attended here.
    pub(crate) fn attend_anew(&self) {
        let attendances = &self.inner().attendances;
        let mut seats = attendances.lock();
        let attended = seats.tasks.iter_mut().filter(|(_, seat)| !seat.is_empty());
        let attended = attended.map(|(id, seat)| {
            seat.is_stored = false;
            *id
        });
        for id in attended.collect::<Vec<_>>() {
            seats.queue(id);
        }
        drop(seats);
        attendances.queued.notify_one();
    }

    /// Resolves when the store was told of all who came and went before the call, whoever comes and goes
    /// meanwhile; or when it cannot be told soon, because it cannot be written or the engine stops.
    pub async fn attendance_told(&self) {
        let attendances = &self.inner().attendances;
        let count = attendances.lock().count;
        let mut told = attendances.told.subscribe();
        tokio::select! {
            biased;
            // The sender lives in the engine.
            _ = told.wait_for(|told| *told >= count) => {}
            () = self.inner().stop.cancelled() => {}
            () = self.clock().sleep_to(self.elapsed() + TOLD_WITHIN) => {}
        }
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

    /// Tells the store who comes and goes, until the engine stops.
    pub(crate) async fn keep_attendance(&self) {
        let attendances = &self.inner().attendances;
        let stop = &self.inner().stop;
        loop {
            tokio::select! {
                () = attendances.queued.notified() => {}
                () = stop.cancelled() => {}
            }
            while let Err(error) = self.tell_attendance().await {
                if attendances.trouble.begins(&()) {
                    tracing::warn!(%error, "could not store who waits for tasks; trying again each second");
                }
                tokio::select! {
                    () = self.clock().sleep_to(self.elapsed() + AGAIN) => {}
                    // The next start strikes what is left.
                    () = stop.cancelled() => return,
                }
            }
            if attendances.trouble.is_over(&()) {
                tracing::info!("who waits for tasks is stored again");
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Tells the store all that it is owed.
    async fn tell_attendance(&self) -> Result<(), EngineError> {
        let attendances = &self.inner().attendances;
        loop {
            let (owed, told) = {
                let mut seats = attendances.lock();
                (seats.owed(self.inner().node), seats.unqueued())
            };
            let is_all = owed.is_empty();
            if !is_all {
                self.tell_of(owed).await?;
            }
            attendances.told.send_replace(told);
            if is_all {
                return Ok(());
            }
        }
    }

    /// Tells the store of some tasks. One whose row is damaged is told of alone, and harms no other:
    /// there is nothing to be done for it.
    async fn tell_of(&self, owed: Vec<(TaskId, Vec<Command>)>) -> Result<(), EngineError> {
        let told = match self.commit_attendance(&owed).await {
            Err(EngineError::Store(error)) if !error.may_pass() && owed.len() > 1 => {
                for one in owed {
                    Box::pin(self.tell_of(vec![one])).await?;
                }
                return Ok(());
            }
            Err(EngineError::Store(error)) if !error.may_pass() => Ok(()),
            told => told,
        };
        let mut seats = self.inner().attendances.lock();
        for (id, commands) in &owed {
            let last = commands.last().expect("something was owed");
            match told {
                Ok(()) => seats.stored(*id, last),
                Err(_) => seats.owe_again(*id, commands),
            }
        }
        told
    }

    async fn commit_attendance(&self, owed: &[(TaskId, Vec<Command>)]) -> Result<(), EngineError> {
        let (policy, now) = (Arc::<Policy>::default(), self.now());
        let steps = owed.iter().flat_map(|(id, commands)| {
            let policy = &policy;
            commands.iter().map(move |command| StepOf {
                id: *id,
                tenant: None,
                command: command.clone(),
                policy: policy.clone(),
                bodies: Vec::new(),
                now,
            })
        });
        for stepped in self.take(steps.collect()).await?.into_iter().flatten() {
            let task = &stepped.changed.task;
            if let (Reply::Done, Some(at)) = (stepped.reply, task.life.abandon_at()) {
                let left_for = at.since(now);
                tracing::debug!(task = %task.spec.id, ?left_for, "all who waited for a task have left");
            }
        }
        // Of one that is gone there is nothing to tell.
        Ok(())
    }
}

/// What the store knows of this node, as a task says that was read: it may know better than what was
/// remembered; of a run by hand it has nobody.
fn note_known(node: u64) -> impl Fn(&mut Seat, &Task) {
    move |seat, task| seat.is_stored &= task.life.attended_by().contains(&node)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: u64 = 1;
    const ATTEND: Command = Command::Attend { node: NODE, has_broken: None };
    const LET_GO: Command = Command::LetGo { node: NODE, has_broken: Some(false) };
    const LEAVE: Command = Command::Leave { node: NODE };

    fn id() -> TaskId {
        TaskId::from_u128(7)
    }

    /// Of its task it read nothing that the store was not told.
    fn came(attendances: &Attendances) {
        attendances.lock().sit_down(id(), Kind::Holds, |_| {});
    }

    fn asked(attendances: &Attendances) {
        attendances.lock().sit_down(id(), Kind::Asks, |_| {});
    }

    fn part(attendances: &Attendances, kind: Kind, parting: Parting) {
        attendances.part(&[id()], kind, parting);
    }

    /// What the store is told, which takes it.
    fn told(attendances: &Attendances) -> Vec<Command> {
        let owed = attendances.lock().owed(NODE);
        for (id, commands) in &owed {
            attendances.lock().stored(*id, commands.last().unwrap());
        }
        owed.into_iter().flat_map(|(_, commands)| commands).collect()
    }

    #[test]
    fn only_the_first_and_the_last_are_told() {
        let attendances = Attendances::default();
        came(&attendances);
        came(&attendances);
        assert_eq!(told(&attendances), [ATTEND]);
        came(&attendances);
        assert_eq!(told(&attendances), []);
        for _ in 0..2 {
            part(&attendances, Kind::Holds, Parting::Broke);
            assert_eq!(told(&attendances), []);
        }
        part(&attendances, Kind::Holds, Parting::LetGo);
        assert_eq!(told(&attendances), [LET_GO], "how the last one went counts");
        assert!(attendances.lock().tasks.is_empty());
    }

    #[test]
    fn one_that_came_and_went_before_the_store_was_told_was_there() {
        let attendances = Attendances::default();
        came(&attendances);
        part(&attendances, Kind::Holds, Parting::Broke);
        assert_eq!(told(&attendances), [ATTEND, LEAVE]);
        came(&attendances);
        part(&attendances, Kind::Holds, Parting::LetGo);
        came(&attendances);
        assert_eq!(told(&attendances), [ATTEND]);
        part(&attendances, Kind::Holds, Parting::Broke);
        came(&attendances);
        assert_eq!(told(&attendances), [], "somebody is there, as the store has it");
    }

    #[test]
    fn whoever_comes_while_the_store_is_told_that_all_went_is_told_of() {
        let attendances = Attendances::default();
        came(&attendances);
        told(&attendances);
        part(&attendances, Kind::Holds, Parting::Broke);
        let owed = attendances.lock().owed(NODE);
        came(&attendances);
        attendances.lock().stored(id(), &LEAVE);
        assert_eq!(owed, [(id(), vec![LEAVE])]);
        assert_eq!(told(&attendances), [ATTEND]);
    }

    /// It was taken for one that the store knew, and the countdown ran on to its end.
    #[test]
    fn whoever_read_the_task_before_that_was_stored_is_told_of_too() {
        let attendances = Attendances::default();
        came(&attendances);
        told(&attendances);
        part(&attendances, Kind::Holds, Parting::Broke);
        assert_eq!(attendances.lock().owed(NODE), [(id(), vec![LEAVE])]);
        let knows_it = |seat: &mut Seat| seat.is_stored &= true;
        attendances.lock().sit_down(id(), Kind::Holds, knows_it);
        attendances.lock().stored(id(), &LEAVE);
        assert_eq!(told(&attendances), [ATTEND]);
        part(&attendances, Kind::Holds, Parting::Broke);
        assert_eq!(told(&attendances), [LEAVE]);
    }

    /// Where somebody always came or went, nobody was ever told.
    #[test]
    fn what_was_queued_before_is_told_while_others_come() {
        let attendances = Attendances::default();
        let of = |id: u128| {
            attendances.lock().sit_down(TaskId::from_u128(id), Kind::Holds, |_| {});
        };
        for id in 1..=3 {
            of(id);
        }
        assert_eq!(attendances.lock().unqueued(), 0);
        let owed = attendances.lock().owed(NODE);
        of(4);
        assert_eq!((owed.len(), attendances.lock().unqueued()), (3, 3));
        attendances.lock().owe_again(owed[0].0, &[ATTEND]);
        assert_eq!(attendances.lock().unqueued(), 0, "it is owed again");
        assert_eq!(attendances.lock().owed(NODE)[0].0, owed[0].0);
        assert_eq!(attendances.lock().unqueued(), 4);
    }

    #[test]
    fn what_the_store_could_not_be_told_is_owed() {
        let attendances = Attendances::default();
        came(&attendances);
        told(&attendances);
        part(&attendances, Kind::Holds, Parting::Broke);
        let owed = attendances.lock().owed(NODE);
        asked(&attendances);
        attendances.lock().owe_again(id(), &owed[0].1);
        assert_eq!(told(&attendances), [LEAVE, ATTEND]);
        part(&attendances, Kind::Asks, Parting::LetGo);
        let owed = attendances.lock().owed(NODE);
        attendances.lock().owe_again(id(), &owed[0].1);
        came(&attendances);
        assert_eq!(told(&attendances), [], "somebody is there, as the store has it");
    }

    /// All had left then, and it did not come back to stay.
    #[test]
    fn a_poll_that_comes_before_the_store_was_told_undoes_no_leaving() {
        for is_answered in [false, true] {
            let attendances = Attendances::default();
            came(&attendances);
            told(&attendances);
            part(&attendances, Kind::Holds, Parting::Broke);
            asked(&attendances);
            if is_answered {
                part(&attendances, Kind::Asks, Parting::LetGo);
                assert_eq!(told(&attendances), [LEAVE]);
            } else {
                assert_eq!(told(&attendances), [LEAVE, ATTEND]);
                part(&attendances, Kind::Asks, Parting::LetGo);
                let answer = Command::LetGo { node: NODE, has_broken: None };
                assert_eq!(told(&attendances), [answer]);
            }
        }
    }

    /// One stream that was opened again canceled the task, however all others went.
    #[test]
    fn whoever_comes_back_while_a_poll_waits_says_itself_how_it_goes() {
        let goes = |has_broken| Command::Attend { node: NODE, has_broken: Some(has_broken) };
        let attendances = Attendances::default();
        came(&attendances);
        asked(&attendances);
        assert_eq!(told(&attendances), [ATTEND]);
        part(&attendances, Kind::Holds, Parting::Broke);
        assert_eq!(told(&attendances), [goes(true)]);
        came(&attendances);
        came(&attendances);
        part(&attendances, Kind::Holds, Parting::Broke);
        assert_eq!(told(&attendances), [], "one that holds it is left");
        part(&attendances, Kind::Holds, Parting::LetGo);
        assert_eq!(told(&attendances), [goes(false)]);
        part(&attendances, Kind::Asks, Parting::LetGo);
        assert_eq!(told(&attendances), [Command::LetGo { node: NODE, has_broken: None }]);
        assert!(attendances.lock().tasks.is_empty());
    }

    #[test]
    fn a_poll_that_breaks_off_was_there_and_one_that_gets_its_answer_holds() {
        let attendances = Attendances::default();
        asked(&attendances);
        attendances.hold(&[id()]);
        asked(&attendances);
        told(&attendances);
        part(&attendances, Kind::Asks, Parting::Broke);
        assert_eq!(told(&attendances), [], "one that holds it is left");
        part(&attendances, Kind::Holds, Parting::LetGo);
        assert_eq!(told(&attendances), [LET_GO]);
        asked(&attendances);
        part(&attendances, Kind::Asks, Parting::Broke);
        assert_eq!(told(&attendances), [ATTEND, LEAVE]);
    }
}
