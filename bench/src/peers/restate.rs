//! Restate: a server that pushes invocations to a service, here through its SDK for Node.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::channel::Running;
use super::program::{Program, free_port, said};
use super::work::{Service, Works};
use crate::accept::task_json;
use crate::http::{Connection, get, post};

/// What installs it.
pub(crate) const INSTALL: &str = "sudo apt-get install nodejs npm; cargo xtask bench peers";

/// Its version.
///
/// # Errors
/// Where it is not installed below `peers`.
pub(crate) fn version(peers: &Path) -> anyhow::Result<String> {
    ensure!(program(peers).is_file(), "it is not installed");
    let server = said(Command::new(program(peers)).arg("--version"))?;
    let node = said(Command::new("node").arg("--version"))?;
    let server = server.trim_start_matches("restate-server ");
    Ok(format!("{server}, Node {}", node.trim_start_matches('v')))
}

/// Starts it as it comes (one node, 24 partitions, its log in RocksDB with fsync) and tells it of
/// the service.
///
/// # Errors
/// Where it does not start or does not take the service.
pub(crate) async fn works(peers: &Path, folder: &Path, service: Service) -> anyhow::Result<Works> {
    std::fs::create_dir_all(folder).context("could not make a folder")?;
    let port = || free_port().map(|port| format!("127.0.0.1:{port}"));
    let (node, ingress, admin) = (port()?, port()?, port()?);
    let mut command = Command::new(program(peers));
    command
        .args(["--no-logo", "--listen-mode", "tcp", "--node-name", "bench", "--bind-address"])
        .arg(node)
        .arg("--base-dir")
        .arg(folder.join("data"))
        .env("RESTATE_INGRESS__BIND_ADDRESS", &ingress)
        .env("RESTATE_ADMIN__BIND_ADDRESS", &admin)
        .env("RESTATE_LOG_FILTER", "warn")
        .env("RESTATE_DISABLE_TELEMETRY", "true")
        .env("DO_NOT_TRACK", "1");
    let mut program = Program::start(&mut command, &folder.join("log"))?;
    program.until(|| is_healthy(&ingress, "/restate/health")).await?;
    program.until(|| is_healthy(&admin, "/health")).await?;
    let told = json!({ "uri": format!("http://127.0.0.1:{}", service.restate) }).to_string();
    let mut connection = Connection::open(&admin).await?;
    let answer = connection.call(&post("/deployments", "", told.as_bytes())).await?;
    ensure!(answer.status == 201, "{}{}", answer.head, String::from_utf8_lossy(answer.body));
    let body = task_json();
    Ok(Works {
        address: ingress,
        // Nothing runs while accepts are counted, as with Relais.
        accept: post("/bench/run/send?delay=1h", "", body.as_bytes()),
        known: |id| get(&format!("/restate/invocation/{id}/output"), ""),
        submit: post("/bench/run/send", "", body.as_bytes()),
        result: |id| get(&format!("/restate/invocation/{id}/attach"), ""),
        call: post("/bench/run", "", body.as_bytes()),
        server: Running::Peer(program),
        _service: service,
    })
}

async fn is_healthy(address: &str, path: &str) -> bool {
    let asked = async {
        let mut connection = Connection::open(address).await?;
        Ok::<_, anyhow::Error>(connection.call(&get(path, "")).await?.status)
    };
    asked.await.is_ok_and(|status| status == 200)
}

/// The program itself: the wrapper in `.bin` would outlive a kill.
fn program(peers: &Path) -> PathBuf {
    let system = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let package = format!("restate/node_modules/@restatedev/restate-server-{system}-{processor}");
    peers.join(package).join("bin/restate-server")
}
