//! The attempts that this process runs, so that they can be told to stop.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

/// Live attempts by their fence. Their number is bounded by the claims of the dispatcher.
#[derive(Debug, Default)]
pub(crate) struct Running {
    attempts: Mutex<HashMap<u128, CancellationToken>>,
}

impl Running {
    /// Notes an attempt; the token fires when it is to stop.
    pub(crate) fn begin(&self, nonce: u128) -> CancellationToken {
        let stop = CancellationToken::new();
        self.lock().insert(nonce, stop.clone());
        stop
    }

    /// Forgets an attempt.
    pub(crate) fn end(&self, nonce: u128) {
        self.lock().remove(&nonce);
    }

    /// Whether this process runs an attempt, or still tells the store how it ended.
    pub(crate) fn has(&self, nonce: u128) -> bool {
        self.lock().contains_key(&nonce)
    }

    /// Tells an attempt to stop, if this process runs it.
    pub(crate) fn abort(&self, nonce: u128) {
        if let Some(stop) = self.lock().get(&nonce) {
            stop.cancel();
        }
    }

    /// Tells all attempts to stop.
    pub(crate) fn abort_all(&self) {
        for stop in self.lock().values() {
            stop.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u128, CancellationToken>> {
        self.attempts.lock().expect("nothing panics while it is held")
    }
}
