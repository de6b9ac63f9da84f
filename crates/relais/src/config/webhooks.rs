//! `[webhooks]`: where callers and tenants may have Relais call.

use relais_core::Guard;
use relais_core::address::Allowed;

use super::file::Webhooks;
use super::problem::Report;

pub(super) fn resolve(table: &Webhooks, report: &mut Report<'_>) -> Guard {
    let entry = |text| report.parse::<Allowed>(Some(text), "[webhooks] allow");
    Guard::new(table.allow.iter().filter_map(entry).collect())
}
