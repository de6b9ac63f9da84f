//! The WebSocket: what a client says, and what Relais says. One JSON document a frame.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::bulk::RetryFrom;
use crate::decode::{DecodeError, decode};
use crate::event::{After, Notice};
use crate::object::object;
use crate::problem::Problem;
use crate::raw::RawJson;
use crate::task::Eta;
use crate::time::Span;

/// The subprotocol, which every handshake offers.
pub const SUBPROTOCOL: &str = "relais.v1.json";
/// What another subprotocol begins with that carries a key or a ticket.
pub const BEARER: &str = "relais.bearer.";

/// Why Relais closes a connection. The hundreds tell a client what to do, whatever comes to be
/// among them: 40 not to come back like this, 41 to back off, 42 to come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Close {
    /// The client ended it, or there is nothing to say.
    Normal = 1000,
    /// A frame broke the rules of the protocol.
    Protocol = 1002,
    /// A frame was binary.
    Binary = 1003,
    /// A text was no UTF-8.
    NotUtf8 = 1007,
    /// A message was too large.
    TooLarge = 1009,
    /// A frame cannot be read.
    Malformed = 4000,
    /// It is not known who asks.
    NotAuthenticated = 4001,
    /// It is known who asks, and nothing is allowed.
    Forbidden = 4003,
    /// The client does not read.
    Slow = 4100,
    /// The client sends too many frames.
    Flood = 4101,
    /// Nothing is heard of the client.
    Silent = 4102,
    /// There is no room.
    Full = 4103,
    /// The server stops.
    Drain = 4200,
    /// The connection has lived for long enough.
    Lifetime = 4201,
}

/// Whose doing the end of a connection is. Only a client can leave the tasks that its watches hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Relais sends it away: it has not left.
    Ours,
    /// It broke a rule that it can keep: it has left.
    Theirs,
    /// Nothing comes of it, or is read by it. It has left, unless it shows that it is there.
    Unknown,
}

impl Close {
    /// Whose doing it is.
    #[must_use]
    pub const fn doing(self) -> Doing {
        match self {
            Self::NotAuthenticated
            | Self::Forbidden
            | Self::Full
            | Self::Drain
            | Self::Lifetime => Doing::Ours,
            Self::Normal
            | Self::Protocol
            | Self::Binary
            | Self::NotUtf8
            | Self::TooLarge
            | Self::Malformed
            | Self::Flood => Doing::Theirs,
            Self::Slow | Self::Silent => Doing::Unknown,
        }
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To be known by this key or ticket.
    Auth {
        /// The key or ticket.
        token: String,
    },
    /// To hand in a task.
    Submit {
        /// The client's name for the call.
        id: String,
        /// The idempotency key.
        key: Option<String>,
        /// The body of `POST /v1/tasks`.
        task: RawJson,
    },
    /// To follow what happens.
    Watch {
        /// The client's name for the watch.
        watch: String,
        /// To what.
        of: Watched,
        /// From where; of one task always a number.
        after: After,
    },
    /// To follow something no longer.
    Unwatch {
        /// The name that it was given.
        watch: String,
    },
    /// To call a task off.
    Cancel {
        /// The client's name for the call.
        id: String,
        /// The task, and by what right.
        task: TaskRef,
    },
    /// To run a task again.
    Retry {
        /// The client's name for the call.
        id: String,
        /// The task, and by what right.
        task: TaskRef,
        /// From where.
        from: Option<RetryFrom>,
    },
    /// A sign of life.
    Ping,
}

/// What is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// One task.
    Task(TaskRef),
    /// All tasks with this label, `name=value`.
    Label(String),
}

/// A task that a call is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRef {
    /// Its id.
    pub id: String,
    /// The ticket that the call brings.
    pub ticket: Option<String>,
}

/// Every member that a frame of a client may have. Which of them it has, its `op` says.
#[derive(Default, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct Members {
    op: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<RetryFrom>,
}

object!(Members);

/// Longest name that a client gives a call or a watch, bytes.
pub const NAME_BYTES_MAX: usize = 64;

impl Ask {
    /// Reads a frame.
    ///
    /// # Errors
    /// When it is no JSON, or has a member too many or too few; names it.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut given: Members = decode(bytes)?;
        let ask = match given.op.as_str() {
            "auth" => Self::Auth { token: take("/token", &mut given.token)? },
            "submit" => Self::Submit {
                id: name("/id", &mut given.id)?,
                key: given.key.take(),
                task: take("/task", &mut given.task)?,
            },
            "watch" => {
                let watch = name("/watch", &mut given.watch)?;
                let of = match given.label.take() {
                    Some(label) => Watched::Label(label),
                    None => Watched::Task(given.task()?),
                };
                let after = after(&mut given.after, &of)?;
                Self::Watch { watch, of, after }
            }
            "unwatch" => Self::Unwatch { watch: name("/watch", &mut given.watch)? },
            "cancel" => Self::Cancel { id: name("/id", &mut given.id)?, task: given.task()? },
            "retry" => Self::Retry {
                id: name("/id", &mut given.id)?,
                task: given.task()?,
                from: given.from.take(),
            },
            "ping" => Self::Ping,
            _ => return Err(DecodeError::invalid("/op", "is none of the frames that there are")),
        };
        given.nothing_more()?;
        Ok(ask)
    }
}

impl Members {
    fn task(&mut self) -> Result<TaskRef, DecodeError> {
        let task = take("/task", &mut self.task)?;
        let id = task.read().map_err(|_| DecodeError::invalid("/task", "must be the id of one"))?;
        Ok(TaskRef { id, ticket: self.ticket.take() })
    }

    /// What is left belongs to other frames.
    fn nothing_more(&self) -> Result<(), DecodeError> {
        let left = [
            ("/id", self.id.is_some()),
            ("/watch", self.watch.is_some()),
            ("/token", self.token.is_some()),
            ("/key", self.key.is_some()),
            ("/task", self.task.is_some()),
            ("/label", self.label.is_some()),
            ("/ticket", self.ticket.is_some()),
            ("/after", self.after.is_some()),
            ("/from", self.from.is_some()),
        ];
        match left.into_iter().find(|(_, is_left)| *is_left) {
            Some((pointer, _)) => Err(DecodeError::invalid(pointer, "is not of this frame")),
            None => Ok(()),
        }
    }
}

fn take<T>(pointer: &str, member: &mut Option<T>) -> Result<T, DecodeError> {
    member.take().ok_or_else(|| DecodeError::invalid(pointer, "is missing"))
}

fn name(pointer: &str, member: &mut Option<String>) -> Result<String, DecodeError> {
    let name = take(pointer, member)?;
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(name);
    }
    Err(DecodeError::invalid(pointer, format!("must have 1 to {NAME_BYTES_MAX} bytes")))
}

/// A number, or of many tasks the word `now`: the log of one is short, and is told whole.
fn after(member: &mut Option<RawJson>, of: &Watched) -> Result<After, DecodeError> {
    let Some(given) = member.take() else { return Ok(After::Number(0)) };
    let read = match given.read::<String>() {
        Ok(word) => word.parse().ok().filter(|after| *after == After::Now),
        Err(_) => given.as_str().parse().ok(),
    };
    match (read, of) {
        (Some(After::Now), Watched::Task(_)) | (None, _) => {
            Err(DecodeError::invalid("/after", "is no number of an event"))
        }
        (Some(after), _) => Ok(after),
    }
}

/// What Relais says, but for events.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Said<'a> {
    /// Who asks is known.
    Ready {
        /// How long the connection lasts at most.
        lifetime: Span,
    },
    /// The answer to a ping.
    Pong,
    /// A watch begins.
    Open {
        /// Its name.
        watch: &'a str,
        /// The task's version at this moment; 0 of many tasks.
        version: u64,
        /// Whether the numbers that follow leave some out.
        gap: bool,
        /// Of many tasks: the place behind which it begins.
        #[serde(skip_serializing_if = "Option::is_none")]
        pos: Option<u64>,
    },
    /// The number to go on behind is unknown: it begins anew.
    Reset {
        /// The watch.
        watch: &'a str,
        /// Why, in a word.
        reason: &'a str,
        /// The number behind which it goes on.
        from: u64,
    },
    /// Where the task stands in its queue.
    Estimate {
        /// The watch.
        watch: &'a str,
        /// Place in the queue, 1 being next.
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<u64>,
        /// When it will probably be done.
        #[serde(skip_serializing_if = "Option::is_none")]
        eta: Option<Eta>,
    },
    /// A task was erased.
    Erased {
        /// The watch.
        watch: &'a str,
        /// The id it had.
        task: &'a str,
    },
    /// Nothing more comes of a watch.
    End {
        /// Its name.
        watch: &'a str,
        /// Why.
        reason: EndReason,
        /// When to watch again.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<Span>,
        /// What is wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<Problem>,
    },
    /// The answer to a call.
    Reply {
        /// The name that the client gave the call.
        id: &'a str,
        /// What HTTP would have answered with.
        status: u16,
        /// Whether an earlier call with the same key made the task.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        replayed: bool,
        /// The task.
        #[serde(skip_serializing_if = "Option::is_none")]
        task: Option<RawJson>,
        /// Why it was refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<Problem>,
    },
}

/// Why nothing more comes of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// The log was read to its terminal event.
    Over,
    /// The task was erased.
    Gone,
    /// The right to it has ended.
    Right,
    /// Not now.
    Busy,
    /// It was not begun.
    Refused,
    /// The client wants no more of it.
    Unwatched,
}

impl Said<'_> {
    /// The document.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a vector takes every byte, keys are text")
    }
}

impl Notice {
    /// What a watch says of it.
    #[must_use]
    pub fn of_watch<'a>(&'a self, watch: &'a str) -> Said<'a> {
        match self {
            Self::Open { version, gap, pos } => {
                Said::Open { watch, version: *version, gap: *gap, pos: *pos }
            }
            Self::Busy { retry_after } => Said::End {
                watch,
                reason: EndReason::Busy,
                retry_after: Some(*retry_after),
                problem: None,
            },
            Self::Reset { reason, from } => Said::Reset { watch, reason, from: *from },
            Self::Estimate { position, eta } => {
                Said::Estimate { watch, position: *position, eta: *eta }
            }
            Self::Erased { task } => Said::Erased { watch, task },
        }
    }
}

/// An event of a watch, in front of the event's own document and behind it.
#[must_use]
pub fn around_event(watch: &str, pos: u64) -> (String, &'static str) {
    let watch = serde_json::to_string(watch).expect("a text has a JSON form");
    (format!("{{\"watch\":{watch},\"pos\":{pos},\"event\":"), "}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(json: &str) -> Option<String> {
        Ask::read(json.as_bytes()).unwrap_err().field
    }

    #[test]
    fn each_frame_of_a_client_is_read() {
        let task = |ticket: Option<&str>| TaskRef {
            id: "task_1".to_owned(),
            ticket: ticket.map(str::to_owned),
        };
        let (id, watch) = (String::from("1"), String::from("w"));
        let of_label = |after| Ask::Watch {
            watch: watch.clone(),
            of: Watched::Label("a=b".to_owned()),
            after,
        };
        for (json, ask) in [
            (r#"{"op": "auth", "token": "rt_x"}"#, Ask::Auth { token: "rt_x".to_owned() }),
            (r#"{"op": "ping"}"#, Ask::Ping),
            (r#"{"op": "unwatch", "watch": "w"}"#, Ask::Unwatch { watch: watch.clone() }),
            (
                r#"{"op": "watch", "watch": "w", "task": "task_1", "after": 7}"#,
                Ask::Watch {
                    watch: watch.clone(),
                    of: Watched::Task(task(None)),
                    after: After::Number(7),
                },
            ),
            (r#"{"op": "watch", "watch": "w", "label": "a=b"}"#, of_label(After::Number(0))),
            (
                r#"{"op": "watch", "watch": "w", "label": "a=b", "after": "now"}"#,
                of_label(After::Now),
            ),
            (
                r#"{"op": "cancel", "id": "1", "task": "task_1", "ticket": "rt_y"}"#,
                Ask::Cancel { id: id.clone(), task: task(Some("rt_y")) },
            ),
            (
                r#"{"op": "retry", "id": "1", "task": "task_1", "from": "start"}"#,
                Ask::Retry { id, task: task(None), from: Some(RetryFrom::Start) },
            ),
        ] {
            assert_eq!(Ask::read(json.as_bytes()), Ok(ask), "{json}");
        }
        let submit = br#"{"op": "submit", "id": "1", "key": "k", "task": {"queue":  "work"}}"#;
        let Ok(Ask::Submit { task, key, .. }) = Ask::read(submit) else { panic!("no submit") };
        assert_eq!((task.as_str(), key.as_deref()), (r#"{"queue":  "work"}"#, Some("k")));
    }

    #[test]
    fn a_frame_that_is_none_names_what_is_wrong_with_it() {
        for (json, expected) in [
            (r#"{"op": "watch", "task": "task_1"}"#, "/watch"),
            (r#"{"op": "watch", "watch": "", "task": "task_1"}"#, "/watch"),
            (r#"{"op": "watch", "watch": "w"}"#, "/task"),
            (r#"{"op": "watch", "watch": "w", "task": 7}"#, "/task"),
            (r#"{"op": "watch", "watch": "w", "task": "t", "label": "a=b"}"#, "/task"),
            (r#"{"op": "watch", "watch": "w", "label": "a=b", "ticket": "x"}"#, "/ticket"),
            (r#"{"op": "watch", "watch": "w", "task": "t", "after": 9007199254740992}"#, "/after"),
            (r#"{"op": "watch", "watch": "w", "task": "t", "after": "now"}"#, "/after"),
            (r#"{"op": "watch", "watch": "w", "label": "a=b", "after": "7"}"#, "/after"),
            (r#"{"op": "watch", "watch": "w", "label": "a=b", "after": 1.5}"#, "/after"),
            (r#"{"op": "ping", "id": "1"}"#, "/id"),
            (r#"{"op": "lease"}"#, "/op"),
            (r#"{"op": "cancel", "id": "1", "task": null}"#, "/task"),
        ] {
            assert_eq!(pointer(json).as_deref(), Some(expected), "{json}");
        }
        for json in ["", "{", "[]", "null", "1", r#"{"watch": "w"}"#, r#"{"op": "ping", "x": 1}"#] {
            assert!(Ask::read(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn what_relais_says_has_op_and_an_event_has_its_document_inside() {
        let said = Said::Reset { watch: "w", reason: "unknown", from: 0 }.to_json();
        assert_eq!(said, br#"{"op":"reset","watch":"w","reason":"unknown","from":0}"#);
        assert_eq!(Said::Pong.to_json(), br#"{"op":"pong"}"#);
        let (before, behind) = around_event("a\"b", 7);
        let json: serde_json::Value =
            serde_json::from_str(&format!("{before}{{\"seq\":1}}{behind}")).unwrap();
        assert_eq!(json, serde_json::json!({"watch": "a\"b", "pos": 7, "event": {"seq": 1}}));
    }
}
