//! Looking at tasks from the command line: what they are, why they wait, what came of them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use crate::process::{Server, output, relais, stderr, stdout};

/// A command in the folder of a server, which nobody says the address of.
fn here(folder: &Path, args: &[&str]) -> Output {
    output(relais(folder, args), b"")
}

#[test]
fn tasks_of_the_server_of_this_folder_are_looked_at_without_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let upstream = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let rest = format!(
        "[[route]]\npath = \"/orders\"\nupstream = \"http://{}\"\nmode = \"async\"\n\
         queue = \"orders\"\nlane = \"const:c-17\"\n[queue.worked]\n",
        upstream.local_addr().unwrap()
    );
    std::fs::write(folder.join("relais.toml"), &rest).unwrap();
    let server = Server::start(folder, &[]);
    let address = server.api.strip_prefix("http://").unwrap();
    let file = format!("[server]\nlisten = \"{address}\"\n{rest}");
    std::fs::write(folder.join("relais.toml"), file).unwrap();

    let answer = server.get("/orders?secret=1");
    let task = answer.split("relais-task: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut call = BufReader::new(upstream.accept().unwrap().0);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(call.read_line(&mut head).unwrap() > 0);
    }
    let shown = stdout(&here(folder, &["show", task]));
    for line in ["status        running", "request       GET /orders", "lane          c-17"] {
        assert!(shown.lines().any(|one| one == line), "{line}: {shown}");
    }
    let early = here(folder, &["result", task, "-o", "out"]);
    assert_eq!(early.status.code(), Some(1));
    assert!(stderr(&early).contains("is running: relais watch"), "{}", stderr(&early));
    assert!(!folder.join("out").exists());

    call.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").unwrap();
    assert!(here(folder, &["watch", task]).status.success());
    assert!(here(folder, &["result", task, "-o", "out"]).status.success());
    assert_eq!(std::fs::read(folder.join("out")).unwrap(), b"done");
    assert_eq!(here(folder, &["result", task]).stdout, b"done");

    let labels = ["submit", "-", "--queue", "worked", "--label", "order=A-1"];
    let waiting = stdout(&output(relais(folder, &labels), b"{}")).trim().to_owned();
    let why = stdout(&here(folder, &["why", &waiting]));
    assert!(
        why.starts_with(&format!("{waiting} queued\n")) && why.contains("no-worker: "),
        "{why}"
    );
    let listed = stdout(&here(folder, &["tasks"]));
    let row = |id: &str| listed.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(row(task).contains("GET /orders") && row(task).contains("c-17"), "{listed}");
    assert!(row(&waiting).contains("order=A-1"), "{listed}");
}

#[test]
fn why_tells_of_a_failed_task_what_can_be_done() {
    // It said "failed" and nothing else.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::start(folder, &[]);
    let submit = server.command(folder, &["submit", "-", "--queue", "work"]);
    let task = stdout(&output(submit, b"{}")).trim().to_owned();
    let exec = "echo no card >&2; kill $PPID; exit 100";
    let work = server.command(folder, &["work", "--queue", "work", "--exec", exec]);
    assert!(output(work, b"").status.success());
    let why = stdout(&output(server.command(folder, &["why", &task]), b""));
    let more = format!("more of it: {}/problems/handler-failed", server.api);
    let retry = format!("relais retry {task}");
    for part in ["handler-failed: no card", "1 of 5 attempts failed", &retry, &more] {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(output(server.command(folder, &["retry", &task]), b"").status.success());
    let listed = stdout(&output(server.command(folder, &["tasks"]), b""));
    assert!(
        listed.lines().any(|line| line.starts_with(&task) && line.contains(" 0/5 ")),
        "{listed}"
    );
}

#[test]
fn a_queue_that_was_taken_out_of_the_file_is_named_by_check_and_by_the_start() {
    // Its tasks were stranded in silence.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let write = |text: &str| std::fs::write(folder.join("relais.toml"), text).unwrap();
    write("[queue.kept]\n[queue.dropped]\n");
    let server = Server::start(folder, &[]);
    let submit = server.command(folder, &["submit", "-", "--queue", "dropped"]);
    assert!(output(submit, b"{}").status.success());
    write("[queue.kept]\n");
    let warning = "the queue dropped of tenant default has 1 task and is not defined";
    // Beside the running server as well.
    assert!(stderr(&here(folder, &["check"])).contains(warning));
    server.process.signal("TERM");
    assert_eq!(server.process.end().0, Some(0));
    let _server = Server::logging(folder, &[], &[]);
    while !std::fs::read_to_string(folder.join("log")).unwrap().contains(warning) {
        std::thread::yield_now();
    }
}

/// `queues show` printed JSON to people, although nobody had asked for it.
#[test]
fn a_queue_is_shown_in_words_and_in_json_to_who_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("relais.toml"), "[queue.q]\nrate = \"5/s\"\n").unwrap();
    let server = Server::start(folder, &[]);
    let submit = server.command(folder, &["submit", "-", "--queue", "q"]);
    assert!(output(submit, b"{}").status.success());
    let words = server.run(folder, &["queues", "show", "q"]);
    let said: Vec<_> =
        words.lines().map(|line| line.rsplit_once("  ").unwrap_or_default()).collect();
    for (name, value) in [
        ("queue", "q"),
        ("state", "open"),
        ("tasks queued", "1"),
        ("policy by", "the file"),
        ("policy rate", "5/s"),
        ("policy retry max_attempts", "5"),
    ] {
        assert!(said.iter().any(|one| (one.0.trim(), one.1) == (name, value)), "{name}: {words}");
    }
    let json = server.run(folder, &["queues", "show", "q", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["name"], &json["policy"]["rate"]), (&"q".into(), &"5/s".into()));
}

/// With a `public_url` and no keys each command in the folder of the file was refused.
#[test]
fn a_command_in_the_folder_of_a_public_server_without_keys_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = "[server]\npublic_url = \"https://api.example.com\"\n";
    let queue = "[queue.q]\n";
    std::fs::write(folder.join("relais.toml"), format!("{file}{queue}")).unwrap();
    let server = Server::start(folder, &[]);
    let listens = |name, url: &str| format!("{name} = {:?}\n", &url["http://".len()..]);
    let admin = listens("admin_listen", &server.admin);
    let file = format!("{file}{}{admin}{queue}", listens("listen", &server.api));
    std::fs::write(folder.join("relais.toml"), file).unwrap();
    let submit = output(relais(folder, &["submit", "-", "--queue", "q"]), b"{}");
    assert!(submit.status.success(), "{}", stderr(&submit));
    let task = stdout(&submit).trim().to_owned();
    for args in [&["why", &task][..], &["tasks"]] {
        let told = here(folder, args);
        assert!(told.status.success() && stdout(&told).contains(&task), "{}", stderr(&told));
    }
}
