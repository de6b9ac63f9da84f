//! The process itself: how it is started, what it is given, how it is stopped.

use std::io::PipeReader;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use command_fds::{CommandFdExt as _, FdMapping};
use relais_client::LeasedTask;
use relais_core::limits::PIPES_GRACE;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ending::EndingPipe;
use super::environment::tell;

/// A program that runs one attempt. It is killed, with all that it started, when this is dropped.
pub(super) struct Program {
    child: Child,
    reports: Option<Receiver>,
    group: Option<Pid>,
    /// Dropped when nothing more is to be read from its pipes.
    is_read: watch::Sender<()>,
}

impl Program {
    pub(super) fn start(command: &str, task: &LeasedTask) -> anyhow::Result<Self> {
        let (reader, writer) = std::io::pipe().context("no pipe for its reports")?;
        let mut shell = Command::new("/bin/sh");
        // As it is: the command line may be more than one command.
        shell.arg("-c").arg(command);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: what it starts is stopped with it, and Ctrl-C is ours to handle.
        shell.process_group(0).kill_on_drop(true);
        tell(&mut shell, task);
        let reports = FdMapping { parent_fd: OwnedFd::from(writer), child_fd: REPORTS_FD };
        shell.fd_mappings(vec![reports]).context("no descriptor for its reports")?;
        let child = shell.spawn().context("/bin/sh")?;
        // The command holds our end for writing: the pipe would never end.
        drop(shell);
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let is_read = watch::Sender::new(());
        Ok(Self { child, reports: Some(receiver(reader)?), group, is_read })
    }

    pub(super) fn take_input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(super) fn take_output(&mut self) -> Option<EndingPipe<ChildStdout>> {
        self.child.stdout.take().map(|pipe| EndingPipe::new(pipe, self.is_read.subscribe()))
    }

    pub(super) fn take_errors(&mut self) -> Option<EndingPipe<ChildStderr>> {
        self.child.stderr.take().map(|pipe| EndingPipe::new(pipe, self.is_read.subscribe()))
    }

    pub(super) fn take_reports(&mut self) -> Option<EndingPipe<Receiver>> {
        self.reports.take().map(|pipe| EndingPipe::new(pipe, self.is_read.subscribe()))
    }

    pub(super) async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.wait().await.context("could not wait for it")
    }

    /// For a program that has ended: what it wrote is in its pipes already, so that they come to an
    /// end soon, even if a child that it left behind still holds them.
    pub(super) async fn end_pipes(self) {
        let _ = tokio::time::timeout(PIPES_GRACE, self.is_read.closed()).await;
    }

    /// Asks it, and all that it started, to stop; ends what does not.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM);
        if tokio::time::timeout(STOP_GRACE, self.stopped()).await.is_err() {
            self.signal(Signal::KILL);
        }
        self.wait().await?;
        Ok(())
    }

    /// The shell may end before the programs that it started.
    async fn stopped(&mut self) {
        let _ = self.child.wait().await;
        while self.group.is_some_and(|group| test_kill_process_group(group).is_ok()) {
            tokio::time::sleep(STOP_POLL).await;
        }
    }

    fn signal(&self, signal: Signal) {
        // A group has its number for as long as anything is in it; one that
        // is empty needs no signal.
        if let Some(group) = self.group {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that ended by itself may have left something behind on purpose.
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

fn receiver(reader: PipeReader) -> anyhow::Result<Receiver> {
    let reader = Receiver::from_owned_fd(OwnedFd::from(reader));
    reader.context("no pipe for its reports")
}

/// What a task that serves a pipe found, if it comes to an end soon. Only for what the outcome can
/// do without: the results and the last words are read from an [`EndingPipe`].
pub(super) async fn soon<T>(mut serving: JoinHandle<T>) -> Option<T> {
    let done = tokio::time::timeout(2 * PIPES_GRACE, &mut serving).await;
    serving.abort();
    done.ok()?.ok()
}

/// Where programs report.
const REPORTS_FD: i32 = 3;
/// How long a program may take to stop before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How often it is looked whether all of it has stopped.
const STOP_POLL: Duration = Duration::from_millis(20);
