//! Which language a page speaks, and its words.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use serde::Deserialize;

use super::template::{code, escaped, fill};

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Language {
    #[serde(rename = "en")]
    English,
    #[serde(rename = "fr")]
    French,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::English, Self::French];

    /// The one that the address names, else the one that the browser likes best.
    pub(crate) fn of(asked: Option<Self>, head: &HeaderMap) -> Self {
        let accept = head.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        asked.unwrap_or_else(|| Self::liked(accept.unwrap_or_default()))
    }

    fn liked(accept: &str) -> Self {
        let mut best = (0, Self::English);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            // In thousandths; what cannot be read is as if nothing stood there.
            let weight: f64 = weight.map_or(1.0, |weight| weight.parse().unwrap_or(1.0));
            let weight = (weight.clamp(0.0, 1.0) * 1_000.0) as u32;
            let language = match tag.split('-').next() {
                Some("en") => Self::English,
                Some("fr") => Self::French,
                _ => continue,
            };
            if weight > best.0 {
                best = (weight, language);
            }
        }
        best.1
    }

    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }

    /// A number with decimals, as it is written in this language.
    pub(super) fn decimal(self, number: &str) -> String {
        match self {
            Self::English => number.to_owned(),
            Self::French => number.replace('.', ","),
        }
    }

    /// A page in this language; what has no word stays as it is.
    pub(super) fn spoken(self, page: &str) -> String {
        let words = self.words();
        fill(page, |name| match name {
            "lang" => Some(self.tag().to_owned()),
            "words" => Some(words_for_scripts(&words)),
            _ => words.get(name).cloned().or_else(|| {
                let lines = name.strip_prefix("code.").and_then(code)?;
                Some(escaped(lines))
            }),
        })
    }

    /// A word of the pages.
    pub(super) fn word(self, name: &str) -> Option<String> {
        self.words().remove(name)
    }

    fn words(self) -> BTreeMap<String, String> {
        let text = match self {
            Self::English => include_str!("../../page/words/en.json"),
            Self::French => include_str!("../../page/words/fr.json"),
        };
        serde_json::from_str(text).expect("a test reads both files")
    }
}

/// The words that scripts say, as JSON that may stand in an element `script`.
fn words_for_scripts(words: &BTreeMap<String, String>) -> String {
    let said = words.iter().filter_map(|(name, word)| Some((name.strip_prefix("js.")?, word)));
    let json = serde_json::to_string(&said.collect::<BTreeMap<_, _>>());
    json.expect("words are text").replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_a_browser_likes_best_is_spoken() {
        for (accept, language) in [
            ("", Language::English),
            ("de, ja;q=0.5", Language::English),
            ("fr", Language::French),
            ("fr-CH, en;q=0.9", Language::French),
            ("en-GB,en;q=0.9,fr;q=0.8", Language::English),
            ("en;q=0.1, fr;q=0.2", Language::French),
            ("fr;q=0", Language::English),
            ("*", Language::English),
        ] {
            assert_eq!(Language::liked(accept), language, "{accept}");
        }
    }

    #[test]
    fn both_languages_have_the_same_words() {
        let [english, french] = Language::ALL.map(Language::words);
        let names = |words: &BTreeMap<String, String>| words.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&english), names(&french));
    }
}
