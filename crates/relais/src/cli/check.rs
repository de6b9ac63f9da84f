//! `relais check`: judges the configuration and says what it means.

mod store;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use relais_api::Span;
use relais_core::{Order, Policy};
use relais_server::Certificates;
use relais_server::config::{LaneSource, Mode, Route, RouteAccess};
use relais_store_sqlite::Report;
use serde_json::json;

use super::serve::{Flags, variable};
use super::show;
use super::table::Table;
use crate::config::{self, Settings, StoreUrl};
use crate::start;

/// Judges the configuration and says what it means: routes, queues, what survives what. All
/// mistakes are shown, each with its line. Looks at the store as well, if it is there, and changes
/// nothing. Successful only if there is nothing that `serve` would not start with.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    overrides: Flags,
    /// Also reads the whole store, each row and each body; its server may be running
    #[arg(long)]
    deep: bool,
}

impl Check {
    pub(super) async fn run(self, as_json: bool) -> anyhow::Result<ExitCode> {
        let mut settings = config::load(&self.overrides.overrides()?, &variable)?;
        // What the configuration means is worth knowing even if the store is not as it should be.
        let judged = match store::judge(&settings).await {
            Ok(warnings) => {
                settings.warnings.extend(warnings);
                Ok(())
            }
            Err(error) => Err(error),
        };
        let judged = judged.and_then(|()| {
            let certificates = Certificates::read(&settings.server)?;
            settings.warnings.extend(certificates.warnings(start::now()));
            Ok(())
        });
        if !as_json {
            explain(&settings)?;
        }
        let report = match self.deep {
            true => Some(start::check_store(&settings.store).await?),
            false => None,
        };
        if as_json {
            let mut summary = summary(&settings);
            if let Some(report) = &report {
                summary["store_check"] = json!({
                    "tasks": report.tasks,
                    "events": report.events,
                    "bodies": report.bodies,
                    "body_bytes": report.body_bytes,
                    "problems": report.sentences().collect::<Vec<_>>(),
                });
            }
            show::json(&summary)?;
        }
        judged?;
        report.map_or(Ok(ExitCode::SUCCESS), |report| judge(&settings.store, &report))
    }
}

/// What a deep look found, on standard error as all judgements.
fn judge(store: &StoreUrl, report: &Report) -> anyhow::Result<ExitCode> {
    for problem in report.sentences() {
        show::note(&format!("  {problem}"));
    }
    if !report.is_sound() {
        anyhow::bail!("{store} is damaged: restore it from a backup");
    }
    show::note(&format!(
        "{store} is sound: {} tasks, {} events, {} bodies ({} bytes)",
        report.tasks, report.events, report.bodies, report.body_bytes
    ));
    Ok(ExitCode::SUCCESS)
}

fn explain(settings: &Settings) -> anyhow::Result<()> {
    let file = settings.file.as_ref().map_or_else(
        || "no file: defaults and flags".to_owned(),
        |file| file.display().to_string(),
    );
    show::line(&format!("configuration  {file}"))?;
    show::line(&format!(
        "front door     {}://{}",
        settings.server.scheme(),
        settings.server.listen
    ))?;
    show::line(&format!(
        "administration {}://{}",
        settings.server.admin_scheme(),
        settings.server.admin_listen
    ))?;
    show::line(&format!("store          {}: {}", settings.store, durability(&settings.store)))?;
    show::line("")?;
    routes(settings)?;
    show::line("")?;
    queues(settings)?;
    for warning in &settings.warnings {
        show::note(&format!("warning: {warning}"));
    }
    Ok(())
}

/// What a 202 is worth, said aloud.
fn durability(store: &StoreUrl) -> &'static str {
    match store {
        StoreUrl::Memory => "NOTHING SURVIVES: every task is lost when Relais stops",
        StoreUrl::Sqlite(_) => {
            "an answered 202 survives a crash of Relais and, as far as the disk honours fsync, a \
             loss of power"
        }
    }
}

fn routes(settings: &Settings) -> anyhow::Result<()> {
    if settings.server.routes.is_empty() && settings.server.fallback.is_none() {
        return show::line("no routes, and no fallback: the front door takes nothing (404)");
    }
    let mut table = Table::new([
        "METHODS", "PATH", "TO", "MODE", "WAIT", "QUEUE", "TENANT", "LANE", "AGAIN", "ACCESS",
    ]);
    for route in &settings.server.routes {
        table.row([
            if route.methods.is_empty() { "any".into() } else { route.methods.join(",") },
            route.path.clone(),
            target(route),
            mode(route.mode).to_owned(),
            wait(route),
            route.queue.to_string(),
            route.tenant.to_string(),
            lane(route.lane.as_ref()),
            again(route).to_owned(),
            access(&route.access),
        ]);
    }
    if let Some(fallback) = &settings.server.fallback {
        let rest = "-".to_owned();
        table.row([
            "any".into(),
            "(the rest)".into(),
            fallback.to_string(),
            "sync".into(),
            rest.clone(),
            rest.clone(),
            rest.clone(),
            rest.clone(),
            rest.clone(),
            rest,
        ]);
    }
    table.print()
}

fn queues(settings: &Settings) -> anyhow::Result<()> {
    let mut table = Table::new([
        "QUEUE", "RUNNING", "A LANE", "RATE", "ORDER", "ATTEMPTS", "BACKOFF", "LEASE", "TIMEOUT",
        "DEADLINE", "KEPT", "CAPACITY",
    ]);
    let named = settings.engine.queues.iter().map(|(name, policy)| (name.to_string(), policy));
    let template = settings.engine.template.iter().map(|policy| ("*".to_owned(), policy));
    for (name, policy) in named.chain(template) {
        table.row(queue_row(name, policy));
    }
    table.print()?;
    if settings.engine.template.is_none() {
        show::line("other queues are refused (404); [queue.\"*\"] would allow them")?;
    }
    Ok(())
}

fn queue_row(name: String, policy: &Policy) -> [String; 12] {
    let limit = |limit: Option<u32>| limit.map_or_else(|| "any".to_owned(), |n| n.to_string());
    let rate = policy
        .rate
        .map_or_else(|| "any".to_owned(), |rate| format!("{}/{}", rate.count, period(rate.period)));
    let retry = &policy.retry;
    [
        name,
        limit(policy.concurrency),
        if policy.order == Order::Strict {
            "1".to_owned()
        } else {
            limit(policy.concurrency_per_lane)
        },
        rate,
        if policy.order == Order::Strict { "strict" } else { "fair" }.to_owned(),
        retry.max_attempts.to_string(),
        format!("{} ×{} to {}", span(retry.initial), retry.factor, span(retry.max)),
        span(policy.lease),
        span(policy.attempt_timeout),
        span(policy.deadline),
        span(policy.retention),
        policy.capacity.to_string(),
    ]
}

fn target(route: &Route) -> String {
    route.upstream().map_or_else(|| "workers".to_owned(), ToString::to_string)
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Auto => "auto",
        Mode::Async => "async",
        Mode::Prefer => "prefer",
        Mode::Sync => "sync",
    }
}

fn wait(route: &Route) -> String {
    match route.mode {
        Mode::Auto => format!("{} (≤ {})", span(route.wait), span(route.wait_max)),
        Mode::Async | Mode::Prefer => format!("asked (≤ {})", span(route.wait_max)),
        Mode::Sync => "-".to_owned(),
    }
}

fn lane(lane: Option<&LaneSource>) -> String {
    match lane {
        None => "-".to_owned(),
        Some(LaneSource::Header(name)) => format!("header:{name}"),
        Some(LaneSource::Path(name)) => format!("path:{name}"),
        Some(LaneSource::Query(name)) => format!("query:{name}"),
        Some(LaneSource::Ip) => "ip".to_owned(),
        Some(LaneSource::Const(value)) => format!("const:{value}"),
    }
}

/// Whether a request may be sent again after a lost answer.
const fn again(route: &Route) -> &'static str {
    match route.idempotent {
        None => "by method",
        Some(true) => "always",
        Some(false) => "never",
    }
}

fn access(access: &RouteAccess) -> String {
    match access {
        RouteAccess::Ticket => "ticket".to_owned(),
        RouteAccess::Caller(header) => format!("caller:header:{header}"),
        RouteAccess::Key => "key".to_owned(),
    }
}

/// A period as a policy spells it: `s` for a second.
fn period(duration: Duration) -> String {
    let text = span(duration);
    text.strip_prefix('1')
        .filter(|unit| !unit.contains(char::is_numeric))
        .map_or(text.clone(), str::to_owned)
}

fn span(duration: Duration) -> String {
    Span::from_ms(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).to_string()
}

fn summary(settings: &Settings) -> serde_json::Value {
    let routes: Vec<_> = settings
        .server
        .routes
        .iter()
        .map(|route| {
            json!({
                "methods": route.methods, "path": route.path, "to": target(route),
                "mode": mode(route.mode), "wait": span(route.wait),
                "wait_max": span(route.wait_max), "queue": route.queue.as_str(),
                "tenant": route.tenant.as_str(), "lane": lane(route.lane.as_ref()),
                "idempotent": again(route), "access": access(&route.access),
            })
        })
        .collect();
    json!({
        "file": settings.file, "listen": settings.server.listen,
        "admin_listen": settings.server.admin_listen, "store": settings.store.to_string(),
        "durability": durability(&settings.store), "routes": routes,
        "fallback": settings.server.fallback.as_ref().map(ToString::to_string),
        "queues": settings.engine.queues.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "warnings": settings.warnings,
    })
}
