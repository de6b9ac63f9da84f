//! What clients send: read into the one buffer, and heard frame by frame.

use std::io::{self, Read};
use std::sync::Arc;

use relais_api::ws::{Ask, Close, Said};
use tokio::time::Instant;

use super::conn::Known;
use super::{Arrival, READS_AT_ONCE, Shard};
use crate::request::bodies::{Held, Place};
use crate::socket::calls::{self, Call, What};
use crate::socket::codec::{self, Heard};
use crate::socket::form;

/// What is said of a message that may not be so large yet.
const TOO_EARLY: &str = "send auth first";

impl Shard {
    /// Reads a socket until nothing is there, or what it sends must wait.
    pub(super) async fn listen(&mut self, slot: u32) {
        for _ in 0..READS_AT_ONCE {
            self.turns.take().await;
            let Some(conn) = self.conns.get_mut(slot as usize) else { return };
            let unread = std::mem::take(&mut conn.unread);
            if !unread.is_empty() {
                self.hear(slot, &unread);
            }
            let Some(conn) = self.conns.get_mut(slot as usize) else { return };
            // Of one that was told to close nothing must wait.
            if conn.holds() && conn.ending.is_none() {
                return;
            }
            match conn.link.read(&mut self.scratch) {
                Ok(0) => {
                    self.shows_itself(slot);
                    return self.remove(slot);
                }
                Ok(len) => {
                    conn.hears(Instant::now());
                    self.shows_itself(slot);
                    let scratch = std::mem::take(&mut self.scratch);
                    self.hear(slot, &scratch[..len]);
                    self.scratch = scratch;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.remove(slot),
            }
        }
        self.again.extend(self.handle(slot));
    }

    /// Hears all that is whole in what came.
    pub(super) fn hear(&mut self, slot: u32, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let Some(conn) = self.conns.get_mut(slot as usize) else { return };
            if conn.is_over {
                return;
            }
            if conn.holds() && conn.ending.is_none() {
                conn.unread.extend_from_slice(rest);
                break;
            }
            match conn.reader.read(&mut rest) {
                Ok(None) => break,
                Ok(Some(Heard::Close(code))) => return self.closed(slot, code),
                // It was told to close: nothing else of it counts.
                Ok(Some(_)) if conn.ending.is_some() => {}
                Ok(Some(_)) if conn.floods(Instant::now()) => {
                    return self.close(slot, Close::Flood, "too many frames");
                }
                Ok(Some(Heard::Text(text))) => self.asked(slot, &text),
                Ok(Some(Heard::Ping(payload))) => {
                    let mut out = Vec::new();
                    codec::write_pong(&payload, &mut out);
                    self.write(slot, &out);
                }
                Ok(Some(Heard::Pong | Heard::Empty)) => {}
                Err(_) if conn.ending.is_some() => return self.remove(slot),
                Err(close) => return self.close(slot, close, ""),
            }
        }
        self.make_room(slot);
    }

    /// The client has closed: it is answered, unless it answers itself.
    fn closed(&mut self, slot: u32, code: Option<u16>) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        if conn.ending.is_some() {
            return self.remove(slot);
        }
        let mut out = Vec::new();
        codec::write_close(code.unwrap_or(Close::Normal as u16), "", &mut out);
        conn.is_over = true;
        self.door.app.metrics.websocket_closed(Close::Normal as u16);
        conn.ending = Some(Instant::now() + super::CLOSE_WITHIN);
        self.drop_watches(slot, false);
        self.put(slot, &out);
        let is_written = self.conns.get(slot as usize).is_some_and(|conn| !conn.is_blocked());
        if is_written {
            self.remove(slot);
        }
    }

    /// Counts what is held of what is not heard yet.
    fn make_room(&mut self, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        if conn.ending.is_some() {
            return;
        }
        if conn.may_not_send(conn.reader.held()) {
            return self.close(slot, Close::TooLarge, TOO_EARLY);
        }
        let held = conn.reader.held() + conn.unread.len();
        if held == 0 {
            conn.room = None;
            return;
        }
        let room = self.room_for(slot, held);
        if let Some(conn) = self.conns.get_mut(slot as usize) {
            conn.room = room;
        }
    }

    /// Room for so many bytes, with that which there is already. Without any the connection is closed.
    fn room_for(&mut self, slot: u32, len: usize) -> Option<Box<Held>> {
        let conn = self.conns.get_mut(slot as usize)?;
        let mut room = conn.room.take().unwrap_or_else(|| {
            let holder = conn.counted.holder().clone();
            Box::new(self.door.app.bodies.begin(Place::Memory, holder))
        });
        let grown = room.grow(len as u64);
        grown.map_err(|refusal| self.refuse(slot, &refusal)).ok().map(|()| room)
    }

    /// Reads what a client asks for, once it is known that there is room for it.
    fn asked(&mut self, slot: u32, text: &[u8]) {
        let Some(conn) = self.conns.get(slot as usize) else { return };
        if conn.may_not_send(text.len()) {
            return self.close(slot, Close::TooLarge, TOO_EARLY);
        }
        let Some(room) = self.room_for(slot, text.len()) else { return };
        let ask = match Ask::read(text) {
            Ok(ask) => ask,
            Err(error) => {
                let member = error.field.as_deref().unwrap_or_default();
                let why = format!("{member} {}", error.detail);
                return self.close(slot, Close::Malformed, why.trim());
            }
        };
        let Some(conn) = self.conns.get(slot as usize) else { return };
        if matches!(conn.known, Known::Not { .. }) && !matches!(ask, Ask::Auth { .. }) {
            return self.close(slot, Close::NotAuthenticated, "the first frame must be auth");
        }
        match ask {
            Ask::Ping => {
                let mut out = Vec::new();
                form::write(&Said::Pong, &mut out);
                self.write(slot, &out);
            }
            Ask::Auth { token } => self.judge(slot, token),
            Ask::Watch { watch, of, after } => self.watch(slot, watch, of, after),
            Ask::Unwatch { watch } => self.unwatch(slot, &watch),
            Ask::Submit { id, key, task } => {
                self.call(slot, Call { id, what: What::Submit { key, task, room } });
            }
            Ask::Cancel { id, task } => self.call(slot, Call { id, what: What::Cancel(task) }),
            Ask::Retry { id, task, from } => {
                self.call(slot, Call { id, what: What::Retry(task, from) });
            }
        }
    }

    /// Has a token looked at.
    pub(super) fn judge(&mut self, slot: u32, token: String) {
        let (app, desk) = (self.app(), self.desk.clone());
        let Some(to) = self.handle(slot) else { return };
        let Some(conn) = self.conn(to) else { return };
        conn.is_judging = true;
        let speaker = conn.speaker.clone();
        tokio::spawn(async move {
            let judged = speaker.with(&app, &token).await;
            desk.put(Arrival::Judged { to, judged });
        });
    }

    /// Has a call made.
    fn call(&mut self, slot: u32, call: Call) {
        let (app, desk) = (self.app(), self.desk.clone());
        let Some(to) = self.handle(slot) else { return };
        let Some(conn) = self.conn(to) else { return };
        conn.calls += 1;
        let speaker = Arc::clone(&conn.speaker);
        // It runs to its end, whether or not its client is there by then: what was stored is acted on.
        self.door.tracker.spawn(async move {
            let frame = calls::make(&app, &speaker, call).await;
            desk.put(Arrival::Answered { to, frame });
        });
    }
}
