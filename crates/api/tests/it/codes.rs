use std::collections::BTreeSet;
use std::path::Path;

use relais_api::{CODES, Code, Problem, codes};

#[test]
fn each_code_has_a_page_and_each_page_a_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/problems");
    let pages: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let codes: BTreeSet<String> = CODES.iter().map(|code| format!("{}.md", code.code)).collect();
    assert_eq!(pages, codes);
}

#[test]
fn a_page_says_what_the_registry_says() {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for code in CODES {
        let page = flat(code.page());
        let retry = if code.retryable { "retryable" } else { "not retryable" };
        let head = format!("# {} **{}.** Status {}, {retry}.", code.code, code.title, code.status);
        assert!(page.starts_with(&head), "{head}\n{page}");
        assert!(page.contains(&format!("## What happened {}", code.cause)), "{page}");
        assert!(page.contains(&format!("## What to do {}", code.what_to_do)), "{page}");
        if let Some(texts) = code.texts {
            assert!(page.contains(texts.en) && page.contains(texts.fr), "{page}");
        }
        let example =
            code.page().split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
        let example: Problem = serde_json::from_str(example.unwrap()).unwrap();
        let fresh = code.problem("https://api.example.com");
        assert_eq!(
            (&example.type_uri, &example.title, example.status, &example.code, example.retryable),
            (&fresh.type_uri, &fresh.title, fresh.status, &fresh.code, fresh.retryable)
        );
        assert!(example.instance.is_some(), "{}", code.code);
    }
}

#[test]
fn a_code_is_short_lower_case_and_found_by_name() {
    for code in CODES {
        assert!(code.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
        assert!((400..600).contains(&code.status), "{}", code.code);
        assert!(code.title.starts_with(char::is_uppercase) && !code.title.ends_with('.'));
        assert!(code.cause.ends_with('.') && code.what_to_do.ends_with('.'), "{}", code.code);
        assert_eq!(Code::find(code.code), Some(code));
    }
    assert_eq!(Code::find("no-such-code"), None);
}

/// A cancel erases the credentials of most requests, and a retry is refused then.
#[test]
fn what_a_cancel_says_of_a_retry_is_when_it_is_taken() {
    for code in [&codes::TASK_CANCELED, &codes::ABANDONED] {
        let to_do = code.what_to_do;
        assert!(to_do.starts_with("Send the request again"), "{to_do}");
        assert!(to_do.contains("taken only if the request had no credentials"), "{to_do}");
    }
}

#[test]
fn a_failed_task_has_words_for_its_user_in_two_languages() {
    let message = codes::UPSTREAM_TIMEOUT.message().unwrap();
    assert_eq!(message.0.keys().collect::<Vec<_>>(), ["en", "fr"]);
    assert!(codes::DEADLINE_EXCEEDED.ends_a_task());
    assert!(!codes::QUEUE_FULL.ends_a_task());
}

#[test]
fn a_problem_carries_more_members_where_there_are_some() {
    let problem = codes::QUEUE_FULL
        .problem("")
        .with_detail("the queue imports holds 10 tasks")
        .with_limit(10)
        .with_retry_after(relais_api::Span::from_secs(12));
    let json = serde_json::to_value(problem).unwrap();
    assert_eq!(json["type"], "/problems/queue-full");
    assert_eq!(json["limit"], 10);
    assert_eq!(json["retry_after"], "12s");
    assert!(json.get("errors").is_none() && json.get("instance").is_none());
}
