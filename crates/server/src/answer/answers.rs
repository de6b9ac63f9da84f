//! What all answers of Relais have in common: where its links lead, whose tasks they show, and how a
//! refusal becomes a document that is counted and logged.

use std::sync::Arc;

use axum::response::Response;
use relais_api::{Problem, Task};
use relais_engine::{Engine, document};

use crate::answer::base::Base;
use crate::answer::cors::Own;
use crate::answer::pace;
use crate::answer::pages::{self, Onward, Pages, Told, View, Way};
use crate::answer::present;
use crate::answer::problem::Refusal;
use crate::auth::Signing;
use crate::observe::metrics::Metrics;
use crate::observe::refusals::Refusals;
use crate::request::accept::Language;

/// What an answer is made with.
pub(crate) struct Answers {
    pub(crate) engine: Engine,
    pub(crate) base: Arc<Base>,
    /// For people.
    pub(crate) pages: Pages,
    /// Signs the ticket of a 202.
    pub(crate) signing: Arc<Signing>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) refusals: Arc<Refusals>,
    /// Whether it matters who made an answer: pages of other origins may read those of Relais.
    pub(crate) marks_own: bool,
}

impl Answers {
    /// Turns a refusal, if the response is one, into its document, or for a person into a page in this
    /// language. `path` is that of the request.
    #[must_use]
    pub(crate) fn finish(
        &self,
        mut response: Response,
        path: &str,
        page: Option<Language>,
    ) -> Response {
        match response.extensions_mut().remove::<Refusal>() {
            Some(refusal) => self.refuse_to(page, &refusal, path),
            None => response,
        }
    }

    /// The answer to a request that is refused, for a person a page in this language.
    #[must_use]
    pub(crate) fn refuse_to(
        &self,
        page: Option<Language>,
        refusal: &Refusal,
        path: &str,
    ) -> Response {
        let document = self.refuse(refusal, path);
        let Some(language) = page else { return document };
        let page = self.pages.refused(refusal.code(), language);
        pages::in_place_of(document, page)
    }

    /// The answer to a request that is refused.
    #[must_use]
    pub(crate) fn refuse(&self, refusal: &Refusal, path: &str) -> Response {
        self.metrics.refused(refusal.code());
        self.note(refusal, Some(path));
        self.own(refusal.response(self.base.as_str(), Some(path)))
    }

    /// The document of an item of a call that is refused.
    #[must_use]
    pub(crate) fn refuse_item(&self, refusal: &Refusal) -> Problem {
        self.note(refusal, None);
        refusal.problem(self.base.as_str(), None)
    }

    /// The document of what is refused by a frame of a WebSocket, which counts like a request.
    #[must_use]
    pub(crate) fn refuse_frame(&self, refusal: &Refusal) -> Problem {
        self.metrics.refused(refusal.code());
        self.refuse_item(refusal)
    }

    /// Lets the log tell of a refusal that no answer of its own comes of. `path` is that of the
    /// request, where it is known.
    pub(crate) fn note(&self, refusal: &Refusal, path: Option<&str>) {
        self.refusals.note(refusal, path, self.engine.elapsed());
    }

    /// Lets the log tell of a browser that was given no session, and goes on without.
    pub(crate) fn note_no_session(&self, refusal: &Refusal) {
        self.refusals.note_no_session(refusal, self.engine.elapsed());
    }

    /// The page of a task as it stands, which leads nowhere by itself.
    #[must_use]
    pub(crate) fn page_of(
        &self,
        task: &relais_core::Task,
        document: &Task,
        language: Language,
    ) -> Response {
        self.pages.ticket(&self.view_of(task, document, language))
    }

    /// What is on that page. The links of its document are paths.
    #[must_use]
    pub(crate) fn view_of<'a>(
        &self,
        task: &relais_core::Task,
        document: &'a Task,
        language: Language,
    ) -> View<'a> {
        let now = document::time(self.engine.now());
        View {
            told: Told { task: document, now, language },
            waiting_for: None,
            has_answer: present::has_answer(task),
            grace: task.spec.grace,
            again: pace::look_again(task),
            onward: Onward::Stays,
            way: Way::AsItCame,
            asks: false,
        }
    }

    /// Marks an answer as made by Relais itself, if it matters who made it.
    #[must_use]
    pub(crate) fn own(&self, mut response: Response) -> Response {
        if self.marks_own {
            response.extensions_mut().insert(Own);
        }
        response
    }
}
