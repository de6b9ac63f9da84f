//! `relais token`: what a ticket says.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use relais_api::{Span, Time};
use relais_engine::{Clock as _, SystemClock};
use serde_json::{Value, json};

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
        let (header, claims) =
            decode(&text).map_err(|error| Usage::value("[TICKET]", format!("{error:#}")))?;
        let now = Time::from_ms(SystemClock::start().now().as_ms());
        let ends = claims["exp"].as_i64().map(|s| Time::from_ms(s.saturating_mul(1000)));
        if connection.json {
            show::json(&json!({"header": header, "claims": claims, "expires_at": ends}))?;
            return Ok(ExitCode::SUCCESS);
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), show::clean);
        for (name, value) in [
            ("task", &claims["sub"]),
            ("tenant", &claims["tenant"]),
            ("may", &claims["scope"]),
            ("signed by key", &header["kid"]),
        ] {
            if !value.is_null() {
                show::line(&format!("{name:<14} {}", text(value)))?;
            }
        }
        if let Some(ends) = ends {
            show::line(&format!("{:<14} {ends} ({})", "expires", from_now(ends, now)))?;
        }
        show::note("the signature was not checked: only the server can");
        Ok(ExitCode::SUCCESS)
    }
}

/// Header and claims of a token.
fn decode(text: &str) -> anyhow::Result<(Value, Value)> {
    let parts: Vec<&str> = text.trim().split('.').collect();
    let &[header, claims, _] = parts.as_slice() else {
        bail!("this is no ticket: it has not three parts with points between");
    };
    let part = |part: &str| -> anyhow::Result<Value> {
        let bytes = URL_SAFE_NO_PAD.decode(part).context("this is no ticket: it is not base64")?;
        let value: Value =
            serde_json::from_slice(&bytes).context("this is no ticket: it is not JSON")?;
        Ok(value)
    };
    Ok((part(header)?, part(claims)?))
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
    fn a_ticket_is_read_and_anything_else_is_refused() {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}.x", part(json!({"kid": "1"})), part(json!({"sub": "task_1"})));
        assert_eq!(decode(&text).unwrap().1["sub"], "task_1");
        for text in ["", "rk_1", "a.b", "!.!.!", "e30.bm8.x"] {
            assert!(decode(text).is_err(), "{text}");
        }
        let time = Time::from_ms;
        assert_eq!(from_now(time(90_500), time(0)), "in 1m30s");
        assert_eq!(from_now(time(0), time(60_000)), "1m ago");
    }
}
