//! `relais token`: what a ticket says.

use std::process::ExitCode;

use clap::Args;
use relais_api::{Span, Time};
use relais_engine::{Clock as _, SystemClock};
use relais_server::auth::read_unverified;
use serde_json::json;

use super::argument::Usage;
use super::{Connection, show};

/// Shows what a ticket says: its task, what its bearer may do, and until when. The signature is not
/// checked: only the server can.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// The ticket, as it came with the 202; --ticket unless given
    #[arg(value_name = "TICKET")]
    text: Option<String>,
}

impl Token {
    pub(super) fn run(self, connection: &Connection) -> anyhow::Result<ExitCode> {
        let text = self.text.or_else(|| connection.ticket.clone());
        let text = text
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Usage::new("which ticket? give [TICKET], or --ticket"))?;
        let (ticket, key) = read_unverified(text.trim())
            .ok_or_else(|| Usage::value("[TICKET]", "this is no ticket: expected `rt_…`, whole"))?;
        let may: Vec<&str> = [
            (ticket.grants.read, "read"),
            (ticket.grants.cancel, "cancel"),
            (ticket.grants.retry, "retry"),
        ]
        .into_iter()
        .filter_map(|(is_granted, word)| is_granted.then_some(word))
        .collect();
        let (task, key) = (ticket.task.to_string(), format!("{key:08x}"));
        let ends = Time::from_ms(ticket.expires_at.as_ms());
        if connection.json {
            show::json(&json!({"task": task, "may": may, "key": key, "expires_at": ends}))?;
            return Ok(ExitCode::SUCCESS);
        }
        let now = Time::from_ms(SystemClock::start().now().as_ms());
        let expires = format!("{ends} ({})", from_now(ends, now));
        for (name, value) in
            [("task", task), ("may", may.join(" ")), ("signed by key", key), ("expires", expires)]
        {
            show::line(&format!("{name:<14} {value}"))?;
        }
        show::note("the signature was not checked: only the server can");
        Ok(ExitCode::SUCCESS)
    }
}

fn from_now(moment: Time, now: Time) -> String {
    let span = |ms: i64| Span::from_secs(u64::try_from(ms / 1000).unwrap_or(0));
    let ms = moment.as_ms() - now.as_ms();
    if ms >= 0 { format!("in {}", span(ms)) } else { format!("{} ago", span(-ms)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_from_now() {
        let time = Time::from_ms;
        assert_eq!(from_now(time(90_500), time(0)), "in 1m30s");
        assert_eq!(from_now(time(0), time(60_000)), "1m ago");
    }
}
