//! SIGHUP: what changes at once, what does not, and what becomes of a file that is wrong.

use std::path::Path;

use crate::process::{Server, log_with, output, stderr};

const ROUTE: &str = "upstream = \"http://127.0.0.1:9\"\nmode = \"async\"\nqueue = \"later\"\n";
const VARIABLES: [(&str, &str); 2] =
    [("FIRST_KEY", "rk_000000000000000000000000"), ("SECOND_KEY", "rk_111111111111111111111111")];

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("relais.toml"), text).unwrap();
}

/// A file with one key and one route.
fn file(key: &str, path: &str) -> String {
    format!(
        "[[key]]\nname = \"k\"\nscopes = [\"read\"]\nsecret_env = \"{key}\"\n\
         [[route]]\npath = \"{path}\"\n{ROUTE}"
    )
}

#[test]
fn a_hangup_takes_a_right_file_whole_and_a_wrong_one_not_at_all() {
    // SIGHUP killed the server at once, with work in hand.
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, &file("FIRST_KEY", "/first"));
    let server = Server::logging(folder, &[], &VARIABLES);
    let is_taken = |path: &str| server.get(path).starts_with("HTTP/1.1 202");
    let reads = |(_, key): (&str, &str)| {
        let listed = output(server.command(folder, &["tasks", "--key", key]), b"");
        assert!(listed.status.success() || stderr(&listed).contains("unauthorized"));
        listed.status.success()
    };
    assert!(is_taken("/first") && !is_taken("/second"));
    assert!(reads(VARIABLES[0]) && !reads(VARIABLES[1]));

    write(folder, &format!("[limits]\nconnections = 7\n{}", file("SECOND_KEY", "/second")));
    server.process.signal("HUP");
    let log = log_with(folder, "was read again");
    assert!(log.contains("[limits] connections has changed, which needs a restart"), "{log}");
    assert!(log.contains("holds from now, but for what needs a restart"), "{log}");
    assert!(is_taken("/second") && !is_taken("/first"));
    assert!(reads(VARIABLES[1]) && !reads(VARIABLES[0]));

    write(
        folder,
        &format!("{}[queue.x]\nlease = \"0s\"\ncapacity = 0\n", file("FIRST_KEY", "/first")),
    );
    server.process.signal("HUP");
    let log = log_with(folder, "nothing has changed");
    for mistake in ["relais.toml:11: [queue.x] lease", "relais.toml:12: [queue.x] capacity"] {
        assert!(log.contains(mistake), "{log}");
    }
    assert!(is_taken("/second") && !is_taken("/first"));
    assert!(reads(VARIABLES[1]) && !reads(VARIABLES[0]));

    std::fs::remove_file(folder.join("relais.toml")).unwrap();
    server.process.signal("HUP");
    log_with(folder, "could not read relais.toml");
    assert!(is_taken("/second") && reads(VARIABLES[1]), "a file that has gone is a mistake");
    server.process.signal("TERM");
    assert_eq!(server.process.end().0, Some(0));
}
