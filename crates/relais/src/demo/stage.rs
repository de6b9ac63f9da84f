//! Where the story plays: the programs, their ports, and a folder that is gone afterwards.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::truth::within;
use crate::program::Program;

/// The shop, Relais in front of it, and a worker.
#[derive(Debug)]
pub(super) struct Stage {
    // Dropped in this order: the programs before the folder they write to.
    worker: Program,
    relais: Program,
    shop: Program,
    workers_started: u32,
    programs: Programs,
    ports: Ports,
    folder: TempDir,
}

impl Stage {
    /// Starts everything.
    ///
    /// # Errors
    /// When the shop is not built, a port is taken, or a program does not get ready.
    pub(super) async fn open(port_base: Option<u16>) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let ports = Ports::pick(port_base)?;
        let folder = tempfile::Builder::new().prefix("relais-demo-").tempdir();
        let folder = folder.context("could not make a temporary folder")?;
        let config = with_ports(CONFIG, &ports);
        std::fs::write(folder.path().join(CONFIG_FILE), config)
            .context("could not write the configuration")?;
        let (shop, relais) = tokio::try_join!(
            start_shop(&programs, &ports, folder.path()),
            start_relais(&programs, folder.path()),
        )?;
        let worker = start_worker(&programs, &ports, folder.path(), 1).await?;
        Ok(Self { worker, relais, shop, workers_started: 1, programs, ports, folder })
    }

    /// The URL of the front door and the task API.
    pub(super) fn door(&self) -> String {
        url(self.ports.door)
    }

    /// The shop's page, by the name that browsers know this machine by.
    pub(super) fn page(&self) -> String {
        format!("http://localhost:{}/", self.ports.door)
    }

    /// The URL of administration.
    pub(super) fn admin(&self) -> String {
        url(self.ports.admin)
    }

    /// The URL of the shop itself.
    pub(super) fn shop_url(&self) -> String {
        url(self.ports.shop)
    }

    /// The folder of everything that the demo writes.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file into the folder, where the reader may use it, too.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn lay_out(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder().join(name);
        std::fs::write(&path, bytes).with_context(|| format!("could not write {}", path.display()))
    }

    /// The executable that is running.
    pub(super) fn relais_path(&self) -> &Path {
        &self.programs.relais
    }

    /// Where the logs are.
    pub(super) fn logs(&self) -> [&Path; 3] {
        [&self.shop, &self.relais, &self.worker].map(Program::log)
    }

    /// Ends the worker by SIGKILL; gives the id of the process that is no more.
    ///
    /// # Errors
    /// When it had ended before.
    pub(super) async fn kill_worker(&mut self) -> anyhow::Result<u32> {
        self.worker.kill().await?;
        Ok(self.worker.pid())
    }

    /// Starts another worker; gives its name.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(super) async fn start_worker(&mut self) -> anyhow::Result<String> {
        self.workers_started += 1;
        let number = self.workers_started;
        let (programs, ports) = (&self.programs, &self.ports);
        self.worker = start_worker(programs, ports, self.folder.path(), number).await?;
        Ok(worker_name(number))
    }

    /// Ends Relais by SIGKILL; gives the id of the process that is no more.
    ///
    /// # Errors
    /// When it had ended before.
    pub(super) async fn kill_relais(&mut self) -> anyhow::Result<u32> {
        self.relais.kill().await?;
        Ok(self.relais.pid())
    }

    /// Starts Relais again, on the same file and the same ports.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(super) async fn start_relais(&mut self) -> anyhow::Result<()> {
        self.relais = start_relais(&self.programs, self.folder.path()).await?;
        Ok(())
    }

    /// Runs `shop` to its end and gives what it printed.
    ///
    /// # Errors
    /// When it fails, or prints something else than expected of a program.
    pub(super) async fn run_shop(&self, args: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new(&self.programs.shop);
        command.args(args).env_remove("RELAIS_CHECKPOINT").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("shop {}", args.join(" "));
        let mut child = command.spawn().with_context(|| format!("could not start {shown}"))?;
        let mut stdin = child.stdin.take().context("it was asked for")?;
        let fed = async {
            // One that does not want its input says by its exit code whether it is content.
            let _ = stdin.write_all(input).await;
            drop(stdin);
        };
        let ran = async { tokio::join!(fed, child.wait_with_output()).1 };
        let output = within(RUN_MAX, &format!("the end of {shown}"), ran).await??;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{shown} failed ({}): {}", output.status, said.trim());
        }
        Ok(output.stdout)
    }

    /// What each program said last.
    pub(super) fn last_words(&self) -> String {
        [&self.shop, &self.relais, &self.worker].map(Program::last_words).join("\n")
    }

    /// Stops everything: first whoever needs the others.
    ///
    /// # Errors
    /// When a program does not stop gracefully; the others are stopped nevertheless.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        let stopped = [self.worker.stop().await, self.relais.stop().await, self.shop.stop().await];
        let folder = self.folder.path().to_owned();
        let removed = self.folder.close();
        stopped.into_iter().collect::<anyhow::Result<()>>()?;
        removed.with_context(|| format!("could not remove {}", folder.display()))
    }
}

#[derive(Debug)]
struct Programs {
    relais: PathBuf,
    shop: PathBuf,
}

impl Programs {
    fn find() -> anyhow::Result<Self> {
        let relais = std::env::current_exe().context("could not find this program's own file")?;
        let shop = relais.with_file_name("shop");
        if !shop.is_file() {
            bail!(
                "the demo needs the program shop beside {}: cargo build -p shop, or cargo xtask \
                 demo, which builds both",
                relais.display()
            );
        }
        Ok(Self { relais, shop })
    }
}

/// Ports of this machine, the same ones for the whole story.
#[derive(Debug, Clone, Copy)]
struct Ports {
    shop: u16,
    door: u16,
    admin: u16,
}

impl Ports {
    fn pick(base: Option<u16>) -> anyhow::Result<Self> {
        if let Some(shop) = base {
            return match (shop.checked_add(1), shop.checked_add(2)) {
                (Some(door), Some(admin)) => Ok(Self { shop, door, admin }),
                _ => bail!("there are no three ports from {shop} on"),
            };
        }
        // All are held until all are known, so that they differ.
        let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let mut ports = [0; 3];
        for (port, listener) in ports.iter_mut().zip(held.iter()) {
            let listener = listener.as_ref().map_err(|error| anyhow::anyhow!("{error}"));
            *port = listener.and_then(|held| Ok(held.local_addr()?.port()))?;
        }
        let [shop, door, admin] = ports;
        Ok(Self { shop, door, admin })
    }
}

async fn start_shop(programs: &Programs, ports: &Ports, folder: &Path) -> anyhow::Result<Program> {
    let mut command = Command::new(&programs.shop);
    command.arg("serve").arg("--listen").arg(address(ports.shop)).current_dir(folder);
    command.env("SHOP_IMPORT_DELAY_US", LINE_US.to_string());
    Program::start("shop", command, "shop: listening on", folder.join("shop.log")).await
}

async fn start_relais(programs: &Programs, folder: &Path) -> anyhow::Result<Program> {
    let mut command = Command::new(&programs.relais);
    command.args(["serve", "--config", CONFIG_FILE]).current_dir(folder);
    Program::start("relais", command, "relais ready:", folder.join("relais.log")).await
}

async fn start_worker(
    programs: &Programs,
    ports: &Ports,
    folder: &Path,
    number: u32,
) -> anyhow::Result<Program> {
    let mut command = Command::new(&programs.relais);
    command.args(["work", "--url", &url(ports.door), "--queue", "imports"]);
    command.args(["--exec", "shop import", "--name", &worker_name(number), "--drain", "2s"]);
    command.env("PATH", path_with(&programs.shop)?).current_dir(folder);
    command.env("SHOP_IMPORT_DELAY_US", LINE_US.to_string());
    Program::start("worker", command, "working on queue", folder.join("worker.log")).await
}

/// The search path with the folder of a program first.
fn path_with(program: &Path) -> anyhow::Result<OsString> {
    let folder = program.parent().unwrap_or(Path::new(".")).to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("the program's folder cannot stand in a search path")
}

fn worker_name(number: u32) -> String {
    format!("worker-{number}")
}

fn address(port: u16) -> String {
    format!("{LOOPBACK}{port}")
}

fn url(port: u16) -> String {
    format!("http://{}", address(port))
}

/// The configuration with the ports of this story instead of its own.
fn with_ports(config: &str, ports: &Ports) -> String {
    let mut text = String::with_capacity(config.len());
    for (index, piece) in config.split(LOOPBACK).enumerate() {
        if index == 0 {
            text.push_str(piece);
            continue;
        }
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (port, rest) = piece.split_at(digits);
        let own = match port {
            "9000" => ports.shop.to_string(),
            "8080" => ports.door.to_string(),
            "8081" => ports.admin.to_string(),
            other => other.to_owned(),
        };
        text.extend([LOOPBACK, &own, rest]);
    }
    text
}

/// The file that a reader of the example finds, too.
const CONFIG: &str = include_str!("../../../../examples/shop/relais.toml");
const CONFIG_FILE: &str = "relais.toml";
const LOOPBACK: &str = "127.0.0.1:";
/// The time that each line of an import takes: long enough to be killed in the middle.
const LINE_US: u32 = 300;
/// How long a program that is no server may take.
const RUN_MAX: std::time::Duration = std::time::Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, judge};

    #[test]
    fn the_example_configuration_holds_without_a_warning() {
        let settings = judge(None, CONFIG.to_owned(), &Overrides::default(), &|_| None).unwrap();
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
        let queues: Vec<String> = settings.engine.queues.keys().map(ToString::to_string).collect();
        for queue in ["imports", "invoices", "orders", "stock"] {
            assert!(queues.iter().any(|name| name == queue), "{queue}");
        }
    }

    /// P81: loopback is let through where the file says so, and nowhere else.
    #[test]
    fn webhooks_of_the_example_may_go_to_the_shop_on_this_machine_and_to_nothing_else_here() {
        let ports = Ports { shop: 7000, door: 7001, admin: 7002 };
        for (text, shop) in [(CONFIG.to_owned(), 9000), (with_ports(CONFIG, &ports), 7000)] {
            let settings = judge(None, text, &Overrides::default(), &|_| None).unwrap();
            let guard = settings.engine.outward;
            for host in ["127.0.0.1", "localhost"] {
                assert_eq!(
                    guard.judge_url(&format!("http://{host}:{shop}/hook")),
                    Ok(()),
                    "{host}"
                );
                for other in [7001, 7002, 8080, 8081, 80] {
                    let url = format!("http://{host}:{other}/hook");
                    assert!(guard.judge_url(&url).is_err(), "{url}");
                }
            }
        }
    }

    #[test]
    fn ports_are_replaced_at_once_even_where_they_overlap() {
        let ports = Ports { shop: 8080, door: 8081, admin: 8082 };
        let text = with_ports(CONFIG, &ports);
        assert!(text.contains("listen = \"127.0.0.1:8081\""));
        assert!(text.contains("admin_listen = \"127.0.0.1:8082\""));
        assert!(text.contains("fallback = \"http://127.0.0.1:8080\""));
        assert!(!text.contains("9000"));
        assert!(Ports::pick(Some(65_534)).is_err());
        let ports = Ports::pick(None).unwrap();
        assert!(ports.shop != ports.door && ports.door != ports.admin);
    }
}
