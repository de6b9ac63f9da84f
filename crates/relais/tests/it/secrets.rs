//! Secrets that callers, workers and upstreams entrust to a server: planted everywhere, found
//! nowhere they do not belong.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Running, output, relais, stderr, stdout};

/// It only bounds tests that fail.
const SOON: Duration = Duration::from_secs(20);
/// What every planted secret begins with.
const CANARY: &str = "canary";

/// Sends one request on a connection of its own, and reads all that comes back.
fn call(address: &str, head: &str, fields: &[(&str, &str)], body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut request = format!("{head} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A connection that breaks off has said all it will.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not an answer: {answer:?}")).1
}

fn document(answer: &str) -> Value {
    serde_json::from_str(body(answer)).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let found = fields.find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("no {name}: {answer}")).1
}

/// Takes one request, and answers it with these bytes; hands out what it was sent.
fn upstream_answers(upstream: &TcpListener, answer: &str) -> String {
    let mut stream = BufReader::new(upstream.accept().unwrap().0);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut request).unwrap() > 0);
    }
    let lower = request.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    stream.get_mut().write_all(answer.as_bytes()).unwrap();
    request + std::str::from_utf8(&body).unwrap()
}

fn assert_clean(what: &str, text: &str, secrets: &[&str]) {
    for secret in secrets.iter().chain([&CANARY]) {
        if let Some(at) = text.find(secret) {
            let from = text[..at].rfind('\n').map_or(0, |at| at + 1);
            let to = text[at..].find('\n').map_or(text.len(), |end| at + end);
            panic!("{secret} is in {what}: {}", &text[from..to]);
        }
    }
}

fn add_key(folder: &Path, tenant: &str) -> String {
    let scopes = "submit,read,work,admin";
    let add = ["key", "add", "--name", tenant, "--tenant", tenant, "--scope", scopes];
    let added = output(relais(folder, &[&add[..], &["--store", "sqlite:relais.db"]].concat()), b"");
    assert!(added.status.success(), "{}", stderr(&added));
    stdout(&added).trim().to_owned()
}

/// A server that logs everything, and what was entrusted to it so far.
struct Stage {
    folder: tempfile::TempDir,
    upstream: TcpListener,
    process: Running,
    api: String,
    admin: String,
    /// The keys of two tenants.
    ours: String,
    others: String,
    /// The tasks of the first.
    tasks: Vec<String>,
    /// Secrets that Relais has made itself: keys, lease tokens, tickets.
    kept: Vec<String>,
}

fn typed(key: &str) -> [(&str, &str); 2] {
    [("relais-api-key", key), ("content-type", "application/json")]
}

fn secret_fields(key: &str) -> [(&str, &str); 7] {
    [
        ("relais-api-key", key),
        ("authorization", "Bearer canary-authorization"),
        ("cookie", "session=canary-cookie"),
        ("x-api-key", "canary-api-key"),
        ("X_Api_Token", "canary-api-token"),
        ("content-type", "text/plain"),
        ("prefer", "wait=20"),
    ]
}

fn config(to: &str, unreachable: std::net::SocketAddr) -> String {
    let route = |path: &str, to: &str, mode: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nupstream = \"http://{to}\"\nmode = \"{mode}\"\n\
                 queue = \"work\"\nallow = [\"delay\", \"lane\"]\n"
        )
    };
    format!(
        "[server]\nsealed_headers = [\"x-api-key\", \"X_Api_Token\"]\n{}{}{}{}\
         [queue.work]\nretry = {{ max_attempts = 1 }}\n[queue.mine]\nretry = {{ max_attempts = 1 }}\n",
        route("/auto", to, "auto"),
        route("/sync", to, "sync"),
        route("/nobody", &unreachable.to_string(), "auto"),
        route("/nobody-sync", &unreachable.to_string(), "sync"),
    )
}

impl Stage {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let unreachable = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let to = upstream.local_addr().unwrap().to_string();
        std::fs::write(folder.path().join("relais.toml"), config(&to, unreachable)).unwrap();
        let (ours, others) = (add_key(folder.path(), "ours"), add_key(folder.path(), "others"));
        let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let args = [&["serve", "--config", "relais.toml"][..], &ports].concat();
        let mut command = relais(folder.path(), &args);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command.env("RUST_LOG", "trace").stderr(log);
        let mut process = Running::start(command);
        let mut line = String::new();
        process.stdout.read_line(&mut line).unwrap();
        let words: Vec<&str> =
            line.split_whitespace().map(|word| word.trim_start_matches("http://")).collect();
        let ["relais", "ready:", "api", api, "admin", admin] = words[..] else {
            panic!("{line:?}")
        };
        let (api, admin) = (api.to_owned(), admin.to_owned());
        let (tasks, kept) = (Vec::new(), vec![ours.clone(), others.clone()]);
        Self { folder, upstream, process, api, admin, ours, others, tasks, kept }
    }

    fn assert_clean(&self, what: &str, text: &str) {
        let kept: Vec<&str> = self.kept.iter().map(String::as_str).collect();
        assert_clean(what, text, &kept);
    }

    /// Plants at the door.
    fn call_upstreams(&mut self) {
        let query = "?token=canary-query&to=http://canary-user:canary-password@a.example/";
        let ours = self.ours.as_str();
        let secret_fields = secret_fields(ours);
        let whole = "HTTP/1.1 200 OK\r\nset-cookie: s=canary-set-cookie\r\nconnection: close\r\n\
                 content-length: 13\r\n\r\ncanary-answer";
        for (path, answer, code) in [
            ("/auto", Some(whole), None),
            ("/auto", Some("HTTP/1.1 2canary-garbage\r\n\r\n"), Some("outcome-unknown")),
            ("/auto", Some(""), Some("outcome-unknown")),
            ("/nobody", None, Some("upstream-unreachable")),
            ("/sync", Some(whole), None),
            ("/sync", Some("HTTP/1.1 2canary-garbage\r\n\r\n"), Some("outcome-unknown")),
            ("/nobody-sync", None, Some("upstream-unreachable")),
        ] {
            let head = format!("POST {path}{query}");
            let api = &self.api;
            let answered = std::thread::scope(|threads| {
                let calling = threads.spawn(|| call(api, &head, &secret_fields, "canary-body"));
                if let Some(answer) = answer {
                    let sent = upstream_answers(&self.upstream, answer);
                    for secret in
                        ["authorization", "cookie", "api-key", "api-token", "query", "body"]
                    {
                        assert!(
                            sent.contains(&format!("canary-{secret}")),
                            "{secret} is for it: {sent}"
                        );
                    }
                    assert!(!sent.contains(ours), "the key is for Relais: {sent}");
                }
                calling.join().unwrap()
            });
            match code {
                None => assert_eq!(body(&answered), "canary-answer", "{answered}"),
                Some(code) => {
                    assert_eq!(document(&answered)["code"], code, "{answered}");
                    assert_clean("a problem", &answered, &[ours, &self.others]);
                }
            }
            if !path.contains("sync") {
                self.tasks.push(field(&answered, "relais-task").to_owned());
            }
        }
    }

    /// Plants at the task API, as a worker as well.
    fn work(&mut self) {
        let (api, ours) = (self.api.clone(), self.ours.clone());
        let document_of = |head: &str, value: &Value| {
            document(&call(&api, head, &typed(&ours), &value.to_string()))
        };
        let submission = json!({
            "queue": "mine", "input": "canary-input", "checkpoint": "canary-checkpoint",
        });
        for outcome in [
            json!({"outcome": "succeed", "result": "canary-result"}),
            json!({"outcome": "fail", "problem": {"detail": "canary-detail"}, "message": {"en": "canary-message"}}),
        ] {
            let ticket = document_of("POST /v1/tasks", &submission);
            let id = ticket["id"].as_str().unwrap().to_owned();
            let leased = document_of("POST /v1/queues/mine/leases", &json!({"wait": "20s"}));
            let lease = leased["leases"][0].clone();
            assert_eq!(
                (lease["task"].as_str(), &lease["input"]),
                (Some(&*id), &json!("canary-input"))
            );
            let beat = json!({
                "token": lease["token"], "output": "canary-output", "checkpoint": "canary-checkpoint-2",
                "progress": {"percent": 10, "message": "canary-progress"},
            });
            let beat = document_of("POST /v1/leases/heartbeat", &json!({"items": [beat]}));
            assert_eq!(beat["items"][0]["status"], 200, "{beat}");
            let mut item = outcome;
            item["token"] = lease["token"].clone();
            let settled = document_of("POST /v1/leases/settle", &json!({"items": [item]}));
            assert_eq!(settled["items"][0]["status"], 200, "{settled}");
            self.kept.push(lease["token"].as_str().unwrap().to_owned());
            self.tasks.push(id);
        }
        let ticket = document_of("POST /v1/tasks", &submission);
        let (id, ticket) = (&ticket["id"], &ticket["ticket"]);
        if let Some(ticket) = ticket.as_str() {
            let target = format!("GET /v1/tasks/{}?ticket={ticket}", id.as_str().unwrap());
            assert!(call(&api, &target, &[], "").starts_with("HTTP/1.1 200"));
            self.kept.push(ticket.to_owned());
        }
    }

    /// What is wrong is told without repeating it.
    fn make_mistakes(&self) {
        let typed = typed(&self.ours);
        let secret_fields = secret_fields(&self.ours);
        for (head, fields, body) in [
            ("POST /v1/tasks", &typed[..], "{\"queue\": \"mine\", \"input\": \"canary-json\""),
            (
                "POST /v1/tasks",
                &typed,
                "{\"queue\": \"mine\", \"input_base64\": \"canary-base64!\"}",
            ),
            (
                "POST /v1/leases/settle",
                &typed,
                "{\"items\": [{\"token\": \"lease_canary\", \"outcome\": \"release\"}]}",
            ),
            ("GET /v1/tasks?ticket=canary-ticket", &[], ""),
            ("GET /v1/tasks", &[("authorization", "Bearer rk_canary")], ""),
            ("GET /v1/tasks", &[("relais-api-key", "rk_canary")], ""),
            ("GET /v1/leases/input", &[("relais-lease", "lease_canary")], ""),
            ("GET /nowhere?token=canary-query", &secret_fields, ""),
            ("POST /auto?token=canary-query", &[("relais-api-key", "rk_canary")], "canary-body"),
            ("POST /auto?token=canary-query", &[("transfer-encoding", "canary")], "canary-body"),
            ("PUT /v1/queues/mine?token=canary-query", &typed, "{\"rate\": []}"),
        ] {
            let refused = call(&self.api, head, fields, body);
            assert!(
                refused.starts_with("HTTP/1.1 4") || head.contains("settle"),
                "{head}: {refused}"
            );
            self.assert_clean(&format!("the answer to {head}"), &refused);
        }
    }

    /// Another tenant sees nothing, however it asks.
    fn pry(&self) {
        let theirs = typed(&self.others);
        let ask = |head: &str, body: &str| {
            let answer = call(&self.api, head, &theirs, body);
            self.assert_clean(&format!("the answer to {head}"), &answer);
            answer
        };
        for id in &self.tasks {
            for head in [
                format!("GET /v1/tasks/{id}"),
                format!("GET /v1/tasks/{id}/result"),
                format!("GET /v1/tasks/{id}/events?after=0"),
                format!("GET /v1/tasks/{id}/why"),
                format!("POST /v1/tasks/{id}/cancel"),
                format!("POST /v1/tasks/{id}/retry"),
                format!("DELETE /v1/tasks/{id}"),
            ] {
                assert!(ask(&head, "").starts_with("HTTP/1.1 404"), "{head}");
            }
            ask(&format!("GET /v1/events?task={id}"), "");
        }
        assert_eq!(document(&ask("GET /v1/tasks", "")), json!({"items": []}));
        assert_eq!(document(&ask("GET /v1/queues", "")), json!({"items": []}));
        assert_eq!(document(&ask("POST /v1/queues/mine/leases", ""))["leases"], json!([]));
        for token in self.kept.iter().filter(|secret| secret.starts_with("lease_")) {
            let settle = json!({"items": [{"token": token, "outcome": "succeed"}]}).to_string();
            assert_eq!(
                document(&ask("POST /v1/leases/settle", &settle))["items"][0]["status"],
                409
            );
        }
    }

    fn read_metrics(&self) {
        for path in ["/metrics", "/healthz", "/readyz"] {
            let shown = call(&self.admin, &format!("GET {path}"), &typed(&self.ours), "");
            assert!(shown.starts_with("HTTP/1.1 200"), "{shown}");
            self.assert_clean(path, &shown);
        }
    }

    /// What is sealed is not in the file either, and nothing is in the log.
    fn end(mut self) {
        self.process.signal("TERM");
        let mut rest = String::new();
        self.process.stdout.read_to_string(&mut rest).unwrap();
        assert!(self.process.child.wait().unwrap().success());
        let file = std::fs::read(self.folder.path().join("relais.db")).unwrap();
        let file = String::from_utf8_lossy(&file);
        assert!(file.contains("canary-input"), "the file is looked at as it is");
        // A name with an underscore in `sealed_headers` sealed nothing.
        let sealed =
            ["canary-authorization", "canary-cookie", "canary-api-key", "canary-api-token"];
        for secret in sealed.iter().chain([&self.ours.as_str(), &self.others.as_str()]) {
            assert!(!file.contains(secret), "{secret} is in the store");
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        assert!(log.contains("TRACE") && log.contains("DEBUG"), "everything is logged: {log}");
        self.assert_clean("the log", &log);
    }
}

/// P56: also with all that can be logged switched on.
#[test]
fn what_is_secret_is_in_no_log_no_problem_no_metric_and_no_answer_to_others() {
    let mut stage = Stage::start();
    stage.call_upstreams();
    stage.work();
    stage.make_mistakes();
    stage.pry();
    stage.read_metrics();
    stage.end();
}
