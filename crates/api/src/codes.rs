//! The registry of problems: every error that Relais answers with, and every way a task can fail.
//!
//! A code is stable: programs compare it, and its page stays at `/problems/{code}`.

mod table;

pub use table::*;

use serde_json::Map;

use crate::problem::Problem;
use crate::task::Message;

/// One kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Its stable name.
    pub code: &'static str,
    /// The HTTP status it is answered with, or that the result of a failed task has.
    pub status: u16,
    /// What it is, in a few words.
    pub title: &'static str,
    /// Whether the same request, or a retry of the task, may succeed later.
    pub retryable: bool,
    /// How it comes about.
    pub cause: &'static str,
    /// What to do next.
    pub what_to_do: &'static str,
    /// What end users read when a task ends this way; `None` for mere refusals of a request.
    pub texts: Option<Texts>,
    page: &'static str,
}

/// A sentence for end users, in each language Relais speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texts {
    /// The text in English.
    pub en: &'static str,
    /// The same in French.
    pub fr: &'static str,
}

impl Code {
    /// The kind of problem with this name.
    #[must_use]
    pub fn find(code: &str) -> Option<&'static Self> {
        CODES.binary_search_by_key(&code, |entry| entry.code).ok().map(|index| &CODES[index])
    }

    /// Its page: Markdown, in English, with an example.
    #[must_use]
    pub const fn page(&self) -> &'static str {
        self.page
    }

    /// Whether a task can end with it.
    #[must_use]
    pub const fn ends_a_task(&self) -> bool {
        self.texts.is_some()
    }

    /// What end users read when a task ends this way.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        let pairs = |texts: Texts| [("en", texts.en), ("fr", texts.fr)];
        let owned = |(tag, text): (&str, &str)| (tag.to_owned(), text.to_owned());
        self.texts.map(|texts| Message(pairs(texts).into_iter().map(owned).collect()))
    }

    /// A problem document of this kind. `base` is where Relais' own paths are:
    /// `https://api.example.com`, followed by `api_prefix` if there is one, without a slash at the
    /// end. It may be empty when nobody knows, and then the type is a relative reference.
    #[must_use]
    pub fn problem(&self, base: &str) -> Problem {
        Problem {
            type_uri: format!("{base}/problems/{}", self.code),
            title: self.title.to_owned(),
            status: self.status,
            detail: None,
            instance: None,
            code: self.code.to_owned(),
            retryable: self.retryable,
            errors: Vec::new(),
            extra: Map::new(),
        }
    }
}

/// Declares each code as a constant, and all of them as [`CODES`].
macro_rules! codes {
    ($(
        $name:ident = $code:literal, $status:literal, $retryable:ident {
            $title:literal; $cause:literal; $what_to_do:literal;
            $($en:literal; $fr:literal;)?
        }
    )+) => {
        $(
            #[doc = concat!("`", $code, "`, ", $status, ": ", $title, ".")]
            pub const $name: super::Code = super::Code {
                code: $code,
                status: $status,
                title: $title,
                retryable: super::retryable!($retryable),
                cause: $cause,
                what_to_do: $what_to_do,
                texts: super::texts!($($en, $fr)?),
                page: include_str!(concat!("../../../../docs/problems/", $code, ".md")),
            };
        )+

        /// Every kind of problem, in alphabetical order.
        pub const CODES: &[super::Code] = &[$($name,)+];
    };
}

macro_rules! retryable {
    (retryable) => {
        true
    };
    (final) => {
        false
    };
}

macro_rules! texts {
    () => {
        None
    };
    ($en:literal, $fr:literal) => {
        Some(super::Texts { en: $en, fr: $fr })
    };
}

use {codes, retryable, texts};

/// Two codes with one name would make a page, and a program's comparison, mean two things.
const _: () = {
    let mut at = 1;
    while at < CODES.len() {
        assert!(
            comes_before(CODES[at - 1].code.as_bytes(), CODES[at].code.as_bytes()),
            "codes are unique and in alphabetical order"
        );
        at += 1;
    }
};

const fn comes_before(left: &[u8], right: &[u8]) -> bool {
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return left[at] < right[at];
        }
        at += 1;
    }
    left.len() < right.len()
}
