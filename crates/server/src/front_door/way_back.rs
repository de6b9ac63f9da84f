//! How a caller that was given an answer, or the beginning of one, finds its task again.

use http::header::LINK;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use relais_api::fields;
use relais_core::{Task, TaskId};
use relais_engine::Access;

use super::caller::Submitter;
use crate::answer::answers::Answers;
use crate::answer::{links, shared_caches};
use crate::auth::{Caller, Ticket};
use crate::config::Route;

/// The link to a task in an answer that is its maker's.
pub(super) struct WayBack {
    task: TaskId,
    /// Of the request: it says what caches do with the answer.
    method: Method,
    /// What rides in the link, unless a cache may give it to others.
    ticket: Option<Ticket>,
}

impl WayBack {
    /// To a task that was just made. Whoever has an API key needs no ticket, and where tasks are
    /// seen otherwise there is none.
    pub(super) fn to(task: &Task, route: &Route, submitter: &Submitter, method: Method) -> Self {
        let rides = matches!(submitter.access, Access::Ticket)
            && matches!(submitter.caller, Caller::Nobody);
        let ticket = rides.then(|| Ticket::of(task, route.grants));
        Self { task: task.spec.id, method, ticket }
    }

    /// To the task of a page that returns by its session to its own address.
    pub(super) const fn by_session(task: TaskId) -> Self {
        Self { task, method: Method::GET, ticket: None }
    }

    /// Says it in an answer, which has all its other fields by now. What its maker says of links stays,
    /// and so does its own `Operation-Location`: that of another operation, for a client that knows it.
    pub(super) fn tell(&self, answers: &Answers, base: Option<&str>, answer: &mut HeaderMap) {
        let ticket = self.ticket.filter(|_| shared_caches::keep_nothing_of(&self.method, answer));
        let ticket = ticket.map(|ticket| ticket.sign(&answers.signing.keys()));
        let base = base.unwrap_or(answers.base.as_str());
        let url = links::to_task(base, &self.task.to_string(), ticket.as_deref());
        let value = |text: String| HeaderValue::try_from(text).expect("URLs are ASCII");
        answer.append(LINK, value(links::monitor(&url)));
        let location = HeaderName::from_static(fields::OPERATION_LOCATION);
        answer.entry(location).or_insert_with(|| value(url));
    }
}
