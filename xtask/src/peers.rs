//! `cargo xtask bench`, and what `bench peers` measures Relais beside: installed here, started there.
//!
//! Debian's packages are in `needs.rs`, npm's in `bench/peers`; what comes from npm and from crates
//! lies below the target folder. What cannot be installed is said, and the bench goes on without it.

use std::path::Path;

use crate::run::{self, Steps, root};
use crate::{launch, needs, packages};

/// The version of the crate `durable-streams` that is measured.
const DURABLE_STREAMS: &str = "0.1.5";
/// What Restate needs: its packages, and the service that it calls.
const RESTATE: &[&str] = &["package.json", "package-lock.json", "service.mjs"];

/// Runs the bench; before `bench peers` it installs the peers that are missing.
///
/// # Errors
/// Where the bench does not build or does not end well.
pub(crate) fn bench(args: &[String]) -> anyhow::Result<()> {
    if args.iter().any(|arg| arg == "peers") {
        install();
    }
    launch::part("bench", args)
}

fn install() {
    let steps = Steps::start();
    let place = root().join("target/peers");
    let installed = [
        needs::install_missing(&steps, needs::PEERS),
        durable_streams(&steps, &place.join("durable-streams")),
        packages::npm(&steps, &root().join("bench/peers"), &place.join("restate"), RESTATE),
    ];
    for error in installed.into_iter().filter_map(Result::err) {
        eprintln!("the bench goes on without a peer: {error:#}");
    }
}

fn durable_streams(steps: &Steps, place: &Path) -> anyhow::Result<()> {
    packages::once(place, DURABLE_STREAMS, || {
        let mut install =
            run::cargo(["install", "--locked", "--version", DURABLE_STREAMS, "--root"]);
        steps.run("durable-streams", install.arg(place).arg("durable-streams"))
    })
}
