//! What pages say, in the languages that they speak. Decides nothing: which sentence is said is the
//! page's.

mod english;
mod french;

use relais_api::why::Reason;
use relais_api::{Code, Status, codes};
use relais_core::Grace;

use super::html::Html;
use super::moment;
use crate::request::accept::Language;

/// The words of one language. In a sentence a `%` stands for the value.
pub(super) struct Words {
    pub(super) code: &'static str,
    /// The months, for dates.
    pub(super) months: [&'static str; 12],
    /// Between a date and a time of day.
    pub(super) date_time: &'static str,
    /// What stands between a figure and its percent sign.
    pub(super) percent_space: &'static str,
    pub(super) ago: Counted,
    pub(super) ahead: Counted,
    pub(super) lasting: Counted,
    pub(super) just_now: &'static str,
    pub(super) any_moment: &'static str,

    /// What was asked, where no path tells it…
    pub(super) your_request: &'static str,
    /// …and where one does: read, changed, taken away, handed in.
    pub(super) read: &'static str,
    pub(super) changed: &'static str,
    pub(super) removed: &'static str,
    pub(super) handed_in: &'static str,

    /// When that was…
    pub(super) sent: &'static str,
    /// …and how often it was tried.
    pub(super) attempt: &'static str,

    pub(super) states: States,
    pub(super) leads: Leads,
    pub(super) reasons: Reasons,
    pub(super) progress: &'static str,
    pub(super) expected: &'static str,
    pub(super) next_in_line: &'static str,
    pub(super) place: &'static str,
    pub(super) tried: &'static str,
    pub(super) something_failed: &'static str,

    pub(super) open: &'static str,
    pub(super) see_answer: &'static str,
    pub(super) retry: &'static str,
    pub(super) cancel: &'static str,
    pub(super) cancel_means: &'static str,
    pub(super) cancel_now: &'static str,
    pub(super) no_cancel: &'static str,
    /// What becomes of the request when its page is closed…
    pub(super) leave: Leaving,
    /// What to do where it was canceled, and cannot be tried again from here.
    pub(super) send_again: &'static str,
    pub(super) help: &'static str,
    /// What leads back to a page with a ticket in its address.
    pub(super) keep_means: &'static str,
    pub(super) keep: &'static str,
    /// To the list of this browser.
    pub(super) others: &'static str,
    /// …and while the page has no connection.
    pub(super) lost: Leaving,

    pub(super) details: &'static str,
    pub(super) asked: &'static str,
    pub(super) since: &'static str,
    pub(super) latest: &'static str,
    pub(super) attempts: &'static str,
    pub(super) kept_until: &'static str,
    pub(super) number: &'static str,

    /// The list of what this browser follows.
    pub(super) list: List,

    /// Of what is refused a title, and what to do: of what is kept no more…
    pub(super) gone: [&'static str; 2],
    /// …of what the reader, or this browser, may not see…
    pub(super) closed: [&'static str; 2],
    /// …and of all else, where it may help to send it again, or not.
    pub(super) refused: &'static str,
    pub(super) again: &'static str,
    pub(super) in_vain: &'static str,
}

/// How a span is said, by its unit: seconds, minutes, hours, days, and one of each but of seconds.
pub(super) struct Counted {
    pub(super) seconds: &'static str,
    pub(super) minute: &'static str,
    pub(super) minutes: &'static str,
    pub(super) hour: &'static str,
    pub(super) hours: &'static str,
    pub(super) day: &'static str,
    pub(super) days: &'static str,
}

/// What is said of leaving a request, by what becomes of it once nobody follows it any more.
pub(super) struct Leaving {
    /// It goes on whoever leaves.
    pub(super) goes_on: &'static str,
    /// It is canceled after a while, which stands at the `%`.
    pub(super) counts_down: &'static str,
    /// It is canceled at once.
    pub(super) ends: &'static str,
}

impl Leaving {
    /// The sentence for a request with this grace, in the language of these words.
    pub(super) fn say(&self, html: &mut Html, words: &Words, grace: Option<Grace>) {
        match grace {
            None => html.text(self.goes_on),
            Some(Grace::ZERO) => html.text(self.ends),
            Some(grace) => html.sentence(self.counts_down, |html| {
                html.text(&moment::lasting(words, grace.span()));
            }),
        };
    }
}

/// How a task stands, in a word or two.
pub(super) struct States {
    pub(super) queued: &'static str,
    /// It waits for a moment: its own, or that of its next attempt.
    pub(super) scheduled: &'static str,
    pub(super) backoff: &'static str,
    pub(super) running: &'static str,
    pub(super) waiting: &'static str,
    pub(super) succeeded: &'static str,
    pub(super) failed: &'static str,
    pub(super) canceled: &'static str,
}

/// The same as a sentence, where nothing better is known.
pub(super) struct Leads {
    pub(super) queued: &'static str,
    pub(super) running: &'static str,
    pub(super) waiting: &'static str,
    pub(super) succeeded: &'static str,
    pub(super) failed: &'static str,
    pub(super) canceled: &'static str,
}

/// What is said of several tasks.
pub(super) struct List {
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    pub(super) none: &'static str,
    pub(super) remove: &'static str,
    pub(super) remove_all: &'static str,
    pub(super) older: &'static str,
}

/// Why a task waits.
pub(super) struct Reasons {
    pub(super) scheduled: &'static str,
    pub(super) backoff: &'static str,
    pub(super) position: &'static str,
    pub(super) room: &'static str,
    pub(super) paused: &'static str,
    pub(super) origin_paused: &'static str,
    pub(super) nobody: &'static str,
}

impl Words {
    /// The words of a language.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &english::WORDS,
            Language::French => &french::WORDS,
        }
    }

    /// How a task stands that says nothing better of itself.
    pub(super) const fn lead(&self, status: Status) -> &'static str {
        match status {
            Status::Queued => self.leads.queued,
            Status::Running => self.leads.running,
            Status::Waiting => self.leads.waiting,
            Status::Succeeded => self.leads.succeeded,
            Status::Failed => self.leads.failed,
            Status::Canceled => self.leads.canceled,
        }
    }

    /// A title for a refusal, and what to do.
    pub(super) fn refusal(&self, code: &Code) -> (&'static str, &'static str) {
        // Where nobody but this machine sees tasks without credentials, these say that there were none.
        let not_from_here = [&codes::NOT_LOCAL, &codes::FOREIGN_HOST, &codes::CROSS_SITE];
        let no_right = [&codes::TICKET_EXPIRED, &codes::TASK_NOT_FOUND, &codes::UNAUTHORIZED];
        let mut closed = no_right.iter().chain(&not_from_here);
        let [title, next] = match code {
            code if code.code == codes::TASK_GONE.code => self.gone,
            code if closed.any(|closed| closed.code == code.code) => self.closed,
            code if code.retryable => [self.refused, self.again],
            _ => [self.refused, self.in_vain],
        };
        (title, next)
    }

    /// Why a task waits. A `%` in it is the moment until which it does.
    pub(super) const fn reason(&self, reason: Reason) -> &'static str {
        match reason {
            Reason::Scheduled => self.reasons.scheduled,
            Reason::Backoff => self.reasons.backoff,
            Reason::Position => self.reasons.position,
            Reason::Concurrency
            | Reason::Lane
            | Reason::Rate
            | Reason::OriginConcurrency
            | Reason::OriginRate
            | Reason::QueueNotDefined => self.reasons.room,
            Reason::Paused => self.reasons.paused,
            Reason::OriginPaused => self.reasons.origin_paused,
            Reason::NoWorker => self.reasons.nobody,
            Reason::Running => self.leads.running,
            Reason::OutsideSystem => self.leads.waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// What the elements of the browser client say, by the name that they have for it.
    fn of_elements(words: &Words) -> Vec<(&'static str, &'static str)> {
        let (states, list) = (&words.states, &words.list);
        vec![
            ("yourRequest", words.your_request),
            ("read", words.read),
            ("changed", words.changed),
            ("removed", words.removed),
            ("handedIn", words.handed_in),
            ("queued", states.queued),
            ("scheduled", states.scheduled),
            ("backoff", states.backoff),
            ("running", states.running),
            ("succeeded", states.succeeded),
            ("failed", states.failed),
            ("canceled", states.canceled),
            ("progress", words.progress),
            ("tried", words.tried),
            ("open", words.open),
            ("seeAnswer", words.see_answer),
            ("retry", words.retry),
            ("cancel", words.cancel),
            ("cancelMeans", words.cancel_means),
            ("cancelNow", words.cancel_now),
            ("lost", words.lost.goes_on),
            ("list", list.title),
            ("remove", list.remove),
            ("removeAll", list.remove_all),
            ("older", list.older),
            // Pages have nothing that could be closed.
            ("close", if words.code == "fr" { "Fermer" } else { "Close" }),
        ]
    }

    /// One source for both: `UPDATE=1` writes it.
    #[test]
    fn the_elements_of_the_browser_client_speak_as_the_pages_do() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/typescript/src/generated/words.ts");
        let mut made =
            "// What the pages of Relais say (crates/server/src/answer/pages/words). `cargo \
                        xtask docs` writes this file.\n\nexport const words = {\n"
                .to_owned();
        for language in [Language::English, Language::French] {
            let words = Words::of(language);
            writeln!(made, "  {}: {{", words.code).expect("a string takes all");
            for (name, text) in of_elements(words) {
                writeln!(made, "    {name}: {text:?},").expect("a string takes all");
            }
            made.push_str("  },\n");
        }
        made.push_str("} as const;\n");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, &made).expect("the file can be written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, made, "run `cargo xtask docs`");
    }
}
