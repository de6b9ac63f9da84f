use relais_api::queue::Policy;
use relais_api::{
    BatchRequest, DecodeError, DecodeKind, ENTRIES_MAX, HeartbeatRequest, LeaseRequest, Settle,
    SettleRequest, SubmitRequest, decode, decode_batch,
};

fn submit(json: &str) -> Result<SubmitRequest, DecodeError> {
    decode(json.as_bytes())
}

#[track_caller]
fn refused(json: &str) -> (DecodeKind, String, String) {
    let error = submit(json).expect_err(json);
    (error.kind, error.field.unwrap_or_default(), error.detail)
}

#[test]
fn the_source_bytes_of_an_input_are_kept() {
    for input in [
        "null",
        "{ \"b\":1.0,\n \"a\" : 1e2, \"b\":2 }",
        "123456789012345678901234567890",
        "\"\\u0000\\ud83d\\ude00\"",
        "[\r\n]",
        "-0",
    ] {
        let request = submit(&format!("{{\"queue\":\"q\", \"input\":  {input}  }}")).unwrap();
        assert_eq!(request.input.as_ref().map(|raw| raw.as_str()), Some(input));
        let written = serde_json::to_string(&request).unwrap();
        assert_eq!(written, format!("{{\"queue\":\"q\",\"input\":{input}}}"));
    }
    assert_eq!(submit(r#"{"queue":"q"}"#).unwrap().input, None);
}

#[test]
fn a_mistake_of_syntax_says_where() {
    for json in [
        "",
        "  ",
        "{",
        "{\"queue\":",
        "{\"queue\":\"q\"} x",
        "{'queue':1}",
        "\u{feff}{}",
        "{\"queue\":\"q\",}",
        "{\"queue\":\"q\",\"input\":[1,]}",
    ] {
        let (kind, field, detail) = refused(json);
        assert_eq!((kind, field.as_str()), (DecodeKind::Syntax, ""), "{json}");
        assert!(detail.contains("line 1") || detail.contains("empty"), "{json}: {detail}");
    }
    assert_eq!(
        decode::<SubmitRequest>(b"{\"queue\":\"\xff\"}").unwrap_err().kind,
        DecodeKind::Syntax
    );
    assert_eq!(
        decode::<SubmitRequest>(b"{\"queue\":\"q\",\"input\":\"\xff\"}").unwrap_err().kind,
        DecodeKind::Syntax
    );
}

#[test]
fn a_mistake_of_meaning_names_the_member() {
    for (json, field, word) in [
        ("{}", "/queue", "missing member `queue`"),
        (r#"{"queue":1}"#, "/queue", "expected a string"),
        (r#"{"queue":null}"#, "/queue", "null"),
        (r#"{"queue":"q","queue":"r"}"#, "/queue", "named twice"),
        (r#"{"queue":"q","lane":null}"#, "/lane", "null"),
        (r#"{"queue":"q","priority":"high"}"#, "/priority", "expected a whole number"),
        (r#"{"queue":"q","priority":1.5}"#, "/priority", "expected a whole number"),
        (r#"{"queue":"q","priority":99999999999}"#, "/priority", "expected a whole number"),
        (r#"{"queue":"q","delay":30}"#, "/delay", "has no unit"),
        (r#"{"queue":"q","delay":"30"}"#, "/delay", "no unit"),
        (r#"{"queue":"q","run_at":"tomorrow"}"#, "/run_at", "is not a time"),
        (r#"{"queue":"q","deadline":"soon"}"#, "/deadline", "or a time"),
        (r#"{"queue":"q","deadline":"2026-99-01T00:00:00Z"}"#, "/deadline", "is not a time"),
        (r#"{"queue":"q","labels":{"a/b~c":1}}"#, "/labels/a~1b~0c", "expected a string"),
        (r#"{"queue":"q","labels":[]}"#, "/labels", "expected an object"),
        (r#"["q"]"#, "", "expected an object"),
        ("[]", "", "expected an object"),
        ("null", "", "expected an object"),
        ("\"x\"", "", "expected an object"),
    ] {
        let (kind, found, detail) = refused(json);
        assert_eq!((kind, found.as_str()), (DecodeKind::InvalidField, field), "{json}: {detail}");
        assert!(detail.contains(word), "{json}: {detail}");
    }
}

#[test]
fn an_unknown_member_is_refused_by_name() {
    let (kind, field, detail) = refused(r#"{"queue":"q","dealy":"30s"}"#);
    assert_eq!((kind, field.as_str()), (DecodeKind::UnknownField, "/dealy"));
    assert!(detail.contains("`delay`"), "{detail}");
    let error = decode::<Policy>(br#"{"retry":{"max_attemps":3}}"#).unwrap_err();
    assert_eq!(error.kind, DecodeKind::UnknownField);
    assert_eq!(error.field.as_deref(), Some("/retry/max_attemps"));
}

#[test]
fn unpaired_surrogates_are_refused_wherever_they_are() {
    for json in [
        r#"{"queue":"\ud800"}"#,
        r#"{"queue":"\udc00"}"#,
        r#"{"queue":"q","input":"\ud800"}"#,
        r#"{"queue":"q","input":{"\ud800x":1}}"#,
        r#"{"queue":"q","input":["\ud800\ud800"]}"#,
        r#"{"queue":"q","input":"\uDC00\uD800"}"#,
        r#"{"queue":"q","input":"\ud800\n"}"#,
        r#"{"queue":"q","input":"\\\ud800"}"#,
    ] {
        let (kind, _, detail) = refused(json);
        assert_eq!(kind, DecodeKind::Syntax, "{json}");
        assert!(detail.contains("unpaired surrogate"), "{json}: {detail}");
    }
    for json in [
        r#"{"queue":"q","input":"\ud83d\ude00"}"#,
        r#"{"queue":"q","input":"\\ud800"}"#,
        r#"{"queue":"q","input":"\"\\\\ud800"}"#,
        r#"{"queue":"q","input":"\u0000\uffff"}"#,
    ] {
        assert!(submit(json).is_ok(), "{json}");
    }
}

#[test]
fn nesting_is_bounded_and_brackets_in_text_do_not_count() {
    let nested = |depth: usize| {
        format!("{{\"queue\":\"q\",\"input\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
    };
    assert!(submit(&nested(127)).is_ok());
    assert!(refused(&nested(128)).2.contains("nested deeper than 128 levels"));
    assert!(refused(&nested(1_000_000)).2.contains("nested deeper than 128 levels"));
    let text = format!("{{\"queue\":\"q\",\"input\":\"{}\"}}", "[".repeat(1000));
    assert!(submit(&text).is_ok());
}

/// A password typed into the wrong member came back in the answer, and in
/// whoever's log that kept it.
#[test]
fn a_message_never_repeats_a_value_that_was_sent() {
    for (json, detail) in [
        (r#"{"queue":"q","priority":"hunter2"}"#, "invalid type: string, expected a whole number"),
        (
            r#"{"queue":"q","priority":"hunter2\", expected `hunter2` at line 1"}"#,
            "invalid type: string, expected a whole number",
        ),
        (r#"{"queue":4242}"#, "invalid type: integer, expected a string"),
        (r#"{"queue":42.42}"#, "invalid type: floating point, expected a string"),
        (r#"{"queue":true}"#, "invalid type: boolean, expected a string"),
        (
            r#"{"queue":"q","priority":4242424242}"#,
            "invalid value: integer, expected a whole number",
        ),
        (
            r#"{"queue":"q","run_at":"hunter2"}"#,
            "the text is not a time: write it as RFC 3339, for example \"2026-11-22T10:00:05Z\"",
        ),
        (
            r#"{"queue":"q","delay":4242}"#,
            "a number has no unit: write a duration as text, for example \"30s\"",
        ),
    ] {
        assert_eq!(refused(json).2, detail, "{json}");
    }
    let error = decode::<Settle>(br#"{"token":"t","outcome":"hunter2"}"#).unwrap_err();
    assert!(error.detail.starts_with("unknown value, expected one of \"succeed\""), "{error}");
    let error = decode::<Policy>(br#"{"rate":"hunter2"}"#).unwrap_err();
    assert!(error.detail.starts_with("the text is not a rate: "), "{error}");
}

#[test]
fn the_name_of_an_unknown_member_is_cut() {
    let long = "x".repeat(100_000);
    assert!(refused(&format!("{{\"queue\":\"q\",\"{long}\":1}}")).2.len() < 400);
}

/// `{"a": "1", "a": "2"}` lost a value in silence.
#[test]
fn names_of_the_senders_own_are_there_once() {
    let error = submit(r#"{"queue":"q","labels":{"a":"1","b":"2","a":"3"}}"#).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/labels"), "{error:?}");
    assert!(error.detail.contains("a member is named twice"), "{error:?}");
    let weights = decode::<Policy>(br#"{"lane_weights":{"a":1,"a":2}}"#).unwrap_err();
    assert_eq!(weights.field.as_deref(), Some("/lane_weights"));
    let message = r#"{"token":"t","outcome":"fail","message":{"en":"a","en":"b"}}"#;
    let message = decode::<Settle>(message.as_bytes()).unwrap_err();
    assert_eq!(message.field.as_deref(), Some("/message"));
}

#[test]
fn members_that_exclude_each_other_are_named() {
    for (json, field) in [
        (r#"{"queue":"q","input":1,"input_base64":"AA==","content_type":"a/b"}"#, "/input_base64"),
        (r#"{"queue":"q","input_base64":"AA=="}"#, "/content_type"),
        (r#"{"queue":"q","input":1,"content_type":"a/b"}"#, "/content_type"),
    ] {
        let error = submit(json).unwrap().check().unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{json}");
    }
    submit(r#"{"queue":"q","input_base64":"AA==","content_type":"a/b","delay":"1s"}"#)
        .unwrap()
        .check()
        .unwrap();
}

#[test]
fn a_bad_item_of_a_batch_spoils_itself_only() {
    let good = r#"{"queue":"q","input":null}"#;
    let array = format!("[{good}, {{\"queue\":1}}, 7, {good}]");
    let lines = format!("{good}\r\n\n{{\"queue\":1}}\n7\n{good}\n");
    for (bytes, ndjson) in [(array, false), (lines, true)] {
        let items: BatchRequest = decode_batch(bytes.as_bytes(), ndjson).unwrap();
        let fields: Vec<Option<&str>> = items
            .iter()
            .map(|item| item.0.as_ref().err().map(|error| error.field.as_deref().unwrap()))
            .collect();
        assert_eq!(fields, [None, Some("/queue"), Some(""), None]);
        assert!(items[0].0.as_ref().unwrap().input.is_some(), "null is an input");
    }
    let broken: BatchRequest =
        decode_batch(format!("{good}\n{{\n{good}").as_bytes(), true).unwrap();
    assert_eq!(broken[1].0.as_ref().unwrap_err().kind, DecodeKind::Syntax);
    let envelope = |json: &str| decode_batch::<SubmitRequest>(json.as_bytes(), false).unwrap_err();
    assert_eq!(envelope("[{]").kind, DecodeKind::Syntax);
    assert_eq!(envelope("{}").kind, DecodeKind::InvalidField);
}

#[test]
fn items_of_lease_calls_are_read_one_by_one() {
    let beats: HeartbeatRequest = decode(
        br#"{"items":[{"token":"a","progress":{"percent":40},"checkpoint":null},{"token":1},{}]}"#,
    )
    .unwrap();
    let first = beats.items[0].0.as_ref().unwrap();
    assert_eq!(first.checkpoint.as_ref().map(|raw| raw.as_str()), Some("null"));
    let field = |index: usize| beats.items[index].0.as_ref().unwrap_err().field.clone();
    assert_eq!((field(1), field(2)), (Some("/token".into()), Some("/token".into())));
    let error = decode::<HeartbeatRequest>(br#"{"items":{}}"#).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/items"));
    let error = decode::<SettleRequest>(br#"{"items":[],"lease_next":{"queue":"q","max":-1}}"#)
        .unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/lease_next/max"));
}

#[test]
fn a_call_of_many_items_stops_at_the_first_too_many() {
    // A million items of two bytes took seconds and gigabytes before they were counted.
    let items = |count: usize| vec!["0"; count].join(",");
    let (most, over) = (ENTRIES_MAX, ENTRIES_MAX + 1);
    // What comes behind the item too many is not read: it need not even be JSON.
    let unread = format!("{{\"items\":[{},,]", items(over));
    for error in [
        decode::<HeartbeatRequest>(unread.as_bytes()).map(drop).unwrap_err(),
        decode::<SettleRequest>(unread.as_bytes()).map(drop).unwrap_err(),
        decode_batch::<SubmitRequest>(format!("[{},,]", items(over)).as_bytes(), false)
            .map(drop)
            .unwrap_err(),
        decode_batch::<SubmitRequest>("0\n".repeat(over).as_bytes(), true).map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind, DecodeKind::TooManyItems, "{error}");
        assert_eq!(error.code().code, "batch-too-large");
    }
    let whole = format!("{{\"items\":[{}]}}", items(most));
    assert_eq!(decode::<SettleRequest>(whole.as_bytes()).unwrap().items.len(), most);
    assert_eq!(
        decode_batch::<SubmitRequest>("0\n".repeat(most).as_bytes(), true).unwrap().len(),
        most
    );
}

#[test]
fn what_grows_in_memory_is_counted_while_it_is_read() {
    let settle = |members: &str| {
        let json = format!("{{\"token\":\"t\",\"outcome\":\"fail\",{members}}}");
        let error = decode::<Settle>(json.as_bytes()).unwrap_err();
        (error.kind, error.field.unwrap_or_default())
    };
    let pairs = vec![r#"["",""]"#; ENTRIES_MAX + 1].join(",");
    let members: Vec<_> = (0..=ENTRIES_MAX).map(|n| format!("\"{n}\":\"\"")).collect();
    let members = members.join(",");
    let of = |field: &str| (DecodeKind::InvalidField, field.to_owned());
    assert_eq!(settle(&format!("\"headers\":[{pairs}]")), of("/headers"));
    assert_eq!(settle(&format!("\"message\":{{{members}}}")), of("/message"));
    assert_eq!(settle(&format!("\"problem\":[{}0]", "0,".repeat(40_000))), of("/problem"));
    let error = submit(&format!("{{\"queue\":\"q\",\"labels\":{{{members}}}}}")).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/labels"));
}

#[test]
fn an_array_is_never_taken_for_an_object() {
    for json in ["[]", "[1]", "[1,\"1s\",\"w\"]"] {
        let error = decode::<LeaseRequest>(json.as_bytes()).unwrap_err();
        assert!(error.detail.contains("expected an object"), "{}", error.detail);
    }
    let error = decode::<Policy>(br#"{"retry":[3]}"#).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/retry"));
}

#[test]
fn a_settle_takes_only_what_goes_with_its_outcome() {
    let check = |members: &str| {
        let json = format!("{{\"token\":\"t\",{members}}}");
        decode::<Settle>(json.as_bytes())
            .unwrap_or_else(|error| panic!("{json}: {error}"))
            .check()
            .map_err(|error| error.field.unwrap_or_default())
    };
    for members in [
        r#""outcome":"succeed""#,
        r#""outcome":"succeed","result":null,"status":201,"headers":[["x","1"],["x","2"]]"#,
        r#""outcome":"succeed","result_base64":"AA==","content_type":"a/b","message":{"en":"ok"}"#,
        r#""outcome":"succeed","result_id":"r""#,
        r#""outcome":"fail","problem":{"title":"no"},"retryable":false,"message":{"en":"no"}"#,
        r#""outcome":"fail","retry_after":"30s""#,
        r#""outcome":"release","retry_after":"30s""#,
    ] {
        assert_eq!(check(members), Ok(()), "{members}");
    }
    for (members, field) in [
        (r#""outcome":"succeed","result":1,"result_id":"r""#, "/result_id"),
        (r#""outcome":"succeed","result_base64":"AA==""#, "/content_type"),
        (r#""outcome":"succeed","problem":{}"#, "/problem"),
        (r#""outcome":"succeed","retry_after":"1s""#, "/retry_after"),
        (r#""outcome":"fail","result":null"#, "/result"),
        (r#""outcome":"fail","status":500"#, "/status"),
        (r#""outcome":"release","problem":{}"#, "/problem"),
        (r#""outcome":"release","message":{"en":"x"}"#, "/message"),
    ] {
        assert_eq!(check(members), Err(field.to_owned()), "{members}");
    }
    let error = decode::<Settle>(br#"{"token":"t","outcome":"succeeded"}"#).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("/outcome"));
    assert!(error.detail.contains("\"succeed\", \"fail\", \"release\""), "{}", error.detail);
}

#[test]
fn an_error_becomes_a_problem_that_points_at_the_member() {
    let problem = submit(r#"{"queue":"q","delay":30}"#).unwrap_err().problem("https://api.example");
    assert_eq!((problem.code.as_str(), problem.status), ("invalid-field", 422));
    assert_eq!(problem.type_uri, "https://api.example/problems/invalid-field");
    assert_eq!(problem.errors[0].pointer, "/delay");
    let problem = submit("{").unwrap_err().problem("");
    assert_eq!((problem.code.as_str(), problem.status), ("malformed-json", 400));
    assert!(problem.errors.is_empty());
}
