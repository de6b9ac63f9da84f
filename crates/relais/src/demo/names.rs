//! Short names for the long URLs of the story, so that its command lines fit a terminal and can be
//! copied: a file of shell variables that grows with the story.
//!
//! A URL with a ticket is longer than a line, and whoever sees it may use it. The story shows its
//! name; `. ./names` in the demo's folder gives a shell its value.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;

/// The names given so far.
#[derive(Debug)]
pub(super) struct Names {
    file: PathBuf,
    /// Lines that every shell needs before the names.
    head: String,
    known: Mutex<Vec<(String, String)>>,
}

impl Names {
    /// No names yet. `programs` is the folder of the programs, `url` where commands find Relais.
    pub(super) fn new(folder: &Path, programs: &Path, url: &str) -> Self {
        let head = format!(
            "PATH={}:$PATH\nexport RELAIS_URL={url}\n",
            quoted(&programs.to_string_lossy())
        );
        Self { file: folder.join(FILE), head, known: Mutex::new(Vec::new()) }
    }

    /// Names a value, or gives a name its new value.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn give(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(old, _)| old != name);
        known.push((name.to_owned(), value.to_owned()));
        let mut text = self.head.clone();
        for (name, value) in &*known {
            _ = writeln!(text, "{name}={}", quoted(value));
        }
        let written = std::fs::write(&self.file, text);
        written.with_context(|| format!("could not write {}", self.file.display()))
    }

    /// A text in which `$NAME` stands for each value that has a name; the longest goes first,
    /// because one URL may begin with another.
    pub(super) fn shorten(&self, text: &str) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<&(String, String)> = known.iter().collect();
        names.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        names
            .into_iter()
            .fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("${name}")))
    }
}

/// A word that a shell takes as it is (POSIX shell, 2.2.2).
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The name of the file in the demo's folder.
const FILE: &str = "names";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_value_is_replaced_first_and_a_shell_reads_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::new(folder.path(), Path::new("/it's here"), "http://a:1");
        names.give("RELAIS", "http://a:1").unwrap();
        names.give("STOCK", "http://a:1/v1/tasks/t/result?ticket=x&y='").unwrap();
        names.give("STOCK", "http://a:1/v1/tasks/t/result?ticket=z&y='").unwrap();
        assert_eq!(names.shorten("http://a:1/stock"), "$RELAIS/stock");
        assert_eq!(names.shorten("http://a:1/v1/tasks/t/result?ticket=z&y='"), "$STOCK");
        let script =
            format!(". {}; echo \"$STOCK $RELAIS_URL\"", folder.path().join(FILE).display());
        let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(said, "http://a:1/v1/tasks/t/result?ticket=z&y=' http://a:1\n");
    }
}
