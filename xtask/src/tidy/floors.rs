//! Who may depend on whom: the floors of ARCHITECTURE.md as a table.
//!
//! A crate that is not in the table is refused, so that nobody adds one without giving it a floor.

use toml::{Table, Value};

use super::Report;
use super::tree::Tree;

/// A package and what it may see of ours.
struct Floor {
    package: &'static str,
    may_see: &'static [&'static str],
}

/// Refuses edges that are not in the table.
pub(super) fn check(tree: &Tree, report: &mut Report) {
    for (path, text) in tree.manifests() {
        match text.parse::<Table>() {
            Ok(manifest) => check_manifest(path, text, &manifest, report),
            Err(error) => report.add(path, 1, "floors", format!("no TOML: {}", error.message())),
        }
    }
}

fn check_manifest(path: &str, text: &str, manifest: &Table, report: &mut Report) {
    let package = manifest.get("package").and_then(|p| p.get("name")).and_then(Value::as_str);
    let package = package.unwrap_or_default();
    let Some(floor) = FLOORS.iter().find(|floor| floor.package == package) else {
        let what = format!("give {package:?} a floor in xtask/src/tidy/floors.rs");
        report.add(path, 1, "floors", what);
        return;
    };
    for edge in edges(manifest) {
        if let Some(what) = refusal(floor, &edge) {
            report.add(path, line_of(text, &edge.key), "floors", what);
        }
    }
}

/// A dependency as its manifest names it.
struct Edge {
    /// The name before the equals sign.
    key: String,
    /// The package behind it, which `package = "…"` may rename.
    to: String,
    is_dev: bool,
}

fn edges(manifest: &Table) -> Vec<Edge> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let per_target = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let mut edges = Vec::new();
    for table in std::iter::once(manifest).chain(per_target) {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let dependencies = table.get(kind).and_then(Value::as_table);
            for (key, value) in dependencies.into_iter().flatten() {
                let renamed = value.get("package").and_then(Value::as_str);
                let to = renamed.unwrap_or(key).to_owned();
                edges.push(Edge { key: key.clone(), to, is_dev: kind == "dev-dependencies" });
            }
        }
    }
    edges
}

fn refusal(floor: &Floor, edge: &Edge) -> Option<String> {
    let (from, to) = (floor.package, edge.to.as_str());
    let is_ours = FLOORS.iter().any(|floor| floor.package == to) || to.starts_with("relais-");
    if edge.is_dev {
        // Tests of core must not need the house above it; other tests may build what they like.
        return (is_ours && from == "relais-core")
            .then(|| format!("{from} sees nothing of ours, not even in its tests; drop {to}"));
    }
    if is_ours {
        return (!floor.may_see.contains(&to)).then(|| match floor.may_see {
            [] => format!("{from} may see nothing of ours; drop {to}"),
            may_see => format!("{from} may see only {}; drop {to}", may_see.join(", ")),
        });
    }
    if from == "relais-core" && DOES_IO.contains(&to) {
        return Some(format!("core does no I/O, reads no clock, draws nothing (I1); drop {to}"));
    }
    let (_, owners) = OWNED.iter().find(|(library, _)| *library == to)?;
    (!owners.contains(&from)).then(|| format!("only {} may use {to}", owners.join(", ")))
}

/// The line on which a dependency is named, for the message only.
fn line_of(text: &str, key: &str) -> usize {
    let names_it = |line: &str| {
        let rest = line.trim_start().trim_start_matches('"').strip_prefix(key);
        rest.is_some_and(|rest| {
            !rest.starts_with(|c: char| c.is_alphanumeric() || "-_".contains(c))
        })
    };
    text.lines().position(names_it).map_or(1, |index| index + 1)
}

/// The table of ARCHITECTURE.md, floor by floor.
const FLOORS: &[Floor] = &[
    Floor { package: "relais-core", may_see: &[] },
    Floor { package: "relais-api", may_see: &[] },
    Floor { package: "relais-store", may_see: &["relais-core"] },
    Floor { package: "relais-client", may_see: &["relais-api"] },
    Floor { package: "relais-store-sqlite", may_see: &["relais-core", "relais-store"] },
    Floor { package: "relais-store-postgres", may_see: &["relais-core", "relais-store"] },
    // The words that travel, so that an event is shown from its entry by whoever publishes it (ADR 0007).
    Floor { package: "relais-engine", may_see: &["relais-api", "relais-core", "relais-store"] },
    // The contract of stores, never a driver: a page, a filter and a stored body
    // are its words (ADR 0004).
    Floor {
        package: "relais-server",
        may_see: &["relais-api", "relais-core", "relais-engine", "relais-store"],
    },
    Floor { package: "relais", may_see: ALL },
    Floor { package: "relais-sim", may_see: ALL },
    // Measures from outside: it knows the wire and nothing behind it.
    Floor { package: "relais-bench", may_see: &["relais-api", "relais-client"] },
    Floor { package: "relais-soak", may_see: &["relais-api", "relais-client"] },
    // The judge knows only HTTP, or it would share the mistakes of what it judges.
    Floor { package: "relais-torture", may_see: &[] },
    // Starts programs that others wrote; it knows the command line and nothing behind it.
    Floor { package: "relais-peers", may_see: &[] },
    // The demo's upstream knows nothing of Relais: that is the point of the demo.
    Floor { package: "shop", may_see: &[] },
    Floor { package: "xtask", may_see: &[] },
];

const ALL: &[&str] = &[
    "relais-api",
    "relais-client",
    "relais-core",
    "relais-engine",
    "relais-server",
    "relais-store",
    "relais-store-postgres",
    "relais-store-sqlite",
];

/// What core may not see because it would let it do I/O, wait or draw.
const DOES_IO: &[&str] = &[
    "async-trait",
    "futures-util",
    "getrandom",
    "http-body",
    "rand",
    "tempfile",
    "tokio",
    "tokio-util",
    "tracing",
];

/// Libraries that belong to some crates alone (r1, r2, I7).
const OWNED: &[(&str, &[&str])] = &[
    ("axum", &["relais-server", "relais", "relais-sim", "relais-bench", "relais-soak", "shop"]),
    ("rusqlite", &["relais-store-sqlite"]),
    ("tokio-postgres", &["relais-store-postgres"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::found;

    fn of(package: &str, rest: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"{package}\"\n{rest}");
        found(check, &[("crates/x/Cargo.toml", &text)])
    }

    #[test]
    fn an_edge_of_the_table_passes() {
        let rest = "[dependencies]\nrelais-core.workspace = true\nbytes.workspace = true\n\
                    [dev-dependencies]\nrelais-store-sqlite.workspace = true\n";
        assert!(of("relais-engine", rest).is_empty());
        assert!(of("relais-core", "[dev-dependencies]\nproptest.workspace = true\n").is_empty());
    }

    #[test]
    fn an_edge_outside_the_table_is_refused() {
        for (package, rest) in [
            ("relais-engine", "[dependencies]\nrelais-store-sqlite.workspace = true\n"),
            ("relais-server", "[dependencies]\nrelais-store-sqlite.workspace = true\n"),
            ("relais-client", "[dependencies]\nrelais-core.workspace = true\n"),
            ("relais-core", "[dev-dependencies]\nrelais-store.workspace = true\n"),
            ("relais-core", "[dependencies]\ntokio.workspace = true\n"),
            ("relais-engine", "[dependencies]\naxum = \"0.8\"\n"),
            ("relais-server", "[target.'cfg(unix)'.dependencies]\nrusqlite = \"0.41\"\n"),
            ("shop", "[build-dependencies]\nx = { package = \"relais-api\", version = \"1\" }\n"),
        ] {
            assert_eq!(of(package, rest), ["crates/x/Cargo.toml:4: floors"], "{package} {rest}");
        }
    }

    #[test]
    fn a_crate_without_a_floor_is_refused() {
        assert_eq!(of("relais-extra", ""), ["crates/x/Cargo.toml:1: floors"]);
    }
}
