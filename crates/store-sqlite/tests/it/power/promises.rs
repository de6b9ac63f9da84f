//! What the world outside was told before the power went, and whether the store still knows it.

use std::collections::BTreeMap;
use std::path::Path;

use relais_core::{BodyKind, TaskId};
use relais_store::{Store as _, StoreError};
use relais_store_sqlite::SqliteStore;

use super::load::bytes_of;
use crate::try_open;

/// What was said about one task.
#[derive(Debug, Clone, Default)]
struct Promise {
    /// The last version anybody heard of.
    version: u64,
    /// Not known of a task that was only seen so far.
    input: Option<Vec<u8>>,
    result: Option<Vec<u8>>,
    end: End,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Kept,
    /// Asked for, not answered.
    Erasing,
    Erased,
}

/// Everything that was said until some moment.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    tasks: BTreeMap<u128, Promise>,
}

impl Promises {
    /// Hears what the load noted.
    pub(crate) fn hear(&mut self, notes: &[u8]) {
        for line in std::str::from_utf8(notes).expect("notes are ASCII").lines() {
            let mut words = line.split(' ');
            let said = words.next().expect("a word");
            let mut numbers = words.map(|word| word.parse::<u128>().expect("a number"));
            let id = numbers.next().expect("an id");
            let task = self.tasks.entry(id).or_default();
            let id = TaskId::from_u128(id);
            let mut number = || numbers.next().and_then(|number| usize::try_from(number).ok());
            match said {
                "erasing" => task.end = End::Erasing,
                "erased" => task.end = End::Erased,
                "accepted" | "started" | "settled" | "seen" => {
                    // Another one may be faster to note what it did next.
                    task.version = task.version.max(number().expect("a version") as u64);
                    let mut bytes = |kind| bytes_of(id, kind, number().expect("a length"));
                    match said {
                        "accepted" => task.input = Some(bytes(BodyKind::Input)),
                        "settled" => task.result = Some(bytes(BodyKind::Result)),
                        _ => {}
                    }
                }
                other => panic!("nobody says {other:?}"),
            }
        }
    }

    /// Opens what a power loss left, and looks for what was promised.
    ///
    /// # Errors
    /// What is wrong, for whoever reads the test's output.
    pub(crate) fn keep(&self, database: &Path) -> Result<(), String> {
        let store = try_open(database).map_err(|error| format!("it does not open: {error}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime for the test");
        let looked = runtime.block_on(self.look(&store));
        let report = SqliteStore::check(database, true);
        runtime.block_on(store.close());
        looked?;
        let report = report.map_err(|error| format!("it cannot be checked: {error}"))?;
        if report.is_sound() { Ok(()) } else { Err(format!("{report:#?}")) }
    }

    async fn look(&self, store: &SqliteStore) -> Result<(), String> {
        let ids = self.tasks.keys().copied().map(TaskId::from_u128).collect();
        let tasks = store.read(ids).await.map_err(|error| format!("it does not read: {error}"))?;
        for ((id, promise), task) in self.tasks.iter().zip(tasks) {
            let id = TaskId::from_u128(*id);
            let Promise { version, input, result, end } = promise;
            let said = format!("task {:x} at {version}, {end:?}", id.as_u128());
            let task = match (task, *end) {
                (None, End::Kept) => return Err(format!("{said}: it is gone")),
                (Some(_), End::Erased) => return Err(format!("{said}: it came back")),
                (None, _) => continue,
                (Some(task), _) => task,
            };
            if task.life.version < *version {
                return Err(format!("{said}: it fell back to {}", task.life.version));
            }
            let bodies = [(BodyKind::Input, input.as_ref()), (BodyKind::Result, result.as_ref())];
            for (kind, bytes) in bodies {
                let Some(bytes) = bytes else { continue };
                let body = body(store, id, kind).await;
                let body = body.map_err(|error| format!("{said}: {kind:?}: {error}"))?;
                if body.as_ref() != Some(bytes) {
                    return Err(format!("{said}: {kind:?} is not what was stored"));
                }
            }
        }
        Ok(())
    }
}

async fn body(
    store: &SqliteStore,
    id: TaskId,
    kind: BodyKind,
) -> Result<Option<Vec<u8>>, StoreError> {
    match store.body(id, kind).await? {
        Some(body) => Ok(Some(body.bytes(usize::MAX).await?.to_vec())),
        None => Ok(None),
    }
}
