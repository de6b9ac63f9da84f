//! `relais completions` and `relais man`: generated from the command line itself, so that
//! they cannot drift from it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man as Page;

/// Prints the completions of a shell, to be sourced by it.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Writes a manual page for the program and for each subcommand.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder; it is made if it is not there
    folder: PathBuf,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "relais", &mut text);
        super::show::line(String::from_utf8(text)?.trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Man {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let shown = self.folder.display();
        std::fs::create_dir_all(&self.folder).with_context(|| format!("could not make {shown}"))?;
        let mut command = super::command();
        // Gives subcommands the global options and their full names.
        command.build();
        write(&command, "relais", &self.folder)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn write(command: &Command, name: &str, folder: &Path) -> anyhow::Result<()> {
    let mut text = Vec::new();
    Page::new(command.clone()).render(&mut text)?;
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        write(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(())
}
