//! Trouble that lasts, like a store that is away: the log has a line when it begins and one when it
//! is over, not one for each time that something is tried again.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Mutex;

/// Those of one kind whose work fails now.
#[derive(Debug)]
pub(crate) struct Trouble<W> {
    failing: Mutex<HashSet<W>>,
}

impl<W> Default for Trouble<W> {
    fn default() -> Self {
        Self { failing: Mutex::default() }
    }
}

impl<W: Clone + Eq + Hash> Trouble<W> {
    /// The work of `whose` failed; answers whether with that the trouble begins.
    #[must_use]
    pub(crate) fn begins(&self, whose: &W) -> bool {
        let mut failing = self.failing.lock().expect("nothing panics while it is held");
        let is_first = failing.is_empty();
        failing.insert(whose.clone());
        is_first
    }

    /// The work of `whose` was done; answers whether with that the trouble is over.
    #[must_use]
    pub(crate) fn is_over(&self, whose: &W) -> bool {
        let mut failing = self.failing.lock().expect("nothing panics while it is held");
        failing.remove(whose) && failing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_begins_with_the_first_and_is_over_with_the_last() {
        let trouble = Trouble::default();
        assert!(!trouble.is_over(&1), "there was none");
        assert!(trouble.begins(&1));
        assert!(!trouble.begins(&1) && !trouble.begins(&2));
        assert!(!trouble.is_over(&1) && !trouble.is_over(&1));
        assert!(trouble.is_over(&2));
        assert!(trouble.begins(&2));
    }
}
