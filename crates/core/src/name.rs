//! Names that cannot be wrong once they exist: parsed at the door, trusted inside.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::limits;

/// Why a name was refused, fit for "field x: {error}".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Empty, or longer than allowed.
    #[error("must have 1 to {max} bytes")]
    Length {
        /// The longest allowed, in bytes.
        max: usize,
    },
    /// A character outside the allowed set.
    #[error("may only contain a-z, 0-9, '-' and '_'")]
    Characters,
    /// A control character (NUL, line feed…), which no header or log line could carry.
    #[error("must not contain control characters")]
    Control,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(with = "crate::cbor::text")] #[n(0)] Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, out)
            }
        }
    };
}

name!(
    /// The isolation boundary: `[a-z0-9_-]`, 1 to 64 bytes.
    TenantName,
    |text| identifier(text, limits::TENANT_NAME_BYTES_MAX)
);
name!(
    /// Where tasks wait, within a tenant: `[a-z0-9_-]`, 1 to 64 bytes.
    QueueName,
    |text| identifier(text, limits::QUEUE_NAME_BYTES_MAX)
);
name!(
    /// The value that the tasks of one lane share: any text without control
    /// characters, 1 to 128 bytes.
    LaneKey,
    |text| free_text(text, limits::LANE_BYTES_MAX)
);

fn identifier(text: &str, max: usize) -> Result<(), InvalidName> {
    if !(1..=max).contains(&text.len()) {
        return Err(InvalidName::Length { max });
    }
    let clean = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if clean { Ok(()) } else { Err(InvalidName::Characters) }
}

/// Checks a text that users choose freely: 1 to `max` bytes, no control characters.
///
/// # Errors
/// Says which of the two rules the text breaks.
pub fn free_text(text: &str, max: usize) -> Result<(), InvalidName> {
    if !(1..=max).contains(&text.len()) {
        return Err(InvalidName::Length { max });
    }
    if text.chars().any(char::is_control) { Err(InvalidName::Control) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_their_limits() {
        assert!("a".repeat(64).parse::<QueueName>().is_ok());
        assert_eq!("a".repeat(65).parse::<QueueName>(), Err(InvalidName::Length { max: 64 }));
        assert_eq!("".parse::<QueueName>(), Err(InvalidName::Length { max: 64 }));
        assert_eq!("Imports".parse::<QueueName>(), Err(InvalidName::Characters));
        assert!("Client n° 17".parse::<LaneKey>().is_ok());
        assert!("x".repeat(128).parse::<LaneKey>().is_ok());
        assert_eq!("x".repeat(129).parse::<LaneKey>(), Err(InvalidName::Length { max: 128 }));
        assert_eq!("a\0b".parse::<LaneKey>(), Err(InvalidName::Control));
    }
}
