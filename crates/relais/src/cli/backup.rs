//! `relais backup`: a copy of the store that can be opened, made while its server goes on.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use relais_engine::seal::SealKeyId;
use relais_store_sqlite::{Report, SqliteStore};
use serde_json::json;

use super::argument::Usage;
use super::serve::variable;
use super::{argument, show};
use crate::config::{self, Overrides, StoreUrl};

/// Copies the store into FILE while its server goes on, and reads the copy back to the last byte.
///
/// FILE is a store itself, of one moment: `relais restore FILE` puts it back. Tasks that are
/// damaged in the store are copied as they are, and named. Large bodies are beside it in the
/// folder FILE.bodies. The key that seals credentials is not in it: keep it apart.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  relais backup /backups/relais-monday.db")]
pub(super) struct Backup {
    /// Where to: a file that does not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    which: Which,
}

/// Which store a command is about.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The configuration file [default: relais.toml, if there is one]
    #[arg(long, env = "RELAIS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The store, such as sqlite:relais.db [default: that of the configuration]
    #[arg(long, env = "RELAIS_STORE", value_name = "URL")]
    store: Option<String>,
}

impl Which {
    /// Where it is.
    ///
    /// # Errors
    /// When the configuration does not hold, or the store is kept nowhere.
    pub(super) fn path(self) -> anyhow::Result<PathBuf> {
        let in_memory = "a store in memory is kept nowhere: there is nothing to copy";
        if let Some(store) = &self.store
            && argument::store(store)? == StoreUrl::Memory
        {
            return Err(Usage::value("--store <URL>", in_memory).into());
        }
        let overrides =
            Overrides { config: self.config, store: self.store, ..Overrides::default() };
        match config::load(&overrides, &variable)?.store {
            StoreUrl::Sqlite(path) => Ok(path),
            StoreUrl::Memory => bail!(in_memory),
        }
    }
}

impl Backup {
    pub(super) async fn run(self, as_json: bool) -> anyhow::Result<ExitCode> {
        let from = self.which.path()?;
        let (report, sealed) = copy(from, self.file.clone()).await?;
        let names: Vec<String> = sealed.iter().map(ToString::to_string).collect();
        tell(&self.file, &report, &names, as_json)?;
        if !as_json && names.is_empty() {
            show::note("the key that seals credentials (relais.key) is not in it");
        } else if !as_json {
            let names = names.join(", ");
            show::note(&format!(
                "credentials in it are sealed with the key {names}, which is not in it: keep \
                 relais.key (or RELAIS_SEAL_KEY) apart, and as long as the backup"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Copies a store; answers what is in the copy, and which keys sealed it.
///
/// # Errors
/// When it could not be read, or the copy not be written whole.
pub(super) async fn copy(from: PathBuf, to: PathBuf) -> anyhow::Result<(Report, Vec<SealKeyId>)> {
    let shown = from.display().to_string();
    let copied = tokio::task::spawn_blocking(move || {
        let report = SqliteStore::copy(&from, &to)?;
        let sealed = SqliteStore::seal_keys_in(&to)?;
        anyhow::Ok((report, sealed.into_iter().map(SealKeyId).collect()))
    });
    copied.await?.with_context(|| format!("could not copy {shown}"))
}

/// Says what is in a copy.
pub(super) fn tell(
    file: &Path,
    report: &Report,
    keys: &[String],
    as_json: bool,
) -> anyhow::Result<()> {
    let Report { tasks, events, bodies, body_bytes, damaged, .. } = report;
    if as_json {
        return show::json(&json!({"file": file, "tasks": tasks, "events": events,
            "bodies": bodies, "body_bytes": body_bytes, "damaged": damaged, "seal_keys": keys}));
    }
    for damage in damaged {
        show::note(&format!("warning: damaged already in what was copied: {damage}"));
    }
    let state = if damaged.is_empty() { "is whole" } else { "is a true copy" };
    show::line(&format!(
        "{} {state}: {tasks} tasks, {events} events, {bodies} bodies ({body_bytes} bytes)",
        file.display()
    ))
}
