//! How members are stored for which `minicbor` has no form, or a wordy one.
//!
//! What is stored has numbered members: a reader skips those it does not know, and `None` or
//! `#[cbor(default)]` stands in for those that are missing. So a new member takes the next number,
//! and no number is ever used again. The rest of the rule is with the rows (`relais_store::row`).

use std::borrow::Borrow;

use minicbor::decode::{Decode, Decoder, Error};
use minicbor::encode::{Encode, Encoder, Error as EncodeError, Write};

/// The number of the format that is written: the context of all encoders.
pub type Format = u32;

/// How a member is written that came with a format after the first: in rows of the formats before, nothing
/// stands in its place. So the member is an option, and its type says
/// `context_bound = "std::borrow::Borrow<u32>"`.
///
/// # Errors
/// The writer's.
pub fn since<const FORMAT: Format, C: Borrow<Format>, T: Encode<C>, W: Write>(
    member: &Option<T>,
    to: &mut Encoder<W>,
    written: &mut C,
) -> Result<(), EncodeError<W::Error>> {
    let written_in: &Format = (*written).borrow();
    if *written_in < FORMAT { to.null()?.ok() } else { member.encode(to, written) }
}

/// An optional member that may hold a variant of a later version: that is an error, where a derived
/// reader would take it for an absent member and lose it with the next write.
pub mod optional {
    use super::{Decode, Decoder, Encode, EncodeError, Encoder, Error, Write};

    /// Writes the member, or nothing.
    ///
    /// # Errors
    /// The writer's.
    pub fn encode<C, T: Encode<C>, W: Write>(
        value: &Option<T>,
        to: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        value.encode(to, context)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is not what was written, or of a later version.
    pub fn decode<'b, C, T: Decode<'b, C>>(
        from: &mut Decoder<'b>,
        context: &mut C,
    ) -> Result<Option<T>, Error> {
        Option::decode(from, context).map_err(|error| match error.is_unknown_variant() {
            true => Error::message("a variant of a later version"),
            false => error,
        })
    }

    /// What stands in for a missing one.
    #[must_use]
    pub fn nil<T>() -> Option<Option<T>> {
        Some(None)
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_nil<T>(value: &Option<T>) -> bool {
        value.is_none()
    }
}

/// Opaque bytes that are shared.
pub mod opaque {
    use bytes::Bytes;

    use super::{Decoder, EncodeError, Encoder, Error, Write};

    /// Writes the bytes.
    ///
    /// # Errors
    /// The writer's.
    pub fn encode<C, W: Write>(
        bytes: &Bytes,
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        to.bytes(bytes)?.ok()
    }

    /// Reads them.
    ///
    /// # Errors
    /// When they are something else.
    pub fn decode<C>(from: &mut Decoder<'_>, _: &mut C) -> Result<Bytes, Error> {
        Ok(Bytes::copy_from_slice(from.bytes()?))
    }
}

/// The same, if there are any.
pub mod opaque_if_any {
    use bytes::Bytes;
    use minicbor::data::Type;

    pub use super::optional::{is_nil, nil};
    use super::{Decoder, EncodeError, Encoder, Error, Write, opaque};

    /// Writes the bytes, or nothing.
    ///
    /// # Errors
    /// The writer's.
    pub fn encode<C, W: Write>(
        bytes: &Option<Bytes>,
        to: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match bytes {
            Some(bytes) => opaque::encode(bytes, to, context),
            None => to.null()?.ok(),
        }
    }

    /// Reads them.
    ///
    /// # Errors
    /// When they are something else.
    pub fn decode<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Option<Bytes>, Error> {
        if from.datatype()? == Type::Null {
            from.null()?;
            return Ok(None);
        }
        opaque::decode(from, context).map(Some)
    }
}

/// A text that is shared.
pub mod text {
    use std::sync::Arc;

    use super::{Decoder, EncodeError, Encoder, Error, Write};

    /// Writes the text.
    ///
    /// # Errors
    /// The writer's.
    pub fn encode<C, W: Write>(
        text: &Arc<str>,
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        to.str(text)?.ok()
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode<C>(from: &mut Decoder<'_>, _: &mut C) -> Result<Arc<str>, Error> {
        from.str().map(Arc::from)
    }
}

/// 128 bits that say nothing: ids and fences.
pub mod bits {
    use super::{Decoder, EncodeError, Encoder, Error, Write};

    /// Writes them as sixteen bytes.
    ///
    /// # Errors
    /// The writer's.
    pub fn encode<C, W: Write>(
        bits: &u128,
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        to.bytes(&bits.to_be_bytes())?.ok()
    }

    /// Reads them.
    ///
    /// # Errors
    /// When there are more or fewer.
    pub fn decode<C>(from: &mut Decoder<'_>, _: &mut C) -> Result<u128, Error> {
        let bytes = from.bytes()?.try_into();
        bytes.map(u128::from_be_bytes).map_err(|_| Error::message("not 128 bits"))
    }
}

/// The same, if there are any.
pub mod bits_if_any {
    use minicbor::data::Type;

    pub use super::optional::{is_nil, nil};
    use super::{Decoder, EncodeError, Encoder, Error, Write, bits};

    /// Writes them, or nothing.
    ///
    /// # Errors
    /// The writer's.
    pub fn encode<C, W: Write>(
        bits: &Option<u128>,
        to: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match bits {
            Some(bits) => bits::encode(bits, to, context),
            None => to.null()?.ok(),
        }
    }

    /// Reads them.
    ///
    /// # Errors
    /// When there are more or fewer.
    pub fn decode<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Option<u128>, Error> {
        if from.datatype()? == Type::Null {
            from.null()?;
            return Ok(None);
        }
        bits::decode(from, context).map(Some)
    }
}

/// A duration in whole milliseconds, which all of ours are.
pub mod span {
    use std::time::Duration;

    use super::{Decoder, EncodeError, Encoder, Error, Write};

    /// Writes the milliseconds.
    ///
    /// # Errors
    /// The writer's.
    pub fn encode<C, W: Write>(
        span: &Duration,
        to: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        to.u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))?.ok()
    }

    /// Reads them.
    ///
    /// # Errors
    /// When they are no number.
    pub fn decode<C>(from: &mut Decoder<'_>, _: &mut C) -> Result<Duration, Error> {
        from.u64().map(Duration::from_millis)
    }
}
