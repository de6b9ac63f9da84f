//! Sessions of browsers: kept in the store alone, so that each node knows the same.

use relais_core::{Session, SessionOp, SessionReply, Source};
use relais_store::{Commit, Committed, SessionOf};

use crate::engine::{Engine, EngineError};

impl Engine {
    /// The session of a browser as it is now, by the HMAC of its id; `None` if it has ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn session(&self, id_mac: [u8; 32]) -> Result<Option<Session>, EngineError> {
        let stored = self.store().session(id_mac).await?;
        Ok(stored.and_then(|session| session.at(self.now())))
    }

    /// Changes the session of a browser. One that begins takes of the share of its `source`, if it has
    /// one.
    ///
    /// # Errors
    /// When there are too many sessions for one that begins, or the store cannot be written.
    pub async fn change_session(
        &self,
        id_mac: [u8; 32],
        op: SessionOp,
        source: Option<Source>,
    ) -> Result<SessionReply, EngineError> {
        let (capacity, now) = (self.config().session_capacity, self.now());
        let of = SessionOf { id_mac, op, source, capacity, now };
        let committed = self.commit_one(Commit::Session(Box::new(of))).await?;
        let Committed::Session(reply) = committed else { unreachable!("answered in kind") };
        Ok(reply)
    }
}
