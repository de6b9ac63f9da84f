//! `/v1/session`: the tasks that a browser follows by its cookie.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE, VARY};
use http::{HeaderValue, StatusCode, Uri, request};
use relais_api::{TaskList, codes};
use relais_core::{Joined, Purpose, Session, TaskId, limits};
use relais_engine::{Access, Estimate, document, envelope};

use super::list::PAGE;
use crate::answer::links::Viewer;
use crate::answer::pages::ListView;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::Visitor;
use crate::connection::Turns;
use crate::request::accept::{Accepts, language};
use crate::request::incoming;
use crate::request::params::Params;
use crate::routes::{OneTask, PageItems};

/// The forms that the tasks of a session have, and the answer to one that joins.
const FORMS: [&str; 2] = ["application/json", "text/html"];
/// The place of the page among them.
const PAGE_FORM: usize = 1;

/// Who makes a call that changes a browser's session: a page of our own origin, and without parameters.
pub(super) struct Meant(Visitor);

impl FromRequestParts<Arc<App>> for Meant {
    type Rejection = Refusal;

    async fn from_request_parts(
        parts: &mut request::Parts,
        app: &Arc<App>,
    ) -> Result<Self, Refusal> {
        let visitor = Visitor::of(&app.auth, parts).await?;
        Params::of(&parts.uri, &[])?;
        visitor.is_meant()?;
        Ok(Self(visitor))
    }
}

/// `GET /v1/session`: newest first. A browser without a session follows no task.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    accepts: Accepts,
    visitor: Visitor,
    turns: Turns,
    uri: Uri,
) -> Result<Response, Refusal> {
    let params = Params::of(&uri, &["after", "limit"])?;
    let limit = params.number("limit", 1..=limits::LIST_PAGE_MAX as u64)?.unwrap_or(PAGE);
    let after: Option<TaskId> = params.parse("after", "the `next` of the page before")?;
    let turn = turns.take().await;
    let session = app.auth.session(visitor.browser()).await?;
    let (shown, mut next) = page_of(session, after, limit as usize);
    let tasks = app.engine.tasks(shown.iter().map(|joined| joined.task).collect()).await?;
    let is_page = accepts.form(&FORMS) == PAGE_FORM;
    let (mut items, mut documents, mut last) = (PageItems::of("items"), Vec::new(), None);
    for (joined, task) in shown.iter().zip(tasks) {
        // One that is gone meanwhile, or damaged, takes no other out of the list.
        let task = task.filter(|task| {
            let context = envelope::context_of(task);
            task.spec.purpose == Purpose::Client
                && context.is_ok_and(|context| matches!(context.sight.access, Access::Ticket))
        });
        if let Some(task) = task {
            let viewer = Viewer {
                base: visitor.base.as_deref(),
                ticket: None,
                may_cancel: joined.grants.cancel,
                may_retry: joined.grants.retry,
            };
            let viewer = if is_page { viewer.for_page(&app.base) } else { viewer };
            let item = present::task_of(&app.answers, &task, &viewer, Estimate::default());
            if !items.takes(&item)? {
                next = last;
                break;
            }
            if is_page {
                documents.push(item);
            }
        }
        last = Some(joined.task);
    }
    let next = next.map(|next| next.to_string());
    let mut response = if is_page {
        let list = ListView {
            tasks: &documents,
            next: next.as_deref(),
            now: document::time(app.engine.now()),
            language: language(visitor.headers()),
        };
        app.answers.pages.list(&list)
    } else {
        items.page(&TaskList { items: Vec::new(), next })?
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Language"));
    Ok(turn.until_sent(response))
}

/// Up to `limit` tasks of a session that it lets be read, newest first, behind one; and the last of
/// them if more follow. Ids fall, so that the cursor may be a task that is gone.
fn page_of(
    session: Option<Session>,
    after: Option<TaskId>,
    limit: usize,
) -> (Vec<Joined>, Option<TaskId>) {
    let mut tasks = session.map(|session| session.tasks).unwrap_or_default();
    tasks.retain(|joined| joined.grants.read && after.is_none_or(|after| joined.task < after));
    tasks.sort_unstable_by_key(|joined| std::cmp::Reverse(joined.task));
    let has_more = tasks.len() > limit;
    tasks.truncate(limit);
    let next = tasks.last().filter(|_| has_more).map(|joined| joined.task);
    (tasks, next)
}

/// `POST /v1/session/{id}`: whoever sees a task follows it from now on without its ticket. What a
/// button does, because a foreign link must not choose what a browser follows.
pub(super) async fn join(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    accepts: Accepts,
    Meant(visitor): Meant,
    body: Body,
) -> Result<Response, Refusal> {
    let joined = visitor.right_to(id).await?;
    incoming::nothing(&app.bodies, &visitor, body).await?;
    let Some(cookie) = app.auth.join(visitor.browser(), joined).await? else {
        let why = "a browser keeps no session in a frame, nor by plain http but with this machine: \
                   use https (a proxy that ends it is known by `public_url`, or by \
                   `trusted_proxies`), or keep the link with its ticket";
        return Err(Refusal::new(&codes::NOT_AVAILABLE).because(why));
    };
    let mut response = done(&accepts, &format!("../tasks/{id}"))?;
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// `DELETE /v1/session`: the browser follows nothing any more.
pub(super) async fn forget_all(
    State(app): State<Arc<App>>,
    Meant(visitor): Meant,
) -> Result<Response, Refusal> {
    end(&app, &visitor, nothing_more()).await
}

/// `POST /v1/session/forget`: the same for a form, which knows no DELETE, so that signing out needs no
/// script.
pub(super) async fn forget_all_by_form(
    State(app): State<Arc<App>>,
    accepts: Accepts,
    Meant(visitor): Meant,
    body: Body,
) -> Result<Response, Refusal> {
    incoming::nothing(&app.bodies, &visitor, body).await?;
    end(&app, &visitor, done(&accepts, "../session")?).await
}

/// Ends the session of a browser, and takes its cookie back with this answer.
async fn end(app: &App, visitor: &Visitor, mut answer: Response) -> Result<Response, Refusal> {
    if let Some(cookie) = app.auth.forget_all(visitor.browser()).await? {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// `DELETE /v1/session/{id}`: the same for one task; also if it follows none like it.
pub(super) async fn forget(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    Meant(visitor): Meant,
) -> Result<Response, Refusal> {
    app.auth.forget(visitor.browser(), id).await?;
    Ok(nothing_more())
}

/// `POST /v1/session/{id}/forget`: the same for a form, which knows no DELETE.
pub(super) async fn forget_by_form(
    State(app): State<Arc<App>>,
    OneTask(id): OneTask,
    accepts: Accepts,
    Meant(visitor): Meant,
    body: Body,
) -> Result<Response, Refusal> {
    incoming::nothing(&app.bodies, &visitor, body).await?;
    app.auth.forget(visitor.browser(), id).await?;
    done(&accepts, "../../session")
}

/// The answer to a call that was done: a form is led to a page, named from where it was called,
/// whatever a proxy puts before the path.
fn done(accepts: &Accepts, page: &str) -> Result<Response, Refusal> {
    let mut response = nothing_more();
    if accepts.form(&FORMS) == PAGE_FORM {
        *response.status_mut() = StatusCode::SEE_OTHER;
        let page = HeaderValue::try_from(page).map_err(Refusal::internal)?;
        response.headers_mut().insert(LOCATION, page);
    }
    Ok(response)
}

fn nothing_more() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
