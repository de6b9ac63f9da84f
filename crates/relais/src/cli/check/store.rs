//! What `serve` would find at its store, looked for without making or changing anything.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use relais_server::config::RouteAccess;
use relais_store_sqlite::{OpenError, SqliteStore};

use crate::cli::serve::variable;
use crate::config::{Settings, StoreUrl};
use crate::{seal_file, start};

/// What is known of the API keys in the store.
enum StoredKeys {
    /// How many there are.
    Counted(usize),
    /// It could not be looked at just now, and why.
    Unknown(String),
}

/// Judges the place of the store, what is there already, and whether routes and listeners have the keys
/// that they need; answers what is worth a second look.
///
/// # Errors
/// What `serve` would not start with.
pub(super) async fn judge(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let stored = match &settings.store {
        StoreUrl::Memory => StoredKeys::Counted(0),
        StoreUrl::Sqlite(path) => {
            start::check_place(path)?;
            seal_file::check(&settings.store, &variable)?;
            // A file without anything in it is made a store at the first start, as none at all.
            let is_there = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
            if is_there { look(path.clone()).await? } else { StoredKeys::Counted(0) }
        }
    };
    let wants_keys = settings.server.routes.iter().find(|route| route.access == RouteAccess::Key);
    Ok(match stored {
        StoredKeys::Counted(0) if settings.needs_stored_keys() => bail!(start::NO_KEYS),
        StoredKeys::Counted(0) if settings.server.keys.is_empty() => wants_keys
            .map(|route| {
                format!(
                    "route {:?} takes callers with an API key only, and there is none, neither in \
                     the file nor in the store: it answers everybody with 401 (relais key add)",
                    route.path
                )
            })
            .into_iter()
            .collect(),
        StoredKeys::Counted(_) => Vec::new(),
        StoredKeys::Unknown(why) => {
            let what = "the store could not be looked at: whether it is whole and has API keys is \
                        not known";
            vec![format!("{what}: {why}")]
        }
    })
}

/// A quick look into the file, beside a running server as well.
async fn look(path: PathBuf) -> anyhow::Result<StoredKeys> {
    let shown = path.display().to_string();
    let look = move || {
        let report = SqliteStore::check(&path, false)?;
        Ok((report, SqliteStore::secrets_in(&path)?))
    };
    let (report, secrets) = match tokio::task::spawn_blocking(look).await? {
        Ok(found) => found,
        Err(OpenError::Unavailable(why)) => return Ok(StoredKeys::Unknown(why)),
        Err(error) => return Err(error).with_context(|| format!("could not open {shown}")),
    };
    if let Some(problem) = report.problems.first() {
        bail!("{shown} is damaged: {problem}; relais check --deep says more");
    }
    Ok(StoredKeys::Counted(start::keys_among(&secrets)))
}
