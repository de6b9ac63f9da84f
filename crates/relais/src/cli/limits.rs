//! `relais limits`: every limit, and what happens at it.

use std::process::ExitCode;

use clap::Args;
use relais_core::limits::LIMITS;
use serde_json::json;

use super::show;
use super::table::Table;

/// Prints every limit and what happens at it. Some can be lowered in the configuration.
#[derive(Debug, Args)]
pub(super) struct Limits {}

impl Limits {
    pub(super) fn run(self, as_json: bool) -> anyhow::Result<ExitCode> {
        if as_json {
            let limits: Vec<_> = LIMITS
                .iter()
                .map(|limit| {
                    json!({"name": limit.name, "value": limit.value, "unit": limit.unit,
                           "at_the_limit": limit.refusal})
                })
                .collect();
            show::json(&limits)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new(["LIMIT", "VALUE", "UNIT", "AT THE LIMIT"]);
        for limit in LIMITS {
            let value = limit.value.to_string();
            table.row([
                limit.name.to_owned(),
                value,
                limit.unit.to_owned(),
                limit.refusal.to_owned(),
            ]);
        }
        table.print()?;
        Ok(ExitCode::SUCCESS)
    }
}
