//! nchan, a module of nginx: channels in memory, which followers read as server-sent events or by WebSocket.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::channel::{Channel, Running, message};
use super::program::{Program, free_port, said};
use crate::http::{HANDSHAKE, get, post};

/// What installs it.
pub(crate) const INSTALL: &str = "sudo apt-get install nginx-light libnginx-mod-nchan";
/// Where Debian puts the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Its versions.
///
/// # Errors
/// Where it is not installed.
pub(crate) fn version() -> anyhow::Result<String> {
    ensure!(Path::new(MODULE).is_file(), "it is not installed");
    let nginx = said(nginx().arg("-v"))?;
    let nginx = nginx.rsplit('/').next().unwrap_or_default();
    let format = "--showformat=${Version}";
    let nchan = said(Command::new("dpkg-query").args(["--show", format, "libnginx-mod-nchan"]))?;
    // Of 1:1.3.6+dfsg-2 the middle is nchan's own.
    let nchan = nchan.rsplit(':').next().unwrap_or_default();
    let nchan = nchan.split(['+', '-']).next().unwrap_or_default();
    Ok(format!("{nchan} on nginx {nginx}"))
}

/// How it is followed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    Sse,
    WebSocket,
}

/// Starts nginx with one channel; as many workers as there are cores, as Debian sets it.
///
/// # Errors
/// Where it does not start.
pub(crate) async fn start(folder: &Path, by: By, followers: usize) -> anyhow::Result<Channel> {
    std::fs::create_dir_all(folder).context("could not make a folder")?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let config = folder.join("nginx.conf");
    let text = config_text(folder, &address, followers + 1_000);
    std::fs::write(&config, text).context("could not write a configuration")?;
    let mut command = nginx();
    command.arg("-p").arg(folder).arg("-c").arg(&config).arg("-e").arg(folder.join("error.log"));
    let mut program = Program::start(&mut command, &folder.join("log"))?;
    program.listens(&address).await?;
    Ok(Channel {
        address,
        follow: match by {
            By::Sse => get("/follow", "Accept: text/event-stream\r\n"),
            By::WebSocket => get("/follow", HANDSHAKE),
        },
        publish: post("/publish", "", message().as_bytes()),
        server: Running::Peer(program),
    })
}

fn config_text(folder: &Path, address: &str, connections: usize) -> String {
    let folder = folder.display();
    format!(
        r#"
daemon off;
worker_processes auto;
worker_rlimit_nofile {connections};
pid {folder}/nginx.pid;
load_module {MODULE};
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  nchan_message_buffer_length 1000;
  server {{
    listen {address} backlog=4096;
    location = /publish {{ nchan_publisher; nchan_channel_id bench; }}
    location = /follow {{ nchan_subscriber eventsource websocket; nchan_channel_id bench; }}
  }}
}}
"#
    )
}

/// The program, which is not on everybody's `PATH`.
fn nginx() -> Command {
    let sbin = Path::new("/usr/sbin/nginx");
    Command::new(if sbin.is_file() { sbin } else { Path::new("nginx") })
}
