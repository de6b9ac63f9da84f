//! `[[route]]`: which incoming requests become tasks, and how they are run.
//!
//! Not here: how paths are matched, and which routes hide each other; the server judges that.

use std::time::Duration;

use http::{HeaderName, Method};
use relais_core::time::InWords;
use relais_core::{Grants, LaneKey, OptionName, QueueName, TenantName, limits};
use relais_server::config::{
    self, CorsBy, DoubleSubmit, HostHeader, LaneSource, Mode, Route, RouteAccess,
};
use toml::Spanned;

use super::file::{self, Cors, Idempotent, Run};
use super::problem::Report;
use super::server::span;
use super::url;

/// The routes of the file, in its order.
pub(super) fn resolve(
    tables: &[Spanned<file::Route>],
    tenant: &TenantName,
    report: &mut Report<'_>,
) -> Vec<Route> {
    tables.iter().filter_map(|table| route(table, tenant, report)).collect()
}

fn route(
    table: &Spanned<file::Route>,
    default_tenant: &TenantName,
    report: &mut Report<'_>,
) -> Option<Route> {
    let given = table.get_ref();
    refuse_later(given, report);
    let path = match &given.path {
        Some(path) => report.take(path.span(), "[[route]] path", check_path(path.get_ref())),
        None => {
            report.missing(table.span(), "[[route]] path", "is missing");
            None
        }
    };
    let run_by_workers = given.run.as_ref().is_some_and(|run| *run.get_ref() == Run::Workers);
    let run = run(table, run_by_workers, report);
    let mode = mode(given, run_by_workers, report);
    let (wait, wait_max) = waits(given, report);
    let queue = match &given.queue {
        Some(queue) => report.parse::<QueueName>(Some(queue), "[[route]] queue"),
        None => "default".parse().ok(),
    };
    let tenant = match &given.tenant {
        Some(tenant) => report.parse::<TenantName>(Some(tenant), "[[route]] tenant"),
        None => Some(default_tenant.clone()),
    };
    let path = path?;
    Some(Route {
        methods: methods(given, report),
        run: run?,
        mode,
        wait,
        wait_max,
        queue: queue?,
        tenant: tenant?,
        lane: given.lane.as_ref().and_then(|text| {
            report.take(text.span(), "[[route]] lane", lane(text.get_ref(), &path))
        }),
        idempotent: match given.idempotent.as_ref().map(|said| *said.get_ref()) {
            Some(Idempotent::Said(said)) => Some(said),
            Some(Idempotent::Auto) | None => None,
        },
        access: given
            .access
            .as_ref()
            .and_then(|text| report.take(text.span(), "[[route]] access", access(text.get_ref())))
            .unwrap_or(RouteAccess::Ticket),
        grants: grants(given, report),
        keepalive: keepalive(given, report),
        abandon: given.abandon.as_ref().and_then(|abandon| abandon.get_ref().0),
        allow: allow(given, report),
        report: given.report.as_ref().is_some_and(|report| *report.get_ref()),
        upstream_host: upstream_host(given, report),
        double_submit: double_submit(given, mode, report),
        cors: match given.cors.as_ref().map(|cors| *cors.get_ref()) {
            Some(Cors::Relais) => CorsBy::Relais,
            Some(Cors::Upstream) | None => CorsBy::Upstream,
        },
        path,
    })
}

fn keepalive(given: &file::Route, report: &mut Report<'_>) -> Option<Duration> {
    let said = given.keepalive.as_ref()?;
    let every = said.get_ref().as_duration();
    if every < limits::KEEPALIVE_MIN {
        let least = InWords(limits::KEEPALIVE_MIN);
        report.at(said.span(), "[[route]] keepalive", format!("must be {least} or more"));
        return None;
    }
    Some(every)
}

/// Who runs the tasks of a route.
fn run(
    table: &Spanned<file::Route>,
    run_by_workers: bool,
    report: &mut Report<'_>,
) -> Option<config::Run> {
    match &table.get_ref().upstream {
        Some(text) if run_by_workers => {
            let what = "is never called with run = \"workers\": leave one of the two out";
            report.at(text.span(), "[[route]] upstream", what);
            None
        }
        Some(text) => report
            .take(text.span(), "[[route]] upstream", url::upstream(text.get_ref()))
            .map(config::Run::Upstream),
        None if run_by_workers => Some(config::Run::Workers),
        None => {
            let what = "is missing: say where to call, or run = \"workers\"";
            report.missing(table.span(), "[[route]] upstream", what);
            None
        }
    }
}

/// What a later order builds is refused, never ignored.
fn refuse_later(given: &file::Route, report: &mut Report<'_>) {
    let later =
        [("follow", &given.follow), ("callback", &given.callback), ("webhook", &given.webhook)];
    for (name, value) in later {
        if let Some(value) = value {
            report.at(value.span(), format!("[[route]] {name}"), "is not available yet");
        }
    }
}

fn check_path(text: &str) -> Result<String, String> {
    let refuse =
        |why: &str| Err(format!("{text:?} {why}; write for example \"/imports/{{*rest}}\""));
    let Some(below) = text.strip_prefix('/') else { return refuse("must begin with a slash") };
    let segments: Vec<&str> = below.split('/').collect();
    let last = segments.len() - 1;
    let mut names = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        if segment.is_empty() && index < last || matches!(*segment, "." | "..") {
            return refuse("has an empty or a dot segment");
        }
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            let plain = |byte: u8| byte.is_ascii_graphic() && !b"{}?#%\"<>\\^`|".contains(&byte);
            if !segment.bytes().all(plain) {
                return refuse("has a segment that is neither plain text nor one {name}");
            }
            continue;
        };
        let plain_name = name.strip_prefix('*').unwrap_or(name);
        if name.starts_with('*') && index < last {
            return refuse("has a {*rest} before its end");
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if plain_name.is_empty() || !plain_name.bytes().all(is_word) {
            return refuse("has a {name} that is no word");
        }
        if names.contains(&plain_name) {
            return refuse("has one {name} twice");
        }
        names.push(plain_name);
    }
    Ok(text.to_owned())
}

fn methods(given: &file::Route, report: &mut Report<'_>) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    for text in &given.methods {
        let upper = text.get_ref().to_ascii_uppercase();
        if matches!(upper.as_str(), "CONNECT" | "TRACE") {
            report.at(text.span(), "[[route]] methods", format!("{upper} is never taken (405)"));
        } else if Method::from_bytes(upper.as_bytes()).is_err() {
            report.at(text.span(), "[[route]] methods", format!("{upper:?} is no method"));
        } else if !methods.contains(&upper) {
            methods.push(upper);
        }
    }
    methods
}

fn mode(given: &file::Route, run_by_workers: bool, report: &mut Report<'_>) -> Mode {
    let Some(word) = &given.mode else { return Mode::Auto };
    let mode = match word.get_ref() {
        file::Mode::Auto => Mode::Auto,
        file::Mode::Async => Mode::Async,
        file::Mode::Prefer => Mode::Prefer,
        file::Mode::Sync => Mode::Sync,
    };
    if run_by_workers && matches!(mode, Mode::Prefer | Mode::Sync) {
        let what = "workers cannot answer synchronously: use auto or async, or run = \"upstream\"";
        report.at(word.span(), "[[route]] mode", what);
    }
    mode
}

fn waits(given: &file::Route, report: &mut Report<'_>) -> (Duration, Duration) {
    let max = match &given.wait_max {
        Some(text) if text.get_ref().as_duration() > limits::WAIT_MAX => {
            report.at(text.span(), "[[route]] wait_max", "must not be more than 55s");
            limits::WAIT_MAX
        }
        text => span(text.as_ref(), "[[route]] wait_max", report).unwrap_or(limits::WAIT_MAX),
    };
    let Some(text) = &given.wait else { return (DEFAULT_WAIT.min(max), max) };
    let wait = text.get_ref().as_duration();
    if wait.is_zero() {
        let what = "must be more than 0s; to answer at once, use mode = \"async\"";
        report.at(text.span(), "[[route]] wait", what);
    } else if wait > max {
        let what = format!("must not be more than wait_max, {}s", max.as_secs());
        report.at(text.span(), "[[route]] wait", what);
    }
    (wait, max)
}

fn double_submit(given: &file::Route, mode: Mode, report: &mut Report<'_>) -> Option<DoubleSubmit> {
    let names = [
        (
            "[[route]] double_submit_cookie",
            &given.double_submit_cookie,
            b"\"(),/:;<=>?@[\\]{}".as_slice(),
            "a cookie",
        ),
        (
            "[[route]] double_submit_field",
            &given.double_submit_field,
            b"\"&=;%+",
            "a field of a form",
        ),
    ];
    let [cookie, field] = names.map(|(key, given, no, whose)| {
        let name = given.as_ref()?;
        let plain = |byte: u8| byte.is_ascii_graphic() && !no.contains(&byte);
        let is_name = !name.get_ref().is_empty() && name.get_ref().bytes().all(plain);
        let what = || format!("{:?} is no name of {whose}", name.get_ref());
        let judged = if is_name { Ok(name.get_ref().clone()) } else { Err(what()) };
        report.take(name.span(), key, judged)
    });
    let Some(text) = &given.double_submit else {
        for (key, given, ..) in names {
            if let Some(name) = given {
                let what = "does nothing without double_submit: say for how long, such as \"10s\"";
                report.at(name.span(), key, what);
            }
        }
        return None;
    };
    let window = text.get_ref().as_duration();
    if window.is_zero() || window > limits::DOUBLE_SUBMIT_MAX {
        let what = "must be more than 0s and not more than 1h; leave it out to switch it off";
        report.at(text.span(), "[[route]] double_submit", what);
    }
    if mode == Mode::Sync {
        let what = "does nothing with mode = \"sync\", which makes no tasks";
        report.at(text.span(), "[[route]] double_submit", what);
    }
    Some(DoubleSubmit { window, cookie, field })
}

/// A `double_submit` by which no browser is known: whoever goes by tickets sends neither `Authorization` nor an
/// API key, and by other cookies than the one that is named nobody is known.
pub(super) fn joins_no_browser(
    tables: &[Spanned<file::Route>],
    report: &Report<'_>,
) -> Vec<String> {
    let is_by_ticket = |given: &file::Route| {
        given.access.as_ref().is_none_or(|access| access.get_ref() == "ticket")
    };
    let warning = |given: &file::Route| {
        let window = given.double_submit.as_ref()?;
        let is_named = given.double_submit_cookie.is_some() || given.double_submit_field.is_some();
        (!is_named && is_by_ticket(given)).then(|| {
            let place = report.place(window.span().start);
            format!(
                "{place}: [[route]] double_submit: joins only requests with Authorization or an API key, \
                 and so no browser that sends neither: name double_submit_cookie, \
                 double_submit_field or both"
            )
        })
    };
    tables.iter().filter_map(|table| warning(table.get_ref())).collect()
}

fn lane(text: &str, path: &str) -> Result<LaneSource, String> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    match (kind, rest) {
        ("ip", "") if !text.contains(':') => Ok(LaneSource::Ip),
        ("header" | "query" | "path", "") => Err(format!("write \"{kind}:NAME\"")),
        ("const", "") => Err("write \"const:VALUE\"".to_owned()),
        ("header", name) => Ok(LaneSource::Header(header(name)?)),
        ("query", name) => Ok(LaneSource::Query(name.to_owned())),
        ("path", name) => {
            let has = [format!("{{{name}}}"), format!("{{*{name}}}")]
                .iter()
                .any(|segment| path.contains(segment.as_str()));
            if has {
                Ok(LaneSource::Path(name.to_owned()))
            } else {
                Err(format!("the path {path:?} has no {{{name}}}"))
            }
        }
        ("const", value) => value
            .parse::<LaneKey>()
            .map(LaneSource::Const)
            .map_err(|error| format!("{value:?} {error}")),
        _ => {
            Err(format!("{text:?} is no lane: header:NAME, path:NAME, query:NAME, ip, const:VALUE"))
        }
    }
}

fn access(text: &str) -> Result<RouteAccess, String> {
    match text.split_once(':') {
        None if text == "ticket" => Ok(RouteAccess::Ticket),
        None if text == "key" => Ok(RouteAccess::Key),
        Some(("caller", rest)) if rest.len() > "header:".len() && rest.starts_with("header:") => {
            Ok(RouteAccess::Caller(header(&rest["header:".len()..])?))
        }
        _ => Err(format!("{text:?} is no access: ticket, key, caller:header:NAME")),
    }
}

fn header(name: &str) -> Result<String, String> {
    let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is no header name"))?;
    Ok(name.as_str().to_owned())
}

fn grants(given: &file::Route, report: &mut Report<'_>) -> Grants {
    let Some(words) = &given.ticket else {
        return Grants { read: true, cancel: false, retry: false };
    };
    let mut grants = Grants { read: false, cancel: false, retry: false };
    for word in words {
        match word.get_ref().as_str() {
            "read" => grants.read = true,
            "cancel" => grants.cancel = true,
            "retry" => grants.retry = true,
            other => {
                let what = format!("{other:?} is no grant: read, cancel, retry");
                report.at(word.span(), "[[route]] ticket", what);
            }
        }
    }
    grants
}

fn allow(given: &file::Route, report: &mut Report<'_>) -> Vec<OptionName> {
    let Some(words) = &given.allow else { return OptionName::BY_FIELD.to_vec() };
    let mut allowed = Vec::new();
    for word in words {
        let known =
            OptionName::BY_FIELD.into_iter().find(|option| option.as_str() == word.get_ref());
        if let Some(option) = known {
            allowed.push(option);
            continue;
        }
        match word.get_ref().as_str() {
            later @ ("webhook" | "callback" | "await" | "follow") => {
                report.at(
                    word.span(),
                    "[[route]] allow",
                    format!("{later:?} is not available yet"),
                );
            }
            other => {
                let what = format!(
                    "{other:?} is no option: {}",
                    OptionName::BY_FIELD.map(OptionName::as_str).join(", ")
                );
                report.at(word.span(), "[[route]] allow", what);
            }
        }
    }
    allowed
}

fn upstream_host(given: &file::Route, report: &mut Report<'_>) -> HostHeader {
    let said = given.upstream_host.as_ref();
    let host = said.and_then(|host| {
        report.take(host.span(), "[[route]] upstream_host", url::host(host.get_ref()))
    });
    host.unwrap_or(HostHeader::Upstream)
}

/// How long `auto` waits unless told.
const DEFAULT_WAIT: Duration = Duration::from_secs(10);
