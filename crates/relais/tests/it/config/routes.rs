//! The tables of routes: what each key may say, and what a route cannot be.

use std::time::Duration;

use relais_core::Grace;
use relais_server::config::{CorsBy, DoubleSubmit, HostHeader, LaneSource, RouteAccess, Run};

use super::{Overrides, read, read_with, refused};

pub(super) fn route(lines: &str) -> String {
    format!("[[route]]\npath = \"/a/{{id}}\"\nupstream = \"http://b\"\n{lines}\n")
}

#[test]
fn every_form_of_a_route_is_understood() {
    let of = |lines: &str| read(&route(lines)).unwrap().server.routes.remove(0);
    assert_eq!(of("lane = \"ip\"").lane, Some(LaneSource::Ip));
    assert_eq!(of("lane = \"path:id\"").lane, Some(LaneSource::Path("id".into())));
    assert_eq!(of("lane = \"const:a b\"").lane, Some(LaneSource::Const("a b".parse().unwrap())));
    assert_eq!(of("access = \"key\"").access, RouteAccess::Key);
    assert_eq!(
        of("access = \"caller:header:Authorization\"").access,
        RouteAccess::Caller("authorization".into())
    );
    assert_eq!(of("idempotent = true").idempotent, Some(true));
    assert_eq!(of("idempotent = \"auto\"").idempotent, None);
    assert_eq!(of("").upstream_host, HostHeader::Upstream);
    assert_eq!(of("upstream_host = \"client\"").upstream_host, HostHeader::Client);
    assert_eq!(
        of("upstream_host = \"b.example:81\"").upstream_host,
        HostHeader::Fixed("b.example:81".into())
    );
    assert_eq!(of("methods = [\"post\", \"POST\"]").methods, ["POST"]);
    assert_eq!(of("").keepalive, None);
    assert_eq!(of("keepalive = \"15s\"").keepalive, Some(Duration::from_secs(15)));
    let abandon = |text: &str| of(&format!("abandon = \"{text}\"")).abandon;
    assert_eq!(abandon("continue"), None);
    assert_eq!(abandon("cancel"), Some(Grace::ZERO));
    assert_eq!(abandon("cancel after 60s"), Grace::of(Duration::from_secs(60)));
    assert_eq!(of("").double_submit, None);
    let double = |field: Option<&str>| {
        let (window, field) = (Duration::from_secs(10), field.map(str::to_owned));
        Some(DoubleSubmit { window, cookie: None, field })
    };
    assert_eq!(of("double_submit = \"10s\"").double_submit, double(None));
    let both = of("double_submit = \"10s\"\ndouble_submit_field = \"csrf_token\"").double_submit;
    assert_eq!(both, double(Some("csrf_token")));
    let cookie = of("double_submit = \"10s\"\ndouble_submit_cookie = \"sid\"").double_submit;
    assert_eq!(cookie.unwrap().cookie.as_deref(), Some("sid"));
    let workers = read("[[route]]\npath = \"/w\"\nrun = \"workers\"\nmode = \"async\"\n").unwrap();
    assert_eq!(workers.server.routes[0].run, Run::Workers);
}

#[test]
fn relais_answers_for_a_routes_upstream_where_pages_are_listed() {
    let origins = "[server]\ncors_origins = [\"https://shop.example.com\"]\n";
    let cors = |line| read(&format!("{origins}{}", route(line))).unwrap().server.routes[0].cors;
    assert_eq!(cors("cors = \"relais\""), CorsBy::Relais);
    assert_eq!((cors("cors = \"upstream\""), cors("")), (CorsBy::Upstream, CorsBy::Upstream));
}

#[test]
fn what_a_route_cannot_be_is_refused() {
    for (lines, what) in [
        ("lane = \"path:other\"", "has no {other}"),
        ("lane = \"cookie:x\"", "is no lane"),
        // It said that "" is no header name.
        ("lane = \"header\"", "write \"header:NAME\""),
        ("lane = \"path:\"", "write \"path:NAME\""),
        ("lane = \"const:\"", "write \"const:VALUE\""),
        ("access = \"caller:header:\"", "caller:header:NAME"),
        ("access = \"anybody\"", "is no access"),
        ("ticket = [\"write\"]", "is no grant"),
        ("methods = [\"CONNECT\"]", "never taken"),
        ("methods = [\"A B\"]", "is no method"),
        ("allow = [\"webhook\"]", "not available yet"),
        ("allow = [\"retries\"]", "is no option"),
        ("follow = true", "not available yet"),
        ("callback = true", "not available yet"),
        ("webhook = \"http://c\"", "not available yet"),
        ("keepalive = \"999ms\"", "keepalive: must be 1s or more"),
        ("abandon = \"stop\"", "\"cancel\" or text such as \"cancel after 60s\""),
        ("abandon = \"cancel after 2999ms\"", "from 3s to 3650d"),
        ("abandon = \"cancel after 4000d\"", "the longest is ten years"),
        ("abandon = \"cancel after a while\"", "\"cancel after a while\": "),
        ("idempotent = \"yes\"", "expected \"auto\", true or false"),
        ("wait = \"0s\"", "mode = \"async\""),
        ("wait_max = \"56s\"", "must not be more than 55s"),
        ("wait = \"20s\"\nwait_max = \"15s\"", "wait_max, 15s"),
        ("queue = \"A\"", "may only contain"),
        ("double_submit = \"0s\"", "more than 0s"),
        ("double_submit = \"3601s\"", "not more than 1h"),
        ("double_submit = \"1s\"\nmode = \"sync\"", "which makes no tasks"),
        ("double_submit_field = \"csrf\"", "does nothing without double_submit"),
        ("double_submit = \"1s\"\ndouble_submit_field = \"a b\"", "no name of a field"),
        ("double_submit_cookie = \"sid\"", "does nothing without double_submit"),
        ("double_submit = \"1s\"\ndouble_submit_cookie = \"a=b\"", "no name of a cookie"),
        ("tenant = \"\"", "1 to 64 bytes"),
        ("cors = \"relais\"", "needs [server] cors_origins"),
        ("cors = \"both\"", "unknown variant"),
        ("upstream_host = \"a b\"", "is no host"),
        ("run = \"workers\"", "[[route]] upstream: is never called with run = \"workers\""),
        ("run = \"workers\"\nmode = \"sync\"", "workers cannot answer synchronously"),
    ] {
        let error = refused(&route(lines));
        assert!(error.contains(what), "{lines}: {error}");
        assert!(error.starts_with("relais.toml:"), "{error}");
    }
    for path in ["a", "/a//b", "/../x", "/{*rest}/a", "/{}", "/x{y}", "/{a}/{a}", "/a?b", "/a%2fb"]
    {
        let error = refused(&format!("[[route]]\npath = {path:?}\nupstream = \"http://b\"\n"));
        assert!(error.starts_with("relais.toml:2: [[route]] path: "), "{path}: {error}");
    }
    assert!(refused("[[route]]\nupstream = \"http://b\"\n").contains("[[route]] path: is missing"));
    assert!(refused("[[route]]\npath = \"/a\"\n").contains("run = \"workers\""));
}

#[test]
fn a_route_that_relais_hides_is_refused() {
    let error = refused("\n[[route]]\npath = \"/v1/tasks\"\nupstream = \"http://b\"\n");
    assert!(error.starts_with("relais.toml:3: [[route]] \"/v1/tasks\": "), "{error}");
}

#[test]
fn an_upstream_that_is_the_server_itself_is_refused() {
    let own = "http://localhost:8080";
    let error = refused(&format!("[server]\nfallback = \"{own}/x\"\n"));
    assert!(error.starts_with("relais.toml:2: [server] fallback: "), "{error}");
    assert!(error.contains("is this server itself"), "{error}");
    let error = refused(&format!("[[route]]\npath = \"/a\"\nupstream = \"{own}\"\n"));
    assert!(error.starts_with("relais.toml:3: [[route]] upstream: "), "{error}");
    let upstream = |url: &str| Overrides { upstream: Some(url.to_owned()), ..Overrides::default() };
    let error = read_with("", &upstream(own)).err().unwrap();
    assert!(error.starts_with("--upstream: http://localhost:8080 is this server"), "{error}");
    let error = read_with("", &upstream("http://127.0.0.1:8081")).err().unwrap();
    assert!(error.contains("own administration"), "{error}");
    // Flags say where it listens in the end.
    let elsewhere = Overrides {
        listen: Some(([127, 0, 0, 1], 9000).into()),
        ..upstream("http://127.0.0.1:8080")
    };
    assert!(read_with("", &elsewhere).is_ok());
}
