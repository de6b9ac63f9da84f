//! What this client holds in memory, and how long it waits, at most.

use std::time::Duration;

/// Largest JSON document read, bytes. A batch of leases is the largest there is.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 96 << 20;
/// How much of an error's body is read.
pub(crate) const PROBLEM_BYTES_MAX: usize = 64 << 10;
/// How much of a foreign error's body is shown.
pub(crate) const FOREIGN_ERROR_CHARS_MAX: usize = 200;
/// Largest event read from a stream, bytes.
pub(crate) const EVENT_BYTES_MAX: usize = 1 << 20;
/// Largest result sent inside a settle; a larger one is stored first.
pub(crate) const INLINE_RESULT_BYTES_MAX: usize = 64 << 10;
/// Pieces of output of one task that wait to be sent; more make the handler wait.
pub(crate) const OUTPUTS_WAITING_MAX: usize = 16;
/// Most items in one call.
pub(crate) const BATCH_MAX: usize = 1_000;

/// How long a connection may take to open.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the head of an answer may take, beyond what the server was asked to wait.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a body may be silent. Streams of events have a comment every 15 s.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long one long-poll waits: below the 55 s of the server and the 60 s of many proxies.
pub(crate) const POLL_WAIT: Duration = Duration::from_secs(50);
/// Longest the server may ask to wait before a call is repeated; beyond it the call fails.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Least time between two reports of one worker: progress in between is merged.
pub(crate) const REPORT_EVERY_MIN: Duration = Duration::from_millis(100);
