//! Wires the parts together: the store, the engine on it, the server on that.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use relais_core::Timestamp;
use relais_engine::seal::{SealKey, SealKeyId};
use relais_engine::{Clock as _, Engine, SystemChance, SystemClock};
use relais_server::auth::{KEY_SECRETS, decode_key};
use relais_server::{App, Door, Stop};
use relais_store::{Commit, Health, MemoryStore, Store, StoreError};
use relais_store_sqlite::{Options, Report, SqliteStore};
use tokio::net::{TcpListener, TcpSocket};

use crate::cli::variable;
use crate::config::{Overrides, Settings, StoreUrl};
use crate::reload::Reload;
use crate::signals::{Signals, Told};
use crate::{open_files, seal_file};

/// Runs a server until it is told to stop and has drained; told a second time, it ends at once.
///
/// `overrides` are what the settings were made with: on SIGHUP they are made again.
///
/// # Errors
/// When it cannot start, or the store is lost while it runs.
pub(crate) async fn serve(mut settings: Settings, overrides: Overrides) -> anyhow::Result<()> {
    let mut signals = Signals::watch()?;
    open_files::raise();
    settings.server.connections_max = open_files::connections(&settings)?;
    let public = bind(settings.server.listen)?;
    let admin = bind(settings.server.admin_listen)?;
    let opened = open(&settings.store).await?;
    let store = &opened.store;
    check_keys(&settings, &store.secrets(KEY_SECRETS).await?)?;
    let seal_key = opened.seal_key(&settings).await?;
    let engine = engine(&settings, store.clone(), seal_key).await?;
    let app = App::new(settings.server.clone(), engine.clone())
        .await
        .with_context(|| format!("could not start on {}", settings.store))?;
    let door = Door::new(app.clone());
    let door = door.map_err(|problem| anyhow::anyhow!("{}: {}", problem.path, problem.why))?;
    for warning in door.certificate_warnings() {
        tracing::warn!("{warning}");
    }
    let (public, admin) = (listen(public)?, listen(admin)?);
    let ready = format!(
        "relais ready: api {}://{} admin {}://{}",
        settings.server.scheme(),
        public.local_addr()?,
        settings.server.admin_scheme(),
        admin.local_addr()?
    );
    let mut serving = tokio::spawn(relais_server::serve(door.clone(), public, admin));
    say(ready.clone());
    tracing::info!(store = %settings.store, "{ready}");
    warn_of_undefined(&engine).await;
    let mut reload = Reload::new(overrides, settings, door, engine.clone());
    let mut lost = pin!(lost(store.clone()));
    let lost = loop {
        tokio::select! {
            ended = &mut serving => {
                ended?;
                bail!("the server ended by itself")
            }
            error = &mut lost => break Some(error),
            told = signals.next() => match told {
                Told::Stop => break None,
                Told::Reload => reload.run().await,
            },
        }
    };
    // A second signal ends everything at once; the next start takes back what was running.
    tokio::spawn(async move {
        while signals.next().await == Told::Reload {
            tracing::warn!("the configuration is not read again: the server is stopping");
        }
        std::process::exit(i32::from(TOLD_TWICE));
    });
    if let Some(error) = lost {
        // Nothing that is still running could be recorded.
        return Err(error);
    }
    leave(&app.stop, &engine, reload.drain_delay()).await;
    serving.await?;
    opened.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Names the queues that have tasks and were taken out of the configuration.
pub(crate) async fn warn_of_undefined(engine: &Engine) {
    match engine.undefined_queues().await {
        Ok(queues) => queues.iter().for_each(|queue| tracing::warn!("{queue}")),
        Err(error) => tracing::warn!(%error, "could not look for queues that are not defined"),
    }
}

/// Says a line on standard output. Whoever started the server may have closed the pipe, or never
/// read it: no reason not to serve.
fn say(line: String) {
    std::thread::spawn(move || drop(writeln!(std::io::stdout().lock(), "{line}")));
}

/// Takes a server out of service, in an order that nobody who uses it sees as an outage: whoever
/// sends work here learns that it is not ready, then new work is refused, then what runs has ended,
/// and only then streams and listeners close.
async fn leave(stop: &Stop, engine: &Engine, delay: Duration) {
    stop.leave();
    if !delay.is_zero() {
        tracing::info!("leaving: /readyz says so for {delay:?}, everything else goes on");
        tokio::time::sleep(delay).await;
    }
    tracing::info!("draining: nothing new is taken, what runs may end");
    engine.drain().await;
    tracing::info!("closing: streams and connections end");
    stop.close();
}

/// A store that is open.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    file: Option<SqliteStore>,
}

impl Opened {
    /// The key that seals credentials, which must be the one that sealed what is there.
    async fn seal_key(&self, settings: &Settings) -> anyhow::Result<SealKey> {
        let sealed = match &self.file {
            Some(file) => file.seal_keys().await?,
            None => Vec::new(),
        };
        let sealed: Vec<_> = sealed.into_iter().map(SealKeyId).collect();
        seal_file::seal_key(&settings.store, &variable, &sealed, settings.may_lose_seal_key)
    }

    /// Finishes what was begun, and leaves the file whole and free for the next process.
    pub(crate) async fn close(self) {
        if let Some(file) = self.file {
            file.close().await;
        }
    }
}

/// Opens a store, and makes it if it is new.
///
/// # Errors
/// When it is used by another process, damaged, or none of ours.
pub(crate) async fn open(url: &StoreUrl) -> anyhow::Result<Opened> {
    let path = match url {
        StoreUrl::Memory => {
            return Ok(Opened { store: Arc::new(MemoryStore::new()), file: None });
        }
        StoreUrl::Sqlite(path) => path.clone(),
    };
    check_place(&path)?;
    let shown = path.display().to_string();
    let options = Options::new(path, now());
    // A store of millions of tasks takes a second.
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&options)).await?;
    let file = opened.map_err(|error| anyhow::anyhow!("could not open {shown}: {error}"))?;
    Ok(Opened { store: Arc::new(file.clone()), file: Some(file) })
}

/// Judges where a store is, or would be made: its file is made by the first
/// start, its folder is not.
///
/// # Errors
/// When no store could be there.
pub(crate) fn check_place(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => bail!("could not open {shown}: {} is no folder", folder.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "could not open {shown}: the folder {} does not exist, and Relais does not make it",
            folder.display()
        ),
        Err(error) => bail!("could not open {shown}: {}: {error}", folder.display()),
    }
    if path.is_dir() {
        bail!("could not open {shown}: it is a folder");
    }
    Ok(())
}

/// Reads the secrets of a store that is there, beside a running server as well.
///
/// # Errors
/// When it is not there, or could not be read.
pub(crate) async fn secrets_in(url: &StoreUrl) -> anyhow::Result<Vec<(String, Bytes)>> {
    let StoreUrl::Sqlite(path) = url else { return Ok(Vec::new()) };
    let (path, shown) = (path.clone(), path.display().to_string());
    let secrets = tokio::task::spawn_blocking(move || SqliteStore::secrets_in(&path)).await?;
    secrets.map_err(|error| anyhow::anyhow!("could not open {shown}: {error}"))
}

/// How many of a store's secrets are API keys.
pub(crate) fn keys_among(secrets: &[(String, Bytes)]) -> usize {
    let is_key = |(name, value): &&(String, Bytes)| matches!(decode_key(name, value), Some(Ok(_)));
    secrets.iter().filter(is_key).count()
}

/// Reads a whole store, beside a running server as well; answers what there is and what is wrong.
///
/// # Errors
/// When there is no store, or it could not be opened.
pub(crate) async fn check_store(url: &StoreUrl) -> anyhow::Result<Report> {
    let StoreUrl::Sqlite(path) = url else {
        bail!("{url} is kept nowhere: there is nothing to check")
    };
    let (path, shown) = (path.clone(), path.display().to_string());
    let report = tokio::task::spawn_blocking(move || SqliteStore::check(&path, true)).await?;
    report.map_err(|error| anyhow::anyhow!("could not check {shown}: {error}"))
}

/// Takes an address, so that one that another program has is said before anything is opened.
/// Whoever connects is refused until [`listen`]: an open port is taken for a server that answers.
fn bind(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A port whose last connections are still being taken down is free.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok::<_, std::io::Error>(socket)
    };
    bind().with_context(|| format!("could not listen on {address}"))
}

/// Lets clients connect, once everything that answers them is there.
fn listen(socket: TcpSocket) -> anyhow::Result<TcpListener> {
    let address = socket.local_addr()?;
    relais_server::listen(socket).with_context(|| format!("could not listen on {address}"))
}

async fn engine(
    settings: &Settings,
    store: Arc<dyn Store>,
    seal_key: SealKey,
) -> anyhow::Result<Engine> {
    let mut config = settings.engine.clone();
    config.seal_key = Some(seal_key);
    let clock = Arc::new(SystemClock::start());
    let chance = Arc::new(SystemChance::default());
    #[cfg(feature = "faults")]
    let store = crate::faults::plant(store)?;
    let engine = Engine::start(config, store, clock, chance).await;
    engine.with_context(|| format!("could not start on {}", settings.store))
}

/// Beyond this machine nobody is let in without a key.
///
/// # Errors
/// When there is none, neither in the file nor among the secrets of the store.
pub(crate) fn check_keys(settings: &Settings, secrets: &[(String, Bytes)]) -> anyhow::Result<()> {
    if !settings.needs_stored_keys() {
        return Ok(());
    }
    if keys_among(secrets) == 0 {
        bail!(NO_KEYS);
    }
    Ok(())
}

/// Resolves when the store is lost for good: what is written is no longer known to be on the disk.
async fn lost(store: Arc<dyn Store>) -> anyhow::Error {
    let mut ticks = tokio::time::interval(HEALTH_EVERY);
    loop {
        ticks.tick().await;
        let Health::Corrupt(text) = store.health() else { continue };
        // Damage in one place leaves the rest readable and writable, for the operator to
        // save. A store that cannot take even this has ended, and going on would make
        // promises it cannot keep.
        let nothing = Commit::Secret { name: "probe".to_owned(), value: None };
        if let Err(StoreError::Unavailable(_)) = store.commit(vec![nothing]).await {
            return anyhow::anyhow!("the store is lost, stopping at once: {text}");
        }
    }
}

/// Now, as the system sees it.
pub(crate) fn now() -> Timestamp {
    SystemClock::start().now()
}

/// Why a server that others can reach does not start.
pub(crate) const NO_KEYS: &str = "it would listen beyond this machine without any API key: add one \
                                  (relais key add), or say --insecure on a trusted network";
/// How often the store is asked how it is.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
/// The exit status after a second signal: 128 and the number of SIGTERM.
const TOLD_TWICE: u8 = 143;
