//! HTTP/2 has the bounds of HTTP/1.1. Time is the runtime's: it jumps to the next
//! timer when nothing moves.

use relais_server::config::Mode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::house::House;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[len[1], len[2], len[3], kind, flags, 0, 0, 0, stream][..], payload].concat()
}

/// The fields of a request: its method as HPACK's table has it, then literals.
fn fields(method: u8, path: &str) -> Vec<u8> {
    let len = u8::try_from(path.len()).unwrap();
    let kind = b"\x0f\x10\x10application/json";
    [&[method, 0x86, 4, len][..], path.as_bytes(), b"\x01\x09localhost", kind].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// How long a connection that begins so, and then only answers PINGs, waits for its first
/// answer, and for its end.
async fn patience(house: &House, settings: &[u8], then: &[u8]) -> (Option<u64>, u64) {
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let began = Instant::now();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings), then].concat()).await.unwrap();
    let (mut answered, mut bytes) = (None, Vec::new());
    while stream.read_buf(&mut bytes).await.is_ok_and(|len| len > 0) {
        while let Some(header) = bytes.first_chunk::<9>().copied() {
            let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let Some(payload) = bytes.get(9..9 + len).map(<[u8]>::to_vec) else { break };
            bytes.drain(..9 + len);
            match (header[3], header[4] & 1) {
                (HEADERS, _) if answered.is_none() => answered = Some(began.elapsed().as_secs()),
                (kind @ (SETTINGS | PING), 0) => {
                    let payload = if kind == PING { &payload[..] } else { &[] };
                    // The other side may have closed meanwhile.
                    let _ = stream.write_all(&frame(kind, 1, 0, payload)).await;
                }
                _ => {}
            }
        }
    }
    (answered, began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_that_wants_nothing_ends() {
    // Each of these stayed for ever, and took the place of another client.
    let house = House::with(Mode::Sync).await;
    let (answered, ended) = patience(&house, b"", b"").await;
    assert!(answered.is_none() && (75..90).contains(&ended), "asks nothing: {ended} s");
    let health = frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(GET, "/healthz"));
    let (answered, ended) = patience(&house, b"", &health).await;
    assert!(answered == Some(0) && (75..90).contains(&ended), "asks no more: {ended} s");
    let mut cut = frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(GET, &"/".repeat(200)));
    cut.truncate(20);
    let (answered, ended) = patience(&house, b"", &cut).await;
    assert!(answered.is_none() && (10..15).contains(&ended), "half a head: {ended} s");
}

#[tokio::test(start_paused = true)]
async fn an_http2_body_that_never_comes_is_not_waited_for() {
    let house = House::with(Mode::Auto).await;
    for path in ["/v1/tasks", "/v1/leases/heartbeat", "/task"] {
        let post = frame(HEADERS, END_HEADERS, 1, &fields(POST, path));
        let (answered, _) = patience(&house, b"", &post).await;
        // The front door is less patient than the rest.
        assert!(answered.is_some_and(|after| (30..75).contains(&after)), "{path}: {answered:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_reads_no_answer_is_not_waited_for() {
    let house = House::with(Mode::Sync).await;
    let get = frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields(GET, "/v1/openapi.json"));
    // The initial window of its streams: nothing.
    let (answered, ended) = patience(&house, b"\0\x04\0\0\0\0", &get).await;
    assert!(answered == Some(0) && (60..75).contains(&ended), "{answered:?}, {ended} s");
}
