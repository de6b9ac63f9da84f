//! The configuration: what each table may say, and what is refused.

mod page;
mod routes;

use self::routes::route;
use std::path::Path;
use std::time::Duration;

use relais::config::{Overrides, Settings, StoreUrl, judge};
use relais_core::{OptionName, Order};
use relais_server::config::{HostHeader, LaneSource, Mode};

fn read_with(text: &str, overrides: &Overrides) -> Result<Settings, String> {
    let variables = |name: &str| match name {
        "GOOD_KEY" => Some("rk_0123456789012345678901\n".to_owned()),
        "SHORT_KEY" => Some("rk_0".to_owned()),
        _ => None,
    };
    judge(Some(Path::new("relais.toml")), text.to_owned(), overrides, &variables)
        .map_err(|error| error.to_string())
}

fn read(text: &str) -> Result<Settings, String> {
    read_with(text, &Overrides::default())
}

fn refused(text: &str) -> String {
    read(text).err().unwrap_or_else(|| panic!("this is not refused:\n{text}"))
}

/// The file of the contract.
const CONTRACT: &str = r#"
[server]
listen = "127.0.0.1:8080"
admin_listen = "127.0.0.1:8081"
public_url = "https://api.example.com"
trusted_proxies = []
fallback = "http://127.0.0.1:9000"
api_prefix = ""

[upstream."http://127.0.0.1:9000"]
concurrency = 64
rate = "500/s"

[store]
url = "sqlite:relais.db"

[[route]]
path = "/imports/{*rest}"
methods = ["POST"]
upstream = "http://127.0.0.1:9000"
run = "upstream"
mode = "auto"
wait = "10s"
queue = "imports"
tenant = "default"
lane = "header:x-customer"
idempotent = "auto"
access = "ticket"
ticket = ["read", "cancel", "retry"]
abandon = "continue"
double_submit = "10s"
double_submit_cookie = "session"
double_submit_field = "csrf_token"
allow = ["delay", "deadline", "label"]
report = false
[queue.imports]
concurrency = 8
concurrency_per_lane = 1
rate = "100/s"
retry = { max_attempts = 5, initial = "1s", max = "5m", factor = 2.0 }
lease = "30s"
attempt_timeout = "10m"
deadline = "24h"
retention = "7d"
capacity = 1_000_000
capacity_per_ip = 250_000
"#;

#[test]
fn the_file_of_the_contract_is_understood() {
    let settings = read(CONTRACT).unwrap();
    assert_eq!(settings.server.public_url, "https://api.example.com".parse().ok());
    assert_eq!(settings.server.fallback, "http://127.0.0.1:9000".parse().ok());
    let [route] = settings.server.routes.as_slice() else { panic!("there is one route") };
    assert_eq!(
        (route.path.as_str(), route.methods.as_slice()),
        ("/imports/{*rest}", &["POST".to_owned()][..])
    );
    assert_eq!((route.mode, route.wait), (Mode::Auto, Duration::from_secs(10)));
    assert_eq!(route.wait_max, Duration::from_secs(55));
    assert_eq!(route.lane, Some(LaneSource::Header("x-customer".to_owned())));
    assert!(route.grants.read && route.grants.cancel && route.grants.retry);
    assert_eq!(route.allow, [OptionName::Delay, OptionName::Deadline, OptionName::Label]);
    let upstream = settings.engine.upstreams["http://127.0.0.1:9000"];
    assert_eq!((upstream.concurrency, upstream.rate.unwrap().count), (64, 500));
    let policy = &settings.engine.queues[&"imports".parse().unwrap()];
    assert_eq!((policy.concurrency, policy.concurrency_per_lane), (Some(8), Some(1)));
    assert_eq!(policy.deadline, Duration::from_secs(24 * 3600));
    assert_eq!((policy.capacity, policy.capacity_per_ip), (1_000_000, Some(250_000)));
    assert_eq!(settings.engine.template, None);
    assert_eq!(settings.store, StoreUrl::Sqlite("relais.db".into()));
    // It has a public name and no key: whoever runs it so is told where `/v1` is then.
    let [warning] = settings.warnings.as_slice() else { panic!("{:?}", settings.warnings) };
    assert!(warning.contains("admin_listen (127.0.0.1:8081)"), "{warning}");
    let key = "[[key]]\nname = \"a\"\nhash = \"".to_owned() + &"0".repeat(64) + "\"\n";
    let keyed = read(&format!("{CONTRACT}{key}scopes = [\"read\"]\n")).unwrap();
    assert_eq!(keyed.warnings, Vec::<String>::new());
}

#[test]
fn without_a_file_everything_has_its_default_and_every_queue_exists() {
    let settings = judge(None, String::new(), &Overrides::default(), &|_| None).unwrap();
    assert!(settings.engine.template.is_some());
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.admin_listen.to_string(), "127.0.0.1:8081");
}

#[test]
fn flags_win_over_the_file() {
    let overrides = Overrides {
        listen: Some("127.0.0.1:1".parse().unwrap()),
        store: Some("memory:".to_owned()),
        upstream: Some("http://b.example/".to_owned()),
        ..Overrides::default()
    };
    let settings = read_with(CONTRACT, &overrides).unwrap();
    assert_eq!(settings.server.listen.port(), 1);
    assert_eq!(settings.store, StoreUrl::Memory);
    assert!(settings.warnings.iter().any(|warning| warning.contains("in memory")));
    // What no route takes goes there, in mode prefer or auto by its method;
    // the fallback is replaced.
    let modes: Vec<_> =
        settings.server.routes.iter().map(|route| (route.path.as_str(), route.mode)).collect();
    assert_eq!(
        modes,
        [("/imports/{*rest}", Mode::Auto), ("/{*rest}", Mode::Prefer), ("/{*rest}", Mode::Auto)]
    );
    assert_eq!(settings.server.routes[1].upstream(), "http://b.example".parse().ok().as_ref());
    assert_eq!(settings.server.fallback, None);
    // A route's queue exists, defined or not.
    assert!(settings.engine.queues.contains_key(&"default".parse().unwrap()));
}

#[test]
fn the_service_behind_everything_gets_the_host_that_is_said_or_goes_by_its_address() {
    let host = |file: &str, upstream: &str, flag: Option<HostHeader>| {
        let upstream = Some(upstream.to_owned());
        let overrides = Overrides { upstream, upstream_host: flag, ..Overrides::default() };
        let routes = read_with(file, &overrides).unwrap().server.routes;
        assert_eq!(routes[0].upstream_host, routes[1].upstream_host);
        routes[0].upstream_host.clone()
    };
    let said = "[server]\nupstream_host = \"upstream\"\n";
    let fixed = HostHeader::Fixed("shop.example".into());
    assert_eq!(host("", "http://127.0.0.1:9000", None), HostHeader::Client);
    assert_eq!(host("", "https://api.example.com", None), HostHeader::Upstream);
    assert_eq!(host(said, "http://127.0.0.1:9000", None), HostHeader::Upstream);
    assert_eq!(host(said, "http://127.0.0.1:9000", Some(fixed.clone())), fixed);
    let error = refused("[server]\nupstream_host = \"a b\"\n");
    assert!(error.starts_with("relais.toml:2: [server] upstream_host: "), "{error}");
}

#[test]
fn a_host_that_is_probably_a_word_misspelt_is_warned_of() {
    // "clent" was sent to every upstream as its Host, and `check` was content.
    let warned = |host: &str| {
        let said = format!("upstream_host = {host:?}\n");
        let route = route(&said);
        let settings = read(&format!("[server]\n{said}{route}")).unwrap();
        let about = |warning: &&String| warning.starts_with("upstream_host: ");
        settings.warnings.iter().filter(about).cloned().collect::<Vec<_>>()
    };
    let warnings = warned("clent");
    assert!(warnings.len() == 1 && warnings[0].contains("\"clent\""), "{warnings:?}");
    for fine in ["client", "upstream", "a.example", "shop:80", "localhost", "[::1]"] {
        assert_eq!(warned(fine), Vec::<String>::new(), "{fine}");
    }
}

/// It looked as if clicks were joined, and by ADR 0016 none of a browser was.
#[test]
fn a_double_submit_by_which_no_browser_is_known_is_warned_of_with_its_line() {
    let warned = |more: &str| {
        let route = route(&format!("double_submit = \"10s\"\n{more}"));
        let line = 1 + route[..route.find("double_submit").unwrap()].matches('\n').count();
        let settings = read(&route).unwrap();
        let place =
            format!("relais.toml:{line}: [[route]] double_submit: joins only requests with");
        let about = |warning: &String| warning.contains("double_submit");
        settings.warnings.into_iter().find(about).map(|warning| warning.starts_with(&place))
    };
    assert_eq!(warned(""), Some(true));
    assert_eq!(warned("access = \"ticket\""), Some(true));
    for known in [
        "double_submit_cookie = \"sid\"",
        "double_submit_field = \"csrf\"",
        "access = \"key\"",
        "access = \"caller:header:authorization\"",
    ] {
        assert_eq!(warned(known), None, "{known}");
    }
}

#[test]
fn a_queue_that_is_probably_misspelt_is_warned_of() {
    // The limits of [queue.imports] held for nothing, because the route said "import".
    let warned = |queue: &str, tables: &str| {
        let settings = read(&format!("{}{tables}", route(queue))).unwrap();
        settings.warnings.into_iter().find(|warning| warning.contains("no route uses"))
    };
    let import = "queue = \"import\"";
    let warning = warned(import, "[queue.imports]\n[queue.work]\n").unwrap();
    assert!(
        warning.starts_with(
            "no route uses [queue.imports], [queue.work], and no table defines import, which"
        ),
        "{warning}"
    );
    // A table for workers alone, a route's queue without one, and a template for all others.
    for (queue, tables) in [
        (import, "[queue.import]\n[queue.work]\n"),
        (import, ""),
        (import, "[queue.imports]\n[queue.\"*\"]\n"),
        ("", "[queue.imports]\n"),
        ("", "[queue.default]\n"),
    ] {
        assert_eq!(warned(queue, tables), None, "{queue} {tables}");
    }
}

#[test]
fn all_mistakes_are_named_at_once_each_with_its_line_and_key() {
    let error = refused(
        "[server]\napi_prefix = \"x\"\n\n[[route]]\npath = \"/a\"\nupstream = \"here\"\nwait = \"56s\"\n\
         [queue.Bad]\nlease = \"500ms\"\n",
    );
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 5, "{error}");
    assert!(lines[0].starts_with("relais.toml:2: [server] api_prefix: "), "{error}");
    assert!(lines[1].starts_with("relais.toml:6: [[route]] upstream: "), "{error}");
    assert!(
        lines[2].starts_with("relais.toml:7: [[route]] wait: must not be more than"),
        "{error}"
    );
    assert!(
        lines[3].starts_with("relais.toml:8: [queue.Bad]: \"Bad\" may only contain"),
        "{error}"
    );
    assert!(
        lines[4].starts_with("relais.toml:9: [queue.Bad] lease: must be from 1s to 12h"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_read_hides_no_other_mistake() {
    // Whoever had three mistakes needed three runs to learn of the third.
    let error = refused(
        "[server]\ndrain = \"soon\"\n\n[[route]]\npath = \"/one\"\n\
         upstream = \"http://127.0.0.1:9000\"\nmode = \"sometimes\"\n\n[queue.first]\n\
         rate = \"10/sec\"\n\n[queue.second]\nlease = \"0s\"\ncolour = \"red\"\n\n\
         [[route]]\nmethods = [1]\nupstrem = \"http://127.0.0.1:9000\"\n",
    );
    let lines: Vec<&str> = error.lines().collect();
    // What was to be there instead of a mistake is not called missing as well.
    for (line, (number, what)) in lines.iter().zip([
        (2, "drain"),
        (7, "mode"),
        (10, "rate"),
        (13, "lease"),
        (14, "colour"),
        (17, "methods"),
        (18, "upstrem"),
    ]) {
        assert!(line.starts_with(&format!("relais.toml:{number}: ")), "{error}");
        assert!(line.contains(what), "{error}");
    }
    assert_eq!(lines.len(), 7, "{error}");
}

#[test]
fn a_mistake_is_called_what_it_is() {
    // It said "a number has no unit", and "limits are of a whole service".
    let error = refused("[server]\ndrain = \"20 s\"\n");
    assert!(error.starts_with("relais.toml:2: the text is not a duration: there is a space in it"));
    let error = refused("[server]\npublic_url = \"https://a.example/x\"\n");
    let why =
        "links are made of scheme and host alone: write \"https://a.example\", without a path";
    assert_eq!(error, format!("relais.toml:2: [server] public_url: {why}"));
}

#[test]
fn what_callers_may_have_called_is_listed_and_judged() {
    let settings =
        read("[webhooks]\nallow = [\"127.0.0.1:9000\", \"fd00::/8\", \"Hook.internal\"]\n");
    let guard = settings.unwrap().engine.outward;
    for url in ["http://127.0.0.1:9000/x", "http://[fd00::1]/", "https://hook.internal:22/"] {
        assert_eq!(guard.judge_url(url), Ok(()), "{url}");
    }
    assert!(guard.judge_url("http://127.0.0.1:9001/").is_err());
    let error = refused("[webhooks]\nallow = [\n\"10.0.0.1/8\",\n\"*\", \"127.1\"]\n");
    let (first, rest) = error.split_once('\n').unwrap();
    assert_eq!(
        first,
        "relais.toml:3: [webhooks] allow: \"10.0.0.1/8\" is no network: it begins at 10.0.0.0, write \
         \"10.0.0.0/8\""
    );
    assert!(
        rest.starts_with("relais.toml:4: [webhooks] allow: \"*\" is no address, network or name")
    );
    assert!(rest.contains("\"127.1\" is no address"), "{rest}");
    assert!(read("").unwrap().engine.outward.judge_url("http://127.0.0.1/").is_err());
}

#[test]
fn an_unknown_key_and_a_wrong_type_are_refused_with_their_line() {
    let error = refused("[queue.imports]\nlaese = \"30s\"\n");
    assert!(
        error.starts_with("relais.toml:2: unknown field `laese`, expected one of `"),
        "{error}"
    );
    let error = refused("[queue.imports]\n\nconcurrency = \"8\"\n");
    assert!(error.starts_with("relais.toml:3: invalid type: string \"8\""), "{error}");
    assert!(error.ends_with("in `concurrency = \"8\"`"), "{error}");
    let error = refused("[server]\nlisten = \"here\"\n");
    assert!(error.starts_with("relais.toml:2: \"here\": invalid socket address"), "{error}");
    assert!(refused("[server\n").starts_with("relais.toml:1: "));
}

#[test]
fn an_origin_of_pages_is_written_as_browsers_write_it() {
    let origins = "[\"https://shop.example.com\", \"http://localhost:3000\", \"https://[::1]:8\"]";
    let settings = read(&format!("[server]\ncors_origins = {origins}\n")).unwrap();
    assert_eq!(
        settings.server.cors_origins,
        ["https://shop.example.com", "http://localhost:3000", "https://[::1]:8"]
    );
    for (origin, why) in [
        ("*", "each origin must be named"),
        ("https://*.example.com", "each origin must be named"),
        ("null", "every sandboxed page"),
        ("", "an origin is http or https"),
        ("shop.example.com", "an origin is http or https"),
        ("ftp://shop.example.com", "an origin is http or https"),
        ("https://me:pw@shop.example.com", "an origin is http or https"),
        ("https://shop.example.com?x", "an origin is http or https"),
        ("https://bücher.example", "an origin is http or https"),
        ("https://shop.example.com/", "write \"https://shop.example.com\":"),
        ("https://shop.example.com/shop", "write \"https://shop.example.com\":"),
        ("https://shop.example.com:443", "write \"https://shop.example.com\":"),
        ("https://shop.example.com:", "an origin is http or https"),
        ("http://shop.example.com:80", "write \"http://shop.example.com\":"),
        ("HTTPS://Shop.example.com", "write \"https://shop.example.com\":"),
    ] {
        let error = refused(&format!("[server]\n\ncors_origins = [\"{origin}\"]\n"));
        assert!(error.starts_with("relais.toml:3: [server] cors_origins: "), "{origin}: {error}");
        assert!(error.contains(why), "{origin}: {error}");
    }
}

#[test]
fn absurd_durations_and_numbers_are_refused() {
    for value in
        ["\"0s\"", "\"-1s\"", "30", "0", "-1", "1e99", "nan", "\"\"", "\"5 minutes\"", "\"4000d\""]
    {
        for key in ["lease", "attempt_timeout", "deadline", "retention"] {
            let error = refused(&format!("[queue.q]\n{key} = {value}\n"));
            assert!(error.starts_with("relais.toml:2: ") && error.contains(key), "{error}");
        }
    }
    for line in [
        "concurrency = 0",
        "concurrency = -1",
        "concurrency_per_lane = 0",
        "capacity = 0",
        "capacity_per_ip = 0",
        "capacity = 10_000_001",
        "capacity_per_ip = 10_000_001",
        "rate = \"0/s\"",
        "rate = \"1/d\"",
        "rate = 5",
        "order = \"random\"",
        "lease = \"13h\"",
        "retry = { max_attempts = 0 }",
        "retry = { max_attempts = 101 }",
        "retry = { initial = \"0s\" }",
        "retry = { initial = \"10s\", max = \"5s\" }",
        "retry = { factor = 0.5 }",
        "retry = { factor = nan }",
        "retry = { factor = inf }",
        "lane_weights = { vip = 0 }",
        "lane_weights = { \"a\\u0000b\" = 1 }",
    ] {
        let error = refused(&format!("[queue.q]\n{line}\n"));
        assert!(error.starts_with("relais.toml:2: "), "{line}: {error}");
    }
    // Compound ones are understood, and never truncated.
    let settings =
        read("[queue.q]\nattempt_timeout = \"1h30m\"\nretry = { initial = \"10m\" }\n").unwrap();
    let policy = &settings.engine.queues[&"q".parse().unwrap()];
    assert_eq!(policy.attempt_timeout, Duration::from_secs(5400));
    assert_eq!(policy.retry.max, Duration::from_secs(600));
}

/// P6: the server dictates a third of the lease, so no configuration can
/// ask for less than it needs.
#[test]
fn heartbeats_are_always_shorter_than_the_lease() {
    for lease in ["1s", "30s", "12h"] {
        let settings = read(&format!("[queue.q]\nlease = {lease:?}\n")).unwrap();
        let policy = &settings.engine.queues[&"q".parse().unwrap()];
        assert!(policy.heartbeat_every() * 2 < policy.lease);
    }
}

#[test]
fn off_loopback_a_public_url_and_keys_are_needed() {
    let open = "[server]\nlisten = \"0.0.0.0:8080\"\n";
    assert!(refused(open).contains("public URL must be said"));
    let public = format!("{open}public_url = \"https://a.example\"\n");
    assert!(read(&public).unwrap().needs_stored_keys());
    let insecure = Overrides { insecure: true, ..Overrides::default() };
    let settings = read_with(&public, &insecure).unwrap();
    assert!(!settings.needs_stored_keys());
    assert!(settings.warnings.iter().any(|warning| warning.starts_with("--insecure")));
    let key =
        format!("{public}[[key]]\nname = \"a\"\nsecret_env = \"GOOD_KEY\"\nscopes = [\"read\"]\n");
    assert!(!read(&key).unwrap().needs_stored_keys());
    // The administration alone counts, too.
    let admin = "[server]\nadmin_listen = \"0.0.0.0:8081\"\n";
    assert!(read(admin).unwrap().needs_stored_keys());
}

#[test]
fn a_key_is_known_by_its_hash_and_its_text_never_shows() {
    let hash = "aa".repeat(32);
    let key =
        |line: &str| format!("[[key]]\nname = \"ci\"\nscopes = [\"submit\", \"read\"]\n{line}\n");
    let settings = read(&key(&format!("hash = \"sha256:{hash}\""))).unwrap();
    assert_eq!(settings.server.keys[0].hash, [0xaa; 32]);
    let scopes = settings.server.keys[0].scopes;
    assert!(scopes.submit && scopes.read && !scopes.work && !scopes.admin);
    let from_variable = read(&key("secret_env = \"GOOD_KEY\"")).unwrap().server.keys.remove(0);
    assert_eq!(from_variable.hash, relais_server::auth::hash_key("rk_0123456789012345678901"));
    for (line, what) in [
        ("hash = \"rk_this_is_the_key_itself\"", "take the key for stolen"),
        ("hash = \"abc\"", "64 hexadecimal digits"),
        ("hash = 5", "in `hash = …`"),
        ("secret_env = \"NOT_SET\"", "is not set"),
        ("secret_env = \"SHORT_KEY\"", "no API key"),
        ("", "give hash, or secret_env"),
    ] {
        let error = refused(&key(line));
        assert!(error.contains(what) && !error.contains("this_is_the_key"), "{line}: {error}");
    }
    let twice = key(&format!("hash = \"{hash}\"")).repeat(2);
    assert!(refused(&twice).contains("\"ci\" is there twice"));
    assert!(
        refused("[[key]]\nname = \"a b\"\nsecret_env = \"GOOD_KEY\"\nscopes = [\"root\"]\n")
            .lines()
            .count()
            == 2
    );
}

#[test]
fn limits_may_be_lowered_and_not_raised() {
    let settings =
        read("[limits]\nrequest_body = \"1MiB\"\nresult = 1000\nconnections = 10\n").unwrap();
    assert_eq!(settings.server.body_bytes_max, 1 << 20);
    assert_eq!((settings.engine.result_bytes_max, settings.server.connections_max), (1000, 10));
    for line in [
        "request_body = \"65MiB\"",
        "request_body = 0",
        "result = -1",
        "connections = 18_001",
        "tenant_capacity = 0",
        "result = \"1 KB\"",
    ] {
        let error = refused(&format!("[limits]\n{line}\n"));
        assert!(error.starts_with("relais.toml:2: "), "{error}");
    }
}

#[test]
fn a_template_is_the_policy_of_all_other_queues() {
    let settings = read("[queue.\"*\"]\norder = \"strict\"\nconcurrency_per_lane = 3\n").unwrap();
    assert_eq!(settings.engine.template.unwrap().order, Order::Strict);
    assert!(settings.warnings.iter().any(|warning| warning.contains("one task of a lane")));
}

/// The files of an upstream's TLS are read before the first call, and a mistake has its line.
#[test]
fn the_files_of_an_upstream_are_looked_at() {
    let table = |origin: &str, lines: &str| format!("[upstream.{origin:?}]\n{lines}\n");
    for (origin, lines, field) in [
        ("https://a", "ca = \"nowhere.pem\"", "ca"),
        ("https://a", "cert = \"nowhere.pem\"", "cert"),
        ("https://a", "key = \"nowhere.pem\"", "key"),
        ("https://a", "cert = \"nowhere.pem\"\nkey = \"nowhere.pem\"", "cert"),
        ("http://a", "ca = \"nowhere.pem\"", "ca"),
    ] {
        let error = refused(&table(origin, lines));
        let place = format!("relais.toml:2: [upstream.{origin:?}] {field}: ");
        assert!(error.starts_with(&place), "{error}");
    }
    assert!(refused(&table("http://a", "retry_after = \"task\"")).contains("lane"));
    let settings = read(&table("http://a", "retry_after = \"queue\"")).unwrap();
    let limits = settings.engine.upstreams["http://a"];
    assert_eq!(limits.retry_after, Some(relais_core::outcome::PauseScope::Queue));
}
