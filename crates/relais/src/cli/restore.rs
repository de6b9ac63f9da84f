//! `relais restore`: a backup becomes the store again.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::backup::{Which, copy, tell};
use super::serve::variable;
use super::show;
use crate::config::StoreUrl;
use crate::{seal_file, start};

/// Makes a backup the store again, and reads it to the last byte. Overwrites nothing.
///
/// Tasks are as they were then: what was running is taken back by the next start as after a crash,
/// and what was done since is done again.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  mv relais.db aside.db && mv relais.db.bodies aside.db.bodies\n  \
                        relais restore /backups/relais-monday.db"
)]
pub(super) struct Restore {
    /// What `relais backup` made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    which: Which,
}

impl Restore {
    pub(super) async fn run(self, as_json: bool) -> anyhow::Result<ExitCode> {
        let to = self.which.path()?;
        start::check_place(&to)?;
        let (report, sealed) = copy(self.file, to.clone()).await?;
        let names: Vec<String> = sealed.iter().map(ToString::to_string).collect();
        tell(&to, &report, &names, as_json)?;
        let store = StoreUrl::Sqlite(to);
        if let Some(lost) = seal_file::check(&store, &variable, &sealed, true)? {
            show::note(&format!("warning: {lost}. Put that key back before you start"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
