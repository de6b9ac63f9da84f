//! Which server to talk to, and as whom.

use anyhow::Context as _;
use clap::Args;
use relais_client::{Client, Credentials};

/// Which server to talk to, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct Connection {
    /// Where the server is: scheme, host and, if it has one, its `api_prefix`
    #[arg(long, global = true, env = "RELAIS_URL", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:8080")]
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
    /// The client of that server.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn client(&self) -> anyhow::Result<Client> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let credentials = match (given(&self.ticket), given(&self.key)) {
            (Some(ticket), _) => Credentials::Ticket(ticket),
            (None, Some(key)) => Credentials::ApiKey(key),
            (None, None) => Credentials::Nobody,
        };
        Client::new(&self.url, credentials).context("--url")
    }
}
