//! How a request is answered: what its route says, and what its client prefers.

use std::time::Duration;

use crate::config::{Mode, Route, Upstream};
use crate::request::prefer::Prefer;

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way<'a> {
    /// By a plain proxy to this service.
    Sync(&'a Upstream),
    /// As a task.
    Task(Patience),
}

/// How long a client waits for the answer itself before it takes a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patience {
    /// So long, from the end of its upload.
    pub(crate) wait: Duration,
    /// What `Preference-Applied` says on an answer that came in time…
    pub(crate) applied_to_answer: Option<String>,
    /// …and on a 202.
    pub(crate) applied_to_ticket: Option<String>,
}

/// Whether a request is passed on or becomes a task: the route says so, or what the client prefers.
pub(crate) fn way(route: &Route, prefer: Prefer, is_preflight: bool) -> Way<'_> {
    let is_passed_on = match route.mode {
        // A browser waits for its word before it sends anything; as a task it would be run for nobody.
        _ if is_preflight => true,
        Mode::Sync => true,
        Mode::Prefer => !prefer.respond_async,
        Mode::Auto | Mode::Async => false,
    };
    if is_passed_on && let Some(upstream) = route.upstream() {
        return Way::Sync(upstream);
    }
    let asked = prefer.wait_up_to(route.wait_max);
    let wait = match (route.mode, prefer.respond_async) {
        (Mode::Auto, false) => asked.unwrap_or(route.wait),
        _ => asked.unwrap_or(Duration::ZERO),
    };
    let applied_wait = asked.map(|wait| format!("wait={}", wait.as_secs()));
    let applied_to_ticket = match (prefer.respond_async, &applied_wait) {
        (true, Some(wait)) => Some(format!("respond-async, {wait}")),
        (true, None) => Some("respond-async".to_owned()),
        (false, wait) => wait.clone(),
    };
    Way::Task(Patience { wait, applied_to_answer: applied_wait, applied_to_ticket })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_and_modes_combine_as_promised() {
        let upstream: Upstream = "http://u".parse().expect("an address");
        let [template, _] = Route::everything_to(&upstream);
        let route = |mode| Route {
            mode,
            wait: Duration::from_secs(10),
            wait_max: Duration::from_secs(55),
            ..template.clone()
        };
        let cases = [
            // Mode, respond-async, wait; how long it waits, what is applied to an answer, to a 202.
            (Mode::Auto, false, None, Some((10, None, None))),
            (Mode::Auto, false, Some(3), Some((3, Some("wait=3"), Some("wait=3")))),
            (Mode::Auto, false, Some(30), Some((30, Some("wait=30"), Some("wait=30")))),
            (Mode::Auto, false, Some(600), Some((55, Some("wait=55"), Some("wait=55")))),
            (Mode::Auto, false, Some(0), Some((0, Some("wait=0"), Some("wait=0")))),
            (Mode::Auto, true, None, Some((0, None, Some("respond-async")))),
            (Mode::Auto, true, Some(5), Some((5, Some("wait=5"), Some("respond-async, wait=5")))),
            (Mode::Async, false, None, Some((0, None, None))),
            (Mode::Async, true, None, Some((0, None, Some("respond-async")))),
            (Mode::Async, false, Some(5), Some((5, Some("wait=5"), Some("wait=5")))),
            (Mode::Async, true, Some(5), Some((5, Some("wait=5"), Some("respond-async, wait=5")))),
            (Mode::Prefer, false, None, None),
            (Mode::Prefer, false, Some(5), None),
            (Mode::Prefer, true, None, Some((0, None, Some("respond-async")))),
            (Mode::Prefer, true, Some(5), Some((5, Some("wait=5"), Some("respond-async, wait=5")))),
            (Mode::Sync, false, None, None),
            (Mode::Sync, true, Some(5), None),
        ];
        for (mode, respond_async, wait, expected) in cases {
            let prefer = Prefer { respond_async, wait: wait.map(Duration::from_secs) };
            let expected = match expected {
                None => Way::Sync(&upstream),
                Some((wait, answer, ticket)) => Way::Task(Patience {
                    wait: Duration::from_secs(wait),
                    applied_to_answer: answer.map(str::to_owned),
                    applied_to_ticket: ticket.map(str::to_owned),
                }),
            };
            let told = format!("{mode:?} {respond_async} {wait:?}");
            assert_eq!(way(&route(mode), prefer, false), expected, "{told}");
            assert_eq!(way(&route(mode), prefer, true), Way::Sync(&upstream), "{told}");
        }
    }
}
