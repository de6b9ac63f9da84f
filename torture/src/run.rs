//! One torture, from an empty folder to a verdict.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::checks;
use crate::clients::{client, gauge, strict_client};
use crate::clock::{SECOND, pause_ms};
use crate::facts::{Facts, calm_down, gather};
use crate::followers::follower;
use crate::hands::hand;
use crate::ledger::Counts;
use crate::probe::probe;
use crate::progress::Line;
use crate::relais::Relais;
use crate::scene::{Door, Origin, Ports, configuration, free_ports};
use crate::storm::{Plan, blow};
use crate::upstream::{Upstreams, listen};
use crate::verdict::{Check, Verdict};
use crate::wire::Http;
use crate::workers::worker;
use crate::world::{Phase, World};

/// What to do.
#[derive(Debug, Clone)]
pub(crate) struct Torture {
    pub(crate) binary: PathBuf,
    /// Where chance comes from.
    pub(crate) seed: u64,
    /// How hard it blows.
    pub(crate) plan: Plan,
    /// How long everything may take to end afterwards.
    pub(crate) calm_seconds: u64,
    /// A fault to plant.
    pub(crate) fault: Option<String>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What was found.
    pub(crate) verdict: Verdict,
    /// What was done.
    pub(crate) counts: Counts,
    /// What Relais says, for quotations.
    pub(crate) facts: Facts,
    /// Tasks that were handed in.
    pub(crate) tasks: usize,
    /// Calls that reached the upstreams.
    pub(crate) calls: usize,
    /// The folder, if it was kept for a look.
    pub(crate) kept: Option<PathBuf>,
}

/// Tortures.
///
/// # Errors
/// Where the scene cannot be set. What Relais does wrong is no error but a verdict.
pub(crate) async fn torture(torture: &Torture, line: &Line) -> anyhow::Result<Ended> {
    let folder = tempfile::Builder::new().prefix("relais-torture-").tempdir();
    let folder = folder.context("could not make a folder")?;
    let (steady, steady_port) = listen().await?;
    let (shaky, shaky_port) = listen().await?;
    let ports = free_ports(2, &mut Chance::of(torture.seed).fork("ports", 0))?;
    let ports = Ports { listen: ports[0], admin: ports[1], steady: steady_port, shaky: shaky_port };
    std::fs::write(folder.path().join("relais.toml"), configuration(folder.path(), ports))
        .context("could not write the configuration")?;
    let world =
        Arc::new(World::new(torture.seed, Http::to_port(ports.listen), Http::to_port(ports.admin)));
    let upstreams = Upstreams::new(world.clone());
    let mut servers = JoinSet::new();
    servers.spawn(upstreams.clone().serve(steady, Origin::Steady));
    servers.spawn(upstreams.clone().serve(shaky, Origin::Shaky));
    let mut relais = Relais::new(&torture.binary, folder.path(), torture.fault.as_deref())?;
    let facts = act(&world, &upstreams, &mut relais, torture, line).await?;
    line.say("judging");
    Ok(conclude(&world, &relais, facts, folder))
}

/// The storm, the calm, and a look at everything.
async fn act(
    world: &Arc<World>,
    upstreams: &Arc<Upstreams>,
    relais: &mut Relais,
    torture: &Torture,
    line: &Line,
) -> anyhow::Result<Facts> {
    relais.spawn()?;
    relais.until_ready(world).await?;
    world.set_up(true);
    let mut load = JoinSet::new();
    let mut workers = JoinSet::new();
    start_load(world, &mut load, &mut workers);
    let showing = line.follow(world.clone(), torture.plan);
    let storm = blow(world, relais, upstreams, torture.plan).await;
    showing.abort();
    if let Err(error) = storm {
        world.give_up();
        world.ledger().verdict.fail(Check::Answers, None, error.to_string());
        return Ok(Facts::default());
    }
    line.say("waiting for the calm");
    if join(load).await.is_err() {
        world.ledger().verdict.fail(Check::Answers, None, "clients were left waiting".to_owned());
    }
    let left = calm_down(world, torture.calm_seconds).await;
    world.set_phase(Phase::Over);
    _ = join(workers).await;
    world.ledger().verdict.note(Check::Ends, None, left.is_none(), || {
        format!(
            "{} s after the storm something is still to be done: {}",
            torture.calm_seconds,
            left.clone().unwrap_or_default()
        )
    });
    world.set_phase(Phase::Calm);
    line.say("probing the slots");
    check_leases(world).await;
    probe(world, upstreams).await;
    calm_down(world, SETTLED_WITHIN_S).await;
    check_leases(world).await;
    world.set_phase(Phase::Over);
    line.say("reading every task");
    let facts = gather(world).await;
    if let Some(status) = relais.ended() {
        let text = format!("the server ended by itself ({status})");
        world.ledger().verdict.fail(Check::Answers, None, text);
    }
    relais.kill().await?;
    Ok(facts)
}

fn start_load(world: &Arc<World>, load: &mut JoinSet<()>, workers: &mut JoinSet<()>) {
    for number in 0..CLIENTS {
        load.spawn(client(world.clone(), number));
    }
    load.spawn(gauge(world.clone()));
    for lane in 0..Door::Strict.promise().lanes {
        load.spawn(strict_client(world.clone(), lane));
    }
    for number in 0..HANDS {
        load.spawn(hand(world.clone(), number));
    }
    for number in 0..FOLLOWERS {
        load.spawn(follower(world.clone(), number));
    }
    for number in 0..WORKERS {
        workers.spawn(worker(world.clone(), number));
    }
}

/// Waits for actors to go home; after a while without them.
async fn join(mut actors: JoinSet<()>) -> Result<(), tokio::time::error::Elapsed> {
    tokio::time::timeout(Duration::from_secs(60), async {
        while actors.join_next().await.is_some() {}
    })
    .await
}

/// What Relais itself says of slots in use, now that there is nothing to do. Whoever was
/// told to stop when a server died keeps a slot for as long as its lease lasts; all
/// others have given theirs back.
async fn check_leases(world: &World) {
    let until = world.now() + LEASES_END_WITHIN_S * SECOND;
    loop {
        let Some(answer) = world.admin.get("/metrics", "text/plain").await.answer() else { return };
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let leases: Vec<&str> =
            text.lines().filter(|line| line.starts_with("relais_queue_leases{")).collect();
        let in_use: Vec<&str> =
            leases.iter().filter(|line| !line.ends_with(" 0")).copied().collect();
        if in_use.is_empty() || world.now() > until {
            let holds = in_use.is_empty() && !leases.is_empty();
            world.ledger().verdict.note(Check::Slots, None, holds, || {
                format!(
                    "nothing has run for {LEASES_END_WITHIN_S} s, and of {} queues slots are in \
                     use: {in_use:?}",
                    leases.len()
                )
            });
            return;
        }
        pause_ms(200).await;
    }
}

fn conclude(world: &World, relais: &Relais, facts: Facts, folder: TempDir) -> Ended {
    let mut ledger = world.ledger();
    let mut verdict = std::mem::take(&mut ledger.verdict);
    for panic in relais.panics() {
        verdict.fail(Check::Answers, None, panic);
    }
    if !world.has_died() {
        verdict.absorb(checks::judge(&ledger, &facts, world.life()));
    }
    let kept = (!verdict.is_clean()).then(|| folder.keep());
    Ended {
        verdict,
        counts: ledger.counts.clone(),
        facts,
        tasks: ledger.tasks.len(),
        calls: ledger.calls.len(),
        kept,
    }
}

/// The program beside the judge's own.
///
/// # Errors
/// Where there is none.
pub(crate) fn binary_beside_us() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("could not find the judge's own program")?;
    let beside = own.parent().unwrap_or(Path::new(".")).join("relais");
    anyhow::ensure!(
        beside.is_file(),
        "there is no {}: build relais first, or say --relais PATH",
        beside.display()
    );
    Ok(beside)
}

const CLIENTS: usize = 12;
const HANDS: usize = 3;
const FOLLOWERS: usize = 8;
const WORKERS: usize = 4;
/// How long the tasks of the probes may take to end.
const SETTLED_WITHIN_S: u64 = 10;
/// How long slots may be kept by attempts that were told to stop: 10 s, and a little.
const LEASES_END_WITHIN_S: u64 = 13;
