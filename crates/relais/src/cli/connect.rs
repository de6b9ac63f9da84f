//! Which server to talk to, and as whom.

use clap::Args;
use http::HeaderValue;
use relais_client::{Client, Credentials};

use super::argument::Usage;
use super::variable;
use crate::config;

/// Which server to talk to, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct Connection {
    /// Where the server is: scheme, host and, if it has one, its `api_prefix`
    /// [default: that of the relais.toml here, else http://127.0.0.1:8080]
    #[arg(long, global = true, env = "RELAIS_URL", value_name = "URL")]
    #[arg(default_value = "", hide_default_value = true)]
    pub url: String,
    /// An API key (rk_…); better in the variable than on the command line, which others can see
    #[arg(long, global = true, env = "RELAIS_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// The ticket of a task, for a caller without a key; wins over --key
    #[arg(
        long,
        global = true,
        env = "RELAIS_TICKET",
        value_name = "TICKET",
        hide_env_values = true
    )]
    pub ticket: Option<String>,
    /// Prints JSON instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

impl Connection {
    /// The same, to the server of this folder where nobody says which. A variable that is empty counts
    /// as not set.
    #[must_use]
    pub fn located(mut self) -> Self {
        if self.url.is_empty() {
            self.url = config::url_here(&variable).unwrap_or_else(|| DEFAULT_URL.to_owned());
        }
        self
    }

    /// The client of that server.
    ///
    /// # Errors
    /// When the URL is none, or the key or the ticket is none that could be sent: each makes the command
    /// line wrong.
    pub fn client(&self) -> anyhow::Result<Client> {
        let ticket = sendable("--ticket <TICKET>", self.ticket.as_deref())?;
        let credentials = match (ticket, sendable("--key <KEY>", self.key.as_deref())?) {
            (Some(ticket), _) => Credentials::Ticket(ticket),
            (None, Some(key)) => Credentials::ApiKey(key),
            (None, None) => Credentials::Nobody,
        };
        let client = Client::new(&self.url, credentials);
        Ok(client.map_err(|error| Usage::value("--url <URL>", error))?)
    }
}

/// A secret as it is sent; none if it is empty. It is never repeated.
fn sendable(argument: &str, text: Option<&str>) -> Result<Option<String>, Usage> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    match HeaderValue::from_str(text) {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(_) => Err(Usage::value(argument, "it has characters that it cannot have")),
    }
}

/// Where a server listens unless told, as its configuration has it.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";
