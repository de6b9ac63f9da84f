//! The scripted upstreams: they do as the path says, and write down every call that reaches them.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::chance::{Chance, filler};
use crate::clock::pause_ms;
use crate::ledger::Call;
use crate::scene::{Door, LANE_FIELD, LEN_FIELD, NAME_FIELD, Origin, PROMISES};
use crate::script::Script;
use crate::verdict::Check;
use crate::world::World;

/// The header field that names the group of a [`Script::Hold`].
pub(crate) const GROUP_FIELD: &str = "x-judge-group";
/// The header field that says how many a group has.
pub(crate) const GROUP_SIZE_FIELD: &str = "x-judge-of";

#[derive(Debug)]
pub(crate) struct Upstreams {
    world: Arc<World>,
    /// Connections open now.
    open: AtomicUsize,
    /// Calls of each task so far.
    turns: Mutex<HashMap<String, u32>>,
    groups: Mutex<HashMap<String, Arc<watch::Sender<Group>>>>,
}

/// Calls that wait for each other.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    inside: usize,
    most: usize,
}

impl Upstreams {
    /// Upstreams that nobody can call yet.
    pub(crate) fn new(world: Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world,
            open: AtomicUsize::new(0),
            turns: Mutex::default(),
            groups: Mutex::default(),
        })
    }

    /// Accepts connections for as long as the judge lives.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, origin: Origin) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors at the worst: they come back.
                pause_ms(10).await;
                continue;
            };
            let upstreams = self.clone();
            // Whatever comes by this connection is of the process that lives now: the judge waits
            // for the connections of a dead one to be gone before the next begins.
            let life = self.world.life();
            self.open.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                upstreams.clone().talk(stream, origin, life).await;
                upstreams.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    async fn talk(self: Arc<Self>, stream: TcpStream, origin: Origin, life: u32) {
        _ = stream.set_nodelay(true);
        let service = service_fn(move |request| {
            let upstreams = self.clone();
            async move { upstreams.answer(request, origin, life).await }
        });
        // A connection that breaks is what this is about.
        _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// Waits until no connection of a dead server is left, for a second at most.
    pub(crate) async fn until_quiet(&self) {
        for _ in 0..100 {
            if self.open.load(Ordering::SeqCst) == 0 {
                // One more look at the listeners: a connection may still stand in their queues.
                pause_ms(5).await;
                if self.open.load(Ordering::SeqCst) == 0 {
                    return;
                }
            }
            pause_ms(10).await;
        }
    }

    /// The most calls of a group that were inside at once.
    pub(crate) fn most_of(&self, group: &str) -> usize {
        self.group(group).borrow().most
    }

    fn group(&self, name: &str) -> Arc<watch::Sender<Group>> {
        let mut groups = self.groups.lock().expect("nothing panics while it is held");
        groups.entry(name.to_owned()).or_default().clone()
    }

    /// Answers one call; an error closes the connection without an answer.
    async fn answer(
        &self,
        request: Request<Incoming>,
        origin: Origin,
        life: u32,
    ) -> io::Result<Response<Full<Bytes>>> {
        let Some((door, script)) = play_of(request.uri().path()) else {
            return Ok(plain(404));
        };
        let (head, body) = request.into_parts();
        let field = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let name = field(NAME_FIELD);
        let task = field("relais-task");
        let call = Call {
            name: name.clone(),
            door,
            origin,
            lane: field(LANE_FIELD),
            task: task.clone(),
            key: field("idempotency-key"),
            life,
            begun: self.world.now(),
            ended: None,
            answered: None,
            answer_len: 0,
        };
        let visit = Visit::begin(&self.world, call);
        let body =
            Limited::new(body, 1 << 20).collect().await.map_err(io::Error::other)?.to_bytes();
        self.check_body(&name, &task, &field(LEN_FIELD), &body);
        let turn = {
            let mut turns = self.turns.lock().expect("nothing panics while it is held");
            let turn = turns.entry(task).or_default();
            *turn += 1;
            *turn
        };
        match script {
            Script::Hold => self.hold(&field(GROUP_FIELD), &field(GROUP_SIZE_FIELD)).await,
            Script::Slow => pause_ms(Chance::of_text(&name).within(50, 300)).await,
            _ => {}
        }
        play(visit, script, door, turn, &name)
    }

    fn check_body(&self, name: &str, task: &str, len: &str, body: &Bytes) {
        let len = len.parse().unwrap_or(0);
        self.world.ledger().verdict.note(
            Check::Inputs,
            Some(task),
            body[..] == filler(name, len),
            || format!("the upstream got other bytes than the {len} handed in as {name}"),
        );
    }

    /// Waits until the group is complete; not for ever.
    async fn hold(&self, group: &str, size: &str) {
        let size = size.parse().unwrap_or(1);
        let group = self.group(group);
        let mut seen = group.subscribe();
        group.send_modify(|group| {
            group.inside += 1;
            group.most = group.most.max(group.inside);
        });
        let _leaving = Leaving(group.clone());
        _ = tokio::time::timeout(HOLD_MAX, seen.wait_for(|group| group.most >= size)).await;
        // So that a caller that is one too many is seen as well.
        pause_ms(50).await;
    }
}

struct Leaving(Arc<watch::Sender<Group>>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.send_modify(|group| group.inside -= 1);
    }
}

/// A call while it is in the house; its end is written down whatever becomes of it.
struct Visit {
    world: Arc<World>,
    index: usize,
}

impl Visit {
    fn begin(world: &Arc<World>, call: Call) -> Self {
        let mut ledger = world.ledger();
        ledger.calls.push(call);
        Self { world: world.clone(), index: ledger.calls.len() - 1 }
    }

    /// The answer, and that it was given.
    fn answer(self, status: u16, body: Vec<u8>) -> Response<Full<Bytes>> {
        {
            let mut ledger = self.world.ledger();
            let call = &mut ledger.calls[self.index];
            call.answered = Some(status);
            call.answer_len = body.len();
        }
        let mut response = plain(status);
        *response.body_mut() = Full::new(body.into());
        response
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let now = self.world.now();
        let mut ledger = self.world.ledger();
        ledger.calls[self.index].ended = Some(now);
    }
}

fn play(
    visit: Visit,
    script: Script,
    door: Door,
    turn: u32,
    name: &str,
) -> io::Result<Response<Full<Bytes>>> {
    let mut chance = Chance::of_text(name);
    let refusals = 1 + u32::from(chance.happens(50));
    match script {
        Script::Flaky if turn <= refusals => {
            let mut response = visit.answer(503, b"busy".to_vec());
            let after = chance.weighted(&[(Some("0"), 70), (Some("1"), 3), (None, 27)]);
            if let Some(after) = after {
                let value = http::HeaderValue::from_static(after);
                response.headers_mut().insert(http::header::RETRY_AFTER, value);
            }
            Ok(response)
        }
        Script::Drop if turn == 1 => Err(io::Error::other("the script says so")),
        Script::Broken if turn <= 2 || !door.promise().repeatable => {
            let body = answer_bytes(name, visit.index, 100);
            Ok(visit.answer(500, body))
        }
        _ => {
            let len = if chance.happens(3) {
                chance.within(70_000, 150_000)
            } else {
                chance.within(0, 400)
            };
            let len = usize::try_from(len).unwrap_or(0);
            let body = answer_bytes(name, visit.index, len);
            Ok(visit.answer(200, body))
        }
    }
}

/// What the upstream answers in its `index`-th call: no two calls are answered alike.
pub(crate) fn answer_bytes(name: &str, index: usize, len: usize) -> Vec<u8> {
    let mut body = format!("{{\"name\":\"{name}\",\"call\":{index}}}\n").into_bytes();
    body.extend_from_slice(&filler(&format!("{name} {index}"), len));
    body
}

/// The call that an answer came from, as its first line says.
pub(crate) fn index_of_answer(body: &[u8]) -> Option<usize> {
    let line = body.split(|byte| *byte == b'\n').next()?;
    let document: serde_json::Value = serde_json::from_slice(line).ok()?;
    usize::try_from(document["call"].as_u64()?).ok()
}

fn play_of(path: &str) -> Option<(Door, Script)> {
    let mut segments = path.trim_start_matches('/').split('/');
    let queue = segments.next()?;
    let promise = PROMISES.iter().find(|promise| promise.queue == queue)?;
    Some((promise.door, Script::parse(segments.next()?)?))
}

fn plain(status: u16) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/octet-stream")
        .body(Full::default());
    response.expect("a plain answer")
}

/// Listens on a port that the system picks; it stays the judge's to the end.
///
/// # Errors
/// Where there is none.
pub(crate) async fn listen() -> anyhow::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("could not listen")?;
    let port = listener.local_addr().context("could not listen")?.port();
    Ok((listener, port))
}

/// How long a call waits for the others of its group.
const HOLD_MAX: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_which_call_it_belongs_to() {
        let body = answer_bytes("a", 7, 1_000);
        assert_eq!(index_of_answer(&body), Some(7));
        assert_eq!(index_of_answer(b"busy"), None);
    }

    #[test]
    fn the_path_says_what_to_play() {
        assert_eq!(play_of("/once/slow/a"), Some((Door::Once, Script::Slow)));
        assert_eq!(play_of("/once/other/a"), None);
        assert_eq!(play_of("/"), None);
    }
}
