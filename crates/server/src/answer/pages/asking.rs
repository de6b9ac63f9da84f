//! What a person is shown whose task is seen by credentials of its caller alone: how to ask for it.

use relais_api::{Task, fields};
use relais_core::Grace;
use relais_engine::Access;

use super::html::Html;
use super::words::Leaving;
use crate::request::accept::Language;

struct Words {
    title: &'static str,
    leave: Leaving,
    by_key: &'static str,
    by_field: &'static str,
    number: &'static str,
}

static ENGLISH: Words = Words {
    title: "Your request was accepted",
    leave: Leaving {
        goes_on: "It is worked on, also if you leave. Do not send it again.",
        counts_down: "It is worked on. Do not send it again. Whoever begins to follow it must keep to \
                      it: it is canceled % after the last one has left.",
        ends: "It is worked on. Do not send it again. Whoever begins to follow it must keep to it: it is \
               canceled as soon as the last one has left.",
    },
    by_key: "How far it is, and its answer, is shown to whoever asks here and sends an API key of this \
             service in the field %:",
    by_field: "How far it is, and its answer, is shown to whoever asks here and sends the same value in \
               the field % as this request did:",
    number: "Number of the request",
};

static FRENCH: Words = Words {
    title: "Votre demande a été acceptée",
    leave: Leaving {
        goes_on: "Elle est traitée, même si vous partez. Ne l’envoyez pas une seconde fois.",
        counts_down: "Elle est traitée. Ne l’envoyez pas une seconde fois. Qui commence à la suivre doit \
                      continuer\u{a0}: elle est annulée % après le départ du dernier.",
        ends: "Elle est traitée. Ne l’envoyez pas une seconde fois. Qui commence à la suivre doit \
               continuer\u{a0}: elle est annulée dès le départ du dernier.",
    },
    by_key: "Son avancement et sa réponse sont montrés à qui demande ici en envoyant une clé d’API de ce \
             service dans le champ % :",
    by_field: "Son avancement et sa réponse sont montrés à qui demande ici en envoyant dans le champ % la \
               même valeur que cette demande :",
    number: "Numéro de la demande",
};

/// Title and inside of the page that says how to ask for a task that no ticket leads to. `url` is the whole
/// address of its result, for programs.
#[must_use]
pub(super) fn main_of(
    task: &Task,
    url: &str,
    grace: Option<Grace>,
    access: &Access,
    language: Language,
) -> (&'static str, Html) {
    let words = match language {
        Language::English => &ENGLISH,
        Language::French => &FRENCH,
    };
    let (by, field) = match access {
        Access::Caller { field, .. } => (words.by_field, field.as_str()),
        Access::Key | Access::Ticket => (words.by_key, fields::API_KEY),
    };
    let mut main = Html::default();
    main.markup("<main>\n<h1>").text(words.title).markup("</h1>\n<p id=\"lead\">");
    words.leave.say(&mut main, super::Words::of(language), grace);
    main.markup("</p>\n<p>").sentence(by, |html| {
        html.markup("<code>").text(field).markup("</code>");
    });
    main.markup("</p>\n<p><a href=\"").text(&task.links.result).markup("\">");
    main.text(url).markup("</a></p>\n<p id=\"number\">").text(words.number);
    main.markup(" <code>").text(&task.id).markup("</code></p>\n</main>\n");
    (words.title, main)
}
