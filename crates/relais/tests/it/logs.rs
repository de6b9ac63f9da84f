//! The log: what went wrong is in it, secrets are not, and nobody has to read it.

use std::net::TcpListener;
use std::process::Stdio;

use crate::process::{Server, log_with, relais};

/// The line that holds all these texts.
fn line<'a>(log: &'a str, texts: &[&str]) -> &'a str {
    let found = log.lines().find(|line| texts.iter().all(|text| line.contains(text)));
    found.unwrap_or_else(|| panic!("no line with {texts:?}: {log}"))
}

#[test]
fn each_failure_has_a_line_with_cause_duration_and_next_try() {
    // Failed attempts, failed tasks and refused work appeared nowhere.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // A port that was free a moment ago.
    let dead = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let file = format!(
        "[[route]]\npath = \"/dead\"\nupstream = \"http://{dead}\"\nmode = \"async\"\n\
         queue = \"pushed\"\n[queue.pushed]\ncapacity = 1\n\
         retry = {{ max_attempts = 2, initial = \"1ms\", max = \"1ms\" }}\n\
         [[route]]\npath = \"/full\"\nupstream = \"http://{dead}\"\nmode = \"async\"\n\
         queue = \"full\"\n[queue.full]\ncapacity = 1\n\
         [[route]]\npath = \"/late\"\nrun = \"workers\"\nmode = \"async\"\nqueue = \"late\"\n\
         [queue.late]\ndeadline = \"100ms\"\nattempt_timeout = \"100ms\"\n"
    );
    std::fs::write(folder.join("relais.toml"), file).unwrap();
    let server = Server::logging(folder, &["--access-log"], &[]);
    let answer = server.get("/dead?token=the-secret");
    let task = answer.split("relais-task: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let log = log_with(folder, "a task failed");
    let failed = line(&log, &["an attempt failed", task]);
    for what in
        ["attempt=1", "cause=\"error\"", "code=\"upstream-unreachable\"", "took=", "next_in="]
    {
        assert!(failed.contains(what), "{what}: {failed}");
    }
    line(&log, &["a task failed", task, "attempt=2", "code=\"upstream-unreachable\""]);
    line(&log, &["relais::access", "method=GET", "path=\"/dead\"", "status=202", task]);
    assert!(!log.contains("the-secret"), "{log}");
    // The cause of a deadline had a word of its own, "time", which no event knows.
    server.get("/late");
    let log = log_with(folder, "deadline-exceeded");
    line(&log, &["a task failed", "code=\"deadline-exceeded\"", "cause=\"timeout\""]);
    for _ in 0..5 {
        server.get("/full");
    }
    let log = log_with(folder, "queue-full");
    let refused = line(&log, &["a request was refused", "code=\"queue-full\"", "status=429"]);
    assert!(refused.contains("count=1"), "{refused}");
    assert_eq!(log.matches("a request was refused").count(), 1, "a kind has a line now and then");
}

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    // Each line waited for the pipe: a stuck collector of logs was an outage.
    let folder = tempfile::tempdir().unwrap();
    let ports = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut command = relais(folder.path(), &ports);
    command.env("RUST_LOG", "trace").stderr(Stdio::piped());
    let server = Server::by(command);
    for _ in 0..300 {
        assert!(server.get("/healthz").starts_with("HTTP/1.1 200"));
    }
    server.process.signal("TERM");
    assert_eq!(server.process.end().0, Some(0));
}
