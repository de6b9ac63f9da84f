//! Connections that only read: a few for single rows, a few for pages.
//!
//! A single row takes microseconds, less than handing the question to another thread
//! would. Pages are read in the blocking pool, over connections of their own, so that they
//! never hold up single rows.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use relais_store::StoreError;
use rusqlite::Connection;

use crate::fault::{Condition, Fault};

/// A few connections, shared.
pub(crate) struct Readers {
    /// None where the store was closed.
    conns: Vec<Mutex<Option<Connection>>>,
    next: AtomicUsize,
}

impl Readers {
    pub(crate) fn new(conns: Vec<Connection>) -> Self {
        assert!(!conns.is_empty(), "somebody must read");
        Self {
            conns: conns.into_iter().map(|conn| Mutex::new(Some(conn))).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Reads over a connection that is free, or else waits for one.
    pub(crate) fn read<T>(
        &self,
        condition: &Condition,
        read: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let conn = self.conn();
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        read(conn.as_ref().ok_or_else(closed)?).map_err(|fault| {
            condition.note(&fault);
            fault.as_error()
        })
    }

    /// Closes the connections, once those who read are done.
    pub(crate) fn close(&self) {
        for conn in &self.conns {
            drop(conn.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    fn conn(&self) -> MutexGuard<'_, Option<Connection>> {
        let from = self.next.fetch_add(1, Ordering::Relaxed);
        let at = |step: usize| &self.conns[(from.wrapping_add(step)) % self.conns.len()];
        for step in 0..self.conns.len() {
            match at(step).try_lock() {
                Ok(conn) => return conn,
                // A panic while reading leaves nothing behind that the next reader would see.
                Err(TryLockError::Poisoned(conn)) => return conn.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        at(0).lock().unwrap_or_else(PoisonError::into_inner)
    }
}
