//! The hand-over from synchronous to asynchronous: the client waits for the answer itself as long
//! as it has patience, then it gets a ticket. A timeout, not a second way of running tasks.

use std::pin::pin;
use std::sync::Arc;

use axum::response::Response;
use futures_util::future::{Either, select};
use relais_api::codes;
use relais_core::{Task, TaskId, Timestamp};
use relais_engine::execute::tap::Answer;
use relais_engine::{Estimate, Happening, Tap, TapEvent};
use relais_store::Rejected;
use tokio::time::Instant;

use super::abandon::Abandon;
use super::answer;
use super::caller::Submitter;
use super::mode::Patience;
use super::way_back::WayBack;
use crate::answer::accepted::{How, accepted_response};
use crate::answer::problem::Refusal;
use crate::answer::replay::replay_response;
use crate::app::App;
use crate::connection::Client;
use crate::proxy::fields::vary_by_prefer;
use crate::watch::cursor::{Batch, End};
use crate::watch::follower::{Follower, News};
use crate::watch::poll;

/// A client that waits for the answer to the task it has made.
pub(super) struct Waiting<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) submitter: &'a Submitter,
    pub(super) patience: &'a Patience,
    /// When the patience ends.
    pub(super) until: Instant,
}

/// What a client's wait came to.
enum Ending {
    /// An answer whose head stands.
    Streaming(Arc<Answer>),
    /// An answer without a body, whose outcome is committed.
    Bodiless(Arc<Answer>),
    /// The task is over.
    Over(Box<Task>),
    /// No more patience: the task as it is.
    Ticket(Box<Task>),
}

/// Who tells how far the task is.
pub(super) struct Ears {
    /// The executor, if it runs in this process.
    pub(super) tap: Option<Tap>,
    /// The log, while the client has patience.
    pub(super) follower: Follower,
    /// Whether the log says that the task is over.
    pub(super) is_over: bool,
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
        mut abandon: Abandon,
    ) -> Result<Response, Refusal> {
        let ending = self.listen(id, &mut ears).await;
        let ending = ending.inspect_err(|_| abandon.disarm())?;
        let applied = self.patience.applied_to_answer.as_deref();
        let mut response = match ending {
            Ending::Streaming(answer) => {
                let tap = ears.tap.take().expect("only a tap streams");
                answer::streamed(&answer, tap, abandon, id, applied)?
            }
            Ending::Bodiless(answer) => {
                abandon.disarm();
                answer::bodiless(&answer.head, id, applied)?
            }
            Ending::Over(task) => {
                abandon.disarm();
                let mut response = replay_response(&self.app.answers, &task).await?;
                answer::add_fields(response.headers_mut(), id, applied);
                response
            }
            Ending::Ticket(task) => {
                abandon.disarm();
                let estimate = self.app.engine.estimate_if_known(&task).await;
                return self.ticket(&task, estimate);
            }
        };
        let (answers, base) = (&self.app.answers, self.submitter.base.as_deref());
        way_back.tell(answers, base, response.headers_mut());
        Ok(response)
    }

    /// Waits for a task that exists already.
    ///
    /// # Errors
    /// When the store cannot be read, or the task is gone.
    pub(super) async fn until_over(&self, task: Task) -> Result<Task, Refusal> {
        let id = task.spec.id;
        if task.life.status().is_terminal() {
            return Ok(task);
        }
        let left = self.until.saturating_duration_since(Instant::now());
        let over = poll::until_over(&self.app.followers, id, left, Client::default()).await?;
        over.ok_or_else(|| Refusal::new(&codes::TASK_GONE).about(id))
    }

    /// The 202.
    ///
    /// # Errors
    /// When the task's context cannot be read.
    pub(super) fn ticket(&self, task: &Task, estimate: Estimate) -> Result<Response, Refusal> {
        let (answers, caller) = (&self.app.answers, &self.submitter.caller);
        let mut response = accepted_response(answers, task, estimate, caller, &self.how())?;
        vary_by_prefer(response.headers_mut());
        Ok(response)
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
        // A listener knows that the task was accepted, which is its first event.
        ears.follower.cursor.skip_to(1);
        loop {
            match ears.heard() {
                Heard::Head(answer) if has_body(&answer) => return Ok(Ending::Streaming(answer)),
                Heard::Whole(answer) if has_body(&answer) => return Ok(Ending::Streaming(answer)),
                Heard::Whole(answer) => return Ok(Ending::Bodiless(answer)),
                // Its head is all there is, and is held back until it is committed.
                Heard::Head(_) => {
                    ears.spoken().await;
                    continue;
                }
                Heard::Retrying(at) if self.is_beyond_patience(at) => {
                    return Ok(Ending::Ticket(Box::new(self.read(id).await?)));
                }
                Heard::Retrying(_) | Heard::Nothing | Heard::Settled => {
                    if std::mem::take(&mut ears.is_over)
                        && let Some(over) = self.over(id).await?
                        && !ears.has_head()
                    {
                        return Ok(over);
                    }
                }
            }
            let news = ears.more().await;
            match news {
                None | Some(News::Quiet) => {}
                Some(News::Happened(batch)) => ears.note(&batch),
                Some(News::Failed(error)) => return Err(error.into()),
                Some(News::End(End::Gone)) => return Err(Rejected::NotFound.into()),
                Some(News::End(_)) if ears.has_head() => {}
                // No more patience, or no more time: the task as it is.
                Some(News::End(_)) => {
                    return Ok(match self.over(id).await? {
                        Some(over) => over,
                        None => Ending::Ticket(Box::new(self.read(id).await?)),
                    });
                }
            }
        }
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

/// What was heard of a task.
enum Heard {
    /// Nothing that helps: look at the task.
    Nothing,
    /// The head of an answer that stands.
    Head(Arc<Answer>),
    /// The answer is whole and committed.
    Whole(Arc<Answer>),
    /// An attempt failed; the next starts then.
    Retrying(Timestamp),
    /// The attempt has ended without an answer to stream.
    Settled,
}

impl Ears {
    fn heard(&self) -> Heard {
        match self.tap.as_ref().map(Tap::current) {
            None | Some(TapEvent::Waiting) => Heard::Nothing,
            Some(TapEvent::Streaming(answer, _)) => Heard::Head(answer),
            Some(TapEvent::Committed(answer, _)) => Heard::Whole(answer),
            Some(TapEvent::Retrying(at)) => Heard::Retrying(at),
            // Nothing was given out yet, so that a broken answer is no worse than none.
            Some(TapEvent::Settled | TapEvent::Broken) => Heard::Settled,
        }
    }

    fn has_head(&self) -> bool {
        matches!(self.heard(), Heard::Head(_) | Heard::Whole(_))
    }

    /// Notes what the log says.
    fn note(&mut self, batch: &Batch) {
        self.follower.told(batch, batch.happenings.len());
        if let Some(Happening::Event(last)) = batch.happenings.last() {
            self.is_over = last.entry.data.kind().is_terminal();
        }
    }

    /// Resolves when the executor says more.
    async fn spoken(&mut self) {
        if let Some(tap) = &mut self.tap
            && !tap.changed().await
        {
            self.tap = None;
        }
    }

    /// Resolves when there is more to hear: of the log, or with `None` from the executor.
    async fn more(&mut self) -> Option<News> {
        let Some(tap) = &mut self.tap else { return Some(self.follower.news().await) };
        let heard = {
            let (said, news) = (pin!(tap.changed()), pin!(self.follower.news()));
            match select(said, news).await {
                Either::Left((is_open, _)) => Err(is_open),
                Either::Right((news, _)) => Ok(news),
            }
        };
        if let Err(false) = heard {
            // The executor says nothing more.
            self.tap = None;
        }
        heard.ok()
    }
}

fn has_body(answer: &Answer) -> bool {
    answer.head.has_body && answer.announced_len != Some(0)
}
