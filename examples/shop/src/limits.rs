//! Every limit of the shop.

use std::time::Duration;

/// Connections open at the same time; more wait in the kernel's backlog.
pub const CONNECTIONS_MAX: usize = 512;
/// Time a connection may take to send a request's head, idle time included.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Time a request's body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest delay that `?slow=` may ask for, in milliseconds.
pub const SLOW_MS_MAX: u64 = 600_000;

/// Suppliers whose calls are counted.
pub const SUPPLIERS_MAX: usize = 10_000;
/// Bytes of a supplier's id.
pub const SUPPLIER_ID_LEN_MAX: usize = 64;

/// Orders being worked on at the same time.
pub const ORDERS_RUNNING_MAX: u32 = 1_024;
/// Orders remembered; the shop is closed afterwards.
pub const ORDERS_MAX: usize = 100_000;
/// Orders in one answer of `GET /orders`, the latest first.
pub const ORDERS_LISTED_MAX: usize = 1_000;
/// Lines of one order.
pub const ORDER_LINES_MAX: usize = 1_000;
/// Bytes of each text of an order.
pub const ORDER_TEXT_LEN_MAX: usize = 128;
/// Pieces of one line of an order.
pub const ORDER_QUANTITY_MAX: u32 = 1_000_000;

/// Bytes that `?bytes=` may ask of an invoice.
pub const INVOICE_BYTES_MAX: u64 = 1 << 30;

/// Imports that callers wait for at the same time.
pub const IMPORTS_RUNNING_MAX: usize = 16;
/// Lines that `?lines=` may ask of a sample file: they fit into a body.
pub const SAMPLE_LINES_MAX: u64 = 25_000;
/// Bytes of a question to the assistant.
pub const QUESTION_BYTES_MAX: usize = 1_000;

/// Bytes of an import.
pub const IMPORT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Lines (records) of an import.
pub const IMPORT_LINES_MAX: u64 = 5_000_000;
/// Bytes of one field of an import.
pub const IMPORT_FIELD_LEN_MAX: usize = 4_096;
/// Bad lines that an import names one by one; all of them are counted.
pub const IMPORT_BAD_LINES_MAX: usize = 100;
/// Lines between two checkpoints of an import.
pub const IMPORT_CHECKPOINT_EVERY: u64 = 1_000;
/// The shortest time between two progress reports of an import.
pub const IMPORT_PROGRESS_EVERY: Duration = Duration::from_millis(100);

// A padded invoice writes its offsets in ten digits.
const _: () = assert!(INVOICE_BYTES_MAX < 9_999_999_999);
