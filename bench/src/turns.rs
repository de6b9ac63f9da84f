//! Two programs measured in turns, in random order: what the machine does meanwhile befalls both.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use crate::bare::Bare;
use crate::report::Report;
use crate::{Bench, Measure};

/// Measures everything with both programs, one run a turn, and makes the table.
pub(crate) async fn measure(bench: &Bench, other: &Path, bare: &Bare) -> anyhow::Result<String> {
    let one_run = Bench { runs: 1, ..bench.clone() };
    let programs = [one_run.clone(), Bench { relais: other.to_owned(), ..one_run }];
    let mut reports = [Report::default(), Report::default()];
    for measure in Measure::ALL {
        for turn in 0..bench.runs {
            let first = coin(turn);
            for program in [first, 1 - first] {
                measure.run(&programs[program], bare, &mut reports[program]).await?;
            }
        }
    }
    let [this, other] = reports;
    Ok(this.table_beside(&other))
}

/// Zero or one.
fn coin(turn: usize) -> usize {
    usize::from(RandomState::new().hash_one(turn).is_multiple_of(2))
}
