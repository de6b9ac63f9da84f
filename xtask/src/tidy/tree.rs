//! The files of the repository that are ours, read once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use super::source::Source;

/// The repository's own text files: what git tracks or would track.
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
    sources: Vec<Source>,
}

/// A package of the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder with a slash at the end: `crates/core/`.
    pub(crate) folder: String,
}

impl Tree {
    /// Reads the repository at `root`.
    ///
    /// # Errors
    /// Where git does not answer or a file cannot be read.
    pub(crate) fn load(root: &Path) -> anyhow::Result<Self> {
        let listed = Command::new("git")
            .current_dir(root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .context("could not run git")?;
        if !listed.status.success() {
            bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim());
        }
        let listed = String::from_utf8(listed.stdout).context("a file name is not UTF-8")?;
        let mut files = BTreeMap::new();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            let bytes = match std::fs::read(root.join(path)) {
                Ok(bytes) => bytes,
                // Deleted but not yet committed, or a link to a folder: nothing to look at.
                Err(_) if !root.join(path).is_file() => continue,
                Err(error) => return Err(error).with_context(|| format!("could not read {path}")),
            };
            // What is not text (a picture, a captured body) has no lines to check.
            if let Ok(text) = String::from_utf8(bytes) {
                files.insert(path.to_owned(), text);
            }
        }
        Ok(Self::new(files))
    }

    fn new(files: BTreeMap<String, String>) -> Self {
        let mut sources: Vec<Source> = files
            .iter()
            .filter(|(path, _)| is_rust(path))
            .map(|(path, text)| Source::parse(path, text))
            .collect();
        let test_places: Vec<String> = sources.iter().flat_map(places_of_test_modules).collect();
        for source in &mut sources {
            let place = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
            let is_test = test_places
                .iter()
                .any(|test| place.strip_prefix(test.as_str()).is_some_and(is_below));
            if is_test {
                source.mark_as_test();
            }
        }
        Self { files, sources }
    }

    /// A tree of the given files, for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self::new(files.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect())
    }

    /// All files by path.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// One file, where it exists.
    pub(super) fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// The Rust files.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// The manifests of packages with their paths: every `Cargo.toml` but the workspace's.
    pub(super) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| path.ends_with("/Cargo.toml"))
    }

    /// The packages whose manifest says a name.
    pub(crate) fn packages(&self) -> Vec<Package> {
        self.manifests()
            .filter_map(|(path, text)| {
                let manifest: toml::Table = text.parse().ok()?;
                let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
                Some(Package { name, folder: path.trim_end_matches("Cargo.toml").to_owned() })
            })
            .collect()
    }
}

/// Whether a path is a Rust file.
pub(super) fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// The paths, without `.rs`, at which the test modules that a file declares lie.
fn places_of_test_modules(source: &Source) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let inside = match file {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => format!("{folder}/{}", file.trim_end_matches(".rs")),
    };
    source.test_modules.iter().map(|name| format!("{inside}/{name}")).collect()
}

fn is_below(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_test_module_makes_its_files_tests() {
        let tree = Tree::of(&[
            ("crates/core/src/lib.rs", "#[cfg(test)]\nmod world;\nmod worldly;\n"),
            ("crates/core/src/world.rs", "fn a() {}"),
            ("crates/core/src/world/clock.rs", "fn a() {}"),
            ("crates/core/src/worldly.rs", "fn a() {}"),
        ]);
        let tests: Vec<bool> = tree.sources().map(|source| source.is_test(1)).collect();
        // lib.rs line 1 is the attribute itself.
        assert_eq!(tests, [true, true, true, false]);
    }

    #[test]
    fn packages_have_a_name_and_a_folder() {
        let tree = Tree::of(&[
            ("Cargo.toml", "[workspace]\n"),
            ("crates/core/Cargo.toml", "[package]\nname = \"relais-core\"\n"),
        ]);
        let expected = Package { name: "relais-core".into(), folder: "crates/core/".into() };
        assert_eq!(tree.packages(), [expected]);
    }

    #[test]
    fn the_repository_itself_can_be_read() {
        let tree = Tree::load(crate::run::root()).unwrap();
        assert!(tree.file("Cargo.toml").is_some());
        assert!(tree.packages().iter().any(|package| package.name == "xtask"));
    }
}
