//! Who waits for an answer, as far as its connection tells whether it still listens.

use std::sync::Arc;

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
}
