//! Reads the file as far as it can be read: what is wrong is reported and left out, so that one
//! mistake does not hide the next.

use std::ops::Range;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::File;
use super::problem::{Report, Source};

/// What could be read. Where the text is not TOML, that is all that is said of it.
pub(super) fn file(source: &Source, report: &mut Report<'_>) -> File {
    let mut table = match DeTable::parse(source.text()) {
        Ok(table) => table,
        Err(error) => {
            report.of_toml(&error);
            return File::default();
        }
    };
    // Each turn leaves an entry out, so that there are no more turns than entries.
    loop {
        let error = match File::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(file) => return file,
            Err(error) => error,
        };
        report.of_toml(&error);
        let own = table.span();
        let left = error.span().and_then(|place| leave_out(table.get_mut(), &own, &place));
        match left {
            Some(hole) => report.hole(hole),
            None => return File::default(),
        }
    }
}

/// Removes the innermost entry at `place`, be it wrong in its key or in its value, from a table
/// that is at `own`; answers where the table is that misses it now.
fn leave_out(
    table: &mut DeTable<'_>,
    own: &Range<usize>,
    place: &Range<usize>,
) -> Option<Range<usize>> {
    let mut wrong = None;
    for (key, value) in table.iter_mut() {
        if let Some(hole) = leave_out_within(value, place) {
            return Some(hole);
        }
        if covers(&key.span(), place) || covers(&value.span(), place) {
            wrong = Some(key.clone());
            break;
        }
    }
    table.remove(&wrong?)?;
    Some(own.clone())
}

fn leave_out_within(
    value: &mut Spanned<DeValue<'_>>,
    place: &Range<usize>,
) -> Option<Range<usize>> {
    let own = value.span();
    match value.get_mut() {
        DeValue::Table(table) => leave_out(table, &own, place),
        DeValue::Array(array) => array.iter_mut().find_map(|one| leave_out_within(one, place)),
        _ => None,
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}
