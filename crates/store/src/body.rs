//! Bodies: what was handed in, what came out, where to resume. Opaque bytes with an opaque head.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::{ShownAs, StoreError, StoreFuture};

/// A sealed body begins with the id of the key that sealed it, in so many bytes: all that a store, which
/// cannot open it, knows of it.
pub const SEAL_KEY_ID_BYTES: usize = 4;

/// A body to be stored with a commit.
#[derive(Debug, Clone)]
pub struct Body {
    /// What the engine wants to remember of it (media type, status, header fields…). Opaque.
    pub head: Bytes,
    pub data: Data,
}

/// The bytes of a body.
#[derive(Debug, Clone)]
pub enum Data {
    /// Small enough to live in the store (at most `limits::INLINE_BODY_BYTES_MAX`).
    Inline(Bytes),
    /// Finished by a [`Spool`] of the same store, durable, and waiting for its row.
    Spilled {
        /// The name the spool gave it.
        name: String,
        /// In bytes, whole.
        len: u64,
        /// CRC-32 of the bytes.
        crc: u32,
        /// Removes them unless a commit takes them.
        unclaimed: Unclaimed,
    },
    /// Stored already, as the early result of the task: they become the result without being
    /// written again. Only with a [`Command::Succeed`](relais_core::Command) that names it.
    Early {
        /// Its number.
        id: u128,
        /// As it was read.
        stored: StoredBody,
    },
}

/// Owns the bytes of a spilled body until a commit has decided about them.
///
/// Whatever path lets go of them before that (a refusal, a caller who left, a store that is full)
/// removes them with the last clone: nothing is left for the next start to sweep.
#[derive(Clone)]
pub struct Unclaimed(Arc<Ownership>);

struct Ownership {
    is_claimed: AtomicBool,
    remove: Box<dyn Fn() + Send + Sync>,
}

impl Unclaimed {
    /// Bytes that `remove` removes. It may run on any thread, at most once, while a lock of the
    /// store's own is held.
    #[must_use]
    pub fn new(remove: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Ownership { is_claimed: AtomicBool::new(false), remove: Box::new(remove) }))
    }

    /// From now on the store answers for the bytes: a row names them, or it removes them itself.
    pub fn claim(&self) {
        self.0.is_claimed.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Unclaimed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Unclaimed").field(&!self.0.is_claimed.load(Ordering::Acquire)).finish()
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        if !self.is_claimed.load(Ordering::Acquire) {
            (self.remove)();
        }
    }
}

impl Data {
    /// In bytes, whole.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Spilled { len, .. } => *len,
            Self::Early { stored, .. } => stored.len,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A body as it is read back.
#[derive(Clone)]
pub struct StoredBody {
    /// As it was stored.
    pub head: Bytes,
    /// In bytes, whole.
    pub len: u64,
    /// Where the bytes are.
    pub data: BodySource,
}

impl fmt::Debug for StoredBody {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StoredBody").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Where the bytes of a stored body are.
#[derive(Clone)]
pub enum BodySource {
    /// These are all of them.
    Inline(Bytes),
    /// To be read piece by piece; stays readable while it is held, even if the task is erased.
    Reader(Arc<dyn BodyRead>),
}

/// Reads pieces of a body, which may still be growing.
pub trait BodyRead: Send + Sync {
    /// Up to `max` bytes from `offset` on; empty only at the end of what is there.
    fn read_at(&self, offset: u64, max: usize) -> StoreFuture<'_, Bytes>;

    /// Whether it can be read, and the whole is what was stored, which costs reading it: one longer than
    /// `limits::BODY_VERIFIED_BYTES_MAX` is not read. Where a store keeps no checksums, nothing is said.
    fn verify(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A body in the making: kept in memory while small, in a file beyond `limits::INLINE_BODY_BYTES_MAX`.
///
/// Dropped before [`finish`](Self::finish), it leaves nothing behind. What could not be done
/// because the store is away or full may be said again, as if it had not been said: nothing before
/// it is lost.
pub trait Spool: Send {
    /// Appends a chunk. The bytes can be read as soon as this returns; they are durable after `finish`.
    fn write(&mut self, chunk: Bytes) -> StoreFuture<'_, ()>;

    /// Reads what was written so far, and what will be.
    fn reader(&self) -> Arc<dyn BodyRead>;

    /// Shows it to whoever watches the task, from now on: what was written, and what will be. Dropped
    /// before it is finished, the answer is broken off; after that, what is committed about the task
    /// says what became of it.
    fn show(&mut self, answer: ShownAs);

    /// Breaks off what is shown, although it may be whole: it will not be the outcome, because the store
    /// refused it, or it is not known whether the store has it. Where nothing is shown, nothing happens.
    fn break_off(&self);

    /// Bytes written so far.
    fn len(&self) -> u64;

    /// Whether nothing was written yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the bytes durable (a spilled file and its folder are fsynced) and ready for a commit. They
    /// are the answer's own: whoever drops it without a commit, or this future, removes them. Once
    /// it was answered with them, the spool has had its day.
    fn finish(&mut self) -> StoreFuture<'_, Data>;
}

impl StoredBody {
    /// Makes sure that the body is whole before the first byte of it goes out: then whoever wants it gets
    /// a plain error instead of a part. One longer than `limits::BODY_VERIFIED_BYTES_MAX` is sent at
    /// once, and cut off at its end if it is damaged.
    ///
    /// # Errors
    /// [`StoreError::BodyDamaged`] when it is not what was stored, [`StoreError::Unavailable`] when it
    /// cannot be read now.
    pub async fn verify(&self) -> Result<(), StoreError> {
        match &self.data {
            BodySource::Reader(reader) => reader.verify().await,
            BodySource::Inline(_) => Ok(()),
        }
    }

    /// All bytes at once, for bodies known to be small.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is longer than `max`, [`StoreError::BodyDamaged`] when it is not
    /// what was stored.
    pub async fn bytes(&self, max: usize) -> Result<Bytes, StoreError> {
        let reader = match &self.data {
            BodySource::Inline(bytes) => return Ok(bytes.clone()),
            BodySource::Reader(reader) => reader,
        };
        if self.len > max as u64 {
            return Err(StoreError::Corrupt("a body is longer than it may be".to_owned()));
        }
        let mut all = Vec::with_capacity(usize::try_from(self.len).unwrap_or(max));
        while (all.len() as u64) < self.len {
            let piece = reader.read_at(all.len() as u64, 64 << 10).await?;
            if piece.is_empty() {
                return Err(StoreError::BodyDamaged("it ends early".to_owned()));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.into())
    }
}
