//! What the page of a task and its line in the list tell alike.

use relais_api::{Status, Task, Time};

use super::html::Html;
use super::words::Words;
use super::{asked, moment};
use crate::request::accept::Language;

/// A task that somebody is told of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) task: &'a Task,
    pub(crate) now: Time,
    pub(crate) language: Language,
}

impl Told<'_> {
    pub(super) fn words(&self) -> &'static Words {
        Words::of(self.language)
    }

    /// What was asked.
    pub(super) fn asked(&self) -> String {
        asked::title(self.task, self.words())
    }

    pub(super) fn is_scheduled(&self) -> bool {
        self.task.run_at.is_some_and(|run_at| run_at > self.now)
    }

    pub(super) fn state_word(&self) -> &'static str {
        let states = &self.words().states;
        match self.task.status {
            Status::Queued if self.is_scheduled() && self.task.last_failure.is_some() => {
                states.backoff
            }
            Status::Queued if self.is_scheduled() => states.scheduled,
            Status::Queued => states.queued,
            Status::Running => states.running,
            Status::Waiting => states.waiting,
            Status::Succeeded => states.succeeded,
            Status::Failed => states.failed,
            Status::Canceled => states.canceled,
        }
    }

    /// How the state is marked, beside its word.
    pub(super) const fn tone(&self) -> &'static str {
        match self.task.status {
            Status::Succeeded => "good",
            Status::Failed => "bad",
            Status::Canceled => "off",
            Status::Running | Status::Waiting => "busy",
            Status::Queued => "idle",
        }
    }

    /// A moment as it lies to the present.
    pub(super) fn relative(&self, html: &mut Html, at: Time, is_to_come: bool) {
        html.markup("<time data-as=\"").text(if is_to_come { "ahead" } else { "ago" });
        html.markup("\" datetime=\"").text(&at.to_string()).markup("\">");
        html.text(&moment::relative(self.words(), self.now, at, is_to_come)).markup("</time>");
    }

    /// The same, and its date and time of day.
    pub(super) fn clock(&self, html: &mut Html, at: Time) {
        self.relative(html, at, at > self.now);
        html.markup(" · <time data-as=\"clock\" datetime=\"").text(&at.to_string()).markup("\">");
        html.text(&moment::clock(self.words(), at)).markup("</time>");
    }
}
