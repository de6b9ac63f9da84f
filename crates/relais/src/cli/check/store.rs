//! What `serve` would find at its store, looked for without making or changing anything.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use relais_core::TaskId;
use relais_engine::seal::SealKeyId;
use relais_engine::{Policies, undefined};
use relais_server::config::RouteAccess;
use relais_store::QueueStats;
use relais_store_sqlite::{OpenError, SqliteStore};

use crate::cli::serve::variable;
use crate::config::{Settings, StoreUrl};
use crate::{seal_file, start};

/// What is known of the store.
enum Found {
    /// How many API keys there are in it, what is in its queues, which keys sealed credentials, and
    /// which tasks cannot be read.
    Seen { keys: usize, queues: Vec<QueueStats>, sealed: Vec<SealKeyId>, aside: Vec<TaskId> },
    /// It could not be looked at just now, and why.
    Unknown(String),
}

impl Found {
    const NOTHING: Self =
        Self::Seen { keys: 0, queues: Vec::new(), sealed: Vec::new(), aside: Vec::new() };
}

/// Judges the place of the store, what is there already, and whether routes and listeners have the
/// keys that they need; answers what is worth a second look.
///
/// # Errors
/// What `serve` would not start with.
pub(super) async fn judge(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let stored = match &settings.store {
        StoreUrl::Memory => Found::NOTHING,
        StoreUrl::Sqlite(path) => {
            start::check_place(path)?;
            // A file without anything in it is made a store at the first start, as none at all.
            let is_there = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
            if is_there { look(path.clone()).await? } else { Found::NOTHING }
        }
    };
    let sealed = if let Found::Seen { sealed, .. } = &stored { &sealed[..] } else { &[] };
    let may_be_lost = settings.may_lose_seal_key;
    let lost_key = seal_file::check(&settings.store, &variable, sealed, may_be_lost)?;
    let (keys, queues, aside) = match stored {
        Found::Seen { keys, queues, aside, .. } => (keys, queues, aside),
        Found::Unknown(why) => {
            let what = "the store could not be looked at: whether it is whole, has API keys, or tasks \
                        in queues that are not defined is not known";
            return Ok(vec![format!("{what}: {why}")]);
        }
    };
    let mut warnings: Vec<String> = lost_key.into_iter().collect();
    warnings.extend(aside.iter().map(|task| {
        format!("{task} is set aside, because its row in the store is damaged; its queue goes on")
    }));
    if keys == 0 {
        if settings.needs_stored_keys() {
            bail!(start::NO_KEYS);
        }
        warnings.extend(closed_route(settings));
    }
    let policies = Policies::new(&settings.engine);
    warnings.extend(undefined(&queues, &policies).iter().map(ToString::to_string));
    Ok(warnings)
}

/// A route that nobody can use, because there is no key at all.
fn closed_route(settings: &Settings) -> Option<String> {
    if !settings.server.keys.is_empty() {
        return None;
    }
    let route = settings.server.routes.iter().find(|route| route.access == RouteAccess::Key)?;
    Some(format!(
        "route {:?} takes callers with an API key only, and there is none, neither in the file nor in \
         the store: it answers everybody with 401 (relais key add)",
        route.path
    ))
}

/// A quick look into the file, beside a running server as well.
async fn look(path: PathBuf) -> anyhow::Result<Found> {
    let shown = path.display().to_string();
    let look = move || {
        let report = SqliteStore::check(&path, false)?;
        let seen = (SqliteStore::secrets_in(&path)?, SqliteStore::queues_in(&path)?);
        let sealed = SqliteStore::seal_keys_in(&path)?;
        Ok((report, seen, (sealed, SqliteStore::set_aside_in(&path)?)))
    };
    let (report, (secrets, queues), (sealed, aside)) =
        match tokio::task::spawn_blocking(look).await? {
            Ok(found) => found,
            Err(OpenError::Unavailable(why)) => return Ok(Found::Unknown(why)),
            Err(error) => return Err(error).with_context(|| format!("could not open {shown}")),
        };
    if let Some(problem) = report.problems.first() {
        bail!("{shown} is damaged: {problem}; relais check --deep says more");
    }
    let sealed = sealed.into_iter().map(SealKeyId).collect();
    Ok(Found::Seen { keys: start::keys_among(&secrets), queues, sealed, aside })
}
