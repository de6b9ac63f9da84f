use std::path::Path;

use crate::process::{output, relais, stderr, stdout};

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
