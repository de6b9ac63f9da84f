//! French.

use super::{Counted, Leads, Leaving, List, Reasons, States, Words};

pub(super) static WORDS: Words = Words {
    code: "fr",
    months: [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    date_time: "à",
    percent_space: "\u{202f}",
    ago: Counted {
        seconds: "il y a % secondes",
        minute: "il y a 1 minute",
        minutes: "il y a % minutes",
        hour: "il y a 1 heure",
        hours: "il y a % heures",
        day: "il y a 1 jour",
        days: "il y a % jours",
    },
    ahead: Counted {
        seconds: "dans % secondes",
        minute: "dans 1 minute",
        minutes: "dans % minutes",
        hour: "dans 1 heure",
        hours: "dans % heures",
        day: "dans 1 jour",
        days: "dans % jours",
    },
    lasting: Counted {
        seconds: "% secondes",
        minute: "1 minute",
        minutes: "% minutes",
        hour: "1 heure",
        hours: "% heures",
        day: "1 jour",
        days: "% jours",
    },
    just_now: "à l’instant",
    any_moment: "d’un instant à l’autre",

    your_request: "Votre demande",
    read: "Demande de %",
    changed: "Modification de %",
    removed: "Suppression de %",
    handed_in: "Demande à %",

    sent: "Envoyée %",
    attempt: "essai %",

    states: States {
        queued: "En file d’attente",
        scheduled: "Prévue",
        backoff: "Nouvel essai bientôt",
        running: "En cours",
        waiting: "En cours ailleurs",
        succeeded: "Terminée",
        failed: "Sans succès",
        canceled: "Annulée",
    },
    leads: Leads {
        queued: "Elle commencera quand son tour viendra.",
        running: "Elle est en cours de traitement.",
        waiting: "Un autre service s’en occupe.",
        succeeded: "Votre réponse est prête.",
        failed: "Un problème est survenu.",
        canceled: "Elle a été annulée.",
    },
    reasons: Reasons {
        scheduled: "Elle commencera %.",
        backoff: "Un nouvel essai aura lieu %.",
        position: "Elle commencera quand celles qui la précèdent seront terminées.",
        room: "Elle commencera dès qu’il y aura de la place.",
        paused: "Le travail est suspendu pour le moment. Votre demande garde sa place.",
        origin_paused: "Le service a demandé une courte pause. Elle continuera %.",
        nobody: "Elle commencera dès que quelqu’un pourra s’en occuper.",
    },
    progress: "Avancement",
    expected: "Sans doute prête %.",
    next_in_line: "La prochaine de la file.",
    place: "Numéro % dans la file.",
    tried: "Le dernier essai n’a pas abouti\u{a0}: %",
    something_failed: "un problème est survenu.",

    open: "Ouvrir la réponse",
    see_answer: "Voir la réponse du service",
    retry: "Réessayer",
    cancel: "Annuler…",
    cancel_means: "Plus rien ne sera fait pour cette demande.",
    cancel_now: "Annuler la demande",
    no_cancel: "Ne pas annuler",
    leave: Leaving {
        goes_on: "Cette page se met à jour d’elle-même. Vous pouvez la fermer et revenir plus \
                  tard\u{a0}: votre demande suit son cours, ne l’envoyez pas une seconde fois.",
        counts_down: "Cette page se met à jour d’elle-même. Gardez-la ouverte\u{a0}: si elle n’est plus \
                      ouverte nulle part, votre demande est annulée au bout de %.",
        ends: "Cette page se met à jour d’elle-même. Ne la fermez pas et ne la rechargez pas\u{a0}: votre \
               demande est annulée dès qu’elle n’est plus ouverte nulle part.",
    },
    send_again: "Si vous y tenez malgré tout, renvoyez-la depuis la page où vous avez commencé.",
    help: "Si vous demandez de l’aide, donnez le numéro au bas de cette page.",
    keep_means: "Seul son lien ramène ici, sauf si ce navigateur garde la demande.",
    keep: "Garder dans ce navigateur",
    others: "Toutes vos demandes",
    lost: Leaving {
        goes_on: "La connexion est interrompue pour le moment. Votre demande suit son cours.",
        counts_down: "La connexion est interrompue pour le moment. Gardez cette page ouverte\u{a0}: votre \
                      demande est annulée si la connexion reste coupée pendant %.",
        ends: "La connexion est interrompue\u{a0}: votre demande a peut-être été annulée.",
    },

    details: "Détails",
    asked: "Demandé",
    since: "Depuis",
    latest: "Dernières nouvelles",
    attempts: "Essais",
    kept_until: "Conservée jusqu’au",
    number: "Numéro de la demande",

    list: List {
        title: "Vos demandes",
        about: "Ce que ce navigateur a demandé, le plus récent d’abord. Personne d’autre ne voit cette liste.",
        none: "Ce navigateur ne suit aucune demande. Celles que vous y gardez sont listées ici.",
        remove: "Retirer",
        remove_all: "Tout retirer",
        older: "Plus anciennes",
    },

    gone: [
        "Cette demande n’est plus conservée",
        "Les demandes et leurs réponses ne sont gardées qu’un temps. S’il vous la faut encore, faites-la \
         de nouveau.",
    ],
    closed: [
        "Cette page ne peut pas être montrée",
        "Son lien a expiré ou n’est pas complet, ou bien un autre navigateur garde la demande, ou celui-ci \
         ne garde pas les cookies, ou plus ceux de ce site. Retournez là où vous l’avez faite ; si votre \
         navigateur refuse les cookies, autorisez-les pour ce site et refaites la demande.",
    ],
    refused: "Votre demande n’a pas reçu de réponse",
    again: "Revenez en arrière et réessayez dans un instant.",
    in_vain: "L’envoyer encore telle quelle n’y changera rien. Si vous demandez de l’aide, donnez ce qui suit.",
};
