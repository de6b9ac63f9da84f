//! How far a measurement is: when it ends, and a bar for whoever watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Until;

/// One measurement under way. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    began: Instant,
    until: Until,
    begun_max: u64,
    begun: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
    bar: ProgressBar,
}

impl Meter {
    /// A measurement that begins now and ends after `most` tasks in any case.
    pub(super) fn start(name: &'static str, until: Until, most: u64) -> Self {
        let (length, begun_max) = match until {
            Until::Elapsed(span) => (millis(span), most),
            Until::Tasks(tasks) => (tasks.min(most), tasks.min(most)),
        };
        let style = ProgressStyle::with_template("{prefix:12} [{wide_bar}] {msg:>20}");
        // Standard error; nothing is drawn where that is no terminal.
        let bar = ProgressBar::new(length).with_prefix(name);
        bar.set_style(style.expect("the template is right").progress_chars("=> "));
        let (begun, done) = (Arc::default(), Arc::default());
        Self { began: Instant::now(), until, begun_max, begun, done, bar }
    }

    /// Whether one more task is begun.
    pub(super) fn begin(&self) -> bool {
        let is_time = match self.until {
            Until::Elapsed(span) => self.began.elapsed() < span,
            Until::Tasks(_) => true,
        };
        is_time && self.begun.fetch_add(1, Ordering::Relaxed) < self.begun_max
    }

    /// Notes tasks that are done.
    pub(super) fn done(&self, tasks: u64) {
        let done = self.done.fetch_add(tasks, Ordering::Relaxed) + tasks;
        match self.until {
            Until::Elapsed(_) => self.bar.set_position(millis(self.began.elapsed())),
            Until::Tasks(_) => self.bar.set_position(done),
        }
        if !self.bar.is_hidden() {
            self.bar.set_message(done.to_string());
        }
    }

    /// The same measurement, with a count of its own that is not shown.
    pub(super) fn unseen(&self) -> Self {
        Self { done: Arc::default(), bar: ProgressBar::hidden(), ..self.clone() }
    }

    /// Tasks that are done.
    pub(super) fn count(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// When it began.
    pub(super) const fn began(&self) -> Instant {
        self.began
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_ends_after_its_tasks_and_never_has_more_than_its_limit() {
        for (until, most, expected) in [
            (Until::Tasks(3), 10, 3),
            (Until::Tasks(30), 10, 10),
            (Until::Elapsed(Duration::from_secs(3600)), 10, 10),
            (Until::Elapsed(Duration::ZERO), 10, 0),
        ] {
            let meter = Meter::start("a test", until, most);
            let begun = (0..100).filter(|_| meter.begin()).count();
            assert_eq!(begun, expected, "{until:?} {most}");
        }
    }
}
