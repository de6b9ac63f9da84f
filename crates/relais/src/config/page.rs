//! `[page]`: whose the pages are that people see.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use relais_core::limits;
use relais_server::config::{Color, Logo, Page};

use super::file;
use super::problem::Report;

pub(super) fn resolve(table: &file::Page, report: &mut Report<'_>) -> Page {
    let name = table.name.as_ref().and_then(|name| {
        let judged = judge_name(name.get_ref());
        report.take(name.span(), "[page] name", judged)
    });
    let color = table.color.as_ref().and_then(|color| {
        report.take(color.span(), "[page] color", color.get_ref().parse::<Color>())
    });
    let logo = table.logo.as_ref().and_then(|logo| {
        let read = read(logo.get_ref()).map(Arc::new);
        report.take(logo.span(), "[page] logo", read)
    });
    Page { name, color, logo }
}

fn judge_name(name: &str) -> Result<String, String> {
    let is_fit = (1..=limits::PAGE_NAME_CHARS_MAX).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
        && !name.trim().is_empty();
    let what = || format!("must be a line of 1 to {} characters", limits::PAGE_NAME_CHARS_MAX);
    if is_fit { Ok(name.to_owned()) } else { Err(what()) }
}

/// Reads no more than a logo may have: the file may be anything.
fn read(path: &Path) -> Result<Logo, String> {
    let most = limits::PAGE_LOGO_BYTES_MAX as u64 + 1;
    let whole = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = whole().map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Logo::new(bytes).map_err(|error| format!("{} {error}", path.display()))
}
