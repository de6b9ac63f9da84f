//! Who calls: an API key, a ticket, or nobody.

use std::fmt;

use http::HeaderValue;
use http::header::{AUTHORIZATION, HeaderName};

use crate::error::Error;

/// Who calls. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nobody: enough for a server without keys, on loopback.
    #[default]
    Nobody,
    /// An API key, `rk_…`.
    ApiKey(String),
    /// The ticket of one task.
    Ticket(String),
}

impl Credentials {
    /// The header field that says so.
    pub(crate) fn field(&self) -> Result<Option<(HeaderName, HeaderValue)>, Error> {
        let (name, value) = match self {
            Self::Nobody => return Ok(None),
            Self::ApiKey(key) => {
                (HeaderName::from_static(relais_api::fields::API_KEY), key.clone())
            }
            Self::Ticket(ticket) => (AUTHORIZATION, format!("Bearer {ticket}")),
        };
        let mut value = HeaderValue::from_str(value.trim())
            .map_err(|_| Error::Invalid("the API key or ticket has characters it cannot have"))?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::ApiKey(_) => "ApiKey(…)",
            Self::Ticket(_) => "Ticket(…)",
        })
    }
}
