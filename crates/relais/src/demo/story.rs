//! The story: its chapters in their order, and what all of them do.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use relais_client::{Accepted, Client, Credentials, Event};

use super::call::{Answer, Call, Caller};
use super::names::Names;
use super::stage::Stage;
use super::teller::Teller;
use super::truth::{ensure, ensure_same, within};
use super::{Options, failures, import, invoice, page, stock};

/// The story, told so far.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) teller: Teller,
    pub(super) caller: Caller,
    pub(super) stage: Stage,
    pub(super) names: Names,
    /// What the synchronous call of the first chapter brought.
    pub(super) stock: Bytes,
    /// The page where people can watch the import, and the URL of its events.
    pub(super) import: Option<ImportLinks>,
    pub(super) steps: Vec<Step>,
    begun: Instant,
}

/// A chapter that came true.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) title: &'static str,
    pub(super) shown: String,
    pub(super) took: Duration,
}

/// Where the import may be looked at afterwards.
#[derive(Debug)]
pub(super) struct ImportLinks {
    pub(super) id: String,
    pub(super) watch: String,
}

/// A request that was handed in.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) accepted: Accepted,
    /// Where the answer will be.
    pub(super) location: String,
    /// A client with the ticket.
    pub(super) client: Client,
}

impl Story {
    /// Sets the stage.
    ///
    /// # Errors
    /// When a program does not start.
    pub(super) async fn open(options: Options, teller: Teller) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let stage = Stage::open(options.port_base).await?;
        teller.line(&format!("Open {} in a browser: the shop's page.", stage.page()));
        teller.line("A slow shop, a worker that imports files, and Relais in front of them.");
        teller.prose(&format!("shop     {}   (knows nothing of Relais)", stage.shop_url()));
        teller.prose(&format!("relais   {}", stage.door()));
        teller.prose("worker   relais work --queue imports --exec \"shop import\"");
        let programs = stage.relais_path().parent().unwrap_or(Path::new("."));
        let names = Names::new(stage.folder(), programs, &stage.door());
        names.give("RELAIS", &stage.door())?;
        names.give("SHOP", &stage.shop_url())?;
        teller.prose("To run its lines in another terminal, by the names that they use:");
        teller.command(&format!("cd {} && . ./names", stage.folder().display()));
        let (caller, stock, steps) = (Caller::new(), Bytes::new(), Vec::new());
        Ok(Self { teller, caller, stage, names, stock, import: None, steps, begun })
    }

    /// Tells all chapters.
    ///
    /// # Errors
    /// At the first thing that is not as it is told.
    pub(super) async fn tell(&mut self) -> anyhow::Result<()> {
        page::check(self).await.context("the shop's page")?;
        self.chapter(stock::WAIT, stock::wait).await?;
        self.chapter(stock::TICKET, stock::ticket).await?;
        self.chapter(import::TITLE, import::tell).await?;
        self.chapter(failures::RETRIED, failures::retried).await?;
        self.chapter(failures::LOST, failures::lost).await?;
        self.chapter(invoice::TITLE, invoice::tell).await
    }

    async fn chapter(
        &mut self,
        (title, why): (&'static str, &str),
        tell: impl AsyncFnOnce(&mut Self) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let number = self.steps.len() + 1;
        self.teller.chapter(number, title, why);
        let started = Instant::now();
        let told = tell(self).await;
        self.teller.end_bar();
        let shown = told.with_context(|| format!("chapter {number}, {title}"))?;
        self.steps.push(Step { title, shown, took: started.elapsed() });
        Ok(())
    }

    /// How long the story has lasted.
    pub(super) fn lasted(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Shows a call as a command line.
    pub(super) fn show(&self, call: &Call) {
        self.teller.command(&call.command(&self.names));
    }

    /// Shows a call, sends it and shows the answer.
    pub(super) async fn send(&self, call: &Call, fields: &[&str]) -> anyhow::Result<Answer> {
        self.show(call);
        let answer = self.caller.send(call).await?;
        self.teller.answer(&answer, fields);
        Ok(answer)
    }

    /// Sends a request that is to become a task, and checks that the 202 has all that it takes.
    /// From now on `name` stands for its location, `name`_EVENTS for its events.
    pub(super) async fn hand_in(
        &self,
        name: &str,
        call: &Call,
    ) -> anyhow::Result<(Handed, Answer)> {
        let answer = self.send(call, &["location", "retry-after", "preference-applied"]).await?;
        let handed = self.handed(name, &answer)?;
        self.teller.prose(&format!("Below, ${name} is that location, ${name}_EVENTS its events."));
        Ok((handed, answer))
    }

    /// What a 202 says; its links get names.
    pub(super) fn handed(&self, name: &str, answer: &Answer) -> anyhow::Result<Handed> {
        ensure(answer.status() == 202, "202 Accepted", answer)?;
        let accepted: Accepted = answer.json()?;
        let head = &answer.head;
        let location = head.required("location")?.to_owned();
        ensure_same("Location", &location, &accepted.task.links.result)?;
        let monitor = &accepted.task.links.this;
        ensure_same("Operation-Location", &head.required("operation-location")?, &&**monitor)?;
        let link = format!("<{monitor}>; rel=\"monitor\"");
        ensure_same("Link", &head.required("link")?, &&*link)?;
        ensure_same("Relais-Task", &head.required("relais-task")?, &&*accepted.task.id)?;
        let is_asked_to_wait = head.retry_after().is_some_and(|pause| !pause.is_zero());
        ensure(is_asked_to_wait, "Retry-After in whole seconds", answer)?;
        let ticket = accepted.ticket.clone().context("expected: a ticket\nfound:    none")?;
        let client = Client::new(&self.stage.door(), Credentials::Ticket(ticket))?;
        self.names.give(name, &location)?;
        self.names.give(&format!("{name}_EVENTS"), &accepted.task.links.events)?;
        if let Some(retry) = &accepted.task.links.retry {
            self.names.give(&format!("{name}_RETRY"), retry)?;
        }
        Ok(Handed { accepted, location, client })
    }

    /// Asks for the answer of a task until it is there; the server holds the question meanwhile.
    pub(super) async fn collect(&self, location: &str, fields: &[&str]) -> anyhow::Result<Answer> {
        let call = Call::get(location).wait(WAIT_S);
        let mut answer = self.send(&call, fields).await?;
        for _ in 1..QUESTIONS_MAX {
            if answer.status() != 202 {
                break;
            }
            answer = self.send(&call, fields).await?;
        }
        ensure(answer.status() != 202, "the answer of a task that ends soon", &answer)?;
        Ok(answer)
    }

    /// Shows the events of a task after `after`, until its run is over.
    pub(super) async fn follow(&self, handed: &Handed, after: u64) -> anyhow::Result<Vec<Event>> {
        let task = &handed.accepted.task;
        let (id, begun) = (&task.id, task.created_at.as_ms());
        self.show(&Call::events(&task.links.events));
        let mut follow = handed.client.follow(id, after);
        let mut events = Vec::new();
        while let Some(event) = within(EVENT_MAX, "the next event", follow.next()).await?? {
            self.teller.event(&event, begun);
            events.push(event);
        }
        Ok(events)
    }

    /// Stops all programs and removes all files.
    ///
    /// # Errors
    /// When a program does not stop gracefully.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        self.teller.end_bar();
        self.stage.close().await
    }
}

/// The events of one kind.
pub(super) fn of_kind<'a>(events: &'a [Event], kind: &str) -> Vec<&'a Event> {
    events.iter().filter(|event| event.kind == kind).collect()
}

/// The kinds of events in their order, for a reader of what went wrong.
pub(super) fn kinds(events: &[Event]) -> String {
    events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>().join(", ")
}

/// How long one question for an answer is held by the server.
const WAIT_S: u32 = 20;
/// Questions for one answer.
const QUESTIONS_MAX: u32 = 3;
/// How long the next event of a short task may take.
const EVENT_MAX: Duration = Duration::from_secs(20);
