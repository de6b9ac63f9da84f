//! Moments that travel, as the rules count them.

use relais_api::{Time, submit};
use relais_core::{Deadline, Timestamp};

pub(crate) const fn stamp(time: Time) -> Timestamp {
    Timestamp::from_ms(time.as_ms())
}

/// By when a task must be done.
pub(crate) const fn deadline(deadline: submit::Deadline) -> Deadline {
    match deadline {
        submit::Deadline::At(time) => Deadline::At(stamp(time)),
        submit::Deadline::After(span) => Deadline::After(span.as_duration()),
    }
}
