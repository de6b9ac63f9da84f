//! What the end of a program means.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use relais_api::codes;
use relais_client::{Outcome, Output, RawJson};

use super::output::Captured;

/// The exit status that says: never again.
const NOT_RETRYABLE: i32 = 100;

/// The outcome of a program that ended by itself.
pub(super) fn of(
    status: ExitStatus,
    captured: Option<Captured>,
    last_words: &str,
    content_type: Option<String>,
    limit: u64,
) -> Outcome {
    let Some(captured) = captured else {
        let problem = codes::UPSTREAM_RESPONSE_TOO_LARGE.problem("").with_limit(limit);
        let detail = format!("the program wrote more than {limit} bytes");
        let problem = Box::new(problem.with_detail(detail));
        return Outcome::Fail { problem, retryable: false, retry_after: None, message: None };
    };
    if status.success() {
        return Outcome::Succeed(output(captured, content_type));
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("the program ended with exit status {code}"),
        (None, Some(signal)) => format!("the program was ended by signal {signal}"),
        (None, None) => "the program ended in an unknown way".to_owned(),
    };
    let detail = if last_words.is_empty() { how } else { format!("{last_words} ({how})") };
    Outcome::fail(detail, status.code() != Some(NOT_RETRYABLE))
}

fn output(captured: Captured, content_type: Option<String>) -> Output {
    let bytes = match captured {
        Captured::Whole(bytes) => bytes,
        Captured::Spilled(file) => {
            let content_type = content_type.unwrap_or_else(|| BYTES.to_owned());
            return Output::File { file: file.into(), content_type };
        }
    };
    if bytes.is_empty() && content_type.is_none() {
        return Output::Empty;
    }
    let text = std::str::from_utf8(&bytes);
    match content_type {
        Some(content_type) => Output::Bytes { bytes, content_type },
        None => match text.map(|text| (RawJson::parse(text), text)) {
            // White space around it, such as the last line end, is not part of a JSON value.
            Ok((Ok(json), _)) => Output::Json(json),
            Ok((Err(_), _)) => Output::Bytes { bytes, content_type: TEXT.to_owned() },
            Err(_) => Output::Bytes { bytes, content_type: BYTES.to_owned() },
        },
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(wait_status: i32, written: &'static [u8]) -> Outcome {
        let captured = Some(Captured::Whole(written.into()));
        of(ExitStatus::from_raw(wait_status), captured, "no such file", None, 9)
    }

    #[test]
    fn the_exit_status_is_the_outcome() {
        for (wait_status, retryable, detail) in [
            (1 << 8, true, "no such file (the program ended with exit status 1)"),
            (75 << 8, true, "no such file (the program ended with exit status 75)"),
            (100 << 8, false, "no such file (the program ended with exit status 100)"),
            (9, true, "no such file (the program was ended by signal 9)"),
        ] {
            let Outcome::Fail { problem, retryable: found, .. } = ended(wait_status, b"") else {
                panic!("{wait_status} is a failure")
            };
            assert_eq!((found, problem.detail.as_deref()), (retryable, Some(detail)));
            assert_eq!(problem.code, "handler-failed");
        }
    }

    #[test]
    fn a_result_has_the_type_that_it_looks_like() {
        let output = |written| match ended(0, written) {
            Outcome::Succeed(output) => output,
            other => panic!("{other:?}"),
        };
        assert!(matches!(output(b""), Output::Empty));
        assert!(
            matches!(output(b" {\"a\": 1.0}\n"), Output::Json(json) if json.as_str() == "{\"a\": 1.0}")
        );
        assert!(
            matches!(output(b"a,b\n"), Output::Bytes { content_type, .. } if content_type == TEXT)
        );
        assert!(
            matches!(output(b"\xff\0"), Output::Bytes { content_type, .. } if content_type == BYTES)
        );
    }

    #[test]
    fn a_result_over_the_limit_is_not_tried_again() {
        let Outcome::Fail { problem, retryable, .. } =
            of(ExitStatus::from_raw(0), None, "", None, 9)
        else {
            panic!("it is too large")
        };
        assert!(!retryable);
        assert_eq!(
            (problem.code.as_str(), &problem.extra["limit"]),
            ("upstream-response-too-large", &9.into())
        );
    }
}
