//! Why the rules say no. Each refusal becomes one problem code, in the server.

/// The task is not in a state in which this may happen; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// The fencing token is not that of the live attempt: somebody else has the task, or nobody.
    #[error("the lease is over")]
    StaleLease,
    /// The holder settled its attempt before, and said something else: what was recorded stays.
    #[error("the lease was settled otherwise before")]
    SettledOtherwise,
    /// The lease holds, and has not the early result that its settle names: another took its place, or
    /// there never was one.
    #[error("the lease has no such result")]
    NoSuchResult,
    /// The holder shows, or has shown, an answer while it came: readers may have a part of it.
    #[error("an answer was shown under this lease before")]
    AlreadyShown,
    /// The task was canceled while the holder ran it.
    #[error("the task was canceled")]
    TaskCanceled,
    /// A task that succeeded is not retried.
    #[error("the task succeeded already")]
    AlreadySucceeded,
    /// A task that is over is not canceled.
    #[error("the task is over already")]
    AlreadyTerminal,
    /// The credentials it would need were erased.
    #[error("the credentials of the task were erased")]
    CredentialsErased,
    /// Only a terminal task is erased.
    #[error("the task is not terminal")]
    NotTerminal,
    /// The log of the task is full.
    #[error("the task has too many events")]
    TooManyEvents,
    /// It may not start now.
    #[error("the task may not start now")]
    NotReady,
}
