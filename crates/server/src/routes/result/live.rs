//! `GET /v1/tasks/{id}/result?live`: the answer while it comes, from its first byte or from where its
//! reader was cut off.

use std::time::Duration;

use axum::response::Response;
use http::Method;
use relais_api::codes;
use relais_core::{Fate, ResultVersion, Task, limits};
use relais_engine::Attending;

use crate::answer::etag;
use crate::answer::live::{Live, Reader};
use crate::answer::part;
use crate::answer::problem::Refusal;
use crate::answer::replay::{From, Reading, Resume, is_offered, live_response};
use crate::app::App;
use crate::auth::{Seen, Visitor};
use crate::request::params::Params;
use crate::watch::asking::Asking;
use crate::watch::cursor::{End, SILENCE_MAX};
use crate::watch::follower::{Follower, News};

/// The largest offset that JSON's numbers name exactly: larger than any body.
const OFFSET_MAX: u64 = (1 << 53) - 1;

/// How many seconds of silence a reader may ask to be told of.
const KEEPALIVE_S: std::ops::RangeInclusive<u64> = 1..=60;

/// What a live read asks for.
pub(super) struct Wish {
    /// Whether a committed answer is of no interest.
    pub(super) is_only_live: bool,
    /// From where on, and of which answer, if its reader had a part of it.
    pub(super) resume: Option<Resume>,
    /// After how long a silence of an event stream a sign of life is wanted, if it is.
    keepalive: Option<Duration>,
}

/// What came of waiting for an answer.
pub(super) enum Came {
    /// The answer itself, as it comes.
    Live(Response),
    /// Nothing that comes: the task, which is over or not.
    Task(Box<Task>),
}

impl Wish {
    /// Reads the parameters; `None` where no live answer is asked for.
    ///
    /// # Errors
    /// Names the parameter that is not valid.
    pub(super) fn of(params: &Params) -> Result<Option<Self>, Refusal> {
        let after = params.number("after", 0..=OFFSET_MAX)?;
        let version: Option<ResultVersion> =
            params.parse("attempt", "a run and an attempt, as in `1.2`")?;
        let keepalive = match params.get("keepalive") {
            Some("") => Some(SILENCE_MAX),
            _ => params.number("keepalive", KEEPALIVE_S)?.map(Duration::from_secs),
        };
        let is_only_live = match params.get("live") {
            Some("") => false,
            Some("only") => true,
            Some(_) => return Err(Refusal::parameter("live", "expected no value, or `only`")),
            None if after.is_some() => return Err(without("after", "live")),
            None if version.is_some() => return Err(without("attempt", "live")),
            None if keepalive.is_some() => return Err(without("keepalive", "live")),
            None => return Ok(None),
        };
        let resume = match (after, version) {
            (Some(after), Some(version)) => Some(Resume { after, version }),
            // A number of bytes of one answer says nothing of another.
            (Some(_), None) => return Err(without("after", "attempt")),
            (None, Some(version)) => Some(Resume { after: 0, version }),
            (None, None) => None,
        };
        Ok(Some(Self { is_only_live, resume, keepalive }))
    }
}

fn without(name: &str, other: &str) -> Refusal {
    Refusal::parameter(name, format_args!("goes with `{other}`"))
}

/// What was found of an answer.
enum Found {
    /// The answer of a task, and from where on it is wanted.
    Answer(Box<(Task, Live)>, From),
    /// Nothing that comes.
    Task(Box<Task>),
    /// The same, and its reader has closed its side.
    ForNobody(Box<Task>),
}

/// Waits until there is an answer to be read from where it is wanted, for as long as `wait` says. Whoever
/// has a part of it already waits for the rest without saying so.
///
/// # Errors
/// When that answer is not to be had any more, the store cannot be read, or the task is gone.
pub(super) async fn wait(
    app: &App,
    visitor: &Visitor,
    seen: &Seen<'_>,
    asked: (&Wish, &Method),
    wait: Option<Duration>,
) -> Result<Came, Refusal> {
    let engine = &app.engine;
    let asking = Asking::for_task(engine, &seen.task);
    let (task, live, from) = match find(app, visitor, seen, asked, wait).await {
        Ok(Found::Answer(answer, from)) => (answer.0, answer.1, from),
        Ok(Found::Task(task)) => {
            return Ok(Came::Task(Box::new(asking.answered(engine, *task).await?)));
        }
        Ok(Found::ForNobody(task)) => return Ok(Came::Task(task)),
        Err(refusal) => {
            asking.refused();
            return Err(refusal);
        }
    };
    let is_head = *asked.1 == Method::HEAD;
    let (task, attending) = if is_head {
        (asking.answered(engine, task).await?, Attending::default())
    } else {
        (task, asking.stays())
    };
    let right_for = seen.until.map(|until| until.since(engine.now()));
    if task.spec.grace.is_some() {
        // While the answer is silent nothing else tells that its reader has left.
        visitor.client.be_patient(Duration::ZERO);
    }
    let (stop, keepalive) = (app.stop.clone(), asked.0.keepalive);
    let reading = Reading { from, reader: Reader { stop, right_for, keepalive, attending } };
    live_response(&task, live, reading, is_head).map(Came::Live)
}

async fn find(
    app: &App,
    visitor: &Visitor,
    seen: &Seen<'_>,
    (wish, method): (&Wish, &Method),
    wait: Option<Duration>,
) -> Result<Found, Refusal> {
    let id = seen.task.spec.id;
    let wanted = |task: &Task| match &wish.resume {
        Some(resume) => From::After(resume.after),
        None => part::growing(method, visitor.headers(), &etag::of_result(task))
            .map_or(From::Start, |(first, last)| From::Range { first, last }),
    };
    let for_bytes = if wanted(&seen.task).first() > 0 { limits::WAIT_MAX } else { Duration::ZERO };
    let patience = wait.unwrap_or(for_bytes);
    let mut follower = Follower::of_task(&app.followers, id, patience, visitor.client.clone());
    let mut watched = app.engine.watch_answer(id);
    loop {
        // Before the task is read: what is shown, or happens, behind that is told.
        let live = Live::of(&mut watched)?;
        let task = app.engine.task(id).await?.ok_or_else(|| gone(seen))?;
        if task.life.status().is_terminal() {
            return Ok(Found::Task(Box::new(task)));
        }
        if let Some(resume) = &wish.resume
            && task.life.fate_of(resume.version) == Fate::Gone
        {
            return Err(Refusal::new(&codes::ANSWER_REPLACED).about(id));
        }
        let mut live = live.filter(|live| task.life.fate_of(live.version()) == Fate::Open);
        let from = match (wanted(&task), &live) {
            // Only of a 200 there are parts.
            (From::Range { .. }, Some(live)) if !is_offered(&live.head) => From::Start,
            (from, _) => from,
        };
        if let Some(live) = live.take_if(|live| live.reaches(from.first())) {
            if is_offered(&live.head)
                && !etag::may_match(visitor.headers(), &etag::of_result(&task))
            {
                return Err(Refusal::new(&codes::PRECONDITION_FAILED).about(id));
            }
            return Ok(Found::Answer(Box::new((task, live)), from));
        }
        if live.is_none()
            && let Some(stored) = app.engine.shown(&task).await?
        {
            watched.show_whole(task.life.result_version(), stored);
            continue;
        }
        follower.cursor.skip_to(task.life.version);
        // However many pieces it comes in, its task is read once for all of them.
        let reached = async {
            match &live {
                Some(live) => live.until_it_reaches(from.first()).await,
                None => std::future::pending().await,
            }
        };
        let news = tokio::select! {
            () = watched.changed() => continue,
            () = reached => continue,
            news = follower.news() => news,
        };
        match news {
            News::Happened(batch) => follower.told(&batch, batch.happenings.len()),
            News::Quiet => {}
            News::End(End::Gone) => return Err(gone(seen)),
            News::End(End::Left) => return Ok(Found::ForNobody(Box::new(task))),
            News::End(_) => return Ok(Found::Task(Box::new(task))),
            News::Failed(error) => return Err(error.into()),
        }
    }
}

fn gone(seen: &Seen<'_>) -> Refusal {
    Refusal::new(&codes::TASK_GONE).about(seen.task.spec.id)
}
