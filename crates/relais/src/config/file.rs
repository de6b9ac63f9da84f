//! `relais.toml` as it is written: every key there is, and nothing judged yet but its form.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use relais_api::queue::{Order, Rate};
use relais_api::time::Span;
use relais_core::Grace;
use relais_core::limits::{GRACE_MIN, HORIZON_MAX};
use relais_core::time::InWords;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use toml::Spanned;

/// A value that may be left out, and where it stands.
pub(crate) type Given<T> = Option<Spanned<T>>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) page: Page,
    pub(crate) webhooks: Webhooks,
    pub(crate) upstream: BTreeMap<Spanned<String>, Upstream>,
    pub(crate) route: Vec<Spanned<Route>>,
    pub(crate) queue: BTreeMap<Spanned<String>, Queue>,
    pub(crate) key: Vec<Spanned<Key>>,
}

/// `[server]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) listen: Given<Text<std::net::SocketAddr>>,
    pub(crate) admin_listen: Given<Text<std::net::SocketAddr>>,
    pub(crate) public_url: Given<String>,
    pub(crate) trusted_proxies: Vec<Spanned<String>>,
    pub(crate) fallback: Given<String>,
    pub(crate) upstream_host: Given<String>,
    pub(crate) api_prefix: Given<String>,
    pub(crate) cors_origins: Vec<Spanned<String>>,
    pub(crate) tenant: Given<String>,
    pub(crate) sealed_headers: Vec<Spanned<String>>,
    pub(crate) header_timeout: Given<Span>,
    pub(crate) tls: Given<Tls>,
    pub(crate) admin_tls: Given<Tls>,
    pub(crate) drain: Given<Span>,
    pub(crate) drain_delay: Given<Span>,
    pub(crate) access_log: Given<bool>,
    pub(crate) name: Given<String>,
}

/// `[server] tls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) cert: std::path::PathBuf,
    pub(crate) key: std::path::PathBuf,
}

/// `[store]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) url: Given<String>,
}

/// `[page]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Page {
    pub(crate) name: Given<String>,
    pub(crate) color: Given<String>,
    pub(crate) logo: Given<std::path::PathBuf>,
}

/// `[webhooks]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Webhooks {
    pub(crate) allow: Vec<Spanned<String>>,
}

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) request_body: Given<Bytes>,
    pub(crate) result: Given<Bytes>,
    pub(crate) tenant_capacity: Given<u64>,
    pub(crate) connections: Given<u64>,
}

/// `[upstream."…"]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Upstream {
    pub(crate) concurrency: Given<u32>,
    pub(crate) rate: Given<Rate>,
    pub(crate) retry_after: Given<RetryAfter>,
    pub(crate) ca: Given<std::path::PathBuf>,
    pub(crate) cert: Given<std::path::PathBuf>,
    pub(crate) key: Given<std::path::PathBuf>,
}

/// What a `Retry-After` is about.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RetryAfter {
    Origin,
    Lane,
    Queue,
}

/// `[[route]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Route {
    pub(crate) path: Given<String>,
    pub(crate) methods: Vec<Spanned<String>>,
    pub(crate) upstream: Given<String>,
    pub(crate) run: Given<Run>,
    pub(crate) mode: Given<Mode>,
    pub(crate) wait: Given<Span>,
    pub(crate) wait_max: Given<Span>,
    pub(crate) queue: Given<String>,
    pub(crate) tenant: Given<String>,
    pub(crate) lane: Given<String>,
    pub(crate) idempotent: Given<Idempotent>,
    pub(crate) access: Given<String>,
    pub(crate) ticket: Option<Vec<Spanned<String>>>,
    pub(crate) abandon: Given<Abandon>,
    pub(crate) keepalive: Given<Span>,
    pub(crate) double_submit: Given<Span>,
    pub(crate) double_submit_cookie: Given<String>,
    pub(crate) double_submit_field: Given<String>,
    pub(crate) allow: Option<Vec<Spanned<String>>>,
    pub(crate) report: Given<bool>,
    pub(crate) upstream_host: Given<String>,
    pub(crate) cors: Given<Cors>,
    // Named so that they are refused as what they are, not as typing mistakes.
    pub(crate) follow: Option<Spanned<toml::Value>>,
    pub(crate) callback: Option<Spanned<toml::Value>>,
    pub(crate) webhook: Option<Spanned<toml::Value>>,
}

/// `[queue.x]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Queue {
    pub(crate) concurrency: Given<u32>,
    pub(crate) concurrency_per_lane: Given<u32>,
    pub(crate) rate: Given<Rate>,
    pub(crate) rate_per_lane: Given<Rate>,
    pub(crate) order: Given<Order>,
    pub(crate) retry: Retry,
    pub(crate) lease: Given<Span>,
    pub(crate) attempt_timeout: Given<Span>,
    pub(crate) deadline: Given<Span>,
    pub(crate) retention: Given<Span>,
    pub(crate) capacity: Given<u64>,
    pub(crate) capacity_per_ip: Given<u64>,
    pub(crate) lane_weights: BTreeMap<Spanned<String>, Spanned<u32>>,
}

/// `[queue.x.retry]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retry {
    pub(crate) max_attempts: Given<u32>,
    pub(crate) initial: Given<Span>,
    pub(crate) max: Given<Span>,
    pub(crate) factor: Given<f64>,
}

/// `[[key]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) name: Given<String>,
    pub(crate) hash: Given<String>,
    pub(crate) secret_env: Given<String>,
    pub(crate) tenant: Given<String>,
    pub(crate) scopes: Option<Vec<Spanned<String>>>,
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $word)] $variant,)+
        }
    };
}

choice! {
    /// Who runs a route's tasks.
    Run { Upstream = "upstream", Workers = "workers", }
}
choice! {
    /// How a route answers.
    Mode { Auto = "auto", Async = "async", Prefer = "prefer", Sync = "sync", }
}
choice! {
    /// Who says which pages of other origins may call a route.
    Cors { Upstream = "upstream", Relais = "relais", }
}

/// Whether a request may be sent again: `"auto"`, `true` or `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idempotent {
    Auto,
    Said(bool),
}

impl<'de> Deserialize<'de> for Idempotent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOfThree;
        impl Visitor<'_> for OneOfThree {
            type Value = Idempotent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", true or false")
            }

            fn visit_bool<E: Error>(self, said: bool) -> Result<Idempotent, E> {
                Ok(Idempotent::Said(said))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Idempotent, E> {
                match text {
                    "auto" => Ok(Idempotent::Auto),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(OneOfThree)
    }
}

/// A value written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text<T>(pub(crate) T);

impl<'de, T> Deserialize<'de> for Text<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for OfText<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
                text.parse().map(Text).map_err(|error| E::custom(format_args!("{text:?}: {error}")))
            }
        }
        deserializer.deserialize_str(OfText(PhantomData))
    }
}

/// What becomes of a task whose clients have all left: `"continue"`, `"cancel"` or `"cancel after 60s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abandon(pub(crate) Option<Grace>);

impl<'de> Deserialize<'de> for Abandon {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOfThree;
        impl Visitor<'_> for OneOfThree {
            type Value = Abandon;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"continue\", \"cancel\" or text such as \"cancel after 60s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Abandon, E> {
                match text {
                    "continue" => return Ok(Abandon(None)),
                    "cancel" => return Ok(Abandon(Some(Grace::ZERO))),
                    _ => {}
                }
                let Some(span) = text.strip_prefix("cancel after ") else {
                    return Err(E::invalid_value(serde::de::Unexpected::Str(text), &self));
                };
                let refuse = |why: &dyn fmt::Display| E::custom(format_args!("{text:?}: {why}"));
                let span = span.parse::<Span>().map_err(|error| refuse(&error))?;
                let grace = Grace::of(span.as_duration());
                grace.map(|grace| Abandon(Some(grace))).ok_or_else(|| {
                    let (least, most) = (InWords(GRACE_MIN), InWords(HORIZON_MAX));
                    refuse(&format_args!("the time to come back is from {least} to {most}"))
                })
            }
        }
        deserializer.deserialize_str(OneOfThree)
    }
}

/// A number of bytes: a whole number, or text such as `"64MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or text such as \"64MiB\" (B, KiB, MiB, GiB)")
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Bytes, E> {
                let unexpected = serde::de::Unexpected::Signed(bytes);
                u64::try_from(bytes).map(Bytes).map_err(|_| E::invalid_value(unexpected, &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                let bytes = parse_bytes(text).map(Bytes);
                bytes.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Size)
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}
