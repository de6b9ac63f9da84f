//! Where the heads and bodies of an HTTP/1.1 connection begin and end, found before the
//! HTTP library sees the bytes.
//!
//! The library resolves ambiguous heads (`Content-Length` with `Transfer-Encoding`) as the standard
//! permits; Relais refuses them, because the hop before it may have resolved them otherwise.
//! Whatever cannot be told for certain is a fault: this errs on the side of closing. Not here: I/O.

use relais_core::limits;

use crate::proxy::fields::is_never_taken;

/// The largest length that a body may announce: beyond it some of the programs on the way count
/// signed, and the HTTP library keeps its last numbers for itself.
const LENGTH_MAX: u64 = i64::MAX as u64;
/// Longest line with the size of a chunk, its extensions included.
const CHUNK_LINE_BYTES_MAX: usize = 1 << 10;

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A head that is not HTTP, or that others could read differently.
    Malformed(&'static str),
    /// A head with more bytes or fields than allowed.
    TooLarge,
    /// A body whose framing is broken.
    Body,
}

/// Follows the framing of one connection.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// What has come of a head that is not complete.
    partial: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// Bytes of a body that are still to come.
    Body(u64),
    /// In the line with a chunk's size: the size so far, digits, bytes of the line.
    ChunkSize {
        size: u64,
        line: usize,
        part: SizePart,
    },
    ChunkData(u64),
    /// After a chunk's data: `\r`, then `\n`.
    ChunkCr,
    ChunkLf,
    /// In the trailers: bytes in all, and in this line; whether `\r` was the last one.
    Trailer {
        total: usize,
        line: usize,
        cr: bool,
    },
    /// What follows is another protocol's, if the request to upgrade is granted; else the
    /// connection is closed after the answer.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SizePart {
    Digits,
    Extension,
    Lf,
}

const CHUNK_START: State = State::ChunkSize { size: 0, line: 0, part: SizePart::Digits };

impl Framing {
    pub(crate) const fn new() -> Self {
        Self { state: State::Head, partial: Vec::new() }
    }

    /// Whether a head has begun and is not complete.
    pub(crate) const fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head) && !self.partial.is_empty()
    }

    /// Whether a body has begun and is not complete.
    pub(crate) const fn is_in_body(&self) -> bool {
        !matches!(self.state, State::Head | State::Foreign)
    }

    /// Whether nothing is looked at any more, because it may be another protocol's.
    pub(crate) const fn is_foreign(&self) -> bool {
        matches!(self.state, State::Foreign)
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// How many of them are still good, and what is wrong with those after.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<(), (usize, Fault)> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match self.state {
                State::Head => self.head(rest).map_err(|fault| (at, fault))?,
                State::Foreign => rest.len(),
                State::Body(left) => {
                    let (taken, left) = skip(left, rest);
                    self.state = if left == 0 { State::Head } else { State::Body(left) };
                    taken
                }
                State::ChunkData(left) => {
                    let (taken, left) = skip(left, rest);
                    self.state = if left == 0 { State::ChunkCr } else { State::ChunkData(left) };
                    taken
                }
                state => {
                    self.state = step(state, rest[0]).ok_or((at, Fault::Body))?;
                    1
                }
            };
        }
        Ok(())
    }

    /// Takes the bytes of a head; answers how many belonged to it.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let before = self.partial.len();
        if before == 0 {
            // The common case: the whole head came at once, and nothing is copied.
            if let Some((len, state)) = parse(bytes)? {
                self.state = state;
                return Ok(len);
            }
        }
        self.go_on(bytes, before)
    }

    /// The same for a head of which a part has come before.
    fn go_on(&mut self, bytes: &[u8], before: usize) -> Result<usize, Fault> {
        let room = limits::HEAD_BYTES_MAX.saturating_sub(before);
        // What is beyond the limit may be the first bytes of the body, if the head ends within it.
        let taken = bytes.len().min(room);
        self.partial.extend_from_slice(&bytes[..taken]);
        // Parsed anew only at the end of a head, so that one sent byte by byte costs no more.
        let has_ended = has_end(&self.partial[before.saturating_sub(3)..]);
        let parsed = if has_ended { parse(&self.partial)? } else { None };
        match parsed {
            Some((len, state)) => {
                self.partial = Vec::new();
                self.state = state;
                Ok(len - before)
            }
            None if taken < bytes.len() => Err(Fault::TooLarge),
            None => Ok(taken),
        }
    }
}

fn skip(left: u64, bytes: &[u8]) -> (usize, u64) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (taken, left - taken as u64)
}

/// Whether a line is followed by an empty one.
fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// One byte of a chunked body outside its data; `None` when it may not be there.
fn step(state: State, byte: u8) -> Option<State> {
    Some(match (state, byte) {
        (State::ChunkCr, b'\r') => State::ChunkLf,
        (State::ChunkLf, b'\n') => CHUNK_START,
        (State::ChunkSize { line: CHUNK_LINE_BYTES_MAX.., .. }, _) => return None,
        (State::ChunkSize { size, part: SizePart::Lf, .. }, b'\n') => match size {
            0 => State::Trailer { total: 0, line: 0, cr: false },
            size => State::ChunkData(size),
        },
        (State::ChunkSize { part: SizePart::Lf, .. }, _) => return None,
        (State::ChunkSize { size, line, part }, b'\r') if line > 0 => {
            debug_assert_ne!(part, SizePart::Lf, "handled above");
            State::ChunkSize { size, line: line + 1, part: SizePart::Lf }
        }
        (State::ChunkSize { size, line, part: SizePart::Digits }, byte) => {
            if let Some(digit) = char::from(byte).to_digit(16) {
                let size = size.checked_mul(16)?.checked_add(u64::from(digit))?;
                State::ChunkSize { size, line: line + 1, part: SizePart::Digits }
            } else if byte == b';' && line > 0 {
                State::ChunkSize { size, line: line + 1, part: SizePart::Extension }
            } else {
                return None;
            }
        }
        (State::ChunkSize { size, line, part: SizePart::Extension }, byte) => {
            if byte == b'\n' {
                return None;
            }
            State::ChunkSize { size, line: line + 1, part: SizePart::Extension }
        }
        (State::Trailer { total, .. }, _) if total >= limits::HEAD_BYTES_MAX => return None,
        (State::Trailer { line: 0, cr: true, .. }, b'\n') => State::Head,
        (State::Trailer { total, cr: true, .. }, b'\n') => {
            State::Trailer { total: total + 1, line: 0, cr: false }
        }
        (State::Trailer { cr: true, .. }, _) | (State::Trailer { .. }, b'\n') => return None,
        (State::Trailer { total, line, .. }, b'\r') => {
            State::Trailer { total: total + 1, line, cr: true }
        }
        (State::Trailer { total, line, .. }, _) => {
            State::Trailer { total: total + 1, line: line + 1, cr: false }
        }
        _ => return None,
    })
}

/// Parses a head as the HTTP library does, and decides what follows it.
/// `None` while it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(usize, State)>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; limits::HEAD_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::TooLarge),
        Err(httparse::Error::Version) => return Err(Fault::Malformed("not HTTP/1.1 or HTTP/1.0")),
        Err(_) => return Err(Fault::Malformed("the head cannot be read")),
    };
    if len > limits::HEAD_BYTES_MAX {
        return Err(Fault::TooLarge);
    }
    if request.path.is_none_or(|target| http::Uri::try_from(target).is_err()) {
        return Err(Fault::Malformed("the target cannot be read"));
    }
    let is_http_11 = request.version == Some(1);
    let is_connect = request.method == Some("CONNECT");
    Ok(Some((len, after(request.headers, is_http_11, is_connect)?)))
}

/// What follows a head with these fields.
fn after(
    fields: &[httparse::Header<'_>],
    is_http_11: bool,
    is_connect: bool,
) -> Result<State, Fault> {
    let mut length: Option<u64> = None;
    let mut is_chunked = false;
    let mut upgrades = is_connect;
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let this =
                decimal(field.value).ok_or(Fault::Malformed("Content-Length is no number"))?;
            if this > LENGTH_MAX {
                return Err(Fault::Malformed("a Content-Length that no body can have"));
            }
            if length.is_some_and(|other| other != this) {
                return Err(Fault::Malformed("two different Content-Length fields"));
            }
            length = Some(this);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked
                || !is_http_11
                || !field.value.trim_ascii().eq_ignore_ascii_case(b"chunked")
            {
                return Err(Fault::Malformed("a Transfer-Encoding other than `chunked`"));
            }
            is_chunked = true;
        } else if field.name.eq_ignore_ascii_case("upgrade") {
            // After an offer that is never taken the connection stays HTTP/1.1, and guarded.
            upgrades |= is_http_11 && !is_never_taken(field.value);
        }
    }
    match (length, is_chunked, upgrades) {
        (Some(_), true, _) => {
            Err(Fault::Malformed("Content-Length together with Transfer-Encoding"))
        }
        (None, true, false) => Ok(CHUNK_START),
        (Some(1..), false, true) | (None, true, true) => {
            Err(Fault::Malformed("a request to upgrade with a body"))
        }
        (_, false, true) => Ok(State::Foreign),
        (None | Some(0), false, false) => Ok(State::Head),
        (Some(len), false, false) => Ok(State::Body(len)),
    }
}

/// A number of digits only: signs, spaces and lists are refused.
fn decimal(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if is_plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    fn scan(text: &str) -> Result<Framing, (usize, Fault)> {
        let mut framing = Framing::new();
        framing.scan(text.as_bytes()).map(|()| framing)
    }

    fn post(fields: &str, body: &str) -> String {
        format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{body}")
    }

    #[test]
    fn messages_are_followed_to_their_end_however_they_are_cut() {
        let texts = [
            GET.to_owned(),
            post("Content-Length: 5", "hello"),
            post("content-length: 5\r\ncontent-length: 5", "hello"),
            post("content-length: 0", ""),
            post("transfer-encoding: Chunked", "5\r\nhello\r\n0\r\n\r\n"),
            post(
                "transfer-encoding: chunked",
                "A;x=\"y\"\r\n0123456789\r\n00\r\nt: v\r\nu: w\r\n\r\n",
            ),
            "POST / HTTP/1.0\nhost: a\ncontent-length: 1\n\nx".to_owned(),
            "GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nhost: a\r\nupgrade: TLS/1.2, TLS/1.3\r\n\r\n".to_owned(),
            post("upgrade: TLS/1.2\r\ncontent-length: 5", "hello"),
        ];
        let all = texts.concat();
        for step in [1, 2, 3, 7, 64, all.len()] {
            let mut framing = Framing::new();
            for piece in all.as_bytes().chunks(step) {
                assert_eq!(framing.scan(piece), Ok(()), "cut every {step}");
            }
            assert!(!framing.is_in_head() && !framing.is_in_body(), "cut every {step}");
        }
    }

    #[test]
    fn what_others_could_read_differently_is_a_fault() {
        for (fields, body) in [
            ("content-length: 5\r\ntransfer-encoding: chunked", ""),
            ("transfer-encoding: chunked\r\ncontent-length: 5", ""),
            ("Transfer-Encoding: chunked\r\nCONTENT-LENGTH: 0", ""),
            ("content-length: 5\r\ncontent-length: 6", ""),
            ("content-length: 5, 5", ""),
            ("content-length: +5", ""),
            ("content-length: 0x5", ""),
            ("content-length: -1", ""),
            ("content-length: ", ""),
            ("content-length: 99999999999999999999", ""),
            ("content-length: 18446744073709551615", ""),
            ("content-length: 9223372036854775808", ""),
            ("transfer-encoding: gzip, chunked", ""),
            ("transfer-encoding: chunked, identity", ""),
            ("transfer-encoding: identity", ""),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", ""),
            ("transfer-encoding : chunked", ""),
            ("x: y\r\n transfer-encoding: chunked", ""),
            ("transfer-encoding:\u{b}chunked", ""),
            ("transfer-encoding: chunked", "5\nhello\r\n"),
            ("transfer-encoding: chunked", "\r\n"),
            ("transfer-encoding: chunked", "g\r\n"),
            ("transfer-encoding: chunked", "-5\r\n"),
            ("transfer-encoding: chunked", "5 \r\nhello\r\n"),
            ("transfer-encoding: chunked", "10000000000000000\r\n"),
            ("transfer-encoding: chunked", "5\r\nhelloX"),
            ("transfer-encoding: chunked", "5\r\nhello\n"),
            ("transfer-encoding: chunked", "5;a\nb\r\n"),
            ("transfer-encoding: chunked", "0\r\nx: y\n\r\n"),
            ("upgrade: websocket\r\ncontent-length: 5", ""),
            ("upgrade: TLS/1.2, websocket\r\ncontent-length: 5", ""),
            ("upgrade: TLS/1.2\r\ncontent-length: 5\r\ntransfer-encoding: chunked", ""),
        ] {
            assert!(scan(&post(fields, body)).is_err(), "{fields:?} {body:?}");
        }
        assert!(scan("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(scan("GET / HTTP/2.0\r\n\r\n").is_err());
        assert!(scan("\0\r\n\r\n").is_err());
    }

    #[test]
    fn good_bytes_before_a_fault_are_counted() {
        let bad = post("content-length: 1\r\ntransfer-encoding: chunked", "");
        let (good, fault) = scan(&format!("{GET}{bad}")).expect_err("the second head is bad");
        assert_eq!(good, GET.len());
        assert!(matches!(fault, Fault::Malformed(_)));
    }

    #[test]
    fn a_head_is_taken_up_to_its_limit() {
        let head = |len: usize| {
            let rest = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(len - rest))
        };
        let max = limits::HEAD_BYTES_MAX;
        for step in [1_000, 1 << 20] {
            let mut framing = Framing::new();
            let fits = head(max);
            assert!(fits.as_bytes().chunks(step).all(|piece| framing.scan(piece).is_ok()));
            let over = head(max + 1);
            let mut ended = over.as_bytes().chunks(step).map(|piece| framing.scan(piece));
            assert!(ended.any(|end| matches!(end, Err((_, Fault::TooLarge)))), "{step}");
        }
        let many =
            format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(limits::HEAD_FIELDS_MAX + 1));
        assert!(matches!(scan(&many), Err((0, Fault::TooLarge))));
    }

    #[test]
    fn what_follows_an_upgrade_is_left_alone() {
        let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n";
        let framing = scan(&format!("{upgrade}\0\u{1}anything")).expect("not ours to judge");
        assert!(!framing.is_in_head() && !framing.is_in_body());
    }

    /// Pieces of which messages, good and bad ones, are put together at random.
    const PIECES: [&str; 23] = [
        "CONNECT a:80 HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\n",
        "POST /x HTTP/1.1\r\n",
        "POST / HTTP/1.0\r\n",
        "host: a\r\n",
        "content-length: 5\r\n",
        "content-length: 0\r\n",
        "transfer-encoding: chunked\r\n",
        "upgrade: websocket\r\n",
        "upgrade: h2c\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "hello",
        "5\r\nhello\r\n",
        "5;a=b\r\nhello\r\n",
        "0\r\n\r\n",
        "0\r\n",
        "trailer: x\r\n",
        "\r",
        "ffffffffffffffff\r\n",
        " ",
        "\0",
    ];

    #[test]
    fn how_bytes_are_cut_makes_no_difference() {
        // A small generator (Knuth's MMIX): the same cases each time.
        let mut state = 7_u64;
        let mut draw = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).expect("31 bits") % below
        };
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..=draw(12) {
                text.push_str(PIECES[draw(PIECES.len())]);
            }
            let mut whole = Framing::new();
            let whole_is_good = whole.scan(text.as_bytes()).is_ok();
            let mut cut = Framing::new();
            let mut rest = text.as_bytes();
            let mut cut_is_good = true;
            while !rest.is_empty() && cut_is_good {
                let (piece, left) = rest.split_at(1 + draw(rest.len()));
                cut_is_good = cut.scan(piece).is_ok();
                rest = left;
            }
            // A head that is not complete may be refused sooner or later.
            if whole_is_good && cut_is_good {
                good += 1;
                assert_eq!(whole.state, cut.state, "{text:?}");
                assert_eq!(whole.is_in_head(), cut.is_in_head(), "{text:?}");
            } else {
                bad += 1;
                assert!(!whole_is_good || whole.is_in_head(), "{text:?}");
                assert!(!cut_is_good || cut.is_in_head(), "{text:?}");
            }
        }
        assert!(good > 1_000 && bad > 1_000, "{good} good, {bad} bad");
    }
}
