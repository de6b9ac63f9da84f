//! `POST /assistant`: an answer that comes word by word, as those of language models do.
//!
//! It knows three answers by heart, and takes its time to say them. The same question gives the
//! same bytes each time.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::Query;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;

use crate::limits::{QUESTION_BYTES_MAX, SLOW_MS_MAX};
use crate::page::language::Language;
use crate::serve::Refusal;

#[derive(Deserialize)]
pub(crate) struct Asked {
    /// How long the whole answer takes, in milliseconds.
    slow: Option<u64>,
}

/// What somebody wants to know.
#[derive(Deserialize)]
pub(crate) struct Question {
    question: String,
    lang: Language,
}

pub(crate) async fn answer(
    Query(asked): Query<Asked>,
    Json(asks): Json<Question>,
) -> Result<Response, Refusal> {
    if asks.question.len() > QUESTION_BYTES_MAX {
        let what = format!("a question has {QUESTION_BYTES_MAX} bytes at most");
        return Err(Refusal(StatusCode::UNPROCESSABLE_ENTITY, what));
    }
    let slow = asked.slow.map_or(ANSWER_SLOW, Duration::from_millis);
    if slow.as_millis() > u128::from(SLOW_MS_MAX) {
        return Err(Refusal(StatusCode::BAD_REQUEST, format!("slow is {SLOW_MS_MAX} at most")));
    }
    let text = text(&asks.question, asks.lang);
    let words: Vec<&'static str> = text.split_inclusive(' ').collect();
    let pause = slow / u32::try_from(words.len()).unwrap_or(u32::MAX);
    let said = stream::iter(words).then(move |word| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, Infallible>(word)
    });
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((kind, Body::from_stream(said)).into_response())
}

fn text(question: &str, language: Language) -> &'static str {
    let asked = question.to_lowercase();
    let is_about = |words: &[&str]| words.iter().any(|word| asked.contains(word));
    let [why, which, fails] = match language {
        Language::English => ENGLISH,
        Language::French => FRENCH,
    };
    let answer = if is_about(&["which", "choose", "quel", "choisir"]) {
        which
    } else if is_about(&["fail", "wrong", "crash", "échou", "panne", "erreur"]) {
        fails
    } else {
        why
    };
    answer.trim_end()
}

/// Why, which way, and what if it fails.
const ENGLISH: [&str; 3] = [
    include_str!("../page/answers/why.en.txt"),
    include_str!("../page/answers/which.en.txt"),
    include_str!("../page/answers/fails.en.txt"),
];
const FRENCH: [&str; 3] = [
    include_str!("../page/answers/why.fr.txt"),
    include_str!("../page/answers/which.fr.txt"),
    include_str!("../page/answers/fails.fr.txt"),
];
const ANSWER_SLOW: Duration = Duration::from_secs(15);
