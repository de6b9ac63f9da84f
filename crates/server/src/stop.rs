//! How far a stop has come: whoever sends work here learns that it should go elsewhere, then what
//! runs ends ([`Engine::drain`](relais_engine::Engine::drain)), and only then connections close.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Tells everybody in the server how far its stop has come. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    is_leaving: Arc<AtomicBool>,
    closing: CancellationToken,
}

impl Stop {
    /// The first step: `/readyz` says that new work should go elsewhere; all that comes is still
    /// taken.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// The last step: held requests are answered with what is known, streams close, then the
    /// listeners; clients come back elsewhere or later.
    pub fn close(&self) {
        self.leave();
        self.closing.cancel();
    }

    /// Whether new work should go elsewhere.
    #[must_use]
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Whether streams and connections close.
    #[must_use]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Resolves once streams and connections close. Small: each that waits has room for it.
    pub(crate) fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.closing.cancelled()
    }

    /// What comes of `work` before that.
    pub(crate) async fn run_until_cancelled<W: Future>(&self, work: W) -> Option<W::Output> {
        self.closing.run_until_cancelled(work).await
    }
}
