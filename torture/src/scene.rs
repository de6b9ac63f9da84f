//! The scene of a torture: which queues, routes and upstreams there are, and what they promise.
//!
//! The table below is what Relais is told in its file and what the checks hold it to.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context as _;

use crate::chance::Chance;

/// Where a request comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Door {
    /// `POST` to an upstream that declared nothing: never sent twice.
    Once,
    /// `POST` to an upstream declared idempotent.
    Twice,
    /// `GET` and `PUT`.
    Safe,
    /// `POST` in lanes with limits.
    Lanes,
    /// `POST` in lanes of strict order.
    Strict,
    /// `POST` by the hand-over: answered directly if it is quick.
    Auto,
    /// `POST /v1/tasks`, run by workers.
    Work,
}

/// Which of the two scripted upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// Answers as it should.
    Steady,
    /// Refuses, drops connections and asks for pauses.
    Shaky,
}

/// What a door promises.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    pub(crate) door: Door,
    /// Its queue, and the first segment of its path.
    pub(crate) queue: &'static str,
    /// The upstream behind it; workers otherwise.
    pub(crate) origin: Option<Origin>,
    /// Attempts at once.
    pub(crate) concurrency: Option<usize>,
    /// Attempts at once in one lane.
    pub(crate) concurrency_per_lane: Option<usize>,
    /// How many lanes the load uses; 0 is none.
    pub(crate) lanes: usize,
    /// Whether a lane is a FIFO.
    pub(crate) strict: bool,
    /// Whether a lost answer may be asked for again.
    pub(crate) repeatable: bool,
    /// What the route's table says besides.
    route: &'static str,
}

const PLAIN: Promise = Promise {
    door: Door::Once,
    queue: "once",
    origin: Some(Origin::Steady),
    concurrency: None,
    concurrency_per_lane: None,
    lanes: 0,
    strict: false,
    repeatable: false,
    route: "methods = [\"POST\"]\nmode = \"async\"",
};

pub(crate) const PROMISES: [Promise; 7] = [
    Promise { origin: Some(Origin::Shaky), ..PLAIN },
    Promise {
        door: Door::Twice,
        queue: "twice",
        origin: Some(Origin::Shaky),
        repeatable: true,
        route: "methods = [\"POST\"]\nmode = \"async\"\nidempotent = true",
        ..PLAIN
    },
    Promise {
        door: Door::Safe,
        queue: "safe",
        concurrency: Some(8),
        repeatable: true,
        route: "methods = [\"GET\", \"PUT\"]\nmode = \"async\"",
        ..PLAIN
    },
    Promise {
        door: Door::Lanes,
        queue: "lanes",
        concurrency: Some(6),
        concurrency_per_lane: Some(2),
        lanes: 5,
        ..PLAIN
    },
    Promise {
        door: Door::Strict,
        queue: "strict",
        lanes: 3,
        strict: true,
        repeatable: true,
        route: "methods = [\"POST\"]\nmode = \"async\"\nidempotent = true",
        ..PLAIN
    },
    Promise {
        door: Door::Auto,
        queue: "auto",
        route: "methods = [\"POST\"]\nmode = \"auto\"\nwait = \"150ms\"",
        ..PLAIN
    },
    Promise {
        door: Door::Work,
        queue: "work",
        origin: None,
        concurrency: Some(24),
        concurrency_per_lane: Some(5),
        lanes: 6,
        repeatable: true,
        ..PLAIN
    },
];

impl Door {
    /// What it promises.
    pub(crate) fn promise(self) -> &'static Promise {
        PROMISES.iter().find(|promise| promise.door == self).expect("every door is in the table")
    }
}

/// The name of a lane.
pub(crate) fn lane_name(door: Door, lane: usize) -> String {
    format!("{}-{lane}", door.promise().queue)
}

/// How long a worker's lease lasts without a heartbeat.
pub(crate) const LEASE_MS: u64 = 2_000;
/// Calls at once that each upstream takes.
pub(crate) const ORIGIN_CONCURRENCY: usize = 24;
/// The header field by which the judge names a request to its upstream.
pub(crate) const NAME_FIELD: &str = "x-judge";
/// The header field that says how long the body is that the judge sent.
pub(crate) const LEN_FIELD: &str = "x-judge-len";
/// The header field from which routes take the lane.
pub(crate) const LANE_FIELD: &str = "x-lane";

/// Where everybody listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// The front door and the task API.
    pub(crate) listen: u16,
    /// The port of the listener that has the metrics.
    pub(crate) admin: u16,
    /// The upstream that answers.
    pub(crate) steady: u16,
    /// The upstream that does not always.
    pub(crate) shaky: u16,
}

/// The text of `relais.toml`.
pub(crate) fn configuration(folder: &Path, ports: Ports) -> String {
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:{}\"\nadmin_listen = \"127.0.0.1:{}\"\n\n\
         [store]\nurl = \"sqlite:{}\"\n",
        ports.listen,
        ports.admin,
        folder.join("relais.db").display()
    );
    for port in [ports.steady, ports.shaky] {
        _ = write!(
            text,
            "\n[upstream.\"http://127.0.0.1:{port}\"]\nconcurrency = {ORIGIN_CONCURRENCY}\n"
        );
    }
    for promise in &PROMISES {
        let queue = promise.queue;
        if let Some(origin) = promise.origin {
            let port = match origin {
                Origin::Steady => ports.steady,
                Origin::Shaky => ports.shaky,
            };
            let lane = if promise.lanes > 0 {
                format!("lane = \"header:{LANE_FIELD}\"\n")
            } else {
                String::new()
            };
            _ = write!(
                text,
                "\n[[route]]\npath = \"/{queue}/{{*rest}}\"\nupstream = \"http://127.0.0.1:{port}\"\n\
                 queue = \"{queue}\"\nallow = [\"delay\", \"label\"]\n\
                 ticket = [\"read\", \"cancel\", \"retry\"]\n{lane}{}\n",
                promise.route
            );
        }
        _ = write!(text, "\n[queue.{queue}]\n{}", policy(promise));
    }
    text
}

fn policy(promise: &Promise) -> String {
    let mut text = format!(
        "retry = {{ max_attempts = 6, initial = \"50ms\", max = \"400ms\", factor = 2.0 }}\n\
         lease = \"{LEASE_MS}ms\"\nattempt_timeout = \"60s\"\ndeadline = \"5m\"\nretention = \"7d\"\n"
    );
    if let Some(most) = promise.concurrency {
        _ = writeln!(text, "concurrency = {most}");
    }
    if let Some(most) = promise.concurrency_per_lane {
        _ = writeln!(text, "concurrency_per_lane = {most}");
    }
    if promise.strict {
        text.push_str("order = \"strict\"\n");
    }
    text
}

/// Finds `count` free ports for a server that comes and goes.
///
/// They lie below those that the system hands out by itself: while the server is down, a client
/// that knocks could otherwise be given the server's own port to call from.
///
/// # Errors
/// Where none is free.
pub(crate) fn free_ports(count: usize, chance: &mut Chance) -> anyhow::Result<Vec<u16>> {
    let mut ports = Vec::new();
    for _ in 0..PORT_TRIES {
        let port = u16::try_from(chance.within(20_000, 32_000)).context("a port")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if !ports.contains(&port) && TcpListener::bind(address).is_ok() {
            ports.push(port);
        }
        if ports.len() == count {
            return Ok(ports);
        }
    }
    anyhow::bail!("no free ports between 20000 and 32000")
}

const PORT_TRIES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_every_queue_and_every_route() {
        let ports = Ports { listen: 1, admin: 2, steady: 3, shaky: 4 };
        let text = configuration(Path::new("folder"), ports);
        for promise in &PROMISES {
            assert!(text.contains(&format!("[queue.{}]", promise.queue)), "{text}");
            let is_routed = text.contains(&format!("path = \"/{}/{{*rest}}\"", promise.queue));
            assert_eq!(is_routed, promise.origin.is_some(), "{text}");
        }
        assert_eq!(text.matches("order = \"strict\"").count(), 1);
    }
}
