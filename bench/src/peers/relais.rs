//! Relais itself, as followers and callers see it beside the others.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::channel::{Channel, Running, message};
use super::program::said;
use super::work::{Service, Works};
use crate::Bench;
use crate::accept::task_json;
use crate::http::{Connection, HANDSHAKE, get, post};

/// Followers by WebSocket.
pub(crate) const SOCKET: &str = "/v1/ws";

/// The handshake of a WebSocket.
pub(crate) fn handshake() -> Vec<u8> {
    get(SOCKET, &format!("{HANDSHAKE}Sec-WebSocket-Protocol: relais.v1.json\r\n"))
}

/// The same, with a watch right behind it.
pub(crate) fn watch(task: &str) -> Vec<u8> {
    let ask = json!({ "op": "watch", "watch": "w", "task": task }).to_string();
    let len = u8::try_from(ask.len()).expect("an id is short");
    // One text, masked by nothing.
    let head = [0x81, 0x80 | len, 0, 0, 0, 0];
    [handshake(), head.to_vec(), ask.into_bytes()].concat()
}

/// The request of who follows one task by `path`, which has its id for `{id}`.
pub(crate) fn follow(path: &str, task: &str) -> Vec<u8> {
    match path {
        SOCKET => watch(task),
        _ => get(&path.replace("{id}", task), "Accept: text/event-stream\r\n"),
    }
}

/// Its version.
///
/// # Errors
/// Where the program cannot be run.
pub(crate) fn version(bench: &Bench) -> anyhow::Result<String> {
    let said = said(Command::new(&bench.relais).arg("--version"))?;
    Ok(said.trim_start_matches("relais ").to_owned())
}

/// Starts it with one task that a worker has leased; each piece of output is a message. `path` has
/// the task's id for `{id}`.
///
/// # Errors
/// Where it does not start or does not lease.
pub(crate) async fn start(bench: &Bench, path: &str) -> anyhow::Result<Channel> {
    // Longer than the followers take to connect, so that no heartbeat is needed meanwhile.
    let relais = bench.fresh("relais", "lease = \"10m\"").await?;
    let mut connection = Connection::open(&relais.address).await?;
    let answer = connection.call(&post("/v1/tasks", "", task_json().as_bytes())).await?;
    ensure!(answer.status == 202, "{}{}", answer.head, String::from_utf8_lossy(answer.body));
    let lease = json!({ "max": 1, "wait": "5s" }).to_string();
    let lease = post("/v1/queues/bench/leases", "", lease.as_bytes());
    let leases = connection.call(&lease).await?.json()?;
    let lease = &leases["leases"][0];
    let task = lease["task"].as_str().context("no task was leased")?;
    // A message is JSON, too.
    let message: serde_json::Value = serde_json::from_str(&message())?;
    let output = json!({ "items": [{ "token": lease["token"], "output": message }] }).to_string();
    Ok(Channel {
        follow: follow(path, task),
        publish: post("/v1/leases/heartbeat", "", output.as_bytes()),
        address: relais.address.clone(),
        server: Running::Relais(relais),
    })
}

/// Starts it before the service.
///
/// # Errors
/// Where one of both does not start.
pub(crate) async fn works(bench: &Bench, service: Service) -> anyhow::Result<Works> {
    let upstream = service.plain;
    let route = |path: &str, mode: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nupstream = \"http://127.0.0.1:{upstream}\"\nmode = \"{mode}\"\n"
        )
    };
    let routes = [route("/work", "async"), route("/call", "auto")].concat();
    let relais = bench.fresh("relais", &routes).await?;
    let body = task_json();
    Ok(Works {
        address: relais.address.clone(),
        accept: post("/v1/tasks", "", body.as_bytes()),
        known: |id| get(&format!("/v1/tasks/{id}/events"), "Accept: application/json\r\n"),
        submit: post("/work", "", body.as_bytes()),
        result: |id| get(&format!("/v1/tasks/{id}/result"), "Prefer: wait=30\r\n"),
        call: post("/call", "", body.as_bytes()),
        server: Running::Relais(relais),
        _service: service,
    })
}
