//! The way of log lines to where they are read: a bounded queue and a thread of its own, so that a
//! pipe that nobody reads costs lines, and never a request.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use relais_core::limits::LOG_WAITING_BYTES_MAX;
use tracing_subscriber::fmt::MakeWriter;

/// The queue. Cheap to clone; all clones are one queue.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of the lines that wait or are being written.
    bytes: usize,
    /// Lines that found no room since this was told last.
    lost: u64,
}

impl Lines {
    /// A queue that is written to `sink`. `tell` is called, on the writing thread, with the number
    /// of lines that were lost once there is room again.
    pub(super) fn to(sink: impl Write + Send + 'static, tell: fn(u64)) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let lines = Self { shared: shared.clone() };
        let writing = move || shared.write_to(sink, tell);
        std::thread::Builder::new().name("log".to_owned()).spawn(writing)?;
        Ok(lines)
    }

    /// Waits until all is written, within bounds: somebody may have stopped reading.
    pub(super) fn flush(&self, patience: Duration) {
        let queue = self.shared.lock();
        let waited =
            self.shared.changed.wait_timeout_while(queue, patience, |queue| queue.bytes > 0);
        drop(waited);
    }

    fn put(&self, line: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.bytes + line.len() > LOG_WAITING_BYTES_MAX {
            queue.lost += 1;
            return;
        }
        queue.bytes += line.len();
        queue.waiting.push_back(line.to_vec());
        drop(queue);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it is held")
    }

    fn write_to(&self, mut sink: impl Write, tell: fn(u64)) {
        loop {
            let queue = self.lock();
            let queue = self.changed.wait_while(queue, |queue| queue.waiting.is_empty());
            let mut queue = queue.expect("nothing panics while it is held");
            let waiting = std::mem::take(&mut queue.waiting);
            drop(queue);
            let bytes = waiting.iter().map(Vec::len).sum::<usize>();
            for line in waiting {
                // If even the log cannot be written there is nowhere to say so.
                let _ = sink.write_all(&line);
            }
            let _ = sink.flush();
            let mut queue = self.lock();
            queue.bytes -= bytes;
            let lost = std::mem::take(&mut queue.lost);
            drop(queue);
            if lost > 0 {
                tell(lost);
            }
            self.changed.notify_all();
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(self.clone())
    }
}

/// Takes one line: it comes in one piece.
pub(super) struct Line(Lines);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// More patience than a test that holds needs.
    const LONG: Duration = Duration::from_secs(20);

    /// A reader that takes a write at a time, when it is asked to.
    struct Reader(SyncSender<Vec<u8>>);

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let sent = self.0.send(bytes.to_vec());
            sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(tell: fn(u64)) -> (Lines, Receiver<Vec<u8>>) {
        // Without room: a write ends when it is read.
        let (write, read) = sync_channel(0);
        (Lines::to(Reader(write), tell).unwrap(), read)
    }

    #[test]
    fn lines_come_whole_and_in_order() {
        let (lines, read) = lines(|_| {});
        for number in 0..100 {
            lines.put(format!("line {number}\n").as_bytes());
        }
        for number in 0..100 {
            assert_eq!(read.recv_timeout(LONG).unwrap(), format!("line {number}\n").into_bytes());
        }
        lines.flush(LONG);
        assert_eq!(lines.shared.lock().bytes, 0);
    }

    #[test]
    fn what_nobody_reads_is_lost_and_told_and_stops_nobody() {
        // A stuck collector of logs stopped the server: each line waited for the pipe.
        static LOST: AtomicU64 = AtomicU64::new(0);
        let (lines, read) = lines(|lost| LOST.store(lost, Ordering::SeqCst));
        let line = vec![b'x'; 1 << 10];
        let fit = LOG_WAITING_BYTES_MAX / line.len();
        for _ in 0..fit + 7 {
            lines.put(&line);
        }
        lines.flush(Duration::ZERO);
        assert_eq!(lines.shared.lock().lost, 7);
        for _ in 0..fit {
            read.recv_timeout(LONG).unwrap();
        }
        lines.flush(LONG);
        assert_eq!(LOST.load(Ordering::SeqCst), 7);
        lines.put(b"again");
        assert_eq!(read.recv_timeout(LONG).unwrap(), b"again");
    }
}
