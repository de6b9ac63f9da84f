//! Work that is not left half done when whoever asked for it leaves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that runs where it is awaited, without a task of its own; dropped before its end, it
/// becomes one and runs on. After a panic it is gone.
pub(crate) struct RunToEnd<F: Future + Send + 'static>
where
    F::Output: Send,
{
    future: Option<Pin<Box<F>>>,
}

impl<F: Future + Send + 'static> RunToEnd<F>
where
    F::Output: Send,
{
    pub(crate) fn new(future: F) -> Self {
        Self { future: Some(Box::pin(future)) }
    }
}

impl<F: Future + Send + 'static> Future for RunToEnd<F>
where
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out meanwhile, so that one that panics is not polled again.
        let mut future = self.future.take().expect("it is not polled after its end");
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl<F: Future + Send + 'static> Drop for RunToEnd<F>
where
    F::Output: Send,
{
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_in_the_middle_runs_to_its_end() {
        let (go, going) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let mut work = RunToEnd::new(async move {
            going.await.unwrap();
            done.send(5).unwrap();
        });
        assert!((&mut work).now_or_never().is_none());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(is_done.await, Ok(5));
    }

    #[tokio::test]
    async fn what_ends_or_panics_is_not_run_again() {
        assert_eq!(RunToEnd::new(async { 7 }).await, 7);
        let panicking = std::panic::AssertUnwindSafe(RunToEnd::new(async { panic!("a bug") }));
        assert!(panicking.catch_unwind().await.is_err());
    }
}
