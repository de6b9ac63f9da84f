//! WebSockets without the HTTP library, as event streams are (`shard`): an idle one has neither a task nor a
//! timer nor a buffer. A shard owns thousands of them and the watches of all, and reads into one buffer.
//!
//! What a watch says, and when, is decided by its cursor; what a call does, by `socket`. Here bytes come and go.
//! What must wait, for the store say, is done by a task of its own, which brings back what came of it.

mod conn;
mod hearing;
mod taking;
mod watches;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mio::{Interest, Registry, Token};
use relais_api::Span;
use relais_api::ws::{Close, Doing, Said};
use relais_core::limits;
use slab::Slab;
use tokio::time::Instant;

use self::conn::{Conn, Known, Link, Quiet};
pub(super) use self::taking::take_over;
use self::watches::Watch;
use super::shard::desk::Desk;
use super::shard::slot_of;
use super::shard::topics::Topics;
use super::shard::waking::{Desks, Turns, Waking};
use super::shard::wheel::{TICK, Wheel};
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::Standing;
use crate::service::Door;
use crate::socket::open::Counted;
use crate::socket::speaker::Speaker;
use crate::socket::{codec, form};
use crate::watch::cursor;
use crate::watch::stream::{EventStream, Opened};

const AUTH_WITHIN: Duration = limits::SOCKET_AUTH_WITHIN;
const FRAMES_WITHIN: Duration = limits::SOCKET_FRAMES_WITHIN;
const FRAMES_MAX: u32 = limits::SOCKET_FRAMES_MAX;
const CALLS_MAX: usize = limits::SOCKET_CALLS_MAX;
/// Watches of a connection that the store is read for at once: each may bring a piece for a client that does
/// not read. The others wait, and so does what the client sends.
const READS_MAX: usize = 4;
/// How long a client may be silent until it is sent a ping: proxies commonly end what is silent for a minute.
const PING_AFTER: Duration = Duration::from_secs(30);
/// How long it has to answer.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// How long a close is waited for, once one was sent.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// The same while the server stops, which must not wait for a client that is silent.
const STOP_WITHIN: Duration = Duration::from_secs(1);
/// What is counted of a connection that ended without a close (RFC 6455, 7.1.5).
const BROKEN: u16 = 1_006;
/// The one buffer of a shard, into which all its sockets are read.
const SCRATCH_BYTES: usize = 32 << 10;
/// How often one socket is read until others have their turn.
const READS_AT_ONCE: usize = 4;

/// The WebSockets of a server.
#[derive(Default)]
pub(crate) struct Sockets(Desks<Arrival>);

/// What a shard is handed.
enum Arrival {
    /// A connection, with what was read behind its handshake.
    New { link: Link, early: Bytes, first: Box<First> },
    /// A token was looked at.
    Judged { to: Handle, judged: Result<(Speaker, Standing), Refusal> },
    /// A call was answered by this frame.
    Answered { to: Handle, frame: Vec<u8> },
    /// A watch was opened, or was not.
    Opened { to: Handle, watch: Handle, opened: Result<Opened, Refusal> },
    /// The stream of a watch was away, and comes with its next piece; without one it is over.
    Back { to: Handle, watch: Handle, stream: EventStream, piece: Option<Bytes> },
}

/// What the handshake of a connection said.
struct First {
    speaker: Speaker,
    standing: Option<Standing>,
    token: Option<String>,
    counted: Counted,
}

/// A connection or a watch, told from others that had its slot.
#[derive(Debug, Clone, Copy)]
struct Handle {
    slot: u32,
    generation: u32,
}

impl Sockets {
    fn take(&self, door: &Arc<Door>, arrival: Arrival) {
        let begin = |waking, registry| {
            door.tracker.spawn(Shard::new(door.clone(), &waking, registry).run(waking));
        };
        self.0.put(&door.app.stop, begin, arrival);
    }
}

struct Shard {
    door: Arc<Door>,
    desk: Arc<Desk<Arrival>>,
    registry: Registry,
    /// Boxed: a table that grows leaves copies of what it held behind.
    conns: Slab<Box<Conn>>,
    watches: Slab<Watch>,
    /// Who is told of what happens: watches.
    topics: Topics,
    /// When something is to be done for a connection, or for one of its watches.
    wheel: Wheel,
    scratch: Vec<u8>,
    /// Connections that have more to read than others were to wait for.
    again: VecDeque<Handle>,
    generation: u32,
    turns: Turns,
}

impl Shard {
    fn new(door: Arc<Door>, waking: &Waking<Arrival>, registry: Registry) -> Self {
        Self {
            door,
            desk: waking.desk.clone(),
            registry,
            conns: Slab::new(),
            watches: Slab::new(),
            topics: Topics::new(waking.desk.inbox().clone()),
            wheel: Wheel::new(Instant::now()),
            scratch: vec![0; SCRATCH_BYTES],
            again: VecDeque::new(),
            generation: 0,
            turns: Turns::default(),
        }
    }

    /// Serves until the server stops and all connections have ended.
    async fn run(mut self, mut waking: Waking<Arrival>) {
        while !(waking.is_stopping() && self.conns.is_empty()) {
            if waking.wait(self.next_moment()).await {
                self.stop();
            }
            for (slot, is_writable) in waking.ready() {
                self.ready(slot, is_writable).await;
            }
            for arrival in self.desk.arrivals() {
                self.arrive(arrival).await;
            }
            for topic in self.desk.news() {
                self.spread(topic).await;
            }
            for (tick, slot) in self.wheel.turn(Instant::now()) {
                self.tick(tick, slot).await;
            }
            for handle in std::mem::take(&mut self.again) {
                if self.conn(handle).is_some() {
                    self.listen(handle.slot).await;
                }
            }
        }
    }

    fn next_moment(&self) -> Option<Instant> {
        if !self.again.is_empty() {
            return Some(Instant::now());
        }
        (!self.conns.is_empty()).then(|| self.wheel.next())
    }

    /// The rules that hold now.
    fn app(&self) -> Arc<App> {
        self.door.current()
    }

    fn conn(&mut self, handle: Handle) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(handle.slot as usize)?;
        (conn.generation == handle.generation).then_some(&mut **conn)
    }

    fn handle(&self, slot: u32) -> Option<Handle> {
        let generation = self.conns.get(slot as usize)?.generation;
        Some(Handle { slot, generation })
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    async fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::New { link, early, first } => self.begin(link, &early, *first).await,
            Arrival::Judged { to, judged } => {
                let Some(conn) = self.conn(to) else { return };
                conn.is_judging = false;
                match judged {
                    Ok((speaker, standing)) => {
                        conn.speaker = Arc::new(speaker);
                        self.know(to.slot, standing);
                        self.listen(to.slot).await;
                    }
                    Err(refusal) => self.refuse(to.slot, &refusal),
                }
            }
            Arrival::Answered { to, frame } => {
                let Some(conn) = self.conn(to) else { return };
                conn.calls -= 1;
                let was_full = conn.calls + 1 == CALLS_MAX;
                self.write(to.slot, &frame);
                if was_full {
                    self.listen(to.slot).await;
                }
            }
            Arrival::Opened { to, watch, opened } => {
                self.opened(watch, opened).await;
                self.was_read(to).await;
            }
            Arrival::Back { to, watch, stream, piece } => {
                self.back(watch, stream, piece).await;
                self.was_read(to).await;
            }
        }
    }

    async fn begin(&mut self, mut link: Link, early: &[u8], first: First) {
        let slot = self.conns.vacant_key();
        if self.registry.register(&mut link, Token(slot), Interest::READABLE).is_err() {
            return;
        }
        let (slot, now) = (slot_of(slot), Instant::now());
        let life = now + cursor::life(self.door.app.engine.chance().unit());
        let generation = self.next_generation();
        let First { speaker, standing, token, counted } = first;
        let conn = Conn::new(link, speaker, counted, (now, life), generation);
        self.conns.insert(Box::new(conn));
        self.schedule(slot, now + TICK);
        if self.door.app.stop.is_cancelled() {
            return self.drain(slot);
        }
        match (token, standing) {
            (Some(token), _) => self.judge(slot, token),
            (None, Some(standing)) => self.know(slot, standing),
            (None, None) => {}
        }
        self.hear(slot, early);
        self.listen(slot).await;
    }

    /// It is known who asks.
    fn know(&mut self, slot: u32, standing: Standing) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        let (now, engine) = (Instant::now(), &self.door.app.engine);
        conn.knows(standing, |standing| {
            now + standing.until.map(|until| until.since(engine.now())).unwrap_or_default()
        });
        let left = conn.life.saturating_duration_since(now).as_secs();
        let mut out = Vec::new();
        form::write(&Said::Ready { lifetime: Span::from_secs(left) }, &mut out);
        self.schedule(slot, now + TICK);
        self.write(slot, &out);
    }

    /// What a connection came with is not taken.
    fn refuse(&mut self, slot: u32, refusal: &Refusal) {
        let problem = self.app().answers.refuse_frame(refusal);
        let close = match problem.status {
            401 | 404 | 410 => Close::NotAuthenticated,
            403 => Close::Forbidden,
            _ => Close::Full,
        };
        self.close(slot, close, &problem.code);
    }

    /// Writes frames, unless a close was written: nothing comes behind that.
    fn write(&mut self, slot: u32, frames: &[u8]) {
        let conn = self.conns.get(slot as usize);
        if conn.is_some_and(|conn| conn.ending.is_none()) {
            self.put(slot, frames);
        }
    }

    /// Writes bytes; what the socket does not take waits until it does.
    fn put(&mut self, slot: u32, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        let was_blocked = conn.is_blocked();
        let written = conn.write(bytes, Instant::now());
        if written.is_err() {
            return self.remove(slot);
        }
        if conn.waiting.len() > limits::SOCKET_WAITING_BYTES_MAX {
            return self.close(slot, Close::Slow, "too much waits to be read");
        }
        if conn.is_blocked() && !was_blocked {
            let patience = conn.patience();
            self.want(slot, Interest::READABLE | Interest::WRITABLE);
            self.schedule(slot, patience);
        }
    }

    /// The system has news of a socket.
    async fn ready(&mut self, slot: u32, is_writable: bool) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        if is_writable && conn.is_blocked() {
            let waited = conn.waiting.len();
            if conn.flush(Instant::now()).is_err() {
                return self.remove(slot);
            }
            let (is_blocked, reads) = (conn.is_blocked(), conn.waiting.len() < waited);
            if reads {
                self.shows_itself(slot);
            }
            let Some(conn) = self.conns.get(slot as usize) else { return };
            if !is_blocked {
                if conn.is_over {
                    return self.remove(slot);
                }
                self.want(slot, Interest::READABLE);
                self.advance_all(slot, Instant::now()).await;
            }
        }
        self.listen(slot).await;
    }

    /// The moment that was set for a connection has come.
    async fn tick(&mut self, tick: u32, slot: u32) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        if conn.due != tick {
            return;
        }
        // What is due before the next turn of the wheel is done now: a right that ends then must not be
        // used longer.
        let (now, soon) = (Instant::now(), Instant::now() + TICK);
        if let Some(until) = conn.ending {
            if until <= now {
                return self.remove(slot);
            }
            return self.schedule(slot, until);
        }
        if conn.is_blocked() && conn.patience() <= now {
            return self.close(slot, Close::Slow, "nothing was read for too long");
        }
        let ends = match conn.known {
            // What comes of that decides.
            _ if conn.is_judging => conn.life,
            Known::Not { by } => by,
            Known::Until(end) => end,
            Known::ForGood => conn.life,
        };
        if conn.life <= now {
            return self.close(slot, Close::Lifetime, "come back");
        }
        let is_known = !matches!(conn.known, Known::Not { .. });
        if ends <= now || (is_known && ends < conn.life && ends <= soon) {
            let why = if is_known { "ticket-expired" } else { "unauthorized" };
            return self.close(slot, Close::NotAuthenticated, why);
        }
        let mut due = ends.min(conn.life);
        if conn.is_blocked() {
            due = due.min(conn.patience());
        }
        match conn.quiet(now) {
            Quiet::Wait(moment) => due = due.min(moment),
            Quiet::Gone => return self.close(slot, Close::Silent, "no answer to a ping"),
            Quiet::Ping => {
                conn.pinged(now);
                due = due.min(now + PONG_WITHIN);
                self.write(slot, codec::PING);
            }
        }
        let watches = self.advance_all(slot, soon).await;
        self.schedule(slot, watches.map_or(due, |moment| moment.min(due)));
    }

    /// Has a connection looked at by then, at the latest.
    fn schedule(&mut self, slot: u32, moment: Instant) {
        if let Some(conn) = self.conns.get_mut(slot as usize) {
            conn.due = self.wheel.set(slot, conn.due, moment);
        }
    }

    fn want(&mut self, slot: u32, wanted: Interest) {
        if let Some(conn) = self.conns.get_mut(slot as usize) {
            let token = Token(slot as usize);
            if self.registry.reregister(&mut conn.link, token, wanted).is_err() {
                self.remove(slot);
            }
        }
    }

    fn stop(&mut self) {
        let slots: Vec<_> = self.conns.iter().map(|(slot, _)| slot_of(slot)).collect();
        for slot in slots {
            self.drain(slot);
        }
    }

    /// The server stops, and waits no longer than that for the client, whatever it was told before.
    fn drain(&mut self, slot: u32) {
        self.shows_itself(slot);
        self.close(slot, Close::Drain, "the server stops");
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        let soon = Instant::now() + STOP_WITHIN;
        let until = conn.ending.map_or(soon, |until| until.min(soon));
        conn.ending = Some(until);
        self.schedule(slot, until);
    }

    /// Says why the connection ends, and waits for its client to close.
    fn close(&mut self, slot: u32, close: Close, reason: &str) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        if conn.ending.is_some() {
            return;
        }
        let until = Instant::now() + CLOSE_WITHIN;
        conn.ending = Some(until);
        conn.unread = Vec::new();
        self.door.app.metrics.websocket_closed(close as u16);
        match close.doing() {
            Doing::Ours => self.drop_watches(slot, true),
            Doing::Theirs => self.drop_watches(slot, false),
            // They hold their tasks until it is known.
            Doing::Unknown => {}
        }
        let mut out = Vec::new();
        codec::write_close(close as u16, reason, &mut out);
        self.schedule(slot, until);
        self.put(slot, &out);
    }

    /// A client that was told to close is there, or need not show that it is: it has not left.
    fn shows_itself(&mut self, slot: u32) {
        if self.conns.get(slot as usize).is_some_and(|conn| conn.ending.is_some()) {
            self.drop_watches(slot, true);
        }
    }

    /// A connection is gone.
    fn remove(&mut self, slot: u32) {
        self.drop_watches(slot, false);
        let conn = self.conns.try_remove(slot as usize);
        if conn.is_some_and(|conn| conn.ending.is_none()) {
            self.door.app.metrics.websocket_closed(BROKEN);
        }
    }
}
