//! Handing work in: `POST /v1/tasks` and `POST /v1/tasks/batch`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::bounded;
use crate::decode::{DecodeError, Item};
use crate::object::object;
use crate::problem::Problem;
use crate::raw::RawJson;
use crate::task::Accepted;
use crate::time::{Span, Time};

/// The body of `POST /v1/tasks`.
///
/// The input is `input` (any JSON value, kept as it was written), or `input_base64` with a
/// `content_type` (any bytes); never both. It starts at `run_at` or after `delay`; never both.
///
/// [`SubmitRequest::check`] tells whether a value keeps to this.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct SubmitRequest {
    /// The queue to wait in: 1 to 64 of a-z, 0-9, `-` and `_`.
    #[schema(example = "imports", min_length = 1, max_length = 64, pattern = "^[a-z0-9_-]{1,64}$")]
    pub queue: String,
    /// The input as JSON; its source bytes are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<RawJson>,
    /// The input as bytes, in base64 (RFC 4648 section 4, padded).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(content_encoding = "base64")]
    pub input_base64: Option<String>,
    /// The media type of `input_base64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "text/csv")]
    pub content_type: Option<String>,
    /// The lane: up to 128 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub lane: Option<String>,
    /// From -10 to 10, higher first; 0 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -10, maximum = 10)]
    pub priority: Option<i32>,
    /// Not before this moment; or `delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Time>,
    /// Not before this long from now; or `run_at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// When it must be done: a moment, or a duration counted from the first `run_at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// Up to 16 names and values of the client's own, each up to 128 bytes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "bounded::members"
    )]
    #[schema(required = false)]
    pub labels: BTreeMap<String, String>,
    /// How long the task is kept once it is terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Span>,
    /// Where the first attempt resumes from, as a worker would have stored it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<RawJson>,
}

impl SubmitRequest {
    /// Checks the members that exclude or need each other.
    ///
    /// # Errors
    /// Names the member that is too many or missing.
    pub fn check(&self) -> Result<(), DecodeError> {
        let refuse = |pointer, detail| Err(DecodeError::invalid(pointer, detail));
        match (&self.input, &self.input_base64) {
            (Some(_), Some(_)) => return refuse("/input_base64", "give input or input_base64"),
            (None, Some(_)) if self.content_type.is_none() => {
                return refuse("/content_type", "input_base64 needs its content_type");
            }
            (_, None) if self.content_type.is_some() => {
                return refuse("/content_type", "only input_base64 has a content_type");
            }
            _ => {}
        }
        Ok(())
    }
}

/// When a task must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// By this moment.
    At(Time),
    /// This long after the first `run_at`.
    After(Span),
}

impl FromStr for Deadline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A time starts with four digits and a hyphen, which no duration does.
        if text.as_bytes().get(4) == Some(&b'-') {
            text.parse().map(Self::At).map_err(|error: crate::time::InvalidTime| error.to_string())
        } else {
            text.parse()
                .map(Self::After)
                .map_err(|error: crate::time::InvalidSpan| format!("{error}, or a time"))
        }
    }
}

impl Serialize for Deadline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::At(time) => time.serialize(serializer),
            Self::After(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Deadline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DeadlineVisitor;
        impl Visitor<'_> for DeadlineVisitor {
            type Value = Deadline;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time, or a duration such as \"30s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Deadline, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(DeadlineVisitor)
    }
}

impl utoipa::PartialSchema for Deadline {
    fn schema() -> RefOr<Schema> {
        utoipa::openapi::schema::AnyOfBuilder::new()
            .item(utoipa::openapi::schema::Ref::from_schema_name("Time"))
            .item(utoipa::openapi::schema::Ref::from_schema_name("Span"))
            .description(Some("A moment, or a duration counted from the first `run_at`."))
            .into()
    }
}

impl ToSchema for Deadline {
    fn name() -> std::borrow::Cow<'static, str> {
        "Deadline".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("Time".to_owned(), <Time as utoipa::PartialSchema>::schema()));
        schemas.push(("Span".to_owned(), <Span as utoipa::PartialSchema>::schema()));
    }
}

/// The body of `POST /v1/tasks/batch`: up to 1,000 tasks, accepted or refused one by one.
///
/// Read it with [`crate::decode_batch`], which also takes one document a line (NDJSON).
pub type BatchRequest = Vec<Item<SubmitRequest>>;

/// The answer to a batch: one entry for each item, in the same order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct BatchResponse {
    /// What became of each item.
    #[schema(max_items = 1000)]
    pub items: Vec<BatchItem>,
}

/// What became of one item of a batch: `task` or `problem`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct BatchItem {
    /// The status that the item alone would have been answered with.
    #[schema(minimum = 200, maximum = 599)]
    pub status: u16,
    /// Whether an earlier request with the same idempotency key made the task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub replayed: bool,
    /// The task, with its ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Accepted>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl BatchItem {
    /// An item that was accepted.
    #[must_use]
    pub const fn accepted(task: Accepted) -> Self {
        Self { status: 202, replayed: false, task: Some(task), problem: None }
    }

    /// An item that was refused.
    #[must_use]
    pub const fn refused(problem: Problem) -> Self {
        Self { status: problem.status, replayed: false, task: None, problem: Some(problem) }
    }
}

object!(SubmitRequest, BatchResponse, BatchItem);
