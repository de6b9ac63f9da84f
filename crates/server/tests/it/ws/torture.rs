//! RFC 6455, group by group as the Autobahn suite has them, in raw bytes. Relais sends nothing back that it does not
//! understand, so that "is read" shows by `{"op": "ping"}` answered, "is refused" by the close.

use relais_core::limits;
use relais_server::config::Mode;
use serde_json::{Value, json};

use super::client::{Ws, frame, text};
use crate::house::House;

const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const CLOSE: u8 = 0x88;
/// The first and the next frame of a message in several, and its last.
const FIRST: u8 = 0x01;
const NEXT: u8 = 0x00;
const LAST: u8 = 0x80;

/// What Relais does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// They are read: it goes on.
    GoesOn,
    /// It answers so many pings of the protocol, and goes on.
    Pongs(usize),
    /// It closes with this code.
    Closes(u16),
}

/// A text that is read, with so many bytes.
fn asks(len: usize) -> Vec<u8> {
    let empty = r#"{"op":"ping"}"#.len();
    format!(r#"{{"op":"ping"{}}}"#, " ".repeat(len - empty)).into_bytes()
}

async fn open(house: &House) -> Ws {
    let mut ws = Ws::open(house, "").await;
    assert_eq!(ws.json().await["op"], "ready");
    ws
}

/// Sends bytes, whole and in pieces of one and of seven, and asserts what comes of it. `pings` of the texts are
/// answered before the last, by which it is seen that it goes on.
async fn check(house: &House, name: &str, bytes: &[u8], asked: usize, then: Then) {
    let sizes =
        if bytes.len() < 2_000 { vec![bytes.len().max(1), 1, 7] } else { vec![bytes.len(), 997] };
    for size in sizes {
        let mut ws = open(house).await;
        for piece in bytes.chunks(size) {
            // It may have closed by now.
            if tokio::io::AsyncWriteExt::write_all(&mut ws.client.stream, piece).await.is_err() {
                break;
            }
        }
        if let Then::Closes(code) = then {
            assert_eq!(ws.closed().await.0, code, "{name}, in pieces of {size}");
            continue;
        }
        ws.raw(&frame(PING, b"the end")).await;
        let (mut pongs, mut texts) = (0, 0);
        loop {
            let (kind, payload) = ws.frame().await;
            match kind {
                PONG if payload == b"the end" => break,
                PONG => pongs += 1,
                TEXT => texts += usize::from(payload == br#"{"op":"pong"}"#),
                _ => panic!("{name}, in pieces of {size}: {kind:x} {payload:?}"),
            }
        }
        assert_eq!(texts, asked, "{name}, in pieces of {size}");
        let expected = if let Then::Pongs(count) = then { count } else { 0 };
        assert_eq!(pongs, expected, "{name}, in pieces of {size}");
    }
}

#[tokio::test]
async fn group_1_framing_of_texts_of_any_length() {
    let house = House::with(Mode::Async).await;
    for len in [13, 125, 126, 127, 128, 65_535, 65_536, limits::SOCKET_MESSAGE_BYTES_MAX] {
        check(&house, &format!("text of {len}"), &frame(TEXT, &asks(len)), 1, Then::GoesOn).await;
    }
    check(&house, "empty text", &frame(TEXT, b""), 0, Then::Closes(4000)).await;
    for len in [0, 125, 126, 127, 128, 65_535, 65_536] {
        let bytes = frame(0x82, &vec![0xfe; len]);
        check(&house, &format!("binary of {len}"), &bytes, 0, Then::Closes(1003)).await;
    }
    // Lengths that are not in their shortest form, and one with its highest bit.
    let mask = [0; 4];
    for head in [vec![TEXT, 0xfe, 0, 13], vec![TEXT, 0xff, 0, 0, 0, 0, 0, 0, 0, 13]] {
        let bytes = [head, mask.to_vec(), asks(13)].concat();
        check(&house, "longer than need be", &bytes, 0, Then::Closes(1002)).await;
    }
    let bytes = [vec![TEXT, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1], mask.to_vec()].concat();
    check(&house, "a length that is none", &bytes, 0, Then::Closes(1009)).await;
    let unmasked = [vec![TEXT, 13], asks(13)].concat();
    check(&house, "unmasked", &unmasked, 0, Then::Closes(1002)).await;
    check(&house, "an unmasked ping", &[PING, 0], 0, Then::Closes(1002)).await;
}

#[tokio::test]
async fn group_2_pings_are_answered_with_their_payload_in_order() {
    let house = House::with(Mode::Async).await;
    for payload in [vec![], b"Hello".to_vec(), vec![0, 0xff, 0xfe, 0xfd], vec![0xfe; 125]] {
        let mut ws = open(&house).await;
        ws.raw(&frame(PING, &payload)).await;
        assert_eq!(ws.frame().await, (PONG, payload));
    }
    check(&house, "2.5", &frame(PING, &[0xfe; 126]), 0, Then::Closes(1002)).await;
    for payload in [&b""[..], b"unsolicited"] {
        check(&house, "2.7", &frame(PONG, payload), 0, Then::GoesOn).await;
        let both = [frame(PONG, payload), frame(PING, b"x")].concat();
        check(&house, "2.9", &both, 0, Then::Pongs(1)).await;
    }
    let mut ws = open(&house).await;
    let pings: Vec<_> = (0..10).flat_map(|n| frame(PING, format!("{n}").as_bytes())).collect();
    for size in [pings.len(), 1] {
        for piece in pings.chunks(size) {
            ws.raw(piece).await;
        }
        for n in 0..10 {
            assert_eq!(ws.frame().await, (PONG, n.to_string().into_bytes()), "2.10");
        }
    }
}

#[tokio::test]
async fn group_3_reserved_bits_mean_nothing_that_was_agreed_on() {
    let house = House::with(Mode::Async).await;
    for bits in 1..8 {
        for kind in [TEXT, PING, PONG, CLOSE, FIRST] {
            let bytes = frame(kind | bits << 4, &asks(13));
            check(&house, &format!("3: {bits} {kind:x}"), &bytes, 0, Then::Closes(1002)).await;
        }
        // Behind something good, and before it.
        let bytes =
            [frame(TEXT, &asks(13)), frame(TEXT | bits << 4, b""), frame(PING, b"")].concat();
        check(&house, "3: behind", &bytes, 1, Then::Closes(1002)).await;
    }
}

#[tokio::test]
async fn group_4_kinds_of_frames_that_there_are_not() {
    let house = House::with(Mode::Async).await;
    for kind in (3..8).chain(11..16) {
        for payload in [&b""[..], b"reserved"] {
            let bytes = frame(0x80 | kind, payload);
            check(&house, &format!("4: {kind}"), &bytes, 0, Then::Closes(1002)).await;
        }
        let bytes = [frame(TEXT, &asks(13)), frame(0x80 | kind, b""), frame(PING, b"")].concat();
        check(&house, &format!("4: behind, {kind}"), &bytes, 1, Then::Closes(1002)).await;
    }
}

#[tokio::test]
async fn group_5_messages_in_several_frames() {
    let house = House::with(Mode::Async).await;
    let (one, two) = (asks(20)[..9].to_vec(), asks(20)[9..].to_vec());
    let (half, rest) = (frame(FIRST, &one), frame(LAST, &two));
    let ask = frame(TEXT, &asks(13));
    let cases: &[(&str, Vec<Vec<u8>>, usize, Then)] = &[
        ("5.1", vec![frame(0x09, b"a"), frame(LAST, b"b")], 0, Then::Closes(1002)),
        ("5.2", vec![frame(0x0a, b"a"), frame(LAST, b"b")], 0, Then::Closes(1002)),
        ("a close in two", vec![frame(0x08, b"")], 0, Then::Closes(1002)),
        ("5.3", vec![half.clone(), rest.clone()], 1, Then::GoesOn),
        ("5.6", vec![half.clone(), frame(PING, b"p"), rest.clone()], 1, Then::Pongs(1)),
        ("5.7 pong", vec![half.clone(), frame(PONG, b"p"), rest.clone()], 1, Then::GoesOn),
        ("5.9", vec![frame(LAST, &asks(13)), ask.clone()], 0, Then::Closes(1002)),
        ("5.12", vec![frame(NEXT, &asks(13)), ask.clone()], 0, Then::Closes(1002)),
        ("5.15", vec![half.clone(), rest.clone(), frame(NEXT, b"x")], 1, Then::Closes(1002)),
        ("5.16", vec![frame(NEXT, b"x"), frame(FIRST, b"y")], 0, Then::Closes(1002)),
        ("5.18", vec![half.clone(), frame(TEXT, &asks(13))], 0, Then::Closes(1002)),
        ("5.18 binary", vec![half.clone(), frame(0x82, b"")], 0, Then::Closes(1002)),
        ("another first", vec![half.clone(), half.clone()], 0, Then::Closes(1002)),
        ("empty ones between", vec![half.clone(), frame(NEXT, b""), rest.clone()], 1, Then::GoesOn),
        ("an empty first", vec![frame(FIRST, b""), frame(LAST, &asks(13))], 1, Then::GoesOn),
        ("an empty last", vec![frame(FIRST, &asks(13)), frame(LAST, b"")], 1, Then::GoesOn),
    ];
    for (name, frames, asked, then) in cases {
        check(&house, name, &frames.concat(), *asked, *then).await;
    }
    // 5.19: pings between, which are answered before the message is whole.
    let mut ws = open(&house).await;
    for _ in 0..2 {
        ws.raw(&[half.clone(), frame(PING, b"pongme 1")].concat()).await;
        assert_eq!(ws.frame().await, (PONG, b"pongme 1".to_vec()));
        ws.raw(&[frame(NEXT, b""), frame(PING, b"pongme 2"), rest.clone()].concat()).await;
        assert_eq!(ws.frame().await, (PONG, b"pongme 2".to_vec()));
        assert_eq!(ws.json().await["op"], "pong");
    }
    // Each byte a frame.
    let asks = asks(13);
    let mut frames = vec![frame(FIRST, &asks[..1])];
    frames.extend(asks[1..12].iter().map(|byte| frame(NEXT, &[*byte])));
    frames.push(frame(LAST, &asks[12..]));
    check(&house, "each byte", &frames.concat(), 1, Then::GoesOn).await;
}

/// Texts that are UTF-8, and that are not: after the examples of Markus Kuhn, as in group 6.
const GOOD: [&[u8]; 16] = [
    b"",
    "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
    "κόσμε".as_bytes(),
    b"\x00",
    b"\xc2\x80",
    b"\xe0\xa0\x80",
    b"\xf0\x90\x80\x80",
    b"\x7f",
    b"\xdf\xbf",
    b"\xef\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xf0\x9f\xbf\xbe",
];
const BAD: [&[u8]; 36] = [
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\x80\xbf\x80",
    b"\xc0 \xc1 ",
    b"\xe0 \xe1 ",
    b"\xf0 \xf1 ",
    b"\xf8 ",
    b"\xfc ",
    b"\xc0",
    b"\xe0\x80",
    b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf7\xbf\xbf",
    b"\xfb\xbf\xbf\xbf",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xaf\xbf",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
    b"\xce\xba\xe1\xbd",
    b"\xf5\x80\x80\x80",
];

#[tokio::test]
async fn group_6_texts_are_utf8_and_are_refused_as_soon_as_they_are_not() {
    let house = House::with(Mode::Async).await;
    for good in GOOD {
        // No frame of ours has them: that it is refused as such shows that it was taken for text.
        check(&house, &format!("6: {good:x?}"), &frame(TEXT, good), 0, Then::Closes(4000)).await;
        let mut frames: Vec<_> = good.iter().map(|byte| frame(NEXT, &[*byte])).collect();
        frames.insert(0, frame(FIRST, b""));
        frames.push(frame(LAST, b""));
        check(&house, &format!("6, in frames: {good:x?}"), &frames.concat(), 0, Then::Closes(4000))
            .await;
    }
    for bad in BAD {
        check(&house, &format!("6: {bad:x?}"), &frame(TEXT, bad), 0, Then::Closes(1007)).await;
        let halves = bad.split_at(bad.len() / 2);
        let bytes = [frame(FIRST, halves.0), frame(LAST, halves.1)].concat();
        check(&house, &format!("6, in two: {bad:x?}"), &bytes, 0, Then::Closes(1007)).await;
    }
    // 6.4: before the message, and before the frame, is whole.
    let (head, tail) = ("κόσμε".as_bytes(), [0xf4, 0x90, 0x80, 0x80]);
    let bytes = [frame(FIRST, head), frame(NEXT, &tail)].concat();
    check(&house, "6.4.1", &bytes, 0, Then::Closes(1007)).await;
    let whole = frame(TEXT, &[head, &tail, &[b'x'; 100]].concat());
    check(&house, "6.4.3", &whole[..6 + head.len() + 2], 0, Then::Closes(1007)).await;
}

#[tokio::test]
async fn group_7_a_close_is_answered_with_its_code_and_then_nothing_is_heard() {
    let house = House::with(Mode::Async).await;
    let close =
        |code: u16, reason: &[u8]| frame(CLOSE, &[&code.to_be_bytes()[..], reason].concat());
    for code in (1000..=1003).chain(1007..=1013).chain([3000, 3999, 4000, 4999]) {
        check(&house, "7.7", &close(code, b""), 0, Then::Closes(code)).await;
        check(&house, "7.7, a reason", &close(code, "à".as_bytes()), 0, Then::Closes(code)).await;
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check(&house, "7.9", &close(code, b""), 0, Then::Closes(1002)).await;
        check(&house, "7.9, a reason", &close(code, b"why"), 0, Then::Closes(1002)).await;
    }
    check(&house, "7.3.1", &frame(CLOSE, b""), 0, Then::Closes(1000)).await;
    check(&house, "7.3.2", &frame(CLOSE, b"a"), 0, Then::Closes(1002)).await;
    check(&house, "7.3.5", &close(1000, &[b'*'; 123]), 0, Then::Closes(1000)).await;
    check(&house, "7.3.6", &close(1000, &[b'*'; 124]), 0, Then::Closes(1002)).await;
    check(&house, "7.5.1", &close(1000, b"\xce\xba\xe1\xbd"), 0, Then::Closes(1007)).await;
    let ask = frame(TEXT, &asks(13));
    for (name, frames) in [
        ("7.1.2 two", vec![close(1000, b""), close(1000, b"")]),
        ("7.1.3 a ping behind", vec![close(1000, b""), frame(PING, b"")]),
        ("7.1.4 a text behind", vec![close(1000, b""), ask.clone()]),
        ("7.1.5 in a message", vec![frame(FIRST, b"{"), close(1000, b""), frame(LAST, b"}")]),
        ("7.1.6 a large one behind", vec![close(1000, b""), frame(TEXT, &[b'*'; 70_000])]),
    ] {
        check(&house, name, &frames.concat(), 0, Then::Closes(1000)).await;
    }
}

#[tokio::test]
async fn groups_9_and_10_large_messages_in_pieces_and_many_small_ones() {
    let house = House::with(Mode::Async).await;
    let max = limits::SOCKET_MESSAGE_BYTES_MAX;
    for size in [64, 256, 1_024, 4_096, 16_384, 65_536] {
        let text = asks(max);
        let mut pieces: Vec<_> = text.chunks(size).map(|piece| frame(NEXT, piece)).collect();
        pieces[0][0] = FIRST;
        pieces.last_mut().unwrap()[0] = LAST;
        check(&house, &format!("9.3: {size}"), &pieces.concat(), 1, Then::GoesOn).await;
    }
    for len in [max + 1, 256 << 10, 1 << 20, 4 << 20, 16 << 20] {
        let head = frame(TEXT, &vec![b'*'; len]);
        check(&house, &format!("9.1: {len}"), &head[..1_000], 0, Then::Closes(1009)).await;
    }
    let mut over = vec![frame(FIRST, &vec![b' '; max])];
    over.push(frame(LAST, b"x"));
    check(&house, "9.3: one too many", &over.concat(), 0, Then::Closes(1009)).await;
    let many: Vec<_> = (0..1_000).flat_map(|_| frame(TEXT, &asks(64))).collect();
    check(&house, "9.7", &many, 1_000, Then::GoesOn).await;
    let mut ws = open(&house).await;
    for _ in 0..200 {
        ws.raw(&text(&json!({"op": "ping"}))).await;
        assert_eq!(ws.json().await, json!({"op": "pong"}));
    }
}

#[tokio::test]
async fn groups_12_and_13_no_compression_is_granted_whatever_is_offered() {
    let house = House::with(Mode::Async).await;
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=15",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=7",
        "x-webkit-deflate-frame, permessage-deflate; a=b",
        "nonsense",
    ] {
        let mut ws = Ws::open(&house, &format!("sec-websocket-extensions: {offer}\r\n")).await;
        assert_eq!(ws.json().await["op"], "ready");
        ws.say(json!({"op": "ping"})).await;
        assert_eq!(ws.json().await, json!({"op": "pong"}), "{offer}");
        ws.raw(&frame(TEXT | 0x40, b"\xaa\x56\x4a\x2f\x00\x00")).await;
        assert_eq!(ws.closed().await.0, 1002, "{offer}");
    }
}

#[tokio::test]
async fn what_follows_the_handshake_at_once_is_heard() {
    let house = House::with(Mode::Async).await;
    let ask: Value = json!({"op": "ping"});
    let mut bytes = super::client::handshake("").into_bytes();
    bytes.extend(text(&ask));
    let mut client = house.connect().await;
    client.send(&bytes).await;
    assert_eq!(client.head().await.status, 101);
    let mut ws = Ws { client };
    assert_eq!(ws.json().await["op"], "ready");
    assert_eq!(ws.json().await["op"], "pong");
}
