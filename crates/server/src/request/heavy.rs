//! Work that takes long in proportion to its bytes: done aside, so that
//! others are answered meanwhile.

use relais_core::limits;

use crate::answer::problem::Refusal;

/// Does `work` on so many `bytes`: at once while they are few, else where blocking is no harm.
///
/// # Errors
/// When the process ends, or `work` panics.
pub(crate) async fn on<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    if bytes <= limits::INLINE_BODY_BYTES_MAX {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(Refusal::internal)
}
