//! Whether it is known who calls, before anything is called.

use relais_core::Timestamp;

use super::{Offered, Visitor};
use crate::answer::problem::Refusal;
use crate::auth::{Caller, Scope};

/// It is known who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// When that ends, if it does.
    pub(crate) until: Option<Timestamp>,
}

impl Visitor {
    /// Until when it is known who calls, whatever comes next on a connection: `None` if it is not known.
    ///
    /// # Errors
    /// When what came is not valid, or allows nothing that a client does.
    pub(crate) fn standing(&self) -> Result<Option<Standing>, Refusal> {
        let for_good = Some(Standing { until: None });
        match (&self.caller, &self.offered) {
            (Caller::Key(key), _) if key.scopes.read || key.scopes.submit => Ok(for_good),
            (Caller::Key(_), _) => Err(Refusal::missing_scope(Scope::Read)),
            (Caller::Nobody, Offered::Bad(bad)) => Err((*bad).into()),
            (Caller::Nobody, Offered::Ticket(ticket, _)) if self.open.is_err() => {
                Ok(Some(Standing { until: Some(ticket.expires_at) }))
            }
            // Each of its rights has an end of its own, and it may be given others.
            (Caller::Nobody, Offered::Session(_) | Offered::Ticket(..)) => Ok(for_good),
            (Caller::Nobody, Offered::Nothing | Offered::Withheld) => {
                Ok(for_good.filter(|_| self.open.is_ok()))
            }
        }
    }

    /// Whether the ticket that came is one, also where a key beside it counts.
    ///
    /// # Errors
    /// When it is not valid.
    pub(crate) fn check_ticket(&self) -> Result<(), Refusal> {
        match self.offered {
            Offered::Bad(bad) => Err(bad.into()),
            _ => Ok(()),
        }
    }
}
