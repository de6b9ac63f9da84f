//! The page of a task that came by a navigation leads on to the answer by itself, once.

use http::Method;
use http::header::LOCATION;
use relais_core::{BodyKind, Mark, Status, Task, limits};
use relais_engine::{ResultHead, envelope};

use crate::answer::links;
use crate::answer::pages::{Onward, path_of};
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::Visitor;
use crate::request::reader::{Reader, is_ahead};

/// Where the page of a task leads that is about to be shown. When it shows the end of a task that
/// its session has handed in, the session notes that it returns from here on.
///
/// # Errors
/// When the store cannot be read or written.
pub(super) async fn onward(app: &App, visitor: &Visitor, task: &Task) -> Result<Onward, Refusal> {
    let id = task.spec.id;
    let joined = visitor.joined(id).filter(|joined| joined.request.is_some());
    if joined.is_none_or(|joined| joined.mark == Mark::Used) {
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
    let reader = Reader::of(&Method::GET, visitor.headers(), |_| true);
    if reader != Reader::Navigator || is_ahead(visitor.headers()) {
        return Ok(Onward::WhenOver);
    }
    let base = visitor.base.as_deref().unwrap_or(app.answers.base.as_str());
    let Some(there) = address(app, base, task).await? else { return Ok(Onward::Stays) };
    let until = app.engine.now().plus(limits::RETURN_WITHIN);
    let is_first = app.auth.open_mark(&visitor.browser, id, until).await?;
    Ok(if is_first { Onward::Now(there) } else { Onward::Stays })
}

/// Where the answer is shown: a GET has it at its own address. Of any other method a redirect is
/// followed, and all else is the result; `None` if there is nothing to see.
async fn address(app: &App, base: &str, task: &Task) -> Result<Option<String>, Refusal> {
    let presented = envelope::context_of(task)?.presented;
    let Some(line) = &task.spec.request else { return Ok(None) };
    if line.method == "GET" {
        return Ok(Some(presented.called_target).filter(|target| is_path(target)));
    }
    let Some(stored) = app.engine.body(task.spec.id, BodyKind::Result).await? else {
        return Ok(None);
    };
    let head: ResultHead = envelope::decode(&stored.head)?;
    if matches!(head.status, 301..=303)
        && let Some((_, location)) = head.fields.iter().find(|(name, _)| LOCATION == name.as_str())
    {
        let location = String::from_utf8_lossy(location);
        let (origin, target) = (presented.called_as.as_str(), presented.called_target.as_str());
        let url = links::absolute(&location, origin, target);
        let is_web = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
        if !is_web {
            return Ok(None);
        }
        // On our own origin a path leads there, whatever proxies call it.
        let path = url.strip_prefix(origin).filter(|path| is_path(path));
        return Ok(Some(path.unwrap_or(&url).to_owned()));
    }
    let url = links::to_task(base, &task.spec.id.to_string(), None);
    let result = format!("{}/result", path_of(&url));
    Ok((present::has_answer(task) && head.has_body).then_some(result))
}

/// Two slashes would be the name of another host.
fn is_path(reference: &str) -> bool {
    reference.starts_with('/') && !reference.starts_with("//")
}
