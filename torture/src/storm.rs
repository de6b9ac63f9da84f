//! The storm: the server is killed at random moments under load and started on the same file again.

use std::sync::Arc;

use crate::chance::Chance;
use crate::clock::{Moment, SECOND, pause_ms};
use crate::hands::ambush;
use crate::relais::Relais;
use crate::scene::LEASE_MS;
use crate::upstream::Upstreams;
use crate::world::{Phase, World};

/// How hard it blows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) load: Moment,
    /// Kills in a minute; 0 is none.
    pub(crate) kills_per_minute: u64,
}

impl Plan {
    /// Kills at work that the plan asks for.
    pub(crate) fn kills(self) -> u64 {
        self.load * self.kills_per_minute / (60 * SECOND)
    }
}

/// Kills and starts until the plan is carried out; the server runs when this returns.
///
/// # Errors
/// Where the server does not come back.
pub(crate) async fn blow(
    world: &Arc<World>,
    relais: &mut Relais,
    upstreams: &Upstreams,
    plan: Plan,
) -> anyhow::Result<()> {
    let mut chance = world.chance.fork("storm", 0);
    let began = world.now();
    let slot = (60 * SECOND).checked_div(plan.kills_per_minute).unwrap_or(plan.load);
    for number in 0..plan.kills() {
        // One kill in each slot of time: as many as were asked for, at moments nobody foresees.
        let moment = began + number * slot + chance.within(0, slot);
        world.clock.sleep_until(moment).await;
        // After a slow start the moment may have passed: it has to work a little before it dies.
        pause_ms(chance.within(20, 200)).await;
        watch(world, relais)?;
        trouble(world, relais, &mut chance).await?;
        if chance.happens(12) {
            ambush(world).await;
        }
        world.set_up(false);
        kill(world, relais, upstreams).await?;
        world.ledger().counts.kills += 1;
        relais.spawn()?;
        if chance.happens(12) {
            kill_at_start(world, relais, upstreams, &mut chance).await?;
        }
        relais.until_ready(world).await?;
        world.set_up(true);
    }
    let end = began + plan.load;
    while world.now() < end {
        watch(world, relais)?;
        world.clock.sleep_until(end.min(world.now() + SECOND)).await;
    }
    watch(world, relais)?;
    world.set_phase(Phase::Calm);
    Ok(())
}

/// What machines and operators do to a server that works, besides killing it: a look at its store,
/// a clock that is set, a suspend.
async fn trouble(
    world: &Arc<World>,
    relais: &mut Relais,
    chance: &mut Chance,
) -> anyhow::Result<()> {
    if chance.happens(50) && relais.look_at_store().await? {
        world.ledger().counts.looks += 1;
    }
    if chance.happens(20) {
        let ahead_ms = i64::try_from(chance.within(0, 2 * CLOCK_MS_MAX)).unwrap_or(0)
            - i64::try_from(CLOCK_MS_MAX).unwrap_or(0);
        if relais.move_clock(ahead_ms)? {
            world.ledger().move_clock(world.now(), ahead_ms);
        }
    }
    if chance.happens(15) {
        // Sometimes longer than a worker's lease lasts.
        let most = if chance.happens(30) { 2 * LEASE_MS } else { LEASE_MS / 4 };
        relais.suspend(chance.within(50, most)).await?;
        world.ledger().counts.suspends += 1;
    }
    Ok(())
}

/// How far the clock is set, either way: well below a deadline.
const CLOCK_MS_MAX: u64 = 20_000;

/// # Errors
/// Where the server ended without being killed.
fn watch(world: &World, relais: &mut Relais) -> anyhow::Result<()> {
    if let Some(status) = relais.ended() {
        world.give_up();
        anyhow::bail!("the server ended by itself ({status}):\n{}", relais.last_words());
    }
    Ok(())
}

async fn kill(world: &World, relais: &mut Relais, upstreams: &Upstreams) -> anyhow::Result<()> {
    relais.kill().await?;
    upstreams.until_quiet().await;
    world.end_life();
    Ok(())
}

/// It may also die while it reads its file, or takes back what a dead one left.
async fn kill_at_start(
    world: &World,
    relais: &mut Relais,
    upstreams: &Upstreams,
    chance: &mut Chance,
) -> anyhow::Result<()> {
    pause_ms(chance.within(0, 60)).await;
    kill(world, relais, upstreams).await?;
    world.ledger().counts.kills_at_start += 1;
    relais.spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_minutes_have_two_hundred_kills() {
        assert_eq!(Plan { load: 600 * SECOND, kills_per_minute: 20 }.kills(), 200);
        assert_eq!(Plan { load: 15 * SECOND, kills_per_minute: 0 }.kills(), 0);
    }
}
