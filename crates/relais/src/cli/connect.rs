//! Which server to talk to, and as whom.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use http::HeaderValue;
use relais_client::{Client, Credentials, Distrust, Error};

use super::argument::Usage;
use super::variable;
use crate::config::{self, Here};

/// Which server to talk to, and as whom.
#[derive(Debug, Clone, Default, Args)]
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
    /// A PEM file of authorities that the server's certificate may be of, or that certificate
    /// itself; beside the public roots and the system's
    #[arg(long, global = true, env = "RELAIS_CA", value_name = "FILE")]
    pub ca: Option<OsString>,
    /// The file of the certificate of this folder's server, where it is the one that is called.
    #[arg(skip)]
    pub own_certificate: Option<PathBuf>,
    /// Prints JSON instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

impl Connection {
    /// The same, to the server of this folder where nobody says which. A variable that is
    /// empty counts as not set.
    #[must_use]
    pub fn located(mut self) -> Self {
        if self.url.is_empty() {
            let here = config::here(&variable);
            let Here { url, certificate } =
                here.unwrap_or_else(|| Here { url: DEFAULT_URL.to_owned(), certificate: None });
            self.url = url;
            self.own_certificate = certificate;
        }
        self
    }

    /// The client of that server.
    ///
    /// # Errors
    /// When the URL is none, the key or the ticket is none that could be sent, or there are no
    /// authorities in their file: each makes the command line wrong.
    pub fn client(&self) -> anyhow::Result<Client> {
        let ticket = sendable("--ticket <TICKET>", self.ticket.as_deref())?;
        let credentials = match (ticket, sendable("--key <KEY>", self.key.as_deref())?) {
            (Some(ticket), _) => Credentials::Ticket(ticket),
            (None, Some(key)) => Credentials::ApiKey(key),
            (None, None) => Credentials::Nobody,
        };
        let client = Client::new(&self.url, credentials);
        self.trusting(client.map_err(|error| Usage::value("--url <URL>", error))?)
    }

    /// The same client, trusting whom it is told to. Whoever says nothing trusts the certificate of
    /// the server whose file says where to call: it is the word of the same file. That one cannot
    /// be read is the server's matter.
    fn trusting(&self, client: Client) -> anyhow::Result<Client> {
        let wrong = |why: String| Usage::value("--ca <FILE>", why);
        let Some(file) = self.ca.as_ref().filter(|file| !file.is_empty()) else {
            let own = self.own_certificate.as_ref().and_then(|file| std::fs::read(file).ok());
            let trusting = own.and_then(|pem| client.with_authorities(&pem).ok());
            return Ok(trusting.unwrap_or(client));
        };
        let shown = file.to_string_lossy();
        let pem = std::fs::read(file)
            .map_err(|error| wrong(format!("could not read {shown}: {error}")))?;
        Ok(client
            .with_authorities(&pem)
            .map_err(|error| wrong(format!("could not use {shown}: {error}")))?)
    }
}

/// What to do about a server that is not there, or not trusted; empty where there is nothing to say.
pub(super) fn advice(error: &anyhow::Error) -> &'static str {
    let is_away = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(Error::Unreachable { .. }))
    };
    if error.chain().any(is_away) {
        return "; is the server there? relais serve starts one, --url (RELAIS_URL) says where it is";
    }
    let why = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(Error::Untrusted { why, .. }) => Some(why),
        _ => None,
    });
    match why {
        Some(Distrust::Authority) => {
            "; if it is one of your own, name its file, or that of its authority: --ca FILE \
             (RELAIS_CA)"
        }
        Some(Distrust::Name) => "; call the server by a name that is in it: --url (RELAIS_URL)",
        _ => "",
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
