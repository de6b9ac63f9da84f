//! The progress line: on a terminal one that moves, elsewhere one now and then.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use crate::clock::{Moment, SECOND};
use crate::storm::Plan;
use crate::world::World;

/// The progress line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    bar: Option<ProgressBar>,
}

impl Line {
    /// A line on standard error.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {elapsed:>4}  {msg}");
            bar.set_style(style.expect("a template that is tried by every run"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar }
    }

    /// Says what is being done.
    pub(crate) fn say(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => eprintln!("torture: {what}"),
        }
    }

    /// Says from time to time how the storm goes.
    pub(crate) fn follow(&self, world: Arc<World>, plan: Plan) -> JoinHandle<()> {
        let line = self.clone();
        let every = if self.bar.is_some() { SECOND / 4 } else { 10 * SECOND };
        let began = world.now();
        tokio::spawn(async move {
            loop {
                let gone = world.now() - began;
                line.say(&Self::state(&world, gone, plan));
                world.clock.sleep_until(world.now() + every).await;
            }
        })
    }

    fn state(world: &World, gone: Moment, plan: Plan) -> String {
        let ledger = world.ledger();
        let counts = &ledger.counts;
        format!(
            "storm {}/{} s · {} kills · {} acknowledged · {} upstream calls · {} settles · \
             {} by hand · {} wrong",
            gone / SECOND,
            plan.load / SECOND,
            counts.kills + counts.kills_at_start,
            counts.acknowledged,
            ledger.calls.len(),
            counts.settles,
            counts.cancels + counts.retries + counts.erasures,
            ledger.verdict.violations().len()
        )
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
