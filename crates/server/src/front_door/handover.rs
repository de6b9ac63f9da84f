//! The hand-over from synchronous to asynchronous: the client waits for the answer itself as long
//! as it has patience, then it gets a ticket. A timeout, not a second way of running tasks.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::HeaderValue;
use relais_api::{codes, fields};
use relais_core::{EventData, Fate, Task, TaskId, Timestamp};
use relais_engine::{Attending, Estimate, Happening};
use relais_store::{Rejected, WatchedAnswer};
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Added};
use super::arrival::Arrival;
use super::caller::Submitter;
use super::mode::Patience;
use super::way_back::WayBack;
use crate::answer::accepted::{How, accepted, accepted_response};
use crate::answer::live::{Live, Reader};
use crate::answer::pages;
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::answer::submitted::attached_response;
use crate::app::App;
use crate::connection::Client;
use crate::proxy::fields::vary_by_prefer;
use crate::watch::cursor::{Batch, End};
use crate::watch::follower::{Follower, News};

/// A client that waits for the answer to the task it has made.
pub(super) struct Waiting<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) submitter: &'a Submitter,
    pub(super) patience: &'a Patience,
    /// When the patience ends.
    pub(super) until: Instant,
    /// The navigation by which it came, if it is to be led to the page of its task.
    pub(super) arrival: Option<&'a Arrival>,
    /// After how long a silence of an event stream it gets a sign of life, if it does.
    pub(super) keepalive: Option<Duration>,
}

/// What a client's wait came to.
enum Ending {
    /// An answer whose head stands.
    Streaming(Live),
    /// An answer without a body, whose outcome is committed.
    Bodiless(Live),
    /// The task is over.
    Over(Box<Task>),
    /// No more patience: the task as it is.
    Ticket(Box<Task>),
}

/// Who tells how far the task is.
pub(super) struct Ears {
    /// Its answer, while that comes.
    watched: WatchedAnswer,
    /// The log, while the client has patience.
    follower: Follower,
    /// Whether the log says that the task is over.
    is_over: bool,
    /// When the next attempt may start, if the log says that one failed and another follows.
    again_at: Option<Timestamp>,
}

impl Waiting<'_> {
    /// Waits for the answer to a new task, and answers.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn answer(
        &self,
        way_back: &WayBack,
        id: TaskId,
        mut ears: Ears,
        mut attending: Attending,
    ) -> Result<Response, Refusal> {
        // Whoever made it knows that it was accepted, which is its first event.
        ears.follower.cursor.skip_to(1);
        let ending = heard(self.listen(id, &mut ears).await, &mut attending)?;
        self.tell(way_back, id, ending, attending).await
    }

    /// The same for a task that exists already. Whoever repeats its request has come back: a countdown
    /// stops, and the 202 that it may get begins none.
    ///
    /// # Errors
    /// When the store cannot be read, or the task is gone.
    pub(super) async fn join(&self, way_back: &WayBack, task: Task) -> Result<Response, Refusal> {
        let id = task.spec.id;
        let mut attending = self.app.engine.attend([&task]);
        let ending = heard(self.rejoin(task).await, &mut attending)?;
        let mut response = match ending {
            // A program is told of a stored answer that it is one.
            Ending::Over(task) if self.submitter.page.is_none() => {
                let mut response = self.repeated(Some(&task), true).await?;
                let (answers, base) = (&self.app.answers, self.submitter.base.as_deref());
                way_back.tell(answers, base, response.headers_mut());
                response
            }
            Ending::Ticket(task) if self.submitter.page.is_none() => {
                self.repeated(Some(&task), true).await?
            }
            ending => self.tell(way_back, id, ending, attending).await?,
        };
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(fields::IDEMPOTENT_REPLAYED, replayed);
        Ok(response)
    }

    async fn rejoin(&self, task: Task) -> Result<Ending, Refusal> {
        let left = self.until.saturating_duration_since(Instant::now());
        if task.life.status().is_terminal() {
            return Ok(Ending::Over(Box::new(task)));
        }
        if left.is_zero() {
            return Ok(Ending::Ticket(Box::new(task)));
        }
        let id = task.spec.id;
        let mut ears = Ears::of(self.app, id, left);
        // Read behind that: what happens from then on is told.
        let task = self.app.engine.task(id).await?;
        let task = task.ok_or_else(|| Refusal::new(&codes::TASK_GONE).about(id))?;
        ears.follower.cursor.skip_to(task.life.version);
        ears.is_over = task.life.status().is_terminal();
        ears.again_at = task.life.run_at();
        self.listen(id, &mut ears).await
    }

    /// What a program is told that repeats a request.
    ///
    /// # Errors
    /// When the request is another one, the store cannot be read, or the task is gone.
    pub(super) async fn repeated(
        &self,
        task: Option<&Task>,
        is_same: bool,
    ) -> Result<Response, Refusal> {
        let (answers, submitter) = (&self.app.answers, self.submitter);
        let is_stranger = submitter.repeat.is_by_stranger();
        let how = How { is_stranger, ..self.how() };
        let mut response =
            attached_response(answers, task, is_same, &submitter.caller, how).await?;
        vary_by_prefer(response.headers_mut());
        Ok(response)
    }

    /// What a wait came to, as an answer.
    async fn tell(
        &self,
        way_back: &WayBack,
        id: TaskId,
        ending: Ending,
        attending: Attending,
    ) -> Result<Response, Refusal> {
        let applied = self.patience.applied_to_answer.as_deref();
        let added = Added { task: id, applied };
        let mut response = match ending {
            Ending::Streaming(live) => {
                let (stop, keepalive) = (self.app.stop.clone(), self.keepalive);
                let reader = Reader { stop, right_for: None, keepalive, attending };
                answer::streamed(live, reader, &added)?
            }
            Ending::Bodiless(live) => answer::bodiless(&live, &added)?,
            Ending::Over(task) => self.outcome(&task).await?,
            Ending::Ticket(task) => {
                let estimate = self.app.engine.estimate_if_known(&task).await;
                // It says the way back itself.
                return self.ticket(&task, estimate).await;
            }
        };
        let (answers, base) = (&self.app.answers, self.submitter.base.as_deref());
        way_back.tell(answers, base, response.headers_mut());
        Ok(response)
    }

    /// The 202, or for a browser the way to the page of the task.
    ///
    /// # Errors
    /// When the task's context cannot be read.
    pub(super) async fn ticket(
        &self,
        task: &Task,
        estimate: Estimate,
    ) -> Result<Response, Refusal> {
        let (answers, caller, how) = (&self.app.answers, &self.submitter.caller, self.how());
        let led = match self.arrival {
            Some(arrival) => arrival.leads_to(self.app, task, &how).await?,
            None => None,
        };
        let mut response = match led {
            Some(response) => response,
            None => accepted_response(answers, task, estimate, caller, &how)?,
        };
        vary_by_prefer(response.headers_mut());
        Ok(response)
    }

    /// What a task that is over has come to, for whoever waited for it.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn outcome(&self, task: &Task) -> Result<Response, Refusal> {
        let (answers, caller, how) = (&self.app.answers, &self.submitter.caller, self.how());
        let applied = how.applied_to_answer.as_deref();
        let response = answer::whole(answers, task, applied).await?;
        match how.page.filter(|_| !present::has_answer(task)) {
            Some(language) => {
                let how = how.for_page(&answers.base);
                let document = accepted(answers, task, Estimate::default(), caller, &how)?.task;
                Ok(pages::in_place_of(response, answers.page_of(task, &document, language)))
            }
            None => Ok(response),
        }
    }

    /// How the task was accepted, for the 202.
    pub(super) fn how(&self) -> How {
        How {
            applied: self.patience.applied_to_ticket.clone(),
            applied_to_answer: self.patience.applied_to_answer.clone(),
            page: self.submitter.page,
            base: self.submitter.base.clone(),
            ..How::default()
        }
    }

    async fn listen(&self, id: TaskId, ears: &mut Ears) -> Result<Ending, Refusal> {
        loop {
            if let Some(live) = self.live(id, ears).await? {
                if live.has_body() {
                    return Ok(Ending::Streaming(live));
                }
                // Its head is all there is, and is held back until it is committed: nothing was given
                // out yet, so that a broken answer is no worse than none, and patience still ends.
                match timeout_at(self.until, live.is_kept()).await {
                    Ok(true) => return Ok(Ending::Bodiless(live)),
                    Ok(false) => continue,
                    Err(_) => return Ok(Ending::Ticket(Box::new(self.read(id).await?))),
                }
            }
            if ears.again_at.is_some_and(|at| self.is_beyond_patience(at)) {
                return Ok(Ending::Ticket(Box::new(self.read(id).await?)));
            }
            if std::mem::take(&mut ears.is_over)
                && let Some(over) = self.over(id).await?
            {
                return Ok(over);
            }
            match ears.more().await {
                None | Some(News::Quiet) => {}
                Some(News::Happened(batch)) => ears.note(&batch),
                Some(News::Failed(error)) => return Err(error.into()),
                Some(News::End(End::Gone)) => return Err(Rejected::NotFound.into()),
                // No more patience, or no more time: an answer that comes, or the task as it is.
                Some(News::End(_)) if self.live(id, ears).await?.is_some() => {}
                Some(News::End(_)) => {
                    return Ok(match self.over(id).await? {
                        Some(over) => over,
                        None => Ending::Ticket(Box::new(self.read(id).await?)),
                    });
                }
            }
        }
    }

    /// The answer that is shown, unless what was committed before it was shown says that it is none: its
    /// attempt was taken away, and whoever ran it does not know yet.
    async fn live(&self, id: TaskId, ears: &mut Ears) -> Result<Option<Live>, Refusal> {
        let Some(live) = Live::of(&mut ears.watched)? else { return Ok(None) };
        let task = self.read(id).await?;
        Ok(Some(live).filter(|live| task.life.fate_of(live.version()) != Fate::Gone))
    }

    fn is_beyond_patience(&self, moment: Timestamp) -> bool {
        let left = self.until.saturating_duration_since(Instant::now());
        moment.since(self.app.engine.now()) > left
    }

    /// The end of the task, if it is over.
    async fn over(&self, id: TaskId) -> Result<Option<Ending>, Refusal> {
        let task = self.read(id).await?;
        let is_over = task.life.status().is_terminal();
        Ok(is_over.then(|| Ending::Over(Box::new(task))))
    }

    async fn read(&self, id: TaskId) -> Result<Task, Refusal> {
        let task = self.app.engine.task(id).await?;
        task.ok_or_else(|| Refusal::from(Rejected::NotFound))
    }
}

/// What a wait came to. Only whoever reads its answer while it comes holds the task on: all others got what
/// they came for, or are sent away.
fn heard(ending: Result<Ending, Refusal>, attending: &mut Attending) -> Result<Ending, Refusal> {
    if !matches!(ending, Ok(Ending::Streaming(_))) {
        attending.let_go();
    }
    ending
}

impl Ears {
    /// Hears of a task from now on, for so long.
    pub(super) fn of(app: &App, id: TaskId, wait: Duration) -> Self {
        Self {
            watched: app.engine.watch_answer(id),
            follower: Follower::of_task(&app.followers, id, wait, Client::default()),
            is_over: false,
            again_at: None,
        }
    }

    /// Notes what the log says.
    fn note(&mut self, batch: &Batch) {
        self.follower.told(batch, batch.happenings.len());
        if let Some(Happening::Event(last)) = batch.happenings.last() {
            self.is_over = last.entry.data.kind().is_terminal();
            self.again_at = match last.entry.data {
                EventData::AttemptFailed { run_at, .. } => run_at,
                _ => None,
            };
        }
    }

    /// Resolves when there is more to hear: of the log, or with `None` of the answer.
    async fn more(&mut self) -> Option<News> {
        tokio::select! {
            () = self.watched.changed() => None,
            news = self.follower.news() => Some(news),
        }
    }
}
