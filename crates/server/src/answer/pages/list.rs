//! The list of the tasks that a browser follows: what was asked, how it stands, since when.

use relais_api::{Task, Time};

use super::html::Html;
use super::told::Told;
use super::words::Words;
use crate::answer::links;
use crate::request::accept::Language;

/// A part of the list, newest first.
pub(crate) struct ListView<'a> {
    /// Their links are paths: see `Viewer::for_page`.
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

    /// What is inside of the page. `base` is the path before those of Relais.
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
        if !self.tasks.is_empty() {
            main.markup("<div class=\"all\">");
            form_to(&mut main, base, &links::to_forget_all(base));
            main.markup("<button>").text(words.remove_all).markup("</button></form></div>\n");
        }
        main.markup("</main>\n");
        main
    }

    fn item(&self, main: &mut Html, base: &str, number: usize, task: &Task) {
        let words = &self.words().list;
        let told = Told { task, now: self.now, language: self.language };
        let number = number.to_string();
        main.markup("<li><div><a id=\"a").text(&number).markup("\" href=\"");
        main.text(&task.links.this)
            .markup("\">")
            .text(&told.asked())
            .markup("</a><p><span class=\"state ")
            .text(told.tone())
            .markup("\">");
        main.text(told.state_word()).markup("</span><span>");
        told.relative(main, task.created_at, false);
        main.markup("</span></p></div>");
        form_to(main, base, &links::to_forget(base, &task.id));
        // For those who do not see what the button stands beside.
        main.markup("<button id=\"b").text(&number).markup("\" aria-labelledby=\"b");
        main.text(&number).markup(" a").text(&number);
        main.markup("\">").text(words.remove).markup("</button></form></li>\n");
    }
}

/// Begins a form that is sent to an address of ours, and shows the list again.
fn form_to(main: &mut Html, base: &str, address: &str) {
    main.markup("<form method=\"post\" action=\"").text(address);
    main.markup("\" data-then=\"").text(&links::to_session(base)).markup("\">");
}
