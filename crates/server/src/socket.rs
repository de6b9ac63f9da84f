//! The WebSocket: one more encoding of what the other ways say. Frames are read and written (`codec`), calls
//! are made as HTTP makes them (`calls`), by whoever asks (`speaker`); what a watch says is a stream of events in
//! one more form (`form`).
//!
//! Not here: sockets, and what waits for whom (`connection/sockets`); the handshake (`routes/ws.rs`).

pub(crate) mod calls;
pub(crate) mod codec;
pub(crate) mod form;
pub(crate) mod open;
pub(crate) mod speaker;

use std::sync::{Arc, Mutex};

use hyper::upgrade::OnUpgrade;

use self::open::Counted;
use self::speaker::Speaker;
use crate::auth::Standing;

/// A connection that is to become a WebSocket: an extension of the answer that grants it.
#[derive(Clone)]
pub(crate) struct Granted(Arc<Mutex<Option<Begun>>>);

/// What is known of it so far.
pub(crate) struct Begun {
    pub(crate) upgrade: OnUpgrade,
    pub(crate) speaker: Speaker,
    /// Whether it is known who asks, as far as the handshake says so.
    pub(crate) standing: Option<Standing>,
    /// What the handshake brought in the place of a first frame.
    pub(crate) token: Option<String>,
    pub(crate) counted: Counted,
}

impl Granted {
    pub(crate) fn new(begun: Begun) -> Self {
        Self(Arc::new(Mutex::new(Some(begun))))
    }

    /// Takes it; `None` if it was taken before.
    pub(crate) fn take(&self) -> Option<Begun> {
        self.0.lock().expect("nothing panics while it is held").take()
    }
}
