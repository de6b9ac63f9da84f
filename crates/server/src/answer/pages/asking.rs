//! What a person is shown whose task is seen by credentials of its caller alone: how to ask for it.

use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_LANGUAGE;
use relais_api::{Task, fields};
use relais_engine::Access;

use super::{PROBLEM, STYLE, escape, fill, html, path_of};
use crate::request::accept::Language;

struct Words {
    code: &'static str,
    title: &'static str,
    goes_on: &'static str,
    by_key: &'static str,
    by_field: &'static str,
    number: &'static str,
}

static ENGLISH: Words = Words {
    code: "en",
    title: "Your request was accepted",
    goes_on: "It is worked on, also if you leave. Do not send it again.",
    by_key: "How far it is, and its answer, is shown to whoever asks here and sends an API key of this \
             service in the field %:",
    by_field: "How far it is, and its answer, is shown to whoever asks here and sends the same value in \
               the field % as this request did:",
    number: "Number of the request",
};

static FRENCH: Words = Words {
    code: "fr",
    title: "Votre demande a été acceptée",
    goes_on: "Elle est traitée, même si vous partez. Ne l’envoyez pas une seconde fois.",
    by_key: "Son avancement et sa réponse sont montrés à qui demande ici en envoyant une clé d’API de ce \
             service dans le champ % :",
    by_field: "Son avancement et sa réponse sont montrés à qui demande ici en envoyant dans le champ % la \
               même valeur que cette demande :",
    number: "Numéro de la demande",
};

/// The page that says how to ask for a task that no ticket leads to.
#[must_use]
pub(crate) fn asking(task: &Task, access: &Access, language: Language) -> Response {
    let words = match language {
        Language::English => &ENGLISH,
        Language::French => &FRENCH,
    };
    let (by, field) = match access {
        Access::Caller { field, .. } => (words.by_field, field.as_str()),
        Access::Key | Access::Ticket => (words.by_key, fields::API_KEY),
    };
    let how = escape(by).replace('%', &format!("<code>{}</code>", escape(field)));
    let body = format!(
        "<h1>{}</h1>\n<p>{}</p>\n<p>{how}</p>\n<p><a href=\"{}\">{}</a></p>\n\
         <p class=\"quiet\">{}: {}</p>\n",
        words.title,
        words.goes_on,
        escape(path_of(&task.links.result)),
        escape(&task.links.result),
        words.number,
        escape(&task.id),
    );
    let values =
        [("language", words.code), ("style", STYLE), ("title", words.title), ("body", &body)];
    let mut response = html(fill(PROBLEM, &values));
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(words.code));
    response
}
