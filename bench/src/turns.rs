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
            for program in order(turn, programs.len()) {
                measure.run(&programs[program], bare, &mut reports[program]).await?;
            }
        }
    }
    let [this, other] = reports;
    Ok(this.table_beside(&other))
}

/// The numbers below `count` in random order, another one each turn.
pub(crate) fn order(turn: usize, count: usize) -> Vec<usize> {
    let chance = RandomState::new();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|number| chance.hash_one((turn, number)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_once() {
        let mut order = order(3, 5);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }
}
