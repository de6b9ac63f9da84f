//! The page of a task that came by a navigation leads on to the answer by itself, once.

use http::header::LOCATION;
use http::{Method, StatusCode};
use relais_core::{BodyKind, Destination, Joined, Status, Task};
use relais_engine::{ResultHead, envelope};

use crate::answer::links;
use crate::answer::pages::Onward;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::answer::redirect::{followed, is_get, is_path};
use crate::answer::replay::is_played;
use crate::app::App;
use crate::auth::Visitor;

/// Where the page of a task leads that is about to be shown. When it shows the end of a task that
/// its session has handed in, the session notes that it returns from here on.
///
/// # Errors
/// When the store cannot be read or written.
pub(super) async fn onward(app: &App, visitor: &Visitor, task: &Task) -> Result<Onward, Refusal> {
    let id = task.spec.id;
    if !visitor.joined(id).is_some_and(Joined::goes_on) {
        return Ok(Onward::Stays);
    }
    match task.life.status() {
        Status::Queued | Status::Running | Status::Waiting => return Ok(Onward::WhenOver),
        // What went wrong is shown here, and what can be done about it.
        Status::Failed | Status::Canceled => return Ok(Onward::Stays),
        Status::Succeeded => {}
    }
    // Its script reads the page as well, and learns that it is to be loaded; and what is fetched ahead
    // shows nobody the end.
    if !visitor.fetch().is_visit(&Method::GET) {
        return Ok(Onward::WhenOver);
    }
    let Some((there, to)) = there(app, task).await? else { return Ok(Onward::Stays) };
    let is_first = app.auth.goes_on(visitor.browser(), id, to).await?;
    Ok(if is_first { Onward::Now(there) } else { Onward::Stays })
}

/// Where the answer is shown; `None` if there is nothing to see. A GET returns to its own address, for
/// its whole answer: all else is the result.
async fn there(app: &App, task: &Task) -> Result<Option<(String, Destination)>, Refusal> {
    let Some(stored) = app.engine.body(task.spec.id, BodyKind::Result).await? else {
        return Ok(None);
    };
    let head: ResultHead = envelope::decode(&stored.head)?;
    let presented = envelope::context_of(task)?.presented;
    let is_whole = !matches!(head.status, 206 | 304);
    // What is played is asked for again by the player: at its own address that were another request.
    let is_played = head.content_type().is_some_and(is_played);
    if is_get(task) && is_whole && !is_played {
        let own = Some(presented.called_target).filter(|target| is_path(target));
        return Ok(own.map(|own| (own, Destination::OwnAddress)));
    }
    let status = StatusCode::from_u16(head.status).map_err(Refusal::internal)?;
    let location = head.fields.iter().find(|(name, _)| LOCATION == name.as_str());
    let is_followed = location.is_some_and(|(_, location)| {
        let location = String::from_utf8_lossy(location);
        followed(status, &location, is_get(task), &presented).is_some()
    });
    let is_shown = is_followed || stored.len > 0;
    let result = links::to_result(app.base.path(), &task.spec.id.to_string());
    Ok((is_shown && present::has_answer(task)).then_some((result, Destination::Result)))
}
