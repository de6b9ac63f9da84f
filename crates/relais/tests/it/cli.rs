use std::io::{BufRead as _, BufReader};
use std::path::Path;

use crate::process::{Running, Server, output, relais, stderr, stdout};

#[test]
fn the_command_line_is_sound_and_every_flag_says_what_it_does() {
    let mut command = relais::cli::command();
    command.build();
    command.clone().debug_assert();
    let mut commands = vec![&command];
    while let Some(command) = commands.pop() {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name} says what it does");
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.len() > 5, "{name} {} says what it does", argument.get_id());
        }
        commands.extend(command.get_subcommands().filter(|below| below.get_name() != "help"));
    }
}

#[test]
fn manual_pages_and_completions_are_made_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let made = output(relais(folder.path(), &["man", "pages"]), b"");
    assert!(made.status.success(), "{}", stderr(&made));
    for page in ["relais", "relais-serve", "relais-key-add", "relais-queues-pause"] {
        let text = std::fs::read_to_string(folder.path().join(format!("pages/{page}.1"))).unwrap();
        assert!(text.contains(".TH") && text.contains(".SH SYNOPSIS"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let made = output(relais(folder.path(), &["completions", shell]), b"");
        assert!(stdout(&made).contains("admin-listen"), "{shell}");
    }
}

#[test]
fn limits_and_later_commands_answer_without_a_server() {
    let here = Path::new(".");
    let limits = stdout(&output(relais(here, &["limits"]), b""));
    assert!(limits.lines().count() == relais_core::limits::LIMITS.len() + 1, "{limits}");
    let limits = output(relais(here, &["limits", "--json"]), b"");
    let limits: serde_json::Value = serde_json::from_slice(&limits.stdout).unwrap();
    assert_eq!(limits.as_array().unwrap().len(), relais_core::limits::LIMITS.len());
}

#[test]
fn a_server_that_is_not_there_is_said_in_one_line() {
    let here = Path::new(".");
    // Nobody listens on port 1.
    let args =
        ["watch", "task_01jdk3v5x8e2rbk0t6q9z4m7ha", "--url", "http://user:secret@127.0.0.1:1"];
    let failed = output(relais(here, &args), b"");
    assert_eq!(failed.status.code(), Some(2));
    assert!(!stderr(&failed).contains("secret"), "{}", stderr(&failed));
    let id = "task_01jdk3v5x8e2rbk0t6q9z4m7ha";
    let failed = output(relais(here, &["cancel", id, "--url", "http://127.0.0.1:1"]), b"");
    let text = stderr(&failed);
    assert!(
        text.starts_with("task_01jdk3v5x8e2rbk0t6q9z4m7ha: could not reach http://127.0.0.1:1: "),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
    assert_eq!(text.matches("refused").count(), 1, "said once: {text}");
}

#[test]
fn check_says_what_a_configuration_means_or_all_that_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relais.toml");
    std::fs::write(
        &path,
        "[store]\nurl = \"memory:\"\n[[route]]\npath = \"/a/{*rest}\"\nupstream = \"http://127.0.0.1:9\"\n\
         methods = [\"POST\"]\nqueue = \"q\"\n",
    )
    .unwrap();
    let said = output(relais(folder.path(), &["check"]), b"");
    let text = stdout(&said);
    assert!(said.status.success());
    assert!(text.contains("NOTHING SURVIVES"), "{text}");
    let route = text.lines().find(|line| line.contains("/a/{*rest}")).unwrap();
    for word in ["POST", "http://127.0.0.1:9", "auto", "10s", "q", "default", "by method", "ticket"]
    {
        assert!(route.contains(word), "{word}: {route}");
    }
    assert!(stderr(&said).contains("warning: the store is in memory"));
    let said = output(relais(folder.path(), &["check", "--json"]), b"");
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["routes"][0]["queue"], "q");
    std::fs::write(&path, "[store]\nurl = 5\n").unwrap();
    let failed = output(relais(folder.path(), &["check"]), b"");
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).starts_with("relais: relais.toml:2: "), "{}", stderr(&failed));
}

/// It created the store that it was to look into.
#[test]
fn keys_of_a_store_that_is_not_there_are_not_looked_for_in_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    for args in [vec!["key", "list"], vec!["key", "revoke", "ci"]] {
        let args = [&args[..], &["--store", "sqlite:typo.db"]].concat();
        let failed = output(relais(folder.path(), &args), b"");
        assert_eq!(failed.status.code(), Some(1), "{args:?}");
        assert!(stderr(&failed).contains("could not open typo.db"), "{}", stderr(&failed));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_watcher_says_that_the_server_is_away_and_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let id = "task_01jdk3v5x8e2rbk0t6q9z4m7ha";
    let mut command = relais(folder.path(), &["watch", id, "--url", "http://127.0.0.1:1"]);
    command.stderr(std::process::Stdio::piped());
    let mut watching = Running::start(command);
    let mut lines = BufReader::new(watching.child.stderr.take().unwrap()).lines();
    let away = lines.next().unwrap().unwrap();
    assert!(away.starts_with("could not reach http://127.0.0.1:1: "), "{away}");
    assert!(away.ends_with("; trying on"), "{away}");
    watching.signal("INT");
    let bye = lines.next().unwrap().unwrap();
    assert_eq!(bye, format!("it goes on without you: relais watch {id}"));
    assert_eq!(watching.end().0, Some(130));
}

#[test]
fn whoever_closes_a_pipe_early_has_seen_enough() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for args in [&["tasks"][..], &["tasks", "--json"], &["limits"], &["queues", "pause", "q"]] {
        output(server.command(folder.path(), &["submit", "-", "--queue", "q"]), b"1");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = server.command(folder.path(), args);
        let command = command.stdout(writer).stderr(std::process::Stdio::piped());
        let ended = command.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((ended.status.code(), stderr(&ended).as_str()), (Some(0), ""), "{args:?}");
    }
    let paused = server.run(folder.path(), &["queues", "pause", "q", "--json"]);
    assert_eq!(paused, "{\"name\":\"q\",\"paused\":true}\n");
}
