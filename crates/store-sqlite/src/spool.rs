//! A body in the making: in memory while it is small, in a file beyond.
//!
//! The file is written in large pieces by the blocking pool, one at a time, while the next piece gathers.
//! Whoever reads along finds each byte where it is just then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use relais_core::limits;
use relais_store::{BodyRead, Data, Shown, ShownAs, Spool, StoreError, StoreFuture, Unclaimed};
use tokio::task::{JoinError, JoinHandle};

use crate::bodies::read_file;
use crate::fault::{Fault, Meaning};
use crate::shared::Shared;

/// How much gathers before it is written to the file.
const PIECE: usize = 256 << 10;

const _: () = assert!(limits::INLINE_BODY_BYTES_MAX < PIECE);

/// A body in the making.
pub(crate) struct FileSpool {
    bytes: Arc<Growing>,
    hasher: crc32fast::Hasher,
    len: u64,
    /// The write that is under way.
    flight: Option<JoinHandle<Result<(), Fault>>>,
    /// The disk did not keep what it had taken: the bytes are nowhere any more.
    is_lost: bool,
    /// Those who read along are told of each piece.
    shown: Option<Shown>,
}

/// The bytes so far, and where they are.
struct Growing {
    shared: Arc<Shared>,
    name: String,
    place: Mutex<Place>,
}

#[derive(Default)]
struct Place {
    file: Option<Arc<File>>,
    /// The piece that is being written, or could not be, and where it begins.
    flying: Option<(u64, Bytes)>,
    /// Bytes that are in the file or under way to it.
    sent: u64,
    pending: BytesMut,
    /// It will not be finished.
    is_abandoned: bool,
    is_finished: bool,
}

impl FileSpool {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let name = shared.files.new_name();
        let bytes = Growing { shared, name, place: Mutex::default() };
        Self {
            bytes: Arc::new(bytes),
            hasher: crc32fast::Hasher::new(),
            len: 0,
            flight: None,
            is_lost: false,
            shown: None,
        }
    }

    /// Waits until the piece that was sent last is in the file; one that could not be written is
    /// sent once more.
    async fn land(&mut self) -> Result<(), StoreError> {
        if self.flight.is_none() {
            self.fly();
        }
        let Some(flight) = &mut self.flight else { return Ok(()) };
        let landed = flight.await;
        self.flight = None;
        self.judge(landed)
    }

    /// Sends what has gathered to the file, once the piece before has landed.
    fn send(&mut self) {
        {
            let mut place = self.bytes.place();
            let piece = place.pending.split().freeze();
            let offset = place.sent;
            place.sent += piece.len() as u64;
            place.flying = Some((offset, piece));
        }
        self.fly();
    }

    fn fly(&mut self) {
        let Some((offset, piece)) = self.bytes.place().flying.clone() else { return };
        let bytes = self.bytes.clone();
        self.flight = Some(tokio::task::spawn_blocking(move || bytes.write(offset, &piece)));
    }

    /// Remembers what a fault says about the store. That one body found no room says nothing about
    /// others: the writer asks the disk itself before it takes anything new.
    pub(crate) fn note(&self, fault: &Fault) {
        if fault.meaning() != Meaning::Full {
            self.bytes.shared.condition.note(fault);
        }
    }

    /// What came of a write, or of the end.
    fn judge(&mut self, done: Result<Result<(), Fault>, JoinError>) -> Result<(), StoreError> {
        done.unwrap_or_else(|_| Err(stopped())).map_err(|fault| {
            self.note(&fault);
            // A file that was not made durable once is not to be believed the next time.
            self.is_lost |= matches!(fault, Fault::Fsync(_));
            fault.as_error()
        })
    }

    async fn finish_file(&mut self) -> Result<Data, StoreError> {
        if self.is_lost {
            return Err(StoreError::BodyDamaged("the disk did not keep it".to_owned()));
        }
        self.land().await?;
        if !self.bytes.place().pending.is_empty() {
            self.send();
            self.land().await?;
        }
        let (shared, name) = (self.bytes.shared.clone(), self.bytes.name.clone());
        let unclaimed = Unclaimed::new(move || shared.files.remove(&name));
        // Held until the file has its name, too: whoever leaves meanwhile leaves nothing behind.
        let (bytes, held) = (self.bytes.clone(), unclaimed.clone());
        let publish = move || {
            let published = bytes.publish();
            drop(held);
            published
        };
        let published = tokio::task::spawn_blocking(publish).await;
        self.judge(published)?;
        let crc = std::mem::take(&mut self.hasher).finalize();
        Ok(Data::Spilled { name: self.bytes.name.clone(), len: self.len, crc, unclaimed })
    }
}

fn stopped() -> Fault {
    io::Error::other("the process is shutting down").into()
}

impl Spool for FileSpool {
    fn write(&mut self, chunk: Bytes) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let is_enough = self.bytes.place().pending.len() + chunk.len() >= PIECE;
            if is_enough {
                // Before any of the chunk is taken: it may have to be said again.
                self.land().await?;
            }
            self.hasher.update(&chunk);
            self.len += chunk.len() as u64;
            self.bytes.place().pending.extend_from_slice(&chunk);
            if is_enough {
                self.send();
            }
            if let Some(shown) = &self.shown {
                shown.grew(self.len);
            }
            Ok(())
        })
    }

    fn reader(&self) -> Arc<dyn BodyRead> {
        self.bytes.clone()
    }

    fn show(&mut self, answer: ShownAs) {
        let shown = self.bytes.shared.growing.show(answer, self.bytes.clone());
        shown.grew(self.len);
        self.shown = Some(shown);
    }

    fn break_off(&self) {
        if let Some(shown) = &self.shown {
            shown.break_off();
        }
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn finish(&mut self) -> StoreFuture<'_, Data> {
        Box::pin(async move {
            let data = if self.len > limits::INLINE_BODY_BYTES_MAX as u64 {
                self.finish_file().await?
            } else {
                let mut place = self.bytes.place();
                place.is_finished = true;
                Data::Inline(Bytes::copy_from_slice(&place.pending))
            };
            if let Some(shown) = &mut self.shown {
                shown.is_whole();
            }
            Ok(data)
        })
    }
}

impl Drop for FileSpool {
    fn drop(&mut self) {
        let mut place = self.bytes.place();
        place.is_abandoned = !place.is_finished;
        if place.is_abandoned && place.file.is_some() {
            self.bytes.shared.files.remove_unfinished(&self.bytes.name);
        }
    }
}

impl Growing {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().expect("nothing panics while it is held")
    }

    /// Writes a piece, in the blocking pool.
    fn write(&self, offset: u64, piece: &[u8]) -> Result<(), Fault> {
        let known = self.place().file.clone();
        let file = match known {
            Some(file) => file,
            None => {
                let file = Arc::new(self.shared.files.create(&self.name)?);
                let mut place = self.place();
                if place.is_abandoned {
                    self.shared.files.remove_unfinished(&self.name);
                    return Ok(());
                }
                place.file = Some(file.clone());
                file
            }
        };
        file.write_all_at(piece, offset)?;
        self.place().flying = None;
        Ok(())
    }

    /// Makes file and name durable, in the blocking pool.
    fn publish(&self) -> Result<(), Fault> {
        let file = self.place().file.clone().expect("the last piece was written");
        file.sync_all().map_err(Fault::Fsync)?;
        self.shared.files.publish(&self.name)?;
        self.place().is_finished = true;
        Ok(())
    }
}

impl BodyRead for Growing {
    fn read_at(&self, offset: u64, max: usize) -> StoreFuture<'_, Bytes> {
        Box::pin(async move {
            let (file, max) = {
                let place = self.place();
                if offset >= place.sent {
                    return Ok(piece_of(&place.pending, offset - place.sent, max));
                }
                let on_disk = match &place.flying {
                    Some((from, piece)) if offset >= *from => {
                        return Ok(piece_of(piece, offset - from, max));
                    }
                    Some((from, _)) => *from,
                    None => place.sent,
                };
                let max = max.min(usize::try_from(on_disk - offset).unwrap_or(max));
                (place.file.clone().expect("what is not in memory is in the file"), max)
            };
            read_file(file, offset, max).await
        })
    }
}

fn piece_of(bytes: &[u8], offset: u64, max: usize) -> Bytes {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let to = from.saturating_add(max).min(bytes.len());
    Bytes::copy_from_slice(&bytes[from..to])
}
