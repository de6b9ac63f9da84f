//! `GET /v1/tasks`: the tasks of a tenant, newest first.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use relais_api::TaskList;
use relais_core::{Status, Task, limits};
use relais_engine::{Estimate, envelope};
use relais_store::Filter;

use crate::answer::links::Viewer;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Scope, Visitor};
use crate::connection::Turns;
use crate::request::params::{Params, label_of};
use crate::routes::PageItems;

/// Items on a page unless the caller says otherwise.
pub(super) const PAGE: u64 = 50;

/// `GET /v1/tasks`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    turns: Turns,
    uri: Uri,
) -> Result<Response, Refusal> {
    let known = ["queue", "status", "label", "lane", "after", "limit"];
    let params = Params::of(&uri, &known)?;
    let tenant = visitor.tenant(Scope::Read)?;
    let limit = params.number("limit", 1..=limits::LIST_PAGE_MAX as u64)?.unwrap_or(PAGE);
    let filter = Filter {
        tenant: Some(tenant),
        queue: params.parse("queue", "the name of a queue")?,
        status: params.get("status").map(status_of).transpose()?,
        label: params.get("label").map(label_of).transpose()?,
        lane: params.parse("lane", "1 to 128 bytes")?,
        after: params.parse("after", "the `next` of the page before")?,
        limit: limit as usize,
        ..Filter::default()
    };
    let turn = turns.take().await;
    let page = app.engine.list(filter).await?;
    let viewer = Viewer {
        base: visitor.base.as_deref(),
        ticket: None,
        may_cancel: visitor.tenant(Scope::Submit).is_ok(),
        may_retry: visitor.tenant(Scope::Submit).is_ok(),
    };
    let mut items = PageItems::of("items");
    let mut next = page.next;
    let mut last = None;
    for task in &page.tasks {
        if is_visible(&visitor, task) {
            let item = present::task_of(&app.answers, task, &viewer, Estimate::default());
            if !items.takes(&item)? {
                next = last;
                break;
            }
        }
        last = Some(task.spec.id);
    }
    let next = next.map(|next| next.to_string());
    Ok(turn.until_sent(items.page(&TaskList { items: Vec::new(), next })?))
}

/// Whether the visitor sees a task of its tenant in a list: one that is bound to its caller, or to
/// a key, is not shown to somebody who has none. One of which it cannot be read is damaged, and
/// takes no other out of a list.
pub(super) fn is_visible(visitor: &Visitor, task: &Task) -> bool {
    envelope::context_of(task).is_ok_and(|context| visitor.reaches(task, &context.sight.access))
}

/// A status by its word.
pub(super) fn status_of(word: &str) -> Result<Status, Refusal> {
    let found = Status::ALL.into_iter().find(|status| status.as_str() == word);
    found.ok_or_else(|| {
        let words = Status::ALL.map(Status::as_str).join(", ");
        Refusal::parameter("status", format_args!("is none of {words}"))
    })
}
