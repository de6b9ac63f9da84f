//! Every key of `relais.toml`, its default and its meaning: what `docs/guide/configuration.md` is
//! made from. Tests hold it against the reader of the file and against the defaults.

use std::fmt::Write as _;

/// One table of the file.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// As it is written in the file.
    pub heading: &'static str,
    /// What it is for.
    pub about: &'static str,
    pub keys: &'static [Entry],
}

#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    /// Its default as it would be written in the file; empty if leaving it out means something that
    /// cannot be written.
    pub default: &'static str,
    /// What leaving it out means, where there is no default to write.
    pub without: &'static str,
    /// What it does, and what it may be.
    pub about: &'static str,
}

const fn key(name: &'static str, default: &'static str, about: &'static str) -> Entry {
    Entry { name, default, without: "", about }
}

const fn optional(name: &'static str, without: &'static str, about: &'static str) -> Entry {
    Entry { name, default: "", without, about }
}

/// Every table, in the order of the page.
pub const SECTIONS: &[Section] =
    &[SERVER, STORE, LIMITS, PAGE, WEBHOOKS, UPSTREAM, ROUTE, QUEUE, RETRY, KEY];

const SERVER: Section = Section {
    heading: "[server]",
    about: "Where Relais listens and what it calls itself.",
    keys: &[
        key(
            "listen",
            "\"127.0.0.1:8080\"",
            "Address and port of the front door and the task API; port 0 takes a free one.",
        ),
        key(
            "admin_listen",
            "\"127.0.0.1:8081\"",
            "Address and port of metrics and administration: another origin on purpose.",
        ),
        optional(
            "public_url",
            "links are made from `listen`; needed off loopback",
            "Scheme and host of absolute links. They are never built from a client's `Host`.",
        ),
        optional(
            "tls",
            "plain HTTP",
            "`{ cert = \"FILE\", key = \"FILE\" }`: `listen` speaks HTTPS, by HTTP/2 and HTTP/1.1. Both files are \
             PEM; `cert` begins with the listener's own, those that lead to a root follow.",
        ),
        optional("admin_tls", "plain HTTP", "The same for `admin_listen`."),
        key(
            "trusted_proxies",
            "[]",
            "Networks (`\"10.0.0.0/8\"`) whose `Forwarded` and `X-Forwarded-*` are believed.",
        ),
        optional(
            "fallback",
            "404",
            "URL of a service that gets the requests no route takes: plain synchronous proxy.",
        ),
        optional(
            "upstream_host",
            "`\"client\"` where its URL has a loopback or private address or a name without a dot, else \
             `\"upstream\"`",
            "The `Host` that `fallback`, or the service of `--upstream`, is sent: that of the `\"client\"`, \
             of the `\"upstream\"`, or a name.",
        ),
        key(
            "api_prefix",
            "\"\"",
            "Goes before every path of Relais itself on `listen`, such as `\"/_relais\"`.",
        ),
        key(
            "cors_origins",
            "[]",
            "Origins (`\"https://shop.example.com\"`) whose pages may call Relais' own endpoints and read \
             the answers, with credentials. No `\"*\"`. See the guide: browsers from another origin.",
        ),
        key("tenant", "\"default\"", "The tenant of callers without an API key."),
        key(
            "sealed_headers",
            "[]",
            "Header fields sealed at rest besides `Authorization` and `Cookie`.",
        ),
        key("header_timeout", "\"10s\"", "How long a client may take to send a request head."),
        key(
            "drain",
            "\"20s\"",
            "How long attempts that run may go on once the server takes nothing new, those of workers \
             as well. What ends earlier is not waited for.",
        ),
        key(
            "drain_delay",
            "\"0s\"",
            "How long a server that is told to stop only says so at `/readyz` before it refuses new \
             work: as long as a load balancer takes to look there.",
        ),
        key(
            "access_log",
            "false",
            "Whether each request has a line in the log once its answer stands: method, path, status, how \
             long it took, who asked (`client`, and \
             `peer`, the trusted proxy by which it came).",
        ),
        key(
            "name",
            "\"relais\"",
            "How Relais names itself in `Via`, by which it finds loops. Two Relais in a row need two \
             names. 1 to 64 letters, digits, `-`, `.`, `_`.",
        ),
    ],
};

const STORE: Section = Section {
    heading: "[store]",
    about: "Where tasks survive.",
    keys: &[key(
        "url",
        "\"sqlite:relais.db\"",
        "`sqlite:FILE`, or `memory:`, where nothing survives a stop. The key that seals credentials \
         is in `relais.key` beside the file, or in the variable `RELAIS_SEAL_KEY`.",
    )],
};

const LIMITS: Section = Section {
    heading: "[limits]",
    about: "Limits that may be lowered; `relais limits` prints all. Sizes are bytes, or text such as \
            `\"16MiB\"`.",
    keys: &[
        key("request_body", "\"64MiB\"", "Largest body of a request. The default is the most."),
        key("result", "\"256MiB\"", "Largest result of a task. The default is the most."),
        key(
            "tenant_capacity",
            "10_000_000",
            "Tasks not yet done that one tenant may hold. The default is the most.",
        ),
        key("connections", "18_000", "Connections at once. The default is the most."),
    ],
};

const PAGE: Section = Section {
    heading: "[page]",
    about: "Whose the pages are that people see while they wait: yours, before your customers. They speak \
            English and French, by the reader's browser.",
    keys: &[
        optional(
            "name",
            "pages are nobody's",
            "What your customers call you: one line of at most 60 characters, above each page and in its title.",
        ),
        optional(
            "color",
            "a blue",
            "Your colour as `\"#rrggbb\"`, on buttons and bars. What is written on it is black or white, whichever is read \
             better; where it would not be seen, it is made darker or lighter.",
        ),
        optional(
            "logo",
            "the name",
            "A file in SVG, PNG, JPEG or WebP of at most 64 KiB, shown in place of the name, 40 pixels high. It is read \
             at the start and at a reload. In the dark it stands on white.",
        ),
    ],
};

const WEBHOOKS: Section = Section {
    heading: "[webhooks]",
    about: "Where Relais calls for callers and tenants who name a URL. It calls the public internet alone: an address \
            that is private, loopback, link-local (where clouds keep their metadata) or otherwise reserved is \
            refused when it is named, and again when it is dialled, by the address that its name led to.",
    keys: &[key(
        "allow",
        "[]",
        "What is let through all the same: an address (`\"127.0.0.1:9000\"`, `\"[::1]:9000\"`), a network \
         (`\"10.0.0.0/8\"`, `\"[fd00::/8]:443\"`) or a name with whatever it leads to (`\"hook.internal\"`), each with \
         one port or with all. Whoever may name URLs can learn which ports of an entry answer: say the port.",
    )],
};

const UPSTREAM: Section = Section {
    heading: "[upstream.\"http://127.0.0.1:9000\"]",
    about: "Protects one service, named by scheme and host, across all queues and tenants.",
    keys: &[
        key("concurrency", "64", "Calls at the same time, 1 or more."),
        optional("rate", "no limit", "Calls started, such as `\"500/s\"`, `\"5/m\"`, `\"10/h\"`."),
        optional(
            "retry_after",
            "by the status",
            "What stands still when it answers with `Retry-After`: `\"origin\"`, all calls of it; \
             `\"queue\"`, those of the tenant's queue; `\"lane\"`, those of the task's lane, or of the \
             queue if it has none. Left out, a 429 is about the lane and everything else about the origin.",
        ),
        optional(
            "ca",
            "the public roots and the system's",
            "A PEM file of the only authorities that an `https` upstream's certificate may be of.",
        ),
        optional(
            "cert",
            "no certificate",
            "A PEM file with the certificate that Relais calls with, and its chain behind it.",
        ),
        optional("key", "is needed with `cert`", "A PEM file with the key of `cert`."),
    ],
};

const ROUTE: Section = Section {
    heading: "[[route]]",
    about: "Which incoming requests become tasks, and how they are run. The most specific path wins.",
    keys: &[
        optional(
            "path",
            "is needed",
            "With `{name}` for one segment and a last `{*rest}` for all that follows.",
        ),
        key("methods", "[]", "Methods it takes; none takes all but CONNECT and TRACE."),
        optional(
            "upstream",
            "is needed; refused with `run = \"workers\"`",
            "URL of the service that runs its tasks; a path in it goes before the request's. It cannot be \
             this server itself.",
        ),
        key("run", "\"upstream\"", "`\"upstream\"`, or `\"workers\"`, who lease its tasks."),
        key(
            "mode",
            "\"auto\"",
            "`\"auto\"` answers directly if done within `wait`, else with a ticket; `\"async\"` with a \
             ticket; `\"prefer\"` synchronously unless the client says `respond-async`; `\"sync\"` \
             synchronously, without a task.",
        ),
        key("wait", "\"10s\"", "How long `auto` waits unless the client asks for less or more."),
        key("wait_max", "\"55s\"", "The most a client may ask it to wait, at most `\"55s\"`."),
        key("queue", "\"default\"", "The queue of its tasks; it need not be defined."),
        optional("tenant", "that of `[server]`", "The tenant of callers without an API key."),
        optional(
            "lane",
            "no lane",
            "Where the lane comes from: `\"header:NAME\"`, `\"path:NAME\"`, `\"query:NAME\"`, `\"ip\"`, \
             `\"const:VALUE\"`.",
        ),
        key(
            "idempotent",
            "\"auto\"",
            "Whether a request may be sent again after a lost answer: `\"auto\"` (by its method), \
             `true`, `false`.",
        ),
        key(
            "access",
            "\"ticket\"",
            "Who may see its tasks: `\"ticket\"` (whoever has it), `\"caller:header:NAME\"` (whoever \
             sends the same value), `\"key\"` (a key of the tenant).",
        ),
        key("ticket", "[\"read\"]", "What a ticket allows: `\"read\"`, `\"cancel\"`, `\"retry\"`."),
        key(
            "abandon",
            "\"continue\"",
            "What becomes of a task when the last client that waits for it, reads its answer or follows it \
             has left: `\"continue\"`; `\"cancel\"`, at once; or `\"cancel after 60s\"`, unless one \
             comes back before, 3s or more. The time begins when a connection breaks that waited, \
             streamed or followed: a poll begins none, and each look puts it off.",
        ),
        optional(
            "keepalive",
            "off",
            "After how long a silence of its upstream an event stream (`text/event-stream`, neither coded nor \
             with a length) that is streamed through gets a comment, `:relais` and a blank line, between two \
             events; 1s or more, `\"15s\"` is usual.",
        ),
        optional(
            "double_submit",
            "off",
            "How long after a request the same one, without `Idempotency-Key`, is taken for a second click \
             and joined to its task: at most `\"1h\"`; `\"10s\"` is usual. The same is: method, address, body \
             (whatever the boundary of a form with files), `Accept`, `Content-Encoding` and credentials (API \
             key, `Authorization`, and the cookies beside one of these two or beside `double_submit_cookie`). None \
             is joined to a task that was canceled. With neither `double_submit_cookie` nor \
             `double_submit_field` no browser is joined that sends no `Authorization`: `relais check` warns.",
        ),
        optional(
            "double_submit_cookie",
            "nobody is known by a cookie",
            "The cookie of the service that says who somebody is, such as `\"session\"`: whoever sends it is \
             known by all cookies. Without it two strangers with the same `consent=yes` would be one.",
        ),
        optional(
            "double_submit_field",
            "who is not known is not joined",
            "The field of a form, or parameter, that the service draws anew for each page it shows, such as \
             `\"csrf_token\"`: by it, their address and their cookies, two requests of nobody known are the same.",
        ),
        key(
            "allow",
            "[\"delay\", \"run-at\", \"priority\", \"lane\", \"deadline\", \"label\"]",
            "Options a caller may set by header (`Relais-Delay`…).",
        ),
        key("report", "false", "Whether the upstream gets a lease to heartbeat and report with."),
        key(
            "upstream_host",
            "\"upstream\"",
            "The `Host` that is sent: that of the `\"upstream\"`, of the `\"client\"`, or a name. TLS \
             always goes by the name in the URL.",
        ),
        key(
            "cors",
            "\"upstream\"",
            "Who says which pages of other origins may call it and read its answers: the `\"upstream\"`, \
             whose preflights and fields pass untouched, or `\"relais\"`, by `cors_origins`.",
        ),
        optional("follow", "", "Not available yet: refused."),
        optional("callback", "", "Not available yet: refused."),
        optional("webhook", "", "Not available yet: refused."),
    ],
};

const QUEUE: Section = Section {
    heading: "[queue.imports]",
    about: "The policy of each tenant's queue of that name. `[queue.\"*\"]` is that of all queues that \
            no table names; without it, and with a file, there are none but those of routes.",
    keys: &[
        optional("concurrency", "no limit", "Attempts at the same time, 1 to 2147483647."),
        optional("concurrency_per_lane", "no limit", "The same in each lane."),
        optional(
            "rate",
            "no limit",
            "Attempts started, such as `\"100/s\"`; a burst of one second.",
        ),
        optional("rate_per_lane", "no limit", "The same in each lane."),
        key(
            "order",
            "\"fair\"",
            "`\"fair\"`: by priority and age, lanes take turns; `\"strict\"`: each lane one after the \
             other.",
        ),
        key(
            "lease",
            "\"30s\"",
            "How long a worker may be silent, 1s to 12h; it is told to heartbeat each third.",
        ),
        key("attempt_timeout", "\"10m\"", "How long one attempt may take, 1ms or more."),
        key("deadline", "\"24h\"", "How long after its first moment to run a task must be done."),
        key("retention", "\"7d\"", "How long a task is kept once it is done."),
        key("capacity", "1_000_000", "Tasks not yet done that it holds at most, 1 to 10000000."),
        optional(
            "capacity_per_ip",
            "a quarter of it",
            "Of them, those that callers without a key hand in from one address; of IPv6: one /64.",
        ),
        optional("retry", "", "See below."),
        optional("lane_weights", "1 each", "Shares of lanes, such as `{ vip = 5 }`, 1 to 1000."),
    ],
};

const RETRY: Section = Section {
    heading: "[queue.imports.retry]",
    about: "When failed attempts are made again. Half of each wait is drawn. Of an upstream, \
            where repeating does no harm (GET, HEAD, OPTIONS, QUERY, PUT, DELETE, or a route with `idempotent = true`): 408, 425, \
            429, 5xx and broken calls; of other methods: 425, 429, 503, and calls of which nothing was sent. All else is \
            final (promise 2 of [protocol.md](../protocol.md)). Of a worker: all but what it settles with `retryable: false`.",
    keys: &[
        key("max_attempts", "5", "Attempts in all, 1 to 100; 1 means no retry."),
        key("initial", "\"1s\"", "The wait after the first failure."),
        key("max", "\"5m\"", "The longest wait."),
        key("factor", "2.0", "By how much each wait is longer than the one before, 1.0 to 1000.0."),
    ],
};

const KEY: Section = Section {
    heading: "[[key]]",
    about: "An API key, as `relais key add` prints it. The key itself is nowhere in the file.",
    keys: &[
        optional("name", "is needed", "For people: 1 to 64 letters, digits, `-`, `_`, `.`."),
        optional(
            "hash",
            "is needed, or `secret_env`",
            "SHA-256 of the key, 64 hexadecimal digits.",
        ),
        optional("secret_env", "is needed, or `hash`", "A variable that holds the key itself."),
        key("tenant", "\"default\"", "Whose key it is."),
        optional(
            "scopes",
            "is needed",
            "`\"submit\"`, `\"read\"`, `\"work\"`, `\"admin\"`, `\"operator\"`.",
        ),
    ],
};

#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        let Section { heading, about, keys } = section;
        // Writing to a string cannot fail.
        let _ = writeln!(page, "\n## `{heading}`\n\n{about}\n");
        page.push_str("| key | default | what it does |\n|---|---|---|\n");
        for Entry { name, default, without, about } in *keys {
            let default = match (default.is_empty(), without.is_empty()) {
                (false, _) => format!("`{default}`"),
                (true, false) => (*without).to_owned(),
                (true, true) => "–".to_owned(),
            };
            let _ = writeln!(page, "| `{name}` | {default} | {about} |");
        }
    }
    page.push_str(VARIABLES);
    page
}

const HEAD: &str = "\
# Configuration

<!-- Made by a test from crates/relais/src/config/reference.rs: change it there, then `cargo xtask docs`. -->

`relais serve` reads `relais.toml` in its working folder, or the file that `--config` names; without either it has
the defaults below. Flags win over the environment, the environment over the file, the file over the defaults.
`relais check` judges all of it, names each mistake with its line, and says what the rest means. It looks at the store
if there is one, and changes nothing.

Durations are text: whole numbers with `d`, `h`, `m`, `s`, `ms` (`\"30s\"`, `\"1h30m\"`), at most `\"3650d\"`. Rates are a
whole number and a period: `\"100/s\"`, `\"5/m\"`, `\"10/h\"`. A key that is not on this page is refused.
";

const VARIABLES: &str = "
## Flags and variables

| flag of `relais serve` and `check` | variable | key |
|---|---|---|
| `--config` | `RELAIS_CONFIG` | – |
| `--listen` | `RELAIS_LISTEN` | `[server] listen` |
| `--admin-listen` | `RELAIS_ADMIN_LISTEN` | `[server] admin_listen` |
| `--public-url` | `RELAIS_PUBLIC_URL` | `[server] public_url` |
| `--store` | `RELAIS_STORE` | `[store] url` |
| `--upstream` | `RELAIS_UPSTREAM` | a route for everything that no other takes |
| `--upstream-host` | `RELAIS_UPSTREAM_HOST` | `[server] upstream_host` |
| `--insecure` | `RELAIS_INSECURE` | – : calls without a key are taken off loopback, too |
| `--allow-lost-seal-key` | `RELAIS_ALLOW_LOST_SEAL_KEY` | – : goes on although credentials are sealed with a key that is not there |
| `--access-log` (`serve`) | `RELAIS_ACCESS_LOG` | `[server] access_log` |
| `--log` (`serve`) | `RELAIS_LOG` | – : `human` or `json`; `RUST_LOG` says what is logged |
| – | `RELAIS_SEAL_KEY` | – : 32 bytes in hexadecimal or base64, instead of the file `relais.key` |

Off loopback Relais wants `public_url`, and an API key or `--insecure`.
";
