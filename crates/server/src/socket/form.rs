//! What a watch says, as frames.

use relais_api::ws::{EndReason, Said, around_event};
use relais_api::{Notice, codes};
use relais_engine::Published;

use super::codec::write_text;
use crate::answer::problem::Refusal;
use crate::watch::cursor::End;
use crate::watch::stream::Form;

/// The form of one watch, which has this name.
#[derive(Debug)]
pub(crate) struct Frames(pub(crate) Box<str>);

impl Form for Frames {
    fn media_type(&self) -> &'static str {
        "application/json"
    }

    fn name(&self) -> &str {
        &self.0
    }

    fn event(&self, event: &Published, _: u64, base: &str, out: &mut Vec<u8>) {
        let (before, behind) = around_event(&self.0, event.pos);
        write_text(&[before.as_bytes(), event.json(base), behind.as_bytes()], out);
    }

    fn notice(&self, notice: &Notice, out: &mut Vec<u8>) {
        write(&notice.of_watch(&self.0), out);
    }

    /// A notice says it.
    fn come_back_after(&self, _: u32, _: &mut Vec<u8>) {}

    /// The connection has pings for all its watches.
    fn quiet(&self, _: &mut Vec<u8>) {}

    fn end(&self, end: End, base: &str, out: &mut Vec<u8>) {
        let (reason, problem) = match end {
            End::Over => (EndReason::Over, None),
            End::Gone => (EndReason::Gone, None),
            End::Late => {
                let refusal = Refusal::new(&codes::TICKET_EXPIRED);
                (EndReason::Right, Some(refusal.problem(base, None)))
            }
            // The connection says so itself, or it was said.
            End::Stop | End::Left | End::Told => return,
        };
        write(&Said::End { watch: &self.0, reason, retry_after: None, problem }, out);
    }
}

/// Appends a document as a frame.
pub(crate) fn write(said: &Said<'_>, out: &mut Vec<u8>) {
    write_text(&[&said.to_json()], out);
}
