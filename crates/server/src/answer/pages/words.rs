//! What the page of a task says, in the languages that it speaks.

use relais_api::Status;

use crate::request::accept::Language;

/// The words of one language. In `place` and `expected` a `%` stands for the value.
pub(super) struct Words {
    pub(super) code: &'static str,
    queued: &'static str,
    running: &'static str,
    waiting: &'static str,
    succeeded: &'static str,
    failed: &'static str,
    canceled: &'static str,
    pub(super) place: &'static str,
    pub(super) expected: &'static str,
    pub(super) see: &'static str,
    pub(super) next: &'static str,
    pub(super) help: &'static str,
    pub(super) refused: &'static str,
    pub(super) again: &'static str,
    pub(super) in_vain: &'static str,
    pub(super) details: &'static str,
    pub(super) number: &'static str,
    pub(super) accepted: &'static str,
    pub(super) latest: &'static str,
    pub(super) address: &'static str,
    pub(super) come_back: &'static str,
}

impl Words {
    /// The words of a language.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &ENGLISH,
            Language::French => &FRENCH,
        }
    }

    /// How a task stands, as a sentence.
    pub(super) fn heading(&self, status: &Status) -> &'static str {
        let found = self.headings().into_iter().find(|(word, _)| *word == status.as_str());
        // A status of a newer server is work that is not over.
        found.map_or(self.running, |(_, heading)| heading)
    }

    /// The same for each status.
    pub(super) fn headings(&self) -> [(&'static str, &'static str); 6] {
        [
            ("queued", self.queued),
            ("running", self.running),
            ("waiting", self.waiting),
            ("succeeded", self.succeeded),
            ("failed", self.failed),
            ("canceled", self.canceled),
        ]
    }
}

static ENGLISH: Words = Words {
    code: "en",
    queued: "Your request is waiting for its turn",
    running: "Your request is being worked on",
    waiting: "Your request is waiting for another service",
    succeeded: "Your request is done",
    failed: "Your request could not be done",
    canceled: "Your request was stopped",
    place: "Number % in the line.",
    expected: "Expected at about %.",
    see: "See the answer",
    next: "You may leave this page open: it says so as soon as the answer is there. You may also close it, \
           and come back later. Your request goes on meanwhile; do not send it again.",
    help: "If you ask for help, name the number of the request: it is among the details.",
    refused: "Your request could not be answered",
    again: "Go back and try again in a moment.",
    in_vain: "Sending it again as it is will not help. If you ask for help, tell what stands below.",
    details: "Details",
    number: "Number of the request",
    accepted: "Accepted",
    latest: "Latest news",
    address: "To come back",
    come_back: "Keep this link",
};

static FRENCH: Words = Words {
    code: "fr",
    queued: "Votre demande attend son tour",
    running: "Votre demande est en cours de traitement",
    waiting: "Votre demande attend un autre service",
    succeeded: "Votre demande est traitée",
    failed: "Votre demande n’a pas pu être traitée",
    canceled: "Votre demande a été arrêtée",
    place: "Numéro % dans la file.",
    expected: "Prévue vers %.",
    see: "Voir la réponse",
    next: "Vous pouvez laisser cette page ouverte : elle le dira dès que la réponse sera là. Vous pouvez \
           aussi la fermer et revenir plus tard. Votre demande suit son cours ; ne l’envoyez pas une \
           seconde fois.",
    help: "Si vous demandez de l’aide, donnez le numéro de la demande : il est parmi les détails.",
    refused: "Votre demande n’a pas reçu de réponse",
    again: "Revenez en arrière et réessayez dans un instant.",
    in_vain: "L’envoyer encore telle quelle n’y changera rien. Si vous demandez de l’aide, donnez ce qui suit.",
    details: "Détails",
    number: "Numéro de la demande",
    accepted: "Acceptée",
    latest: "Dernières nouvelles",
    address: "Pour revenir",
    come_back: "Gardez ce lien",
};
