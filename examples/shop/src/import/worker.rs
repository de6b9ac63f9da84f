//! What ties the import to a process: its input, its pace and file descriptor 3.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::Pace;
use crate::limits::IMPORT_BYTES_MAX;

/// Reads a whole input.
///
/// # Errors
/// When it cannot be read or has more than [`IMPORT_BYTES_MAX`] bytes.
pub fn read_input(input: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(IMPORT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > IMPORT_BYTES_MAX {
        let what = format!("it has more than {IMPORT_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// File descriptor 3 for reports, or nowhere if whoever started this process left it closed.
///
/// # Errors
/// When the descriptor is there, to be written to, but cannot be opened again by its name. A socket
/// is such a one: a pipe, a file or a terminal is needed.
pub fn reports() -> io::Result<Box<dyn Write>> {
    if !is_for_writing(REPORTS_FD) {
        return Ok(Box::new(io::sink()));
    }
    let path = format!("/dev/fd/{REPORTS_FD}");
    let file: File = OpenOptions::new().append(true).open(path)?;
    Ok(Box::new(file))
}

/// Opening by name would also work on a file that was opened for reading only, and write into it.
fn is_for_writing(fd: u32) -> bool {
    let Ok(info) = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")) else {
        return fs::exists(format!("/dev/fd/{fd}")).unwrap_or(false);
    };
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & O_ACCMODE != 0)
}

/// Real time, with a real pause for each line.
#[derive(Debug)]
pub struct RealPace {
    start: Instant,
    per_line: Duration,
    due: Duration,
}

impl RealPace {
    /// Starts now; each line takes `per_line`.
    pub fn new(per_line: Duration) -> Self {
        Self { start: Instant::now(), per_line, due: Duration::ZERO }
    }
}

impl Pace for RealPace {
    fn work(&mut self) {
        self.due += self.per_line;
        // A system cannot sleep for 100 µs: the debt is slept off once it is worth it.
        let debt = self.due.saturating_sub(self.start.elapsed());
        if debt >= NAP {
            thread::sleep(debt);
        }
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

const REPORTS_FD: u32 = 3;
/// The bits of open(2)'s flags that hold the access mode; zero is for reading only.
const O_ACCMODE: u32 = 0o3;
const NAP: Duration = Duration::from_millis(2);
