//! `relais bench`, with small numbers: what it counts is what the server has.

use std::path::Path;

use serde_json::Value;

use crate::process::{Server, output, relais, stderr, stdout};

const SMALL: [&str; 7] =
    ["bench", "--requests", "20", "--connections", "4", "--body-bytes", "1000"];

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().unwrap().next().is_none()
}

#[test]
fn a_bench_of_its_own_server_finds_every_task_again_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = relais(folder.path(), &[&SMALL[..], &["--json"]].concat());
    // A server that somebody uses must not get the load by accident.
    command.env("TMPDIR", folder.path()).env("RELAIS_URL", "http://127.0.0.1:1");
    let ended = output(command, b"");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let said: Value = serde_json::from_str(&stdout(&ended)).unwrap();
    for name in ["accepted", "settled", "life_cycles"] {
        assert_eq!(said[name]["count"], 20, "{name}: {said}");
        assert!(said[name]["per_second"].as_f64().unwrap() > 0.0, "{name}: {said}");
    }
    for name in ["submit_to_202_under_load", "submit_to_202", "submit_to_result"] {
        let figure = |member: &str| said[name][member].as_f64().unwrap();
        assert_eq!(said[name]["count"], 20, "{name}: {said}");
        assert!(figure("p50_ms") > 0.0 && figure("p50_ms") <= figure("max_ms"), "{name}: {said}");
    }
    assert_eq!(said["found_again"]["count"], 60);
    assert_eq!(said["server"]["own"], true);
    assert!(is_empty(folder.path()), "its folder is gone");
}

#[test]
fn a_bench_of_a_running_server_leaves_finished_tasks_that_go_soon() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let here = ["--url", &server.api];
    let ended = output(relais(folder.path(), &[&SMALL[..], &here].concat()), b"");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let table = stdout(&ended);
    let row = table.lines().find(|line| line.starts_with("found again by id")).unwrap();
    assert_eq!(row.split_whitespace().last(), Some("60"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert!(table.contains(&server.api), "{table}");
    let listed = server.run(folder.path(), &["tasks", "--json", "--limit", "100"]);
    let tasks: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tasks.len(), 60);
    for task in &tasks {
        assert_eq!(
            (&task["queue"], &task["status"]),
            (&"relais-bench".into(), &"succeeded".into())
        );
        assert_ne!(task["expires_at"], Value::Null, "{task}");
    }
}

#[test]
fn a_server_that_refuses_ends_the_bench_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("relais.toml"), "[queue.only]\n").unwrap();
    let server = Server::start(folder.path(), &[]);
    let args = [&SMALL[..], &["--url", &server.api]].concat();
    let ended = output(relais(folder.path(), &args), b"");
    assert_eq!(ended.status.code(), Some(1));
    assert!(stderr(&ended).contains("queue-not-found"), "{}", stderr(&ended));
    let args = [&args[..], &["--folder", "."]].concat();
    let ended = output(relais(folder.path(), &args), b"");
    assert!(stderr(&ended).contains("--folder"), "{}", stderr(&ended));
    let ended = output(relais(folder.path(), &["bench", "--seconds", "61"]), b"");
    assert_eq!(ended.status.code(), Some(2));
}
