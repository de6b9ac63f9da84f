//! The list of the tasks that a browser follows: what was asked, how it stands, since when.

use relais_api::{Task, Time, paths};

use super::html::Html;
use super::ticket::{View, Way};
use super::words::Words;
use super::{Onward, path_of};
use crate::answer::pace::LOOK_AGAIN;
use crate::request::accept::Language;

/// A part of the list, newest first.
pub(crate) struct ListView<'a> {
    pub(crate) tasks: &'a [Task],
    /// Behind which task the rest begins, if there is one.
    pub(crate) next: Option<&'a str>,
    pub(crate) now: Time,
    pub(crate) language: Language,
}

impl ListView<'_> {
    pub(super) fn words(&self) -> &'static Words {
        Words::of(self.language)
    }

    /// What is inside of the page. `base` is where Relais' own paths are.
    pub(super) fn main(&self, base: &str) -> Html {
        let words = &self.words().list;
        let mut main = Html::default();
        main.markup("<main id=\"task\" data-now=\"").text(&self.now.to_string());
        main.markup("\" data-just-now=\"").text(self.words().just_now);
        main.markup("\" data-any-moment=\"").text(self.words().any_moment);
        main.markup("\" data-title=\"").text(words.title).markup("\">\n<h1 id=\"asked\">");
        main.text(words.title);
        main.markup("</h1>\n<p id=\"advice\">");
        main.text(if self.tasks.is_empty() { words.none } else { words.about }).markup("</p>\n");
        if !self.tasks.is_empty() {
            main.markup("<ul class=\"tasks\">\n");
            for (number, task) in self.tasks.iter().enumerate() {
                self.item(&mut main, base, number, task);
            }
            main.markup("</ul>\n");
        }
        main.given(self.next, |html, next| {
            html.markup("<p><a href=\"?after=").text(next).markup("\">");
            html.text(words.older).markup("</a></p>\n");
        });
        main.markup("</main>\n");
        main
    }

    fn item(&self, main: &mut Html, base: &str, number: usize, task: &Task) {
        let words = &self.words().list;
        let (now, language) = (self.now, self.language);
        let onward = &Onward::Stays;
        let way = Way::AsItCame;
        let (waiting_for, has_answer, asks, grace, again) = (None, false, false, None, LOOK_AGAIN);
        let view =
            View { task, waiting_for, has_answer, grace, again, onward, way, asks, now, language };
        let number = number.to_string();
        main.markup("<li><div><a id=\"a").text(&number).markup("\" href=\"");
        main.text(path_of(&task.links.this))
            .markup("\">")
            .text(&view.asked())
            .markup("</a><p><span class=\"state ")
            .text(view.tone())
            .markup("\">");
        main.text(view.state_word()).markup("</span><span>");
        view.relative(main, task.created_at, false);
        main.markup("</span></p></div><form method=\"post\" action=\"");
        let folder = path_of(base).trim_end_matches('/');
        main.text(folder).text(&paths::SESSION_FORGET.replace("{id}", &task.id));
        main.markup("\" data-then=\"").text(folder).text(paths::SESSION);
        // For those who do not see what the button stands beside.
        main.markup("\"><button id=\"b").text(&number).markup("\" aria-labelledby=\"b");
        main.text(&number).markup(" a").text(&number);
        main.markup("\">").text(words.remove).markup("</button></form></li>\n");
    }
}
