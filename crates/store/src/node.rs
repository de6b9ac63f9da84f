//! Nodes: processes that run attempts of their own, and how it is known that one is dead.
//!
//! A node gives a sign of life from time to time. One that was silent for as long as it said is dead,
//! and what it held is anybody's to take back. A sign of life says how long it lasts, not until
//! when: a clock that was set back keeps nobody alive.

use std::collections::BTreeMap;
use std::time::Duration;

use relais_core::Timestamp;

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Whose: the number that the leases of its attempts name
    /// ([`Holder::Relais`](relais_core::Holder::Relais)).
    pub node: u64,
    /// The newest format of rows that it reads and writes.
    pub format: u32,
    pub now: Timestamp,
    /// How long it counts as alive from now on; zero says that it ends.
    pub alive_for: Duration,
}

/// What a node learns when it gives a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nodes {
    /// Nodes that are dead and hold attempts, or attend tasks: told to everybody until nothing is held. A store that
    /// one process at a time owns names all nodes of the process before at once.
    pub dead: Vec<u64>,
    /// The newest format that every living node reads: nothing newer may be written.
    pub format: u32,
    /// Whether a sign of life was of a later time than now, so that leases may be, too. Told once.
    pub was_ahead: bool,
    /// How many nodes live, that one included.
    pub living: usize,
}

/// The nodes that a store remembers: what is the same in every driver.
#[derive(Debug, Clone, Default)]
pub struct Roll {
    nodes: BTreeMap<u64, NodeRow>,
}

/// What is remembered of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeRow {
    /// The newest format of rows that it reads and writes.
    pub format: u32,
    /// Its last sign of life.
    pub beat_at: Timestamp,
    /// When it is dead, unless it gives another.
    pub dead_at: Timestamp,
}

impl Roll {
    /// What was remembered.
    #[must_use]
    pub fn of(rows: impl IntoIterator<Item = (u64, NodeRow)>) -> Self {
        Self { nodes: rows.into_iter().collect() }
    }

    /// All there is to remember.
    pub fn rows(&self) -> impl Iterator<Item = (u64, NodeRow)> {
        self.nodes.iter().map(|(node, row)| (*node, *row))
    }

    /// Takes a sign of life. `holds` says whether a node holds attempts or attends tasks: one that is dead
    /// and does neither is forgotten, once there was a later sign of life than its last.
    ///
    /// # Errors
    /// That of `holds`.
    pub fn beat<E>(
        &mut self,
        beat: &Beat,
        mut holds: impl FnMut(u64) -> Result<bool, E>,
    ) -> Result<Nodes, E> {
        let now = beat.now;
        let mut told = Nodes::default();
        for row in self.nodes.values_mut().filter(|row| row.beat_at > now) {
            told.was_ahead = true;
            row.dead_at = now.plus(row.dead_at.since(row.beat_at));
            row.beat_at = now;
        }
        let row = NodeRow { format: beat.format, beat_at: now, dead_at: now.plus(beat.alive_for) };
        self.nodes.insert(beat.node, row);
        let is_dead = |(_, row): &(u64, NodeRow)| row.dead_at <= now;
        for (node, row) in self.rows().filter(is_dead).collect::<Vec<_>>() {
            if holds(node)? {
                told.dead.push(node);
            } else if row.beat_at < now {
                self.nodes.remove(&node);
            }
        }
        let living = self.nodes.values().filter(|row| row.dead_at > now);
        told.living = living.clone().count();
        told.format = living.map(|row| row.format).min().unwrap_or(beat.format);
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(roll: &mut Roll, node: u64, now: i64, alive_for: u64) -> Nodes {
        let (now, alive_for) = (Timestamp::from_ms(now), Duration::from_millis(alive_for));
        let beat = Beat { node, format: 1, now, alive_for };
        roll.beat(&beat, |_| Ok::<_, ()>(true)).expect("it is known what they hold")
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_a_silent_node_alive_no_longer_than_it_said() {
        let mut roll = Roll::default();
        assert!(!beat(&mut roll, 1, 1_000_000, 100).was_ahead);
        let told = beat(&mut roll, 2, 500, 100);
        assert!(told.was_ahead && told.dead.is_empty(), "{told:?}");
        let told = beat(&mut roll, 2, 599, 100);
        assert!(!told.was_ahead && told.dead.is_empty(), "{told:?}");
        assert_eq!(beat(&mut roll, 2, 600, 100).dead, [1]);
    }

    #[test]
    fn a_node_that_gives_a_sign_of_life_again_lives_on() {
        let mut roll = Roll::default();
        beat(&mut roll, 1, 0, 100);
        assert_eq!(beat(&mut roll, 2, 100, 100).dead, [1]);
        assert!(beat(&mut roll, 1, 150, 100).dead.is_empty());
        assert!(beat(&mut roll, 2, 199, 100).dead.is_empty());
    }
}
