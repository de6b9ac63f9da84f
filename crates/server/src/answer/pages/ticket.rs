//! The page of a task: what was asked, how it stands, what to do next.
//!
//! Each part has an id and is always there, if only hidden: the script reads the page again when
//! something happened, and takes over the parts that differ. So the words, and what is decided by
//! them, are here alone.

use std::time::Duration;

use relais_api::codes::Code;
use relais_api::why::WaitingFor;
use relais_api::{Progress, Status};
use relais_core::Grace;

use super::html::Html;
use super::told::Told;
use super::{Onward, asked};

/// A task, to be shown to somebody.
pub(crate) struct View<'a> {
    /// Its links are paths: see `Viewer::for_page`.
    pub(crate) told: Told<'a>,
    /// What it waits for, the most decisive of it, where that was asked.
    pub(crate) waiting_for: Option<WaitingFor>,
    /// Whether there is an answer to be read as the result.
    pub(crate) has_answer: bool,
    /// How long it goes on when nobody follows it, if it does not in any case.
    pub(crate) grace: Option<Grace>,
    /// How soon it looks again without scripts, or while it has no stream.
    pub(crate) again: Duration,
    pub(crate) onward: Onward,
    pub(crate) way: Way,
    /// Whether it asks if the task is to be canceled: it stays as it is meanwhile.
    pub(crate) asks: bool,
}

/// How a browser comes back to a task.
#[derive(Debug)]
pub(crate) enum Way {
    /// As it came: it is shown no other.
    AsItCame,
    /// By a link with its ticket, unless it keeps the task: a form that is sent here lets it, and the
    /// task is found there `then`, without the ticket.
    ByLink { join: String, then: String },
    /// By its session, whose list is here.
    BySession { list: String },
}

/// What is inside of the page, and the title of its window.
pub(super) struct Ticket {
    pub(super) title: String,
    pub(super) main: Html,
    /// For browsers without scripts: the page loads itself again, from its own address and not the
    /// form that made it.
    pub(super) refresh: Html,
}

impl View<'_> {
    pub(super) fn ticket(&self) -> Ticket {
        let title = self.window_title();
        let mut main = Html::default();
        main.markup("<main id=\"task\" data-self=\"").text(&self.told.task.links.this);
        main.markup("\" data-next=\"").text(self.next().unwrap_or_default());
        let goes_on = matches!(self.onward, Onward::WhenOver);
        main.markup("\" data-goes-on=\"").text(if goes_on { "true" } else { "false" });
        main.markup("\" data-events=\"").text(&self.told.task.links.events);
        let holds = self.grace.is_some();
        main.markup("\" data-holds=\"").text(if holds { "true" } else { "false" });
        main.markup("\" data-again=\"").text(&self.again.as_millis().to_string());
        main.markup("\" data-version=\"").text(&self.told.task.version.to_string());
        main.markup("\" data-terminal=\"").text(if self.told.task.terminal {
            "true"
        } else {
            "false"
        });
        main.markup("\" data-now=\"").text(&self.told.now.to_string());
        main.markup("\" data-just-now=\"").text(self.told.words().just_now);
        main.markup("\" data-any-moment=\"").text(self.told.words().any_moment);
        main.markup("\" data-title=\"").text(&title).markup("\">\n");
        self.state(&mut main);
        self.since(&mut main);
        self.lead(&mut main);
        self.progress(&mut main);
        self.outlook(&mut main);
        self.trouble(&mut main);
        self.actions(&mut main);
        self.advice(&mut main);
        self.way(&mut main);
        self.details(&mut main);
        main.markup("</main>\n");
        Ticket { title, main, refresh: self.refresh() }
    }

    /// What happens first, because a tab shows no more: "40% · Request for /exports/june.csv".
    fn window_title(&self) -> String {
        let asked = self.told.asked();
        let how = self.share().map_or_else(
            || self.told.state_word().to_owned(),
            |share| format!("{share}{}%", self.told.words().percent_space),
        );
        format!("{how} · {asked}")
    }

    /// The share done, where it runs and that is known.
    fn share(&self) -> Option<u32> {
        let progress = self.told.task.progress.as_ref().filter(|_| !self.told.task.terminal)?;
        share_of(progress)
    }

    fn state(&self, main: &mut Html) {
        main.markup("<p id=\"state\" role=\"status\" class=\"state ")
            .text(self.told.tone())
            .markup("\">");
        main.text(self.told.state_word()).markup("</p>\n<h1 id=\"asked\" tabindex=\"-1\">");
        main.text(&self.told.asked()).markup("</h1>\n");
    }

    /// When it was sent, and that it was tried before.
    fn since(&self, main: &mut Html) {
        main.markup("<p id=\"since\">").sentence(self.told.words().sent, |html| {
            self.told.relative(html, self.told.task.created_at, false);
        });
        let attempt = Some(self.told.task.attempt).filter(|attempt| *attempt > 1);
        main.given(attempt, |html, attempt| {
            html.text(" · ").sentence(self.told.words().attempt, |html| {
                html.text(&attempt.to_string());
            });
        });
        main.markup("</p>\n");
    }

    /// How it stands in a sentence: what it says of itself, else why it waits.
    fn lead(&self, main: &mut Html) {
        main.markup("<p id=\"lead\">");
        match (self.said(), &self.waiting_for) {
            (Some(said), _) => {
                main.text(said);
            }
            (None, Some(waiting_for)) => {
                let sentence = self.told.words().reason(waiting_for.reason);
                let until = waiting_for.until.unwrap_or(self.told.now);
                main.sentence(sentence, |html| self.told.relative(html, until, true));
            }
            (None, None) => {
                main.text(self.told.words().lead(self.told.task.status));
            }
        }
        main.markup("</p>\n");
    }

    /// The outcome in the reader's language, else in English, else in whatever there is.
    fn said(&self) -> Option<&str> {
        let message = &self.told.task.message.as_ref()?.0;
        let said = message.get(self.told.words().code).or_else(|| message.get("en"));
        said.or_else(|| message.values().next()).map(String::as_str)
    }

    fn progress(&self, main: &mut Html) {
        // A bar that moves says that something is done: not of what waits for its moment.
        let is_shown = !self.told.task.terminal && !self.told.is_scheduled();
        main.markup("<div id=\"bar\"").markup(hidden(!is_shown)).markup("><progress max=\"100\"");
        let share = self.share();
        main.given(share, |html, share| {
            html.markup(" value=\"").text(&share.to_string()).markup("\"");
        });
        main.markup(" aria-label=\"").text(self.told.words().progress).markup("\"></progress>");
        main.markup("<p class=\"figures\"><span id=\"told\">");
        let progress = self.told.task.progress.as_ref().filter(|_| is_shown);
        main.given(progress.and_then(|progress| progress.message.as_deref()), |html, told| {
            html.text(told);
        });
        main.markup("</span><span id=\"share\">");
        main.given(share, |html, share| {
            html.text(&share.to_string()).text(self.told.words().percent_space).text("%");
        });
        main.markup("</span></p></div>\n");
    }

    /// Its place and when it is probably done.
    fn outlook(&self, main: &mut Html) {
        let words = self.told.words();
        let position = self.told.task.position.filter(|_| !self.told.is_scheduled());
        let eta = self.told.task.eta.filter(|_| !self.told.task.terminal);
        let is_shown = position.is_some() || eta.is_some();
        main.markup("<p id=\"outlook\"").markup(hidden(!is_shown)).markup(">");
        main.given(position, |html, position| match position {
            1 => {
                html.text(words.next_in_line).markup(" ");
            }
            position => {
                html.sentence(words.place, |html| {
                    html.markup("<strong>").text(&position.to_string()).markup("</strong>");
                });
                html.markup(" ");
            }
        });
        main.given(eta, |html, eta| {
            html.sentence(words.expected, |html| self.told.relative(html, eta.p50, true));
        });
        main.markup("</p>\n");
    }

    /// What went wrong before, while it is tried again.
    fn trouble(&self, main: &mut Html) {
        let last = self.told.task.last_failure.as_ref().filter(|_| !self.told.task.terminal);
        main.markup("<p id=\"trouble\"").markup(hidden(last.is_none())).markup(">");
        main.given(last, |html, last| {
            let message = Code::find(&last.problem.code).and_then(Code::message);
            let said = message.as_ref().and_then(|message| message.0.get(self.told.words().code));
            let said = said.map_or(self.told.words().something_failed, String::as_str);
            html.sentence(self.told.words().tried, |html| {
                html.text(said);
            });
        });
        main.markup("</p>\n");
    }

    /// The one thing to do next, and what else may be done.
    fn actions(&self, main: &mut Html) {
        let (words, links) = (self.told.words(), &self.told.task.links);
        let retry = links.retry.as_deref().filter(|_| self.told.task.terminal);
        let cancel = links.cancel.as_deref().filter(|_| !self.told.task.terminal);
        let is_shown = self.has_answer || retry.is_some() || cancel.is_some();
        main.markup("<div id=\"actions\"").markup(hidden(!is_shown)).markup(">");
        main.given(retry, |html, retry| {
            html.markup("<form method=\"post\" action=\"").text(retry);
            html.markup("\"><button class=\"main\">").text(words.retry).markup("</button></form>");
        });
        if self.has_answer {
            let (class, text) = match self.told.task.status {
                Status::Succeeded => ("main", words.open),
                _ => ("quiet", words.see_answer),
            };
            main.markup("<a id=\"result\" class=\"").text(class).markup("\" href=\"");
            main.text(&links.result).markup("\">").text(text).markup("</a>");
        }
        main.given(cancel, |html, cancel| {
            self.question(html, cancel);
        });
        main.markup("</div>\n");
    }

    /// Whether it is to be canceled: behind a link, where it stays while the page loads itself again.
    /// The script shows it in the place of the link.
    fn question(&self, html: &mut Html, cancel: &str) {
        let words = self.told.words();
        let own = &self.told.task.links.this;
        html.markup("<a class=\"asks\" href=\"").text(own);
        if self.asks {
            html.markup("\">").text(words.no_cancel).markup("</a><details class=\"ask\" open>");
        } else {
            html.markup(if own.contains('?') { "&amp;ask\">" } else { "?ask\">" });
            html.text(words.cancel).markup("</a><details class=\"ask\" hidden>");
        }
        html.markup("<summary>")
            .text(words.cancel)
            .markup("</summary><p>")
            .text(words.cancel_means);
        html.markup("</p><form method=\"post\" action=\"").text(cancel);
        html.markup("\"><button>").text(words.cancel_now);
        html.markup("</button></form></details>");
    }

    /// Whether what was canceled is had by sending it again alone: its credentials are erased, or whoever
    /// reads this may not retry it.
    fn is_sent_again(&self) -> bool {
        let is_canceled = self.told.task.status == Status::Canceled;
        is_canceled && self.told.task.links.retry.is_none() && self.told.task.request.is_some()
    }

    fn advice(&self, main: &mut Html) {
        let words = self.told.words();
        let is_lost = matches!(self.told.task.status, Status::Failed | Status::Canceled);
        let is_shown = !self.told.task.terminal || is_lost;
        main.markup("<p id=\"advice\"").markup(hidden(!is_shown)).markup(">");
        match self.told.task.terminal {
            false => words.leave.say(main, words, self.grace),
            true if self.is_sent_again() => _ = main.text(words.send_again),
            true if is_lost => _ = main.text(words.help),
            true => {}
        }
        main.markup("</p>\n<p id=\"lost\" role=\"status\" hidden>");
        words.lost.say(main, words, self.grace);
        main.markup("</p>\n");
    }

    /// How to find the page again.
    fn way(&self, main: &mut Html) {
        let words = self.told.words();
        main.markup("<div id=\"way\"").markup(hidden(matches!(self.way, Way::AsItCame)));
        main.markup(">");
        match &self.way {
            Way::AsItCame => {}
            Way::ByLink { join, then } => {
                main.markup("<p>")
                    .text(words.keep_means)
                    .markup("</p><form method=\"post\" action=\"");
                main.text(join).markup("\" data-then=\"").text(then);
                main.markup("\"><button>").text(words.keep).markup("</button></form>");
            }
            Way::BySession { list } => {
                main.markup("<a href=\"").text(list).markup("\">").text(words.others);
                main.markup("</a>");
            }
        }
        main.markup("</div>\n");
    }

    fn details(&self, main: &mut Html) {
        let (words, task) = (self.told.words(), self.told.task);
        main.markup("<details id=\"details\"><summary>").text(words.details);
        main.markup("</summary><dl>");
        main.given(task.request.as_ref(), |html, line| {
            row(html, words.asked, |html| {
                html.text(&line.method).markup(" ").text(&asked::readable(&line.path));
            });
        });
        row(main, words.since, |html| self.told.clock(html, task.created_at));
        row(main, words.latest, |html| self.told.clock(html, task.updated_at));
        if task.attempt > 0 {
            row(main, words.attempts, |html| {
                html.text(&task.attempt.to_string());
            });
        }
        main.given(task.expires_at, |html, until| {
            row(html, words.kept_until, |html| self.told.clock(html, until));
        });
        main.markup("</dl></details>\n<p id=\"number\">").text(words.number).markup(" <code>");
        main.text(&task.id).markup("</code></p>\n");
    }

    /// Where it leads at once.
    fn next(&self) -> Option<&str> {
        match &self.onward {
            Onward::Now(there) => Some(there),
            Onward::Stays | Onward::WhenOver => None,
        }
    }

    fn refresh(&self) -> Html {
        let mut html = Html::default();
        let own = self.told.task.links.this.as_str();
        let refresh = match self.next() {
            Some(there) => Some((0, there)),
            None if self.told.task.terminal || self.asks => None,
            None => Some((self.again.as_secs(), own)),
        };
        html.given(refresh, |html, (seconds, to)| {
            html.markup("<noscript><meta http-equiv=\"refresh\" content=\"");
            html.text(&seconds.to_string()).markup("; url=");
            html.text(to).markup("\"></noscript>\n");
        });
        html
    }
}

fn row(html: &mut Html, name: &str, value: impl FnOnce(&mut Html)) {
    html.markup("<dt>").text(name).markup("</dt><dd>");
    value(html);
    html.markup("</dd>");
}

const fn hidden(is_hidden: bool) -> &'static str {
    if is_hidden { " hidden" } else { "" }
}

/// From 0 to 100: as it is told, else of what there is in all.
fn share_of(progress: &Progress) -> Option<u32> {
    let percent = progress.percent.or_else(|| {
        let total = progress.total.filter(|total| *total > 0)?;
        Some(progress.done? as f64 * 100.0 / total as f64)
    })?;
    Some(percent.clamp(0.0, 100.0) as u32)
}
