//! The tasks that connections of this node attend, and those of which the store is to be told next.

use std::collections::{HashMap, VecDeque};

use relais_core::{Command, TaskId};

use super::seat::{Kind, Parting, Seat};

/// Tasks told of in one write.
const TOLD_AT_ONCE: usize = 1_024;

/// All tasks that are attended here, or of which the store is to be told.
#[derive(Default)]
pub(super) struct Seats {
    pub(super) tasks: HashMap<TaskId, Seat>,
    /// Of which tasks the store is to be told, oldest first, with the count when each was queued.
    queue: VecDeque<(u64, TaskId)>,
    /// How many times a task was queued.
    count: u64,
    /// Whether nobody is counted any more.
    are_closed: bool,
}

impl Seats {
    /// The store is to be told of a task.
    fn queue(&mut self, id: TaskId) {
        if let Some(seat) = self.tasks.get_mut(&id)
            && !std::mem::replace(&mut seat.is_queued, true)
        {
            self.count += 1;
            self.queue.push_back((self.count, id));
        }
    }

    /// A connection comes; `note` says what its task tells of the store.
    pub(super) fn sit_down(&mut self, id: TaskId, kind: Kind, note: impl FnOnce(&mut Seat)) {
        if self.are_closed {
            return;
        }
        let seat = self.tasks.entry(id).or_default();
        seat.come(kind);
        note(seat);
        if !seat.is_stored {
            self.queue(id);
        }
    }

    /// A connection that only asked holds the task from now on.
    pub(super) fn hold(&mut self, id: TaskId) {
        if let Some(seat) = self.tasks.get_mut(&id) {
            seat.hold();
        }
    }

    /// A connection goes.
    pub(super) fn part(&mut self, id: TaskId, kind: Kind, parting: Parting) {
        if self.are_closed {
            return;
        }
        if self.tasks.get_mut(&id).is_some_and(|seat| seat.part(kind, parting)) {
            self.queue(id);
        }
    }

    /// Nobody is counted any more, and none of those who are here has left.
    pub(super) fn close(&mut self) {
        self.are_closed = true;
        for id in self.attended() {
            self.change(id, Seat::let_all_go);
        }
    }

    /// The store does not have it that this node attends the task: it is told again, if that is so.
    pub(super) fn tell_again(&mut self, id: TaskId) {
        if self.tasks.get(&id).is_some_and(|seat| seat.is_stored && !seat.is_empty()) {
            self.change(id, |seat| seat.is_stored = false);
        }
    }

    /// The same for whatever is attended here.
    pub(super) fn tell_all_again(&mut self) {
        for id in self.attended() {
            self.change(id, |seat| seat.is_stored = false);
        }
    }

    fn attended(&self) -> Vec<TaskId> {
        let attended = self.tasks.iter().filter(|(_, seat)| !seat.is_empty());
        attended.map(|(id, _)| *id).collect()
    }

    fn change(&mut self, id: TaskId, change: impl FnOnce(&mut Seat)) {
        if let Some(seat) = self.tasks.get_mut(&id) {
            change(seat);
            self.queue(id);
        }
    }

    /// Whether the store is to be told anything.
    pub(super) fn is_any_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How many times a task was queued until now.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Up to which count no task is queued any more. What came to pass after a task was queued is told
    /// with it.
    pub(super) fn unqueued(&self) -> u64 {
        self.queue.front().map_or(self.count, |(oldest, _)| oldest - 1)
    }

    /// What the store is to be told next, of a bounded number of tasks.
    pub(super) fn owed(&mut self, node: u64) -> Vec<(TaskId, Vec<Command>)> {
        let mut owed = Vec::new();
        while owed.len() < TOLD_AT_ONCE
            && let Some((_, id)) = self.queue.pop_front()
        {
            let Some(seat) = self.tasks.get_mut(&id) else { continue };
            seat.is_queued = false;
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
    pub(super) fn stored(&mut self, id: TaskId, last: &Command) {
        let Some(seat) = self.tasks.get_mut(&id) else { return };
        seat.is_stored = matches!(last, Command::Attend { .. });
        if seat.is_stored {
            return;
        }
        if !seat.is_empty() {
            // It came meanwhile, and may have read the task before: nobody else says so.
            self.queue(id);
        } else if !seat.is_queued {
            self.tasks.remove(&id);
        }
    }

    /// The store could not be told: it will be.
    pub(super) fn owe_again(&mut self, id: TaskId, commands: &[Command]) {
        let Some(seat) = self.tasks.get_mut(&id) else { return };
        seat.owe_again(commands);
        if !std::mem::replace(&mut seat.is_queued, true) {
            // Before all others: who waits until it is told waits on.
            self.queue.push_front((1, id));
        }
    }
}
