//! Bodies in memory: a spool grows a shared buffer, which its readers see at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use relais_core::{BodyKind, TaskId, limits};

use super::answer;
use super::state::Inner;
use crate::body::{BodyRead, BodySource, Data, Spool, Unclaimed};
use crate::growing::{GrowingAnswers, Shown, ShownAs};
use crate::{Body, StoreError, StoreFuture, StoredBody};

/// The bytes of a body that was, or is being, spooled.
#[derive(Debug, Default)]
pub(super) struct Buffer(Mutex<Vec<u8>>);

impl Buffer {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        act(&mut self.0.lock().expect("nothing panics while it is held"))
    }
}

impl BodyRead for Buffer {
    fn read_at(&self, offset: u64, max: usize) -> StoreFuture<'_, Bytes> {
        let piece = self.with(|bytes| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let to = from.saturating_add(max).min(bytes.len());
            Bytes::copy_from_slice(&bytes[from..to])
        });
        answer(piece)
    }
}

/// Bodies that were finished and are in no task yet, by their names. A lock of its own, held for no
/// other: what nobody claims is taken out of it wherever it is dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Spilled(Arc<Mutex<BTreeMap<String, Arc<Buffer>>>>);

impl Spilled {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Arc<Buffer>>) -> T) -> T {
        act(&mut self.0.lock().expect("nothing panics while it is held"))
    }

    pub(super) fn count(&self) -> usize {
        self.with(|spilled| spilled.len())
    }
}

/// A spool of the reference.
pub(super) struct MemorySpool {
    store: Arc<Mutex<Inner>>,
    growing: GrowingAnswers,
    buffer: Arc<Buffer>,
    shown: Option<Shown>,
}

impl MemorySpool {
    pub(super) fn new(store: Arc<Mutex<Inner>>, growing: GrowingAnswers) -> Self {
        Self { store, growing, buffer: Arc::default(), shown: None }
    }
}

impl Spool for MemorySpool {
    fn write(&mut self, chunk: Bytes) -> StoreFuture<'_, ()> {
        let len = self.buffer.with(|bytes| {
            bytes.extend_from_slice(&chunk);
            bytes.len() as u64
        });
        if let Some(shown) = &self.shown {
            shown.grew(len);
        }
        answer(())
    }

    fn reader(&self) -> Arc<dyn BodyRead> {
        self.buffer.clone()
    }

    fn show(&mut self, answer: ShownAs) {
        let shown = self.growing.show(answer, self.buffer.clone());
        shown.grew(self.len());
        self.shown = Some(shown);
    }

    fn break_off(&self) {
        if let Some(shown) = &self.shown {
            shown.break_off();
        }
    }

    fn len(&self) -> u64 {
        self.buffer.with(|bytes| bytes.len() as u64)
    }

    fn finish(&mut self) -> StoreFuture<'_, Data> {
        if let Some(shown) = &mut self.shown {
            shown.is_whole();
        }
        let (len, crc) = self.buffer.with(|bytes| (bytes.len(), crc32fast::hash(bytes)));
        if len <= limits::INLINE_BODY_BYTES_MAX {
            return answer(Data::Inline(self.buffer.with(|bytes| Bytes::copy_from_slice(bytes))));
        }
        let mut store = self.store.lock().expect("nothing panics while it is held");
        let name = format!("spilled-{}", store.spools);
        store.spools += 1;
        store.spilled.with(|spilled| spilled.insert(name.clone(), self.buffer.clone()));
        let (spilled, key) = (store.spilled.clone(), name.clone());
        let unclaimed = Unclaimed::new(move || drop(spilled.with(|spilled| spilled.remove(&key))));
        answer(Data::Spilled { name, len: len as u64, crc, unclaimed })
    }
}

impl Inner {
    /// Takes over a body that came with a commit on a task.
    pub(super) fn keep_body(&mut self, task: TaskId, kind: BodyKind, body: &Body) {
        let data = match &body.data {
            Data::Inline(bytes) => BodySource::Inline(bytes.clone()),
            Data::Spilled { name, unclaimed, .. } => {
                unclaimed.claim();
                let buffer = self.spilled.with(|spilled| spilled.remove(name));
                BodySource::Reader(buffer.expect("a spilled body was finished here, and used once"))
            }
            Data::Early { .. } => {
                let early = self.row_mut(task).bodies.remove(&BodyKind::Early);
                early.expect("the rules found its number").data
            }
        };
        let stored = StoredBody { head: body.head.clone(), len: body.data.len(), data };
        self.row_mut(task).bodies.insert(kind, stored);
    }

    /// Forgets bodies that came with a commit which did not want them.
    pub(super) fn discard_bodies<'a>(&mut self, bodies: impl IntoIterator<Item = &'a Body>) {
        for body in bodies {
            if let Data::Spilled { name, unclaimed, .. } = &body.data {
                unclaimed.claim();
                self.spilled.with(|spilled| spilled.remove(name));
            }
        }
    }
}

impl Inner {
    /// One body of a task.
    pub(super) fn body(
        &self,
        task: TaskId,
        kind: BodyKind,
    ) -> Result<Option<StoredBody>, StoreError> {
        if self.damaged.contains(&(task, kind)) {
            return Err(StoreError::BodyDamaged("it is not what was stored".to_owned()));
        }
        Ok(self.tasks.get(&task).and_then(|row| row.bodies.get(&kind)).cloned())
    }
}
