//! The files that the pages load, which are part of the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::serve::Refusal;

pub(crate) async fn file(Path(name): Path<String>) -> Result<Response, Refusal> {
    let found = FILES.iter().find(|(known, _)| *known == name);
    let text = found.map(|(_, text)| *text);
    let text = text.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "no such file".into()))?;
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response())
}

macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../page/assets/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = files! {
    "icon.svg"
    "base.css"
    "ways.css"
    "chat.css"
    "main.js"
    "words.js"
    "run.js"
    "meter.js"
    "follow.js"
    "view.js"
    "lane.js"
    "way-sync.js"
    "way-poll.js"
    "way-long-poll.js"
    "way-sse.js"
    "way-websocket.js"
    "live.js"
    "chat.js"
    "copy.js"
    "tray.js"
};
