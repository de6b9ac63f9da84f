//! Work: how much of it is accepted a second, and how much is run to its end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;

use super::channel::Running;
use super::program::Program;
use crate::accept::{known, load};
use crate::cycles::cycles;
use crate::http::Connection;
use crate::report::quantile_ms;

/// Connections in a closed loop, where the figure does not name another number.
const CONNECTIONS: usize = 64;
/// How long the service is called before anything counts: Node compiles its code, and the
/// partitions of a Restate that has just started find their leaders.
const WARM_UP: Duration = Duration::from_secs(2);

/// A server with the service behind it, ready to take work.
pub(crate) struct Works {
    /// Where it listens.
    pub(crate) address: String,
    /// The request with a task that nothing runs for now.
    pub(crate) accept: Vec<u8>,
    /// The request that shows whether a task is known; 404 is no.
    pub(crate) known: fn(&str) -> Vec<u8>,
    /// The request with a task that the service runs at once, answered before it did.
    pub(crate) submit: Vec<u8>,
    /// The request that is answered with the result, when there is one.
    pub(crate) result: fn(&str) -> Vec<u8>,
    /// The request that is answered with the result itself.
    pub(crate) call: Vec<u8>,
    /// Its process.
    pub(crate) server: Running,
    /// The service it calls.
    pub(crate) _service: Service,
}

/// The service in Node that runs the work of all.
pub(crate) struct Service {
    /// Its port for plain HTTP.
    pub(crate) plain: u64,
    /// Its port for Restate.
    pub(crate) restate: u64,
    _program: Program,
}

impl Service {
    /// Starts it from where it is installed below `peers`.
    ///
    /// # Errors
    /// Where it does not start.
    pub(crate) async fn start(peers: &Path, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).context("could not make a folder")?;
        let mut node = Command::new("node");
        node.arg(peers.join("restate/service.mjs")).env("RESTATE_LOGGING", "ERROR");
        let mut program = Program::start(&mut node, &folder.join("service.log"))?;
        let line = program.first_line().await?;
        let ports: serde_json::Value =
            serde_json::from_str(&line).with_context(|| format!("the service said {line:?}"))?;
        let port = |name: &str| ports[name].as_u64().context("the service named no port");
        Ok(Self { plain: port("plain")?, restate: port("restate")?, _program: program })
    }
}

/// One figure of work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Figure {
    /// Accepted durably and not run yet, with so many connections.
    Accept(usize),
    /// Submitted, run by the service, the result read: two calls.
    Cycle,
    /// Submitted and answered with the result of the service: one call.
    Call,
    /// Leased by workers, 50 at a time, which only Relais has.
    Lease,
}

impl Figure {
    pub(crate) const ALL: [Self; 5] =
        [Self::Accept(64), Self::Accept(256), Self::Cycle, Self::Call, Self::Lease];

    /// What it is called.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Accept(connections) => format!("accepts, {connections} connections"),
            Self::Cycle => "life cycles, result fetched".to_owned(),
            Self::Call => "life cycles, one call".to_owned(),
            Self::Lease => "life cycles, 50 leased at once".to_owned(),
        }
    }

    /// Whether Restate has it, too.
    pub(crate) fn is_of_both(self) -> bool {
        !matches!(self, Self::Lease)
    }

    /// Measures it: how many a second.
    ///
    /// # Errors
    /// Where a server refuses work, or what it accepted is gone.
    pub(crate) async fn measure(self, works: &Works, span: Duration) -> anyhow::Result<f64> {
        load(&works.address, &works.call, CONNECTIONS, WARM_UP).await?;
        match self {
            Self::Accept(connections) => {
                let load = load(&works.address, &works.accept, connections, span).await?;
                let (p50, p99) =
                    (quantile_ms(&load.latency, 0.5), quantile_ms(&load.latency, 0.99));
                eprintln!("  p50 {p50:.1} ms, p99 {p99:.1} ms");
                known(&works.address, &load.ids, works.known).await?;
                Ok(load.per_second)
            }
            Self::Cycle => fetched(works, span).await,
            Self::Call => {
                Ok(load(&works.address, &works.call, CONNECTIONS, span).await?.per_second)
            }
            Self::Lease => cycles(&works.address, 50, (4, CONNECTIONS), span).await,
        }
    }
}

/// Each connection submits one task, waits for its result, and submits the next.
async fn fetched(works: &Works, span: Duration) -> anyhow::Result<f64> {
    let until = Instant::now() + span;
    let clients = (0..CONNECTIONS).map(|_| async move {
        let mut connection = Connection::open(&works.address).await?;
        let mut ended = 0_u32;
        while Instant::now() < until {
            let answer = connection.call(&works.submit).await?;
            ensure!(answer.status == 202, "{}", answer.head);
            let id = answer.id().context("the answer names no task")?.to_owned();
            let answer = connection.call(&(works.result)(&id)).await?;
            let said = String::from_utf8_lossy(answer.body);
            ensure!(answer.status == 200 && said == r#"{"ok":true}"#, "{}{said}", answer.head);
            ended += 1;
        }
        Ok::<_, anyhow::Error>(ended)
    });
    let began = Instant::now();
    let ended: u32 = try_join_all(clients).await?.iter().sum();
    Ok(f64::from(ended) / began.elapsed().as_secs_f64())
}
