//! durable-streams, a server in Rust: streams in files, an append answered after an fdatasync.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::channel::{Channel, Running, message};
use super::program::{Program, free_port};
use crate::http::{Connection, get, post};

/// What installs it.
pub(crate) const INSTALL: &str =
    "cargo install --root target/peers/durable-streams durable-streams";

/// Its version, as cargo has noted it.
///
/// # Errors
/// Where it is not installed below `peers`.
pub(crate) fn version(peers: &Path) -> anyhow::Result<String> {
    ensure!(program(peers).is_file(), "it is not installed");
    let notes = std::fs::read_to_string(peers.join("durable-streams/.crates.toml"))
        .context("could not read what cargo installed")?;
    let mut words = notes.lines().find_map(|line| line.strip_prefix("\"durable-streams "));
    let version = words.as_mut().and_then(|line| line.split(' ').next());
    Ok(version.context("cargo did not note its version")?.to_owned())
}

/// Starts it as it comes, with one stream of JSON.
///
/// # Errors
/// Where it does not start.
pub(crate) async fn start(peers: &Path, folder: &Path) -> anyhow::Result<Channel> {
    std::fs::create_dir_all(folder).context("could not make a folder")?;
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(program(peers));
    command.args(["--port", &port.to_string(), "--data-dir"]).arg(folder.join("data"));
    let mut program = Program::start(&mut command, &folder.join("log"))?;
    program.listens(&address).await?;
    let fields = "Content-Type: application/json\r\nContent-Length: 0\r\n\r\n";
    let create = format!("PUT /bench HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}");
    let mut connection = Connection::open(&address).await?;
    let answer = connection.call(create.as_bytes()).await?;
    ensure!(answer.status == 201, "{}", answer.head);
    Ok(Channel {
        address,
        follow: get("/bench?offset=now&live=sse", "Accept: text/event-stream\r\n"),
        publish: post("/bench", "", message().as_bytes()),
        server: Running::Peer(program),
    })
}

fn program(peers: &Path) -> PathBuf {
    peers.join("durable-streams/bin/durable-streams-server")
}
