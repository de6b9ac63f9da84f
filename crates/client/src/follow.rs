//! Following the log of one task: a stream that resumes by itself.
//!
//! Server-Sent Events where they come through, long-polls where something between does not let
//! them. Nothing is buffered beyond one piece of the stream: who does not ask for the next event
//! slows the server down, and loses nothing.

use std::collections::VecDeque;
use std::time::Duration;

use http::HeaderValue;
use http::header::ACCEPT;
use hyper::body::Incoming;
use relais_api::sse::{MEDIA_TYPE, SseFrame, SseParser};
use relais_api::{EventType, Notice};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::{Client, FAILURES_MAX, path_of};
use crate::error::Error;
use crate::limits;
use crate::send::{self, Call};
use crate::view::{Event, EventPage};

/// The events of one task, in order, none twice.
///
/// [`Follow::next`] may be dropped while it waits; nothing is lost.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    id: String,
    /// The latest number given out.
    after: u64,
    ready: VecDeque<Event>,
    link: Link,
    backoff: Backoff,
    /// Not before this moment.
    pause_until: Option<Instant>,
    /// How long the server asked to wait after a stream ends.
    retry: Option<Duration>,
    /// Streams in a row on which not a byte came.
    mute_streams: u32,
    polls: bool,
}

#[derive(Debug)]
enum Link {
    None,
    Stream(Box<Stream>),
    /// The run may be over: ask before reading on.
    Ask(Option<Box<Stream>>),
    Over,
}

#[derive(Debug)]
struct Stream {
    body: Incoming,
    parser: SseParser,
    opened: Instant,
    is_mute: bool,
}

impl Follow {
    pub(crate) fn new(client: &Client, id: &str, after: u64) -> Self {
        Self {
            client: client.with_attempts(1),
            id: id.to_owned(),
            after,
            ready: VecDeque::new(),
            link: Link::None,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
            pause_until: None,
            retry: None,
            mute_streams: 0,
            polls: false,
        }
    }

    /// Asks by long-poll from the start, where a stream is known not to come through.
    #[must_use]
    pub const fn by_polling(mut self) -> Self {
        self.polls = true;
        self
    }

    /// The number of the latest event given out: where another follower would go on.
    #[must_use]
    pub const fn after(&self) -> u64 {
        self.after
    }

    /// The next event; `None` once the task is done and its log is read to the end.
    ///
    /// # Errors
    /// When the server says that there is nothing to follow, or was away for too long.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = event.seq;
                // A known word is a hint to ask; the answer is `terminal`. An unknown one is too.
                let may_be_over = event.kind.parse::<EventType>().map_or(true, EventType::terminal);
                if may_be_over && self.ready.is_empty() && !self.polls {
                    let stream = match std::mem::replace(&mut self.link, Link::None) {
                        Link::Stream(stream) => Some(stream),
                        _ => None,
                    };
                    self.link = Link::Ask(stream);
                }
                return Ok(Some(event));
            }
            if matches!(self.link, Link::Over) {
                return Ok(None);
            }
            if let Err(error) = self.advance().await {
                self.failed(error)?;
            }
        }
    }

    /// Does one thing that may bring events.
    async fn advance(&mut self) -> Result<(), Error> {
        if let Some(moment) = self.pause_until {
            tokio::time::sleep_until(moment).await;
            self.pause_until = None;
        }
        match &self.link {
            Link::Stream(_) => self.read_stream().await,
            Link::Ask(_) => self.ask().await,
            Link::None if self.polls => self.poll().await,
            Link::None | Link::Over => self.connect().await,
        }
    }

    fn failed(&mut self, error: Error) -> Result<(), Error> {
        self.link = Link::None;
        // An event that this client cannot read would come again and again.
        if !error.is_transient() || self.backoff.failures() >= FAILURES_MAX {
            return Err(error);
        }
        let asked = error.retry_after().or(self.retry);
        let delay = self.backoff.failed(asked);
        tracing::debug!(task.id = %self.id, %error, ?delay, "following again");
        self.pause(delay);
        Ok(())
    }

    fn pause(&mut self, delay: Duration) {
        self.pause_until = Some(Instant::now() + delay);
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let mut call = Call::get(path_of(&self.id, "/events"))
            .field(ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
        if self.after > 0 {
            call = call.text_field(LAST_EVENT_ID, &self.after.to_string())?;
        }
        let response = self.client.send(&call).await?;
        let status = response.status();
        if status.as_u16() == NO_CONTENT {
            self.link = Link::Over;
            return Ok(());
        }
        // 406, or a page of JSON: something between, or an older server, does not stream.
        if status.as_u16() == NOT_ACCEPTABLE
            || status.is_success() && !send::has_type(response.headers(), MEDIA_TYPE)
        {
            self.polls = true;
            return Ok(());
        }
        if !status.is_success() {
            return Err(send::refused(response).await);
        }
        self.link = Link::Stream(Box::new(Stream {
            body: response.into_body(),
            parser: SseParser::with_limit(limits::EVENT_BYTES_MAX),
            opened: Instant::now(),
            is_mute: true,
        }));
        Ok(())
    }

    async fn read_stream(&mut self) -> Result<(), Error> {
        let Link::Stream(stream) = &mut self.link else { return Ok(()) };
        let piece = match self.client.piece(&mut stream.body).await {
            Ok(Some(piece)) => piece,
            Ok(None) => return self.stream_ended(None),
            Err(error) => return self.stream_ended(Some(error)),
        };
        stream.is_mute = false;
        self.mute_streams = 0;
        let frames = stream.parser.push(&piece).map_err(|error| {
            Error::Unreadable(error.to_string()) // Would be as long the next time.
        })?;
        for frame in frames {
            self.take_frame(frame)?;
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: SseFrame) -> Result<(), Error> {
        match frame {
            SseFrame::Comment(_) => {}
            SseFrame::Retry(ms) => {
                self.retry = Some(Duration::from_millis(ms).min(limits::RETRY_AFTER_MAX));
            }
            SseFrame::Event { name, data, .. } if name.starts_with("relais.") => {
                match Notice::parse(&name, &data) {
                    Some(Notice::Busy { retry_after }) => {
                        self.retry = Some(retry_after.as_duration().min(limits::RETRY_AFTER_MAX));
                    }
                    Some(Notice::Reset { from, .. }) => self.after = from,
                    // What else is said besides the log is an estimate, or unknown.
                    _ => {}
                }
            }
            SseFrame::Event { data, .. } => {
                let event: Event = send::parse(data.as_bytes())?;
                self.take_event(event);
            }
        }
        Ok(())
    }

    fn take_event(&mut self, event: Event) {
        let latest = self.ready.back().map_or(self.after, |last| last.seq);
        if event.seq > latest {
            self.ready.push_back(event);
            self.backoff.succeeded();
        }
    }

    /// A stream that opens and collapses counts as a failure, or a thousand clients would come back
    /// at once for ever.
    fn stream_ended(&mut self, error: Option<Error>) -> Result<(), Error> {
        let Link::Stream(stream) = std::mem::replace(&mut self.link, Link::None) else {
            return Ok(());
        };
        if stream.is_mute {
            self.mute_streams += 1;
            self.polls = self.mute_streams >= MUTE_STREAMS_MAX;
        }
        if let Some(error) = error {
            return Err(error);
        }
        if stream.opened.elapsed() >= LIVED {
            self.backoff.succeeded();
        }
        let delay = self.backoff.failed(self.retry);
        if self.backoff.failures() >= FAILURES_MAX {
            return Err(Error::Unreadable("the event stream ends as soon as it opens".to_owned()));
        }
        self.pause(delay);
        Ok(())
    }

    /// Whether the log is over, after an event that may be the last.
    async fn ask(&mut self) -> Result<(), Error> {
        let task = self.client.task(&self.id).await?;
        self.backoff.succeeded();
        let is_over = task.terminal && task.version <= self.after;
        self.link = match std::mem::replace(&mut self.link, Link::None) {
            _ if is_over => Link::Over,
            Link::Ask(Some(stream)) => Link::Stream(stream),
            _ => Link::None,
        };
        Ok(())
    }

    async fn poll(&mut self) -> Result<(), Error> {
        let path = path_of(&self.id, &format!("/events?after={}", self.after));
        let call = Call::get(path)
            .field(ACCEPT, HeaderValue::from_static("application/json"))
            .waiting(limits::POLL_WAIT);
        let response = self.client.send(&call).await?;
        if response.status().as_u16() == NO_CONTENT {
            self.link = Link::Over;
            return Ok(());
        }
        let waited = response.headers().contains_key(send::PREFERENCE_APPLIED);
        let asked = send::retry_after(response.headers());
        let page: EventPage = self.client.read(response).await?;
        self.backoff.succeeded();
        if page.events.is_empty() {
            if page.terminal {
                self.link = Link::Over;
            } else if !waited {
                self.pause(asked.unwrap_or(Duration::from_secs(1)));
            }
            // Thinned progress may leave a page empty and yet move on.
            self.after = self.after.max(page.next);
        }
        for event in page.events {
            self.take_event(event);
        }
        Ok(())
    }
}

const LAST_EVENT_ID: http::HeaderName = http::HeaderName::from_static("last-event-id");
const NO_CONTENT: u16 = 204;
const NOT_ACCEPTABLE: u16 = 406;
/// Streams without a byte after which they are taken for swallowed on the way.
const MUTE_STREAMS_MAX: u32 = 2;
/// How long a stream lives that did not collapse.
const LIVED: Duration = Duration::from_secs(5);
