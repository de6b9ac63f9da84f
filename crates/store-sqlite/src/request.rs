//! What the writer is asked, and what it answers once that is durable.

use relais_core::Timestamp;
use relais_store::{
    Beat, Body, Claim, Claims, Commit, Committed, Data, Nodes, Pool, Rejected, StoreError,
};
use tokio::sync::oneshot;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked.
pub(crate) enum Request {
    Commit {
        commits: Vec<Commit>,
        reply: Reply<Vec<Result<Committed, Rejected>>>,
    },
    Claim {
        claim: Box<Claim>,
        reply: Reply<Claims>,
    },
    Tidy {
        now: Timestamp,
        limit: usize,
        reply: Reply<Vec<Pool>>,
    },
    Beat {
        beat: Beat,
        reply: Reply<Nodes>,
    },
    /// Steps of the virtual machine so far.
    Effort {
        reply: Reply<i64>,
    },
    /// Asks nothing: the transaction before is durable.
    Synced,
    /// The last one.
    Close,
}

/// What it answers.
pub(crate) enum Answer {
    Commit(Vec<Result<Committed, Rejected>>),
    Claim(Claims),
    Tidy(Vec<Pool>),
    Beat(Nodes),
    Effort(i64),
    Nothing,
}

/// Whether a request is the last one.
pub(crate) fn is_close(request: &Request) -> bool {
    matches!(request, Request::Close)
}

/// How much of a transaction a request is.
pub(crate) fn size_of(request: &Request) -> usize {
    match request {
        Request::Commit { commits, .. } => commits.len(),
        Request::Claim { claim, .. } => claim.nonces.len(),
        Request::Tidy { .. } | Request::Beat { .. } | Request::Effort { .. } => 1,
        Request::Synced | Request::Close => 0,
    }
}

/// Bytes of bodies that a request brings.
pub(crate) fn bytes_of(request: &Request) -> u64 {
    let Request::Commit { commits, .. } = request else { return 0 };
    let of_bodies = |bodies: &[(_, Body)]| -> u64 {
        let inline = |body: &Body| matches!(body.data, Data::Inline(_)).then_some(body.data.len());
        bodies.iter().filter_map(|(_, body)| inline(body)).sum()
    };
    let of_commit = |commit: &Commit| match commit {
        Commit::Accept(accept) => of_bodies(&accept.bodies),
        Commit::Step(of) => of_bodies(&of.bodies),
        Commit::Erase { .. } | Commit::Queue { .. } | Commit::Secret { .. } => 0,
    };
    commits.iter().map(of_commit).sum()
}

/// Whether a request adds tasks, which a full disk has no room for.
pub(crate) fn brings_something_new(request: &Request) -> bool {
    match request {
        Request::Commit { commits, .. } => {
            commits.iter().any(|commit| matches!(commit, Commit::Accept(_)))
        }
        _ => false,
    }
}

/// Refuses what is new, for want of room; the rest is left.
pub(crate) fn refuse_new(requests: Vec<Request>) -> Vec<Request> {
    let (new, old): (Vec<_>, Vec<_>) = requests.into_iter().partition(brings_something_new);
    new.into_iter().for_each(|request| refuse(request, &StoreError::Full));
    old
}

/// Whoever does not wait any more is not missed.
pub(crate) fn give(request: Request, answer: Answer) {
    match (request, answer) {
        (Request::Commit { reply, .. }, Answer::Commit(answer)) => _ = reply.send(Ok(answer)),
        (Request::Claim { reply, .. }, Answer::Claim(answer)) => _ = reply.send(Ok(answer)),
        (Request::Tidy { reply, .. }, Answer::Tidy(answer)) => _ = reply.send(Ok(answer)),
        (Request::Beat { reply, .. }, Answer::Beat(answer)) => _ = reply.send(Ok(answer)),
        (Request::Effort { reply }, Answer::Effort(answer)) => _ = reply.send(Ok(answer)),
        (Request::Synced | Request::Close, Answer::Nothing) => {}
        _ => unreachable!("answers are in the order of their requests"),
    }
}

pub(crate) fn refuse(request: Request, error: &StoreError) {
    let error = error.clone();
    match request {
        Request::Commit { reply, .. } => _ = reply.send(Err(error)),
        Request::Claim { reply, .. } => _ = reply.send(Err(error)),
        Request::Tidy { reply, .. } => _ = reply.send(Err(error)),
        Request::Beat { reply, .. } => _ = reply.send(Err(error)),
        Request::Effort { reply } => _ = reply.send(Err(error)),
        Request::Synced | Request::Close => {}
    }
}
