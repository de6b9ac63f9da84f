//! A follower that waits for what happens: the one place where anybody waits for the feed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use relais_core::{Task, TaskId};
use relais_engine::{Attending, Channel, Engine, EngineError, Happening, Subscription, View};
use tokio::time::{Instant, sleep_until};

use crate::answer::answers::Answers;
use crate::connection::Client;
use crate::stop::Stop;
use crate::watch::cursor::{Batch, Cursor, End, Step};
use crate::watch::estimate::Estimates;

/// What all followers share.
pub(crate) struct Followers {
    pub(crate) engine: Engine,
    pub(crate) answers: Arc<Answers>,
    pub(crate) estimates: Arc<Estimates>,
    pub(crate) stop: Stop,
}

/// One follower. Small: ten thousand of them wait for most of their lives.
pub(crate) struct Follower {
    pub(crate) shared: Arc<Followers>,
    pub(crate) channel: Arc<Channel>,
    pub(crate) cursor: Cursor,
    client: Client,
    /// The tasks that are not canceled while it follows them; a wait has its own (`asking`).
    attending: Attending,
}

/// What a follower heard.
pub(crate) enum News {
    /// This happened. It counts as told when [`Follower::told`] was called.
    Happened(Batch),
    /// Nothing happened for a long time.
    Quiet,
    /// Nothing more will come.
    End(End),
    /// The store could not be read.
    Failed(EngineError),
}

impl Follower {
    /// Follows one task for so long, or until the client has closed its sending side: one that reads
    /// on loses nothing by an early answer, and one that is gone would keep its connection all the
    /// time. What happens from now on is not missed.
    pub(crate) fn of_task(
        shared: &Arc<Followers>,
        id: TaskId,
        wait: Duration,
        client: Client,
    ) -> Self {
        let (channel, now) = (shared.engine.channel(Subscription::Task(id)), Instant::now());
        let cursor = Cursor::new(channel.end(), now, now + wait);
        Self { shared: shared.clone(), channel, cursor, client, attending: Attending::default() }
    }

    /// Goes on with a cursor.
    pub(crate) fn new(
        shared: Arc<Followers>,
        channel: Arc<Channel>,
        cursor: Cursor,
        client: Client,
    ) -> Self {
        Self { shared, channel, cursor, client, attending: Attending::default() }
    }

    /// Forgets what the connection knew of its client: whoever drives the follower now learns from the
    /// socket that it has gone.
    pub(crate) fn forget_client(&mut self) {
        self.client = Client::default();
    }

    /// What is to be done now.
    pub(crate) fn step(&mut self, view: &View, now: Instant) -> Step {
        let is_stopping = self.shared.stop.is_cancelled();
        let step = self.cursor.step(self.channel.subscription(), view, now, is_stopping);
        if let Step::End(_) = step {
            self.let_go();
        }
        step
    }

    /// It follows these tasks, as they were read just now, until it comes to an end that is not its client's
    /// leaving.
    pub(crate) fn attend<'a>(&mut self, tasks: impl IntoIterator<Item = &'a Task>) {
        self.attending = self.shared.engine.attend(tasks);
    }

    /// It ends, and its client has not left.
    pub(crate) fn let_go(&mut self) {
        self.attending.let_go();
    }

    /// Whether it waits for anything at all.
    pub(crate) fn waits(&self) -> bool {
        self.cursor.waits(Instant::now())
    }

    /// Resolves with what happens next. May be dropped at any time: the next call goes on where
    /// the follower is.
    pub(crate) async fn news(&mut self) -> News {
        loop {
            let (seen, due) = match self.look().await {
                ControlFlow::Break(news) => return news,
                ControlFlow::Continue(wait) => wait,
            };
            tokio::select! {
                // What is there is told before a client that sends nothing more is taken for gone.
                biased;
                () = self.channel.reaches(seen) => {}
                () = self.shared.stop.cancelled() => {}
                () = sleep_until(due) => {}
                () = self.client.half_closed() => return News::End(End::Left),
            }
        }
    }

    /// What there is now, for which the log is read if need be; else how far the channel was seen, and until
    /// when nothing is to be done if nothing happens.
    pub(crate) async fn look(&mut self) -> ControlFlow<News, (u64, Instant)> {
        loop {
            let view = self.channel.view(self.cursor.next());
            let news = match self.step(&view, Instant::now()) {
                Step::Tell(range) => News::Happened(Batch::of_view(&view, range)),
                // Boxed: while a follower waits, it does not pay for what it does when it is woken.
                Step::Read => match Box::pin(self.read()).await {
                    Ok(Some(batch)) if batch.happenings.is_empty() => {
                        self.told(&batch, 0);
                        continue;
                    }
                    Ok(Some(batch)) => News::Happened(batch),
                    Ok(None) => News::End(End::Gone),
                    Err(error) => News::Failed(error),
                },
                Step::Quiet => News::Quiet,
                Step::End(end) => News::End(end),
                Step::Wait(due) => return ControlFlow::Continue((view.end(), due)),
            };
            return ControlFlow::Break(news);
        }
    }

    /// What the log has next; `None` if the task is gone.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn read(&self) -> Result<Option<Batch>, EngineError> {
        // Noted before reading: what happens meanwhile is in the log, in the channel, or in both.
        let next = self.channel.end();
        let of = self.channel.subscription();
        let part = self.shared.engine.read_log(of, self.cursor.after()).await?;
        if let (Subscription::Task(id), true) = (of, part.events.is_empty())
            && self.shared.engine.task(*id).await?.is_none()
        {
            return Ok(None);
        }
        let events = part.events.into_iter().map(Happening::Event).collect();
        Ok(Some(Batch::of_log(events, part.end, (!part.has_more).then_some(next))))
    }

    /// The first `count` of what happened were told.
    pub(crate) fn told(&mut self, batch: &Batch, count: usize) {
        self.cursor.told(self.channel.subscription(), batch, count, Instant::now());
    }
}
