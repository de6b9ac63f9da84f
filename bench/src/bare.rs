//! The ceiling: a bare axum server on the same machine, in a process of its own.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use axum::Json;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Answers 202 to JSON, until it is killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let accept = |Json(body): Json<serde_json::Value>| async move {
        (
            StatusCode::ACCEPTED,
            Json(serde_json::json!({ "got": body.is_object() || body.is_array() })),
        )
    };
    let app = axum::Router::new()
        .route("/", post(accept))
        .route("/{*rest}", post(accept).get(|| async { "ok" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, app).await.context("the bare server stopped")
}

/// The bare server while it runs.
pub(crate) struct Bare {
    /// Where it listens.
    pub(crate) address: String,
    _child: Child,
}

impl Bare {
    /// Starts it as a process.
    pub(crate) async fn start(this: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(this)
            .arg("bare")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("could not start the bare server")?;
        let stdout = child.stdout.take().context("it has no output")?;
        let address = BufReader::new(stdout).lines().next_line().await?;
        Ok(Self { address: address.context("it said nothing")?, _child: child })
    }
}
