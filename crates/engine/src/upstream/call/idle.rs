//! Connections that wait for their next request.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use relais_core::limits;

use super::wire::Wire;
use super::{Care, Origin};

/// The idle connections, by upstream.
#[derive(Debug, Clone, Default)]
pub(super) struct Idle {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    by_origin: HashMap<Origin, VecDeque<Resting>>,
    generation: Generation,
    /// Whether somebody looks after those that nobody asks for.
    is_swept: bool,
}

/// Which configuration a connection was made under; the later, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Generation(u64);

#[derive(Debug)]
struct Resting {
    wire: Wire,
    since: Instant,
    /// How long it is kept.
    life: Duration,
}

impl Idle {
    /// An idle connection that is good enough at `now`.
    pub(super) fn take(&self, origin: &Origin, care: Care, now: Instant) -> Option<Wire> {
        let mut state = lock(&self.state);
        let resting = state.by_origin.get_mut(origin)?;
        // The last to come is the youngest.
        while let Some(last) = resting.pop_back() {
            let age = now.saturating_duration_since(last.since);
            if age < last.life && age >= trusted_for(care, last.life) {
                resting.push_back(last);
                return None;
            }
            if age < last.life && last.wire.is_quiet() {
                return Some(last.wire);
            }
        }
        None
    }

    /// The generation of a connection that is begun now.
    pub(super) fn generation(&self) -> Generation {
        lock(&self.state).generation
    }

    /// A new configuration holds: closes all, and what was made before it does not come back.
    pub(super) fn renew(&self) {
        let mut state = lock(&self.state);
        state.generation.0 += 1;
        state.by_origin.clear();
    }

    /// Takes a connection back as soon as its answer was read. `hint` is how
    /// long its upstream keeps it.
    pub(super) fn await_return(&self, origin: Origin, mut wire: Wire, hint: Option<Duration>) {
        let idle = self.clone();
        tokio::spawn(async move {
            // An error says that it was closed, or became something else than HTTP.
            if wire.sender.ready().await.is_ok() {
                idle.put(origin, wire, life(hint), Instant::now());
            }
        });
    }

    fn put(&self, origin: Origin, wire: Wire, life: Duration, now: Instant) {
        let mut state = lock(&self.state);
        if wire.generation != state.generation {
            return;
        }
        let is_full = state.by_origin.len() >= limits::IDLE_UPSTREAMS_MAX;
        if is_full && !state.by_origin.contains_key(&origin) {
            return;
        }
        let resting = state.by_origin.entry(origin).or_default();
        if resting.len() >= limits::IDLE_CONNECTIONS_MAX {
            resting.pop_front();
        }
        resting.push_back(Resting { wire, since: now, life });
        if !state.is_swept {
            state.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.state)));
        }
    }
}

/// Closes from time to time what is too old, until nothing is left.
async fn sweep(state: Weak<Mutex<State>>) {
    loop {
        tokio::time::sleep(limits::IDLE_CONNECTION_MAX).await;
        let Some(state) = state.upgrade() else { return };
        let now = Instant::now();
        let mut state = lock(&state);
        state.by_origin.retain(|_, resting| {
            resting.retain(|one| now.saturating_duration_since(one.since) < one.life);
            !resting.is_empty()
        });
        if state.by_origin.is_empty() {
            state.is_swept = false;
            return;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics while it is held")
}

/// How long an idle connection is kept.
fn life(hint: Option<Duration>) -> Duration {
    hint.unwrap_or(limits::IDLE_CONNECTION_MAX).min(limits::IDLE_CONNECTION_MAX)
}

/// How long a connection may have been idle for a request. Half of the upstream's own word, because
/// its closing may be under way already.
fn trusted_for(care: Care, life: Duration) -> Duration {
    match care {
        Care::Repeatable => life,
        Care::Once => limits::TRUSTED_CONNECTION_MAX.min(life / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_sent_once_trusts_a_connection_for_a_moment_only() {
        let ms = |hint: Option<u64>, care| {
            trusted_for(care, life(hint.map(Duration::from_secs))).as_millis()
        };
        assert_eq!((ms(None, Care::Repeatable), ms(None, Care::Once)), (30_000, 1_000));
        assert_eq!((ms(Some(2), Care::Repeatable), ms(Some(2), Care::Once)), (2_000, 1_000));
        assert_eq!((ms(Some(1), Care::Repeatable), ms(Some(1), Care::Once)), (1_000, 500));
        assert_eq!((ms(Some(0), Care::Repeatable), ms(Some(0), Care::Once)), (0, 0));
        assert_eq!(ms(Some(3_600), Care::Repeatable), 30_000);
    }
}
