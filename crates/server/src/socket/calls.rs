//! The calls of a WebSocket: each is what HTTP has for it, and is answered with the same documents.

use std::sync::Arc;
use std::time::Duration;

use relais_api::bulk::RetryFrom;
use relais_api::ws::{Said, TaskRef, Watched};
use relais_api::{After, RawJson, SubmitRequest, codes};
use relais_core::TaskId;
use relais_engine::{Many, Subscription};
use serde::Serialize;

use super::form::{self, Frames};
use super::speaker::Speaker;
use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{Action, Scope};
use crate::connection::Client;
use crate::request::bodies::Held;
use crate::request::params::label_of;
use crate::routes::{change, submit};
use crate::watch::cursor::Resume;
use crate::watch::stream::{Asked, EventStream, Followed, Opened};

/// A call that is answered by a frame, in which it has this name.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// `room` is for its bytes, until they are decoded.
    Submit {
        key: Option<String>,
        task: RawJson,
        room: Box<Held>,
    },
    Cancel(TaskRef),
    Retry(TaskRef, Option<RetryFrom>),
}

/// What became of a call: its status, and the document of the task.
struct Done {
    status: u16,
    replayed: bool,
    task: RawJson,
}

impl Done {
    fn new(status: u16, document: &impl Serialize) -> Result<Self, Refusal> {
        let task = RawJson::from_value(document).map_err(Refusal::internal)?;
        Ok(Self { status, replayed: false, task })
    }
}

/// Makes a call. Answers the frame for it.
pub(crate) async fn make(app: &Arc<App>, speaker: &Speaker, call: Call) -> Vec<u8> {
    let done = match call.what {
        What::Submit { key, task, room } => hand_in(app, speaker, key, (task, room)).await,
        What::Cancel(task) => cancel(app, speaker, task).await,
        What::Retry(task, from) => retry(app, speaker, task, from).await,
    };
    let id = call.id.as_str();
    let said = match done {
        Ok(Done { status, replayed, task }) => {
            Said::Reply { id, status, replayed, task: Some(task), problem: None }
        }
        Err(refusal) => {
            let problem = app.answers.refuse_frame(&refusal);
            let status = problem.status;
            Said::Reply { id, status, replayed: false, task: None, problem: Some(problem) }
        }
    };
    let mut out = Vec::new();
    form::write(&said, &mut out);
    out
}

async fn hand_in(
    app: &Arc<App>,
    speaker: &Speaker,
    key: Option<String>,
    (task, room): (RawJson, Box<Held>),
) -> Result<Done, Refusal> {
    let visitor = speaker.visitor(app, None).await?;
    let request: SubmitRequest = relais_api::decode(task.as_bytes())?;
    drop(room);
    let body = task.into_string().into();
    let item = submit::submit_one(app, &visitor, key.as_deref(), request, body).await?;
    Ok(Done { replayed: item.replayed, ..Done::new(item.status, &item.task)? })
}

async fn cancel(app: &Arc<App>, speaker: &Speaker, task: TaskRef) -> Result<Done, Refusal> {
    let visitor = speaker.visitor(app, task.ticket.as_deref()).await?;
    let seen = visitor.task(id_of(&task.id)?, Action::Cancel).await?;
    Done::new(200, &change::cancel_seen(app, &seen).await?.1)
}

async fn retry(
    app: &Arc<App>,
    speaker: &Speaker,
    task: TaskRef,
    from: Option<RetryFrom>,
) -> Result<Done, Refusal> {
    let visitor = speaker.visitor(app, task.ticket.as_deref()).await?;
    let seen = visitor.task(id_of(&task.id)?, Action::Retry).await?;
    let retried = change::retry_seen(app, &visitor, &seen, from).await?;
    let status = if retried.is_new { 202 } else { 200 };
    Done::new(status, &retried.accepted(app, &visitor).await?)
}

/// What is not the id of a task is none that anybody has.
fn id_of(text: &str) -> Result<TaskId, Refusal> {
    text.parse().map_err(|_| Refusal::new(&codes::TASK_NOT_FOUND))
}

/// Opens a watch with this name, on a connection that ends within `life`.
///
/// # Errors
/// When what it follows is not the caller's, or cannot be followed now.
pub(crate) async fn watch(
    app: &Arc<App>,
    speaker: &Speaker,
    (name, life): (&str, Duration),
    of: Watched,
    after: After,
) -> Result<Opened, Refusal> {
    let (resume, life) = (Resume::from(after), Some(life));
    let form = Box::new(Frames(name.into()));
    let client = Client::default();
    let followed = match of {
        Watched::Task(task) => {
            let visitor = speaker.visitor(app, task.ticket.as_deref()).await?;
            let seen = visitor.task(id_of(&task.id)?, Action::Read).await?;
            let subscription = Subscription::Task(seen.task.spec.id);
            let until = seen.until;
            Followed { subscription, until, holds: vec![seen.task] }
        }
        Watched::Label(label) => {
            let visitor = speaker.visitor(app, None).await?;
            let (label, tenant) = (label_of(&label)?, visitor.tenant(Scope::Read)?);
            let only_open = visitor.is_anonymous();
            let many = Many { tenant, tasks: Vec::new(), label: Some(label), only_open };
            Followed { subscription: Subscription::Many(many), until: None, holds: Vec::new() }
        }
    };
    let asked = Asked { followed, resume, client, form, life };
    EventStream::open(&app.followers, asked).await
}
