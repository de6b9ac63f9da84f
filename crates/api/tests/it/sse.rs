use proptest::prelude::*;
use relais_api::sse::{SseError, write_comment, write_json, write_retry};
use relais_api::{After, Event, EventType, Notice, RawJson, Span, SseFrame, SseParser, Time};

fn event(data: &str) -> Event {
    Event {
        task: "task_1".to_owned(),
        seq: 4,
        kind: EventType::Progressed,
        at: Time::from_ms(0),
        attempt: Some(1),
        data: RawJson::parse(data).expect("the data is JSON"),
    }
}

/// The event as it travels, with this id.
fn sse(event: &Event, id: u64, out: &mut Vec<u8>) {
    write_json(out, Some(id), event.kind.as_str(), &event.to_json());
}

fn read(bytes: &[u8]) -> Vec<SseFrame> {
    SseParser::new().push(bytes).expect("the stream is short")
}

fn message(data: &str) -> SseFrame {
    frame("", "message", data)
}

fn frame(id: &str, name: &str, data: &str) -> SseFrame {
    SseFrame::Event { last_event_id: id.into(), name: name.into(), data: data.into() }
}

#[test]
fn an_event_is_written_as_the_contract_shows() {
    let mut out = Vec::new();
    sse(&event(r#"{"percent":40}"#), 4, &mut out);
    let expected = "id: 4\nevent: progressed\ndata: {\"task\":\"task_1\",\"seq\":4,\
        \"type\":\"progressed\",\"at\":\"1970-01-01T00:00:00.000Z\",\"attempt\":1,\
        \"data\":{\"percent\":40}}\n\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn line_ends_in_carried_json_cannot_write_fields() {
    let mut out = Vec::new();
    sse(&event("{\"a\":\r\n1,\r\"b\": \"\\n\\r\u{2028}\"\n}"), 77, &mut out);
    let frames = read(&out);
    let [SseFrame::Event { last_event_id, name, data }] = frames.as_slice() else {
        panic!("{frames:?}");
    };
    assert_eq!((last_event_id.as_str(), name.as_str()), ("77", "progressed"));
    let event: Event = serde_json::from_str(data).unwrap();
    assert_eq!(event.data.read::<serde_json::Value>().unwrap()["b"], "\n\r\u{2028}");
}

#[test]
fn notices_have_no_id_and_are_read_back() {
    let notices = [
        Notice::Open { version: 4, gap: false, pos: None },
        Notice::Busy { retry_after: Span::from_secs(2) },
        Notice::Reset { reason: "unknown".to_owned(), from: 0 },
        Notice::Estimate { position: Some(3), eta: None },
        Notice::Erased { task: "task_1".to_owned() },
    ];
    for notice in notices {
        let mut out = Vec::new();
        notice.encode_sse(&mut out);
        let frames = read(&out);
        let [SseFrame::Event { last_event_id, name, data }] = frames.as_slice() else {
            panic!("{frames:?}");
        };
        assert_eq!((last_event_id.as_str(), name.as_str()), ("", notice.name()));
        assert_eq!(Notice::parse(name, data), Some(notice));
    }
    let mut out = Vec::new();
    Notice::Open { version: 4, gap: false, pos: None }.encode_sse(&mut out);
    assert_eq!(out, b"event: relais.open\ndata: {\"version\":4,\"gap\":false}\n\n");
}

/// Without it whoever began at `now`, and was cut off before anything happened, would begin at another now.
#[test]
fn where_a_stream_over_many_tasks_begins_is_its_first_id() {
    let open = Notice::Open { version: 0, gap: false, pos: Some(7) };
    let mut out = Vec::new();
    open.encode_sse(&mut out);
    let data = r#"{"version":0,"gap":false,"pos":7}"#;
    assert_eq!(read(&out), [frame("7", "relais.open", data)]);
    assert_eq!(Notice::parse("relais.open", data), Some(open));
}

#[test]
fn a_place_to_go_on_from_is_a_number_or_now() {
    assert_eq!("now".parse(), Ok(After::Now));
    assert_eq!("0".parse(), Ok(After::Number(0)));
    assert_eq!("9007199254740991".parse(), Ok(After::Number(After::NUMBER_MAX)));
    for text in ["", "-1", "+1", "1.0", "Now", "now ", "9007199254740992", "99999999999999999999"] {
        let refused = text.parse::<After>().unwrap_err();
        assert_eq!(refused.to_string(), format!("expected {}", After::EXPECTED), "{text}");
    }
}

#[test]
fn comments_and_retry_are_written_and_read() {
    let mut out = Vec::new();
    write_retry(&mut out, 2345);
    write_comment(&mut out, "hb\ndata: no");
    assert_eq!(out, b"retry: 2345\n: hb data: no\n\n");
    assert_eq!(read(&out), [SseFrame::Retry(2345), SseFrame::Comment("hb data: no".to_owned())]);
}

#[test]
fn the_grammar_of_the_standard_is_understood() {
    for (text, frames) in [
        ("data: a\n\n", vec![message("a")]),
        ("data:a\r\rdata:b\r\n\r\n", vec![message("a"), message("b")]),
        ("data:  a\n\n", vec![message(" a")]),
        ("data: a\ndata: b\n\n", vec![message("a\nb")]),
        ("data\n\n", vec![message("")]),
        ("data\ndata\n\n", vec![message("\n")]),
        ("event: x\n\n", vec![]),
        ("event: x\ndata: 1\n\ndata: 2\n\n", vec![frame("", "x", "1"), message("2")]),
        (
            "id: 1\ndata: a\n\ndata: b\n\n",
            vec![frame("1", "message", "a"), frame("1", "message", "b")],
        ),
        ("id: 1\n\nid\ndata: b\n\n", vec![message("b")]),
        ("id: 1\ndata: a\nid: 2\u{0}\n\n", vec![frame("1", "message", "a")]),
        ("data: never finished\n", vec![]),
        (
            "unknown: x\n: c\nretry: x1\nretry:\ndata: a\n\n",
            vec![SseFrame::Comment("c".into()), message("a")],
        ),
        ("\u{feff}data: a\n\n\u{feff}data: b\n\n", vec![message("a")]),
        ("data: é€😀\n\n", vec![message("é€😀")]),
        ("data: a:b: c\n\n", vec![message("a:b: c")]),
        ("\n\n\n", vec![]),
    ] {
        assert_eq!(read(text.as_bytes()), frames, "{text:?}");
        let mut parser = SseParser::new();
        let bytewise: Vec<SseFrame> =
            text.bytes().flat_map(|byte| parser.push(&[byte]).unwrap()).collect();
        assert_eq!(bytewise, frames, "byte by byte: {text:?}");
    }
    assert_eq!(read(b"data: \xff\n\n"), [message("\u{fffd}")]);
}

#[test]
fn a_resumed_parser_goes_on_from_its_id() {
    let mut parser = SseParser::resume("4");
    assert_eq!(parser.push(b"data: a\n\n").unwrap(), [frame("4", "message", "a")]);
    parser.push(b"id: 5\n\n").unwrap();
    assert_eq!(parser.last_event_id(), "5", "an event without data still moves the id");
}

#[test]
fn lines_and_events_are_bounded() {
    let too_long = Err(SseError::TooLong { limit: 16 });
    let mut parser = SseParser::with_limit(16);
    assert!(parser.push(b"data: 0123456789").is_ok(), "16 bytes fit");
    assert_eq!(parser.push(b"x"), too_long);
    assert_eq!(parser.push(b"\n\ndata: a\n\n"), too_long, "an error is for good");
    let mut parser = SseParser::with_limit(16);
    assert_eq!(parser.push(&b"data: 0123\n".repeat(4)), too_long);
    let mut parser = SseParser::with_limit(16);
    assert!(parser.push(&b": 01234567\n".repeat(1000)).is_ok(), "comments do not add up");
    let mebibyte = vec![b'x'; 1 << 20];
    let mut parser = SseParser::new();
    assert!(parser.push(&mebibyte).is_ok());
    assert!(parser.push(b"x").is_err());
}

proptest! {
    #[test]
    fn any_event_comes_through_any_cut(text in any::<String>(), cuts in prop::collection::vec(1_usize..40, 1..40)) {
        let mut out = Vec::new();
        let event = event(&serde_json::to_string(&serde_json::json!({ "message": text })).unwrap());
        sse(&event, 4, &mut out);
        let mut parser = SseParser::new();
        let mut frames = Vec::new();
        let mut rest = out.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (part, tail) = rest.split_at((*cut).min(rest.len()));
            frames.extend(parser.push(part).unwrap());
            rest = tail;
        }
        prop_assert_eq!(frames.len(), 1);
        let SseFrame::Event { data, .. } = &frames[0] else { panic!("{frames:?}") };
        let event: Event = serde_json::from_str(data).unwrap();
        prop_assert_eq!(&event.data.read::<serde_json::Value>().unwrap()["message"], &serde_json::json!(text));
    }

    #[test]
    fn cuts_do_not_change_what_is_read(bytes in prop::collection::vec(prop::sample::select(b"\r\n\n: adteiv\0\xEF\xBB\xBF".to_vec()), 0..80), at in 0_usize..80) {
        let whole = read(&bytes);
        let at = at.min(bytes.len());
        let mut parser = SseParser::new();
        let mut parts = parser.push(&bytes[..at]).unwrap();
        parts.extend(parser.push(&bytes[at..]).unwrap());
        prop_assert_eq!(parts, whole);
    }
}
