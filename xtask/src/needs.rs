//! What the tests and `bench peers` need beyond Rust, and where it comes from: a table for each.
//!
//! Debian packages are installed where we are root; what comes from PyPI and npm lies in the target
//! folder (`packages.rs`). Not here: anything that nothing uses yet. PostgreSQL joins the table
//! together with the first test that starts it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;

use crate::run::Steps;

/// Something that a test starts or loads.
pub(crate) struct Need {
    /// How it is recognised where it is installed.
    sign: Sign,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
    /// For the person who must install it by hand.
    why: &'static str,
}

/// How something that is installed is recognised.
enum Sign {
    /// One of these programs is on `PATH`.
    Program(&'static [&'static str]),
    /// This command line ends well.
    Runs(&'static [&'static str]),
    /// This file is there.
    File(&'static str),
}

const NODE: Need = Need {
    sign: Sign::Program(&["node"]),
    packages: &["nodejs"],
    why: "runs clients and a service in JavaScript",
};

const NPM: Need =
    Need { sign: Sign::Program(&["npm"]), packages: &["npm"], why: "installs what these use" };

/// What `bench peers` starts beside Relais.
pub(crate) const PEERS: &[Need] = &[
    NODE,
    NPM,
    Need {
        sign: Sign::File("/usr/lib/nginx/modules/ngx_nchan_module.so"),
        packages: &["nginx-light", "libnginx-mod-nchan"],
        why: "is the peer nchan",
    },
];

/// Everything the tests need.
pub(crate) const TESTS: &[Need] = &[
    Need {
        sign: Sign::Program(&["cc", "gcc", "clang"]),
        packages: &["gcc", "libc6-dev"],
        why: "compiles SQLite and aws-lc",
    },
    Need {
        sign: Sign::Program(&["git"]),
        packages: &["git"],
        why: "tidy asks it which files are ours",
    },
    Need {
        sign: Sign::Runs(&["python3", "-m", "ensurepip", "--version"]),
        packages: &["python3", "python3-venv"],
        why: "runs httpbin, schemathesis and clients in Python against Relais",
    },
    NODE,
    NPM,
    Need {
        sign: Sign::Program(&["php"]),
        packages: &["php-cli"],
        why: "runs the client in PHP of the quickstart",
    },
    Need {
        sign: Sign::Program(&["curl"]),
        packages: &["curl"],
        why: "runs the client for the shell of the quickstart",
    },
    Need {
        sign: Sign::Program(&["chromium"]),
        packages: &["chromium"],
        why: "is a browser that looks at pages",
    },
    Need {
        sign: Sign::Program(&["firefox-esr"]),
        packages: &["firefox-esr"],
        why: "is the other browser that looks at pages",
    },
    Need {
        sign: Sign::Program(&["nginx"]),
        packages: &["nginx-light"],
        why: "stands before Relais as a proxy",
    },
    Need {
        sign: Sign::Program(&["caddy"]),
        packages: &["caddy"],
        why: "stands before Relais as a proxy",
    },
    Need {
        sign: Sign::Program(&["haproxy"]),
        packages: &["haproxy"],
        why: "stands before Relais as a proxy",
    },
    Need {
        sign: Sign::Program(&["promtool"]),
        packages: &["prometheus"],
        why: "judges metrics and alerts",
    },
    Need {
        sign: Sign::Program(&["sqlite3"]),
        packages: &["sqlite3"],
        why: "looks into the store beside the server, as operators do",
    },
    Need {
        sign: Sign::Program(&["openssl"]),
        packages: &["openssl"],
        why: "makes certificates as operators do",
    },
    Need {
        sign: Sign::Program(&["faketime"]),
        packages: &["faketime"],
        why: "moves the clock of a server under test",
    },
];

/// Installs what is missing of `needs` where we are root; else says which line to run.
///
/// # Errors
/// Where something is missing and could not be installed.
pub(crate) fn install_missing(steps: &Steps, needs: &'static [Need]) -> anyhow::Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !is_there(&need.sign)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        for need in &missing {
            eprintln!("missing: {} ({})", need.packages.join(", "), need.why);
        }
        bail!("install first what is missing: {}", install_line(&missing));
    }
    steps.run("apt-get update", Command::new("apt-get").args(["update", "-q"]))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["install", "-y", "-q", "--no-install-recommends"]).args(apt_packages(&missing));
    steps.run("apt-get install", &mut install)
}

fn install_line(missing: &[&Need]) -> String {
    format!("sudo apt-get install {}", apt_packages(missing).join(" "))
}

fn apt_packages(missing: &[&Need]) -> Vec<&'static str> {
    missing.iter().flat_map(|need| need.packages.iter().copied()).collect()
}

fn is_there(sign: &Sign) -> bool {
    match sign {
        Sign::Program(names) => names.iter().any(|name| on_path(name)),
        Sign::Runs(line) => Command::new(line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success()),
        Sign::File(path) => Path::new(path).is_file(),
    }
}

/// Whether a program is where programs are. Those for administrators are not on everybody's `PATH`.
fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    // `id` and not a system call: that would need unsafe code or one more dependency.
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_only_where_it_is() {
        assert!(is_there(&Sign::Program(&["a-program-that-nobody-has", "sh"])));
        assert!(!is_there(&Sign::Program(&["a-program-that-nobody-has"])));
        assert!(is_there(&Sign::Runs(&["sh", "-c", "exit 0"])));
        assert!(!is_there(&Sign::Runs(&["sh", "-c", "exit 1"])));
        assert!(is_there(&Sign::File("/proc/self/stat")));
        assert!(!is_there(&Sign::File("/proc/self/a-file-that-nobody-has")));
    }

    #[test]
    fn the_line_to_run_by_hand_names_every_missing_package() {
        let some: Vec<&Need> = TESTS.iter().take(2).collect();
        assert_eq!(install_line(&some), "sudo apt-get install gcc libc6-dev git");
    }
}
