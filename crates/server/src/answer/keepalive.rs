//! A sign of life through an event stream whose upstream is silent: a comment, which no client of the
//! stream shows, so that nobody on the way takes the connection for dead. It is not stored, and does not
//! count in offsets.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use relais_engine::ResultHead;
use tokio::time::{Sleep, sleep};

/// What is sent.
pub(crate) const COMMENT: &[u8] = b":relais\n\n";

/// When a comment is due in one answer.
pub(crate) struct Keepalive {
    every: Duration,
    place: Place,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Keepalive {
    /// Of an answer that is told from a byte on; `None` where a comment would break it: if it is no event
    /// stream, is coded, or has a length.
    pub(crate) fn of(head: &ResultHead, from: u64, every: Duration) -> Option<Self> {
        let is_absent = |unwanted: &http::HeaderName| {
            !head.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(unwanted.as_str()))
        };
        let mut types = head.fields.iter().filter(|(name, _)| *name == CONTENT_TYPE.as_str());
        let essence = types.next().and_then(|(_, value)| value.split(|byte| *byte == b';').next());
        let is_events = essence
            .is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"));
        let fits = is_events && is_absent(&CONTENT_ENCODING) && is_absent(&CONTENT_LENGTH);
        fits.then(|| Self { every, place: Place::behind(from), silence: None })
    }

    /// These bytes were given.
    pub(crate) fn given(&mut self, bytes: &[u8]) {
        self.place.pass(bytes);
        self.silence = None;
    }

    /// Resolves once a comment is due: nothing was given for so long, and an event has ended. May be
    /// dropped at any time.
    pub(crate) async fn due(&mut self) {
        if !self.place.is_between {
            return std::future::pending().await;
        }
        let every = self.every;
        self.silence.get_or_insert_with(|| Box::pin(sleep(every))).as_mut().await;
    }

    /// The comment, which is given now.
    pub(crate) fn comment(&mut self) -> Bytes {
        self.silence = None;
        Bytes::from_static(COMMENT)
    }
}

/// Where an event stream is, as far as lines go: they end with LF, CR, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Whether the line that began has nothing yet.
    is_line_empty: bool,
    /// Whether the byte before was CR, so that LF ends no other line.
    is_behind_cr: bool,
    /// Whether the line before was blank, and none has begun: behind an event, and before the next.
    is_between: bool,
}

impl Place {
    /// Behind so many bytes. Of what they were nothing is known, so that a line is taken to have begun:
    /// then two ends of lines have to come, of which the second ends a blank one in any case.
    const fn behind(count: u64) -> Self {
        Self { is_line_empty: count == 0, is_behind_cr: false, is_between: false }
    }

    fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' if self.is_behind_cr => self.is_behind_cr = false,
                b'\n' | b'\r' => {
                    let (is_between, is_behind_cr) = (self.is_line_empty, *byte == b'\r');
                    *self = Self { is_line_empty: true, is_behind_cr, is_between };
                }
                _ => *self = Self::behind(1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams with every end of line, blank lines, comments, and a byte order mark.
    const STREAMS: [&str; 7] = [
        "data: a\n\ndata: b\ndata: c\n\n\nid: 7\n\n",
        "data: a\r\n\r\ndata: b\r\n\r\n:\r\n\r\n",
        "data: a\r\rdata: b\r\r\rdata",
        "\n\r\n\rdata: a\n\r\ndata: b\r\n\ndata: c\r\r\n\n",
        "\u{feff}\ndata: a\n\n:comment\n\nretry: 5\n\n",
        "\r\n\r\n\n\r",
        "data\n\n",
    ];

    /// Whether a stream that came so far is between two events, said in another way.
    fn is_between(so_far: &str) -> bool {
        let lines = so_far.replace("\r\n", "\n").replace('\r', "\n");
        lines == "\n" || lines.ends_with("\n\n")
    }

    /// What a client makes of a stream: the fields of each block, without comments and empty blocks.
    fn events(stream: &str) -> Vec<Vec<String>> {
        let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
        let (mut events, mut event) = (Vec::new(), Vec::new());
        for line in lines.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some("") if event.is_empty() => {}
                Some("") => events.push(std::mem::take(&mut event)),
                Some(line) if line.starts_with(':') => {}
                Some(line) => event.push(line.to_owned()),
                // What is cut off is no event.
                None => {}
            }
        }
        events
    }

    fn cuts(stream: &str) -> impl Iterator<Item = usize> {
        (0..=stream.len()).filter(|at| stream.is_char_boundary(*at))
    }

    #[test]
    fn a_stream_is_between_events_behind_a_blank_line_and_nowhere_else() {
        for stream in STREAMS {
            for at in cuts(stream) {
                let mut whole = Place::behind(0);
                whole.pass(&stream.as_bytes()[..at]);
                assert_eq!(whole.is_between, is_between(&stream[..at]), "{:?}", &stream[..at]);
                let mut one_by_one = Place::behind(0);
                stream.as_bytes()[..at].iter().for_each(|byte| one_by_one.pass(&[*byte]));
                assert_eq!(one_by_one, whole);
            }
        }
    }

    #[test]
    fn a_comment_between_two_events_changes_none() {
        for stream in STREAMS {
            for at in cuts(stream).filter(|at| is_between(&stream[..*at])) {
                let comment = std::str::from_utf8(COMMENT).unwrap();
                let with = [&stream[..at], comment, &stream[at..]].concat();
                assert_eq!(events(&with), events(stream), "{with:?}");
            }
        }
    }

    #[test]
    fn a_stream_that_is_read_on_in_its_middle_is_never_cut_in_an_event() {
        for stream in STREAMS {
            for from in cuts(stream).filter(|from| *from > 0) {
                for at in cuts(stream).filter(|at| *at >= from) {
                    let mut place = Place::behind(from as u64);
                    place.pass(&stream.as_bytes()[from..at]);
                    assert!(
                        !place.is_between || is_between(&stream[..at]),
                        "{from} {at} {stream:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_an_event_stream_that_is_not_coded_and_has_no_length_takes_comments() {
        let takes = |fields: &[(&str, &'static str)]| {
            let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
            let head = ResultHead { status: 200, fields: fields.collect(), has_body: true };
            Keepalive::of(&head, 0, Duration::from_secs(1)).is_some()
        };
        let events = ("content-type", "text/event-stream");
        assert!(
            takes(&[events]) && takes(&[("content-type", "Text/Event-Stream ; charset=utf-8")])
        );
        assert!(!takes(&[]) && !takes(&[("content-type", "application/x-ndjson")]));
        assert!(!takes(&[("content-type", "text/event-streams")]));
        assert!(!takes(&[events, ("content-encoding", "gzip")]));
        assert!(!takes(&[events, ("content-length", "100")]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_is_due_after_a_silence_between_events() {
        let every = Duration::from_secs(15);
        let fields = vec![("content-type".to_owned(), "text/event-stream".into())];
        let head = ResultHead { status: 200, fields, has_body: true };
        let mut keepalive = Keepalive::of(&head, 0, every).unwrap();
        let mut is_due = async |bytes: &str, within: Duration| {
            keepalive.given(bytes.as_bytes());
            let is_due = tokio::time::timeout(within, keepalive.due()).await.is_ok();
            is_due && keepalive.comment() == COMMENT
        };
        assert!(!is_due("", every * 9).await, "before the first event");
        assert!(!is_due("data: a\n", every * 9).await, "in the middle of one");
        assert!(!is_due("\n", every - Duration::from_millis(1)).await, "not silent for long");
        assert!(is_due("", every).await);
        assert!(is_due("", every).await, "and once more");
        assert!(!is_due("d", every * 9).await);
    }
}
