//! Problem documents (RFC 9457): every error that Relais answers with, and why tasks fail.
//!
//! Which problems there are is in [`crate::codes`].

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::time::Span;

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error as a document.
///
/// Read leniently, as RFC 9457 3.1 demands of its readers: a member of a wrong type counts as
/// absent, and absent ones get the defaults given at each.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// URI of the kind of problem; it leads to a page for people. `about:blank` unless given.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference")]
    pub type_uri: String,
    /// The kind of problem in a few words, the same each time. Empty unless given.
    pub title: String,
    /// The HTTP status. 500 unless given.
    #[schema(minimum = 100, maximum = 599)]
    pub status: u16,
    /// What happened this time, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// URI of this occurrence, without its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uri-reference")]
    pub instance: Option<String>,
    /// The stable name of the kind of problem, for programs. Empty, and not written, when a
    /// document of somebody else's has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Whether the same request, or a retry of the task, may succeed later. `false` unless given.
    pub retryable: bool,
    /// The mistakes in the request, each with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
    /// More members, such as `limit`, `task` or `retry_after`.
    #[serde(flatten)]
    #[schema(ignore)]
    pub extra: Map<String, Value>,
}

/// One mistake in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// What is wrong.
    pub detail: String,
    /// Where, as a JSON pointer (RFC 6901) into the request's body.
    pub pointer: String,
}

impl Problem {
    /// Says what happened this time.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a mistake at `pointer` in the request's body.
    #[must_use]
    pub fn with_error(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError { detail: detail.into(), pointer: pointer.into() });
        self
    }

    /// Adds the limit that was passed, in its own unit.
    #[must_use]
    pub fn with_limit(self, limit: u64) -> Self {
        self.with("limit", limit)
    }

    /// Adds how long to wait before trying again; the header `Retry-After` says it in seconds.
    #[must_use]
    pub fn with_retry_after(self, span: Span) -> Self {
        self.with("retry_after", span.to_string())
    }

    /// Adds the id of the task that it is about.
    #[must_use]
    pub fn with_task(self, id: impl Into<String>) -> Self {
        self.with("task", id.into())
    }

    /// Adds one more member; a second value for the same name replaces the first.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The document from its members, leniently.
    #[must_use]
    pub fn from_members(mut members: Map<String, Value>) -> Self {
        let mut text = |name| match members.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let type_uri = text("type").unwrap_or_else(|| "about:blank".to_owned());
        let title = text("title").unwrap_or_default();
        let detail = text("detail");
        let instance = text("instance");
        let code = text("code").unwrap_or_default();
        let status = members
            .remove("status")
            .and_then(|status| status.as_u64())
            .and_then(|status| u16::try_from(status).ok())
            .filter(|status| (100..600).contains(status))
            .unwrap_or(500);
        let retryable = members.remove("retryable") == Some(Value::Bool(true));
        let errors = match members.remove("errors") {
            Some(Value::Array(errors)) => {
                errors.into_iter().filter_map(|e| serde_json::from_value(e).ok()).collect()
            }
            _ => Vec::new(),
        };
        Self { type_uri, title, status, detail, instance, code, retryable, errors, extra: members }
    }
}

impl<'de> Deserialize<'de> for Problem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::from_members)
    }
}
