//! A task that connections of this node attend: how many there are, and what the store is owed of those
//! that came and went.

use relais_core::Command;

/// What a connection attends a task for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// For what comes.
    Holds,
    /// To be told how it stands, within a while.
    Asks,
}

/// How a connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// With what it came for.
    LetGo,
    /// Without.
    Broke,
}

/// A task that connections of this node attend, or did until lately.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Connections that hold it.
    holding: u32,
    /// Connections that only ask how it stands.
    asking: u32,
    /// Whether the store has it that there are any, as far as it was told.
    pub(super) is_stored: bool,
    /// Whether it is among those of which the store is to be told.
    pub(super) is_queued: bool,
    /// How the last of all went, if the store is to be told. Whoever asks meanwhile does not undo that all
    /// had left; whoever holds it does, and says itself how it goes.
    parted: Option<Parting>,
    /// Whether the last that went had broken off, where none was left that holds it, if the store is to be
    /// told. Whoever asked and was told how it stands does not count.
    has_broken: Option<bool>,
}

impl Seat {
    pub(super) const fn is_empty(&self) -> bool {
        self.holding == 0 && self.asking == 0
    }

    const fn count(&mut self, kind: Kind) -> &mut u32 {
        match kind {
            Kind::Holds => &mut self.holding,
            Kind::Asks => &mut self.asking,
        }
    }

    pub(super) fn come(&mut self, kind: Kind) {
        *self.count(kind) += 1;
        if kind == Kind::Holds {
            (self.parted, self.has_broken) = (None, None);
        }
    }

    /// One that only asked holds it from now on.
    pub(super) fn hold(&mut self) {
        if self.asking > 0 {
            self.asking -= 1;
            self.come(Kind::Holds);
        }
    }

    /// All who are there go, and none of them breaks off.
    pub(super) fn let_all_go(&mut self) {
        (self.holding, self.asking) = (0, 0);
        (self.parted, self.has_broken) = (Some(Parting::LetGo), Some(false));
    }

    /// One goes. Answers whether the store is to be told.
    pub(super) fn part(&mut self, kind: Kind, parting: Parting) -> bool {
        let count = self.count(kind);
        *count = count.saturating_sub(1);
        let is_told = (kind, parting) == (Kind::Asks, Parting::LetGo);
        if self.holding == 0 && !is_told {
            self.has_broken = Some(parting == Parting::Broke);
        }
        if self.is_empty() {
            self.parted = self.parted.filter(|_| is_told).or(Some(parting));
        }
        self.parted.is_some() || self.has_broken.is_some()
    }

    /// What the store is to be told now, in order.
    pub(super) fn owed(&mut self, node: u64) -> Vec<Command> {
        let (parted, has_broken) = (self.parted.take(), self.has_broken.take());
        let attend = |has_broken| Command::Attend { node, has_broken };
        // One that came and went before the store was told of it was there, too.
        let came = (!self.is_stored).then_some(attend(None));
        match (parted, self.is_empty()) {
            (Some(Parting::Broke), is_empty) => {
                let back = (!is_empty).then_some(attend(None));
                came.into_iter().chain([Command::Leave { node }]).chain(back).collect()
            }
            (Some(Parting::LetGo), true) => {
                came.into_iter().chain([Command::LetGo { node, has_broken }]).collect()
            }
            (None, true) => Vec::new(),
            (Some(Parting::LetGo) | None, false) => {
                let is_news = !self.is_stored || has_broken.is_some();
                is_news.then_some(attend(has_broken)).into_iter().collect()
            }
        }
    }

    /// The store could not be told: what has not changed meanwhile is owed again.
    pub(super) fn owe_again(&mut self, commands: &[Command]) {
        if self.holding > 0 || self.has_broken.is_some() {
            return;
        }
        for command in commands {
            let (parted, has_broken) = match command {
                Command::LetGo { has_broken, .. } => (Some(Parting::LetGo), *has_broken),
                Command::Leave { .. } => (Some(Parting::Broke), Some(true)),
                Command::Attend { has_broken, .. } => (None, *has_broken),
                _ => (None, None),
            };
            // All had left, whoever has asked since.
            self.parted = parted.or(self.parted);
            self.has_broken = has_broken.or(self.has_broken);
        }
    }
}
