//! Streams without the HTTP library. An idle follower is the commonest thing there is, so it must cost
//! almost nothing: it has no task and no timer. A shard owns thousands of sockets, learns from the system
//! which of them hung up, from the feed which channels changed, and has one wheel of seconds.
//!
//! What a stream says, and when, is decided by its cursor; here bytes are written. What has to be read
//! from the store first is read by a task of its own, which brings the stream back.

pub(super) mod desk;
mod member;
pub(super) mod round;
pub(super) mod topics;
pub(super) mod waking;
pub(super) mod wheel;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mio::{Interest, Registry, Token};
use slab::Slab;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::desk::{Arrival, Desk};
use self::member::{Heard, Member, State};
use self::round::Round;
use self::topics::Topics;
use self::waking::{Desks, Turns, Waking};
use self::wheel::{TICK, Wheel};
use super::{Permit, chunk};
use crate::stop::Stop;
use crate::watch::cursor::Step;
use crate::watch::stream::EventStream;

/// How long a follower may take to read what was written: a slow one is closed, and reads on from
/// the log when it comes back.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(10);
/// How long an ended stream waits for its client to close, so that what was written last is not lost
/// to a reset (RFC 9112, 9.6).
const LINGER_FOR: Duration = Duration::from_secs(3);
/// Streams that are ended in one go, and how long the next ones wait: ending one costs as much as telling it
/// something, and those that come back do not all come at once.
const ENDS_AT_ONCE: usize = 20;
const BETWEEN_ENDS: Duration = Duration::from_millis(1);

/// The event streams of a server that were taken back from the HTTP library.
#[derive(Default)]
pub(crate) struct Shards(Desks<Arrival>);

impl Shards {
    /// Takes a stream on, whose head is not written yet. `tracker` has the shards.
    pub(super) fn take(
        &self,
        stop: &Stop,
        tracker: &TaskTracker,
        socket: TcpStream,
        (head, mut stream, opening): (Vec<u8>, EventStream, Bytes),
        permit: Permit,
    ) {
        // A socket that cannot be taken from the runtime is closed.
        let Ok(socket) = socket.into_std() else { return };
        let socket = mio::net::TcpStream::from_std(socket);
        stream.leave_connection();
        let mut first = head;
        chunk::write(&opening, &mut first);
        let begin = |waking, registry| {
            tracker.spawn(Shard::new(&waking, registry).run(waking));
        };
        self.0.put(stop, begin, Arrival::New { socket, stream, first: first.into(), permit });
    }
}

struct Shard {
    desk: Arc<Desk>,
    registry: Registry,
    /// Boxed: a table that grows leaves copies of what it held behind.
    members: Slab<Box<Member>>,
    topics: Topics,
    wheel: Wheel,
    /// Streams to be ended, in this order.
    ending: VecDeque<u32>,
    generation: u32,
    turns: Turns,
}

impl Shard {
    fn new(waking: &Waking<Arrival>, registry: Registry) -> Self {
        Self {
            desk: waking.desk.clone(),
            registry,
            members: Slab::new(),
            topics: Topics::new(waking.desk.inbox().clone()),
            wheel: Wheel::new(Instant::now()),
            ending: VecDeque::new(),
            generation: 0,
            turns: Turns::default(),
        }
    }

    /// Serves until the server stops and all streams have ended.
    async fn run(mut self, mut waking: Waking<Arrival>) {
        while !(waking.is_stopping() && self.members.is_empty()) {
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
            self.end_some();
        }
    }

    fn next_moment(&self) -> Option<Instant> {
        if !self.ending.is_empty() {
            return Some(Instant::now() + BETWEEN_ENDS);
        }
        (!self.members.is_empty()).then(|| self.wheel.next())
    }

    async fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::New { mut socket, stream, first, permit } => {
                let slot = self.members.vacant_key();
                if self.registry.register(&mut socket, Token(slot), Interest::READABLE).is_err() {
                    return;
                }
                let slot = slot_of(slot);
                self.generation = self.generation.wrapping_add(1);
                self.topics.join(&stream.follower().channel, slot);
                let member = Member::new(socket, stream, self.generation, permit);
                self.members.insert(Box::new(member));
                self.schedule(slot, Instant::now() + TICK);
                self.write(slot, &first);
                self.advance_alone(slot).await;
            }
            Arrival::Back { slot, generation, stream, piece } => {
                let member = self.members.get_mut(slot as usize);
                let Some(member) = member.filter(|member| member.generation == generation) else {
                    return;
                };
                member.stream = Some(stream);
                member.state = State::Idle;
                let Some(piece) = piece else { return self.begin_end(slot) };
                if !piece.is_empty() {
                    self.write(slot, &chunk::of(&piece));
                }
                self.advance_alone(slot).await;
            }
        }
    }

    /// Tells all followers of a channel what happened.
    async fn spread(&mut self, topic: u32) {
        let Some((channel, slots)) = self.topics.followers(topic) else { return };
        let stream = |slot: &u32| self.members.get(*slot as usize)?.stream.as_ref();
        let nexts = slots.iter().filter_map(stream).map(|stream| stream.follower().cursor.next());
        let Some(mut round) = Round::for_all(&channel, nexts) else { return };
        for slot in slots {
            self.advance(slot, &mut round, Instant::now()).await;
        }
    }

    /// Does for one follower what is to be done, by what has happened up to now.
    async fn advance_alone(&mut self, slot: u32) -> Option<Instant> {
        self.advance_at(slot, Instant::now()).await
    }

    async fn advance_at(&mut self, slot: u32, now: Instant) -> Option<Instant> {
        let follower = self.members.get(slot as usize)?.stream.as_ref()?.follower();
        let mut round = Round::new(follower.channel.view(follower.cursor.next()));
        self.advance(slot, &mut round, now).await
    }

    /// Does for one follower what is to be done; answers when there is more to do if nothing happens.
    async fn advance(&mut self, slot: u32, round: &mut Round, now: Instant) -> Option<Instant> {
        self.turns.take().await;
        loop {
            let member = self.members.get_mut(slot as usize)?;
            let State::Idle = member.state else { return None };
            let stream = member.stream.as_mut()?;
            match stream.step(&round.view, now) {
                Step::Tell(range) => {
                    let piece = round.piece(stream, range, |bytes| chunk::of(&bytes));
                    stream.told(&piece.batch, piece.count);
                    self.write(slot, &piece.framed);
                }
                // A client that sends nothing more was told what was there, and is taken for gone.
                Step::Quiet | Step::Wait(_) if member.is_closed => {
                    self.begin_end(slot);
                    return None;
                }
                Step::Quiet => match stream.quiet() {
                    Some(piece) => self.write(slot, &chunk::of(&piece)),
                    None => {
                        self.send_away(slot);
                        return None;
                    }
                },
                Step::Read => {
                    self.send_away(slot);
                    return None;
                }
                Step::End(_) => {
                    self.begin_end(slot);
                    return None;
                }
                Step::Wait(due) => return Some(due),
            }
        }
    }

    /// Lets a task of its own bring the next piece of a stream, for which the store must be read.
    fn send_away(&mut self, slot: u32) {
        let Some(member) = self.members.get_mut(slot as usize) else { return };
        let Some(mut stream) = member.stream.take() else { return };
        member.state = State::Away;
        let (desk, generation) = (self.desk.clone(), member.generation);
        tokio::spawn(async move {
            let piece = stream.piece_now().await;
            desk.put(Arrival::Back { slot, generation, stream, piece });
        });
    }

    /// Writes bytes; what the socket does not take waits until it does.
    fn write(&mut self, slot: u32, bytes: &Bytes) {
        let Some(member) = self.members.get_mut(slot as usize) else { return };
        match member.write(bytes) {
            Ok(true) => {}
            Ok(false) => {
                let wanted = Interest::READABLE | Interest::WRITABLE;
                self.watch(slot, wanted);
                self.schedule(slot, Instant::now() + WRITE_MAX);
            }
            Err(_) => self.remove(slot),
        }
    }

    /// The system has news of a socket.
    async fn ready(&mut self, slot: u32, is_writable: bool) {
        let Some(member) = self.members.get_mut(slot as usize) else { return };
        if is_writable && let State::Blocked { rest, .. } = &mut member.state {
            let rest = std::mem::take(rest);
            member.state = State::Idle;
            self.write(slot, &rest);
            let state = self.members.get(slot as usize).map(|member| &member.state);
            if let Some(State::Idle) = state {
                self.watch(slot, Interest::READABLE);
                self.advance_alone(slot).await;
            }
        }
        let Some(member) = self.members.get_mut(slot as usize) else { return };
        match (member.hear(), &member.state) {
            (Heard::Open, _) => {}
            (Heard::Closed, State::Idle) => _ = self.advance_alone(slot).await,
            // What is there is told first.
            (Heard::Closed, State::Blocked { .. } | State::Away | State::Ending) => {}
            (Heard::Closed, State::Lingering { .. }) | (Heard::Broken, _) => self.remove(slot),
        }
    }

    /// The moment that was set for a follower has come.
    async fn tick(&mut self, tick: u32, slot: u32) {
        let Some(member) = self.members.get(slot as usize) else { return };
        if member.due != tick {
            return;
        }
        let now = Instant::now();
        let due = match &member.state {
            State::Blocked { since, .. } if *since + WRITE_MAX <= now => return self.remove(slot),
            State::Lingering { until } if *until <= now => return self.remove(slot),
            // What is due before the next turn of the wheel is done now: a right that ends then must
            // not be used longer.
            State::Idle => self.advance_at(slot, now + TICK).await,
            State::Blocked { since, .. } => Some(*since + WRITE_MAX),
            State::Lingering { until } => Some(*until),
            State::Away | State::Ending => None,
        };
        self.schedule(slot, due.unwrap_or(now + TICK));
    }

    /// Has a follower looked at by then, at the latest.
    fn schedule(&mut self, slot: u32, moment: Instant) {
        if let Some(member) = self.members.get_mut(slot as usize) {
            member.due = self.wheel.set(slot, member.due, moment);
        }
    }

    fn watch(&mut self, slot: u32, wanted: Interest) {
        if let Some(member) = self.members.get_mut(slot as usize) {
            let token = Token(slot as usize);
            if self.registry.reregister(&mut member.socket, token, wanted).is_err() {
                self.remove(slot);
            }
        }
    }

    fn stop(&mut self) {
        let slots: Vec<_> = self.members.iter().map(|(slot, _)| slot_of(slot)).collect();
        for slot in slots {
            match self.members[slot as usize].state {
                State::Idle => {
                    if let Some(stream) = &mut self.members[slot as usize].stream {
                        stream.let_go();
                    }
                    self.begin_end(slot);
                }
                // It does not read what it was told before.
                State::Blocked { .. } => self.remove(slot),
                // Those that are away learn of it there.
                State::Away | State::Ending | State::Lingering { .. } => {}
            }
        }
    }

    /// A stream is over: its turn to be ended comes.
    fn begin_end(&mut self, slot: u32) {
        let Some(member) = self.members.get_mut(slot as usize) else { return };
        let (State::Idle | State::Away) = member.state else { return };
        member.stream = None;
        member.state = State::Ending;
        self.topics.leave(slot);
        self.ending.push_back(slot);
    }

    fn end_some(&mut self) {
        for _ in 0..ENDS_AT_ONCE {
            let Some(slot) = self.ending.pop_front() else { return };
            let Some(member) = self.members.get_mut(slot as usize) else { continue };
            let State::Ending = member.state else { continue };
            let until = Instant::now() + LINGER_FOR;
            if member.end(until) {
                self.schedule(slot, until);
            } else {
                self.remove(slot);
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        self.topics.leave(slot);
        self.members.try_remove(slot as usize);
    }
}

/// Slots are as many as connections, which are far fewer.
pub(super) fn slot_of(index: usize) -> u32 {
    u32::try_from(index).expect("there are fewer connections")
}
