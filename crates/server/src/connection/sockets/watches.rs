//! The watches of all connections of a shard: streams of events that share sockets.

use bytes::Bytes;
use relais_api::ws::{Close, EndReason, Said, Watched};
use relais_api::{After, Span, codes};
use relais_core::limits;
use tokio::time::Instant;

use super::{Arrival, CLOSE_WITHIN, Handle, READS_MAX, Shard};
use crate::answer::problem::Refusal;
use crate::connection::shard::round::Round;
use crate::connection::shard::slot_of;
use crate::socket::{calls, form};
use crate::watch::cursor::{End, Step};
use crate::watch::stream::{EventStream, Opened};

/// When a watch that cannot be served now is to be asked for again, where nothing says more.
const AGAIN_S: u32 = 2;

/// One watch.
pub(super) struct Watch {
    /// The slot of its connection.
    conn: u32,
    name: Box<str>,
    what: Watching,
    generation: u32,
}

enum Watching {
    /// It waits for news.
    Idle(EventStream),
    /// Somebody else opens it, or brings its next piece.
    Away,
    /// The same, and its connection has ended without its client's having left.
    Leaving,
}

impl Shard {
    /// Begins a watch.
    pub(super) fn watch(&mut self, slot: u32, name: String, of: Watched, after: After) {
        let Some(conn) = self.conns.get(slot as usize) else { return };
        let is_named = |watch: &u32| *self.watches[*watch as usize].name == *name;
        if conn.watches.iter().any(is_named) {
            return self.close(slot, Close::Malformed, "/watch is the name of one that goes on");
        }
        if conn.watches.len() >= limits::SOCKET_WATCHES_MAX {
            let max = limits::SOCKET_WATCHES_MAX as u64;
            let refusal = Refusal::new(&codes::RATE_LIMITED)
                .because("a connection has no more watches than that: end others first")
                .limit(max);
            return self.refuse_watch(slot, &name, &refusal);
        }
        let (speaker, app, desk) = (conn.speaker.clone(), self.app(), self.desk.clone());
        // The connection says that its life is over, for all its watches: theirs are a little longer.
        let life = conn.life.saturating_duration_since(Instant::now()) + CLOSE_WITHIN;
        let generation = self.next_generation();
        let watch = self.watches.insert(Watch {
            conn: slot,
            name: name.as_str().into(),
            what: Watching::Away,
            generation,
        });
        let watch = Handle { slot: slot_of(watch), generation };
        let conn = &mut self.conns[slot as usize];
        conn.watches.push(watch.slot);
        conn.reads += 1;
        let to = Handle { slot, generation: conn.generation };
        tokio::spawn(async move {
            let opened = calls::watch(&app, &speaker, (&name, life), of, after).await;
            desk.put(Arrival::Opened { to, watch, opened });
        });
    }

    /// Ends a watch because its client wants no more of it.
    pub(super) fn unwatch(&mut self, slot: u32, name: &str) {
        let Some(conn) = self.conns.get(slot as usize) else { return };
        let mut watches = conn.watches.iter().copied();
        let Some(watch) = watches.find(|watch| *self.watches[*watch as usize].name == *name) else {
            return;
        };
        self.drop_watch(watch);
        self.say_end(slot, name, EndReason::Unwatched, None);
    }

    fn refuse_watch(&mut self, slot: u32, name: &str, refusal: &Refusal) {
        let problem = self.app().answers.refuse_frame(refusal);
        let reason = if refusal.is_transient() { EndReason::Busy } else { EndReason::Refused };
        let retry_after = refusal
            .is_transient()
            .then(|| Span::from_secs(u64::from(refusal.retry_after_s().unwrap_or(AGAIN_S))));
        let problem = Some(problem);
        let mut out = Vec::new();
        form::write(&Said::End { watch: name, reason, retry_after, problem }, &mut out);
        self.write(slot, &out);
    }

    fn say_end(&mut self, slot: u32, name: &str, reason: EndReason, retry_after: Option<Span>) {
        let mut out = Vec::new();
        let said = Said::End { watch: name, reason, retry_after, problem: None };
        form::write(&said, &mut out);
        self.write(slot, &out);
    }

    /// What became of opening a watch.
    pub(super) async fn opened(&mut self, handle: Handle, opened: Result<Opened, Refusal>) {
        match opened {
            Ok(Opened::Stream(stream, opening)) => {
                self.back(handle, stream, Some(opening)).await;
            }
            Ok(Opened::Over) => {
                let Some((conn, name)) = self.end_watch(handle) else { return };
                self.say_end(conn, &name, EndReason::Over, None);
            }
            Err(refusal) => {
                let Some((conn, name)) = self.end_watch(handle) else { return };
                self.refuse_watch(conn, &name, &refusal);
            }
        }
    }

    /// The stream of a watch comes back.
    pub(super) async fn back(
        &mut self,
        handle: Handle,
        mut stream: EventStream,
        piece: Option<Bytes>,
    ) {
        let watch = self.watches.get_mut(handle.slot as usize);
        let Some(watch) = watch.filter(|watch| watch.generation == handle.generation) else {
            return;
        };
        if let Watching::Leaving = watch.what {
            stream.let_go();
            self.watches.remove(handle.slot as usize);
            return;
        }
        self.topics.join(&stream.follower().channel, handle.slot);
        watch.what = Watching::Idle(stream);
        let conn = watch.conn;
        if let Some(piece) = piece {
            self.write(conn, &piece);
        }
        if let Some(due) = self.advance_alone(handle.slot, Instant::now()).await {
            self.schedule(conn, due);
        }
    }

    /// The store was read for a watch of a connection. Those that had to wait for that come next, and what the
    /// client sent meanwhile.
    pub(super) async fn was_read(&mut self, to: Handle) {
        let Some(conn) = self.conn(to) else { return };
        let was_full = conn.reads == READS_MAX;
        conn.reads -= 1;
        if !was_full {
            return;
        }
        if let Some(due) = self.advance_all(to.slot, Instant::now()).await {
            self.schedule(to.slot, due);
        }
        self.listen(to.slot).await;
    }

    /// Tells all watches of a channel what happened.
    pub(super) async fn spread(&mut self, topic: u32) {
        let Some((channel, slots)) = self.topics.followers(topic) else { return };
        let next = |slot: &u32| match &self.watches.get(*slot as usize)?.what {
            Watching::Idle(stream) => Some(stream.follower().cursor.next()),
            Watching::Away | Watching::Leaving => None,
        };
        let nexts = slots.iter().filter_map(next);
        let Some(mut round) = Round::for_all(&channel, nexts) else { return };
        for slot in slots {
            self.advance(slot, &mut round, Instant::now()).await;
        }
    }

    /// Does for all watches of a connection what is to be done; answers when there is more to do if
    /// nothing happens.
    pub(super) async fn advance_all(&mut self, slot: u32, now: Instant) -> Option<Instant> {
        let watches = self.conns.get(slot as usize)?.watches.clone();
        let mut due: Option<Instant> = None;
        for watch in watches {
            let next = self.advance_alone(watch, now).await;
            due = due.into_iter().chain(next).min();
        }
        due
    }

    async fn advance_alone(&mut self, slot: u32, now: Instant) -> Option<Instant> {
        let Watching::Idle(stream) = &self.watches.get(slot as usize)?.what else { return None };
        let follower = stream.follower();
        let mut round = Round::new(follower.channel.view(follower.cursor.next()));
        self.advance(slot, &mut round, now).await
    }

    async fn advance(&mut self, slot: u32, round: &mut Round, now: Instant) -> Option<Instant> {
        self.turns.take().await;
        loop {
            let watch = self.watches.get_mut(slot as usize)?;
            let conn = self.conns.get(watch.conn as usize)?;
            // A client that does not read is told later, from the log.
            if conn.is_blocked() || conn.ending.is_some() {
                return None;
            }
            let (conn, Watching::Idle(stream)) = (watch.conn, &mut watch.what) else {
                return None;
            };
            match stream.step(&round.view, now) {
                Step::Tell(range) => {
                    let piece = round.piece(stream, range, Bytes::from);
                    stream.told(&piece.batch, piece.count);
                    self.write(conn, &piece.framed);
                }
                Step::Quiet => match stream.quiet() {
                    Some(piece) => self.write(conn, &piece),
                    None => {
                        self.send_away(slot);
                        return None;
                    }
                },
                Step::Read => {
                    self.send_away(slot);
                    return None;
                }
                // The connection says so, for all its watches.
                Step::End(End::Stop) => return None,
                Step::End(end) => {
                    let mut out = Vec::new();
                    stream.end(end, &mut out);
                    self.drop_watch(slot);
                    self.write(conn, &out);
                    return None;
                }
                Step::Wait(due) => return Some(due),
            }
        }
    }

    /// Lets a task of its own bring the next piece of a stream, for which the store must be read; later, if
    /// that is done for others of its connection.
    fn send_away(&mut self, slot: u32) {
        let Some(known) = self.watches.get_mut(slot as usize) else { return };
        let Some(conn) = self.conns.get_mut(known.conn as usize) else { return };
        if conn.reads >= READS_MAX {
            return;
        }
        let Watching::Idle(mut stream) = std::mem::replace(&mut known.what, Watching::Away) else {
            return;
        };
        conn.reads += 1;
        // It is the last to be read for again: one with much to read leaves room for the others.
        conn.watches.retain(|other| *other != slot);
        conn.watches.push(slot);
        let to = Handle { slot: known.conn, generation: conn.generation };
        let (desk, watch) = (self.desk.clone(), Handle { slot, generation: known.generation });
        tokio::spawn(async move {
            let piece = stream.piece_now().await;
            desk.put(Arrival::Back { to, watch, stream, piece });
        });
    }

    /// A watch that did not come to be. Answers whose it was, and its name.
    fn end_watch(&mut self, handle: Handle) -> Option<(u32, Box<str>)> {
        let watch = self.watches.get(handle.slot as usize)?;
        if watch.generation != handle.generation {
            return None;
        }
        let (conn, name) = (watch.conn, watch.name.clone());
        let is_leaving = matches!(watch.what, Watching::Leaving);
        self.drop_watch(handle.slot);
        (!is_leaving).then_some((conn, name))
    }

    /// Forgets a watch.
    fn drop_watch(&mut self, slot: u32) {
        self.topics.leave(slot);
        let Some(watch) = self.watches.try_remove(slot as usize) else { return };
        let is_leaving = matches!(watch.what, Watching::Leaving);
        // The slot of a connection that has ended may be another's.
        if let Some(conn) = self.conns.get_mut(watch.conn as usize).filter(|_| !is_leaving) {
            conn.watches.retain(|other| *other != slot);
        }
    }

    /// Forgets all watches of a connection. `lets_go`: its client has not left.
    pub(super) fn drop_watches(&mut self, slot: u32, lets_go: bool) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        for watch in std::mem::take(&mut conn.watches) {
            self.topics.leave(watch);
            let Some(known) = self.watches.get_mut(watch as usize) else { continue };
            match &mut known.what {
                Watching::Idle(stream) if lets_go => stream.let_go(),
                Watching::Away if lets_go => {
                    known.what = Watching::Leaving;
                    continue;
                }
                Watching::Idle(_) | Watching::Away | Watching::Leaving => {}
            }
            self.watches.remove(watch as usize);
        }
    }
}
