//! English.

use super::{Counted, Leads, Leaving, List, Reasons, States, Words};

pub(super) static WORDS: Words = Words {
    code: "en",
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    date_time: "at",
    percent_space: "",
    ago: Counted {
        seconds: "% seconds ago",
        minute: "1 minute ago",
        minutes: "% minutes ago",
        hour: "1 hour ago",
        hours: "% hours ago",
        day: "1 day ago",
        days: "% days ago",
    },
    ahead: Counted {
        seconds: "in % seconds",
        minute: "in 1 minute",
        minutes: "in % minutes",
        hour: "in 1 hour",
        hours: "in % hours",
        day: "in 1 day",
        days: "in % days",
    },
    lasting: Counted {
        seconds: "% seconds",
        minute: "1 minute",
        minutes: "% minutes",
        hour: "1 hour",
        hours: "% hours",
        day: "1 day",
        days: "% days",
    },
    just_now: "just now",
    any_moment: "any moment now",

    your_request: "Your request",
    read: "Request for %",
    changed: "Change of %",
    removed: "Removal of %",
    handed_in: "Request to %",

    sent: "Sent %",
    attempt: "try %",

    states: States {
        queued: "In line",
        scheduled: "Planned",
        backoff: "Trying again soon",
        running: "In progress",
        waiting: "In progress elsewhere",
        succeeded: "Done",
        failed: "Did not work",
        canceled: "Canceled",
    },
    leads: Leads {
        queued: "It starts when its turn comes.",
        running: "It is being worked on right now.",
        waiting: "Another service is working on it.",
        succeeded: "Your answer is ready.",
        failed: "Something went wrong.",
        canceled: "It was canceled.",
    },
    reasons: Reasons {
        scheduled: "It starts %.",
        backoff: "It is tried again %.",
        position: "It starts when those before it are done.",
        room: "It starts as soon as there is room for it.",
        paused: "Work is paused for now. Your request keeps its place.",
        origin_paused: "The service asked for a short break. It goes on %.",
        nobody: "It starts as soon as somebody is there to work on it.",
    },
    progress: "Progress",
    expected: "Probably ready %.",
    next_in_line: "Next in line.",
    place: "Number % in line.",
    tried: "The last try did not work out: %",
    something_failed: "something went wrong.",

    open: "Open the answer",
    see_answer: "See what the service answered",
    retry: "Try again",
    cancel: "Cancel…",
    cancel_means: "Nothing more will be done for this request.",
    cancel_now: "Cancel the request",
    no_cancel: "Do not cancel",
    leave: Leaving {
        goes_on: "This page follows by itself. You may close it and come back later: your request goes \
                  on, so do not send it again.",
        counts_down: "This page follows by itself. Keep it open: your request is canceled % after \
                      nobody has it open any more.",
        ends: "This page follows by itself. Neither close nor reload it: your request is canceled as \
               soon as nobody has it open.",
    },
    send_again: "If you want it after all, send it again from the page where you began.",
    help: "If you ask for help, give the number at the bottom of this page.",
    keep_means: "Only its link leads back here, unless this browser keeps the request.",
    keep: "Keep in this browser",
    others: "All your requests",
    lost: Leaving {
        goes_on: "The connection is lost for the moment. Your request goes on.",
        counts_down: "The connection is lost for the moment. Keep this page open: your request is \
                      canceled if the connection stays lost for %.",
        ends: "The connection is lost: your request may have been canceled.",
    },

    details: "Details",
    asked: "Asked for",
    since: "Since",
    latest: "Latest news",
    attempts: "Tries",
    kept_until: "Kept until",
    number: "Request number",

    list: List {
        title: "Your requests",
        about: "What this browser has asked for, the latest first. Nobody else sees this list.",
        none: "This browser follows no request. Those that you keep in it are listed here.",
        remove: "Remove",
        remove_all: "Remove all",
        older: "Older ones",
    },

    gone: [
        "This request is not kept any more",
        "Requests and their answers are kept for some time only. If you still need it, ask for it again.",
    ],
    closed: [
        "This page cannot be shown",
        "Its link has ended or is not whole, or another browser keeps the request, or this one keeps no \
         cookies, or no longer those of this site. Go back to where you asked first; if your browser \
         refuses cookies, allow them for this site and ask again.",
    ],
    refused: "Your request could not be answered",
    again: "Go back and try again in a moment.",
    in_vain: "Sending it again as it is will not help. If you ask for help, tell what stands below.",
};
