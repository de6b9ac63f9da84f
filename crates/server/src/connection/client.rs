//! Who waits for an answer, as far as its connection tells whether it still listens.

use std::sync::Arc;
use std::time::Duration;

use super::guard::Watch;

/// The client of one request. The default one is known to nothing and never closes its side.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client(pub(super) Option<Arc<Watch>>);

impl Client {
    /// Resolves when the client has closed its sending side. It may still read, or be gone:
    /// which of them only a write would tell. HTTP/2 has no such state, and drops the request
    /// of a client that is gone.
    pub(crate) async fn half_closed(&self) {
        match &self.0 {
            Some(watch) => watch.half_closed().await,
            None => std::future::pending().await,
        }
    }

    /// How long its request goes on once it has closed its sending side: a minute unless this says
    /// otherwise.
    pub(crate) fn be_patient(&self, patience: Duration) {
        if let Some(watch) = &self.0 {
            watch.be_patient(patience);
        }
    }
}
