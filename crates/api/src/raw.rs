//! JSON values that are carried and not read: their source bytes are kept.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType};
use utoipa::openapi::{RefOr, extensions::Extensions};

/// A JSON value as its source bytes, without the white space around it.
///
/// Number spelling, member order, repeated members and inner white space survive a round trip. Do
/// not put it into a flattened or untagged type: serde would parse it and lose the bytes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// Takes text that must be one JSON value.
    ///
    /// # Errors
    /// When the text is not exactly one JSON value.
    pub fn parse(text: impl Into<String>) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text.into()).map(Self)
    }

    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// When the value has no JSON form, such as a map whose keys are not text.
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// The source text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The source bytes, always UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.get().as_bytes()
    }

    /// The source text, without a copy.
    #[must_use]
    pub fn into_string(self) -> String {
        String::from(Box::<str>::from(self.0))
    }

    /// Reads the value as a `T`.
    ///
    /// # Errors
    /// When the value is not a `T`.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }
}

/// The empty object `{}`.
impl Default for RawJson {
    fn default() -> Self {
        Self(RawValue::from_string("{}".to_owned()).expect("{} is a JSON value"))
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

/// Two values are equal when their source bytes are.
impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for RawJson {}

impl utoipa::PartialSchema for RawJson {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Any JSON value; its source bytes are kept."))
            .extensions(None::<Extensions>)
            .into()
    }
}

impl utoipa::ToSchema for RawJson {
    fn name() -> std::borrow::Cow<'static, str> {
        "RawJson".into()
    }
}
