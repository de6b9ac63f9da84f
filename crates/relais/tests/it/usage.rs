//! Wrong command lines: exit status 2, a message that names the argument, and nothing done.

use std::collections::BTreeSet;
use std::path::Path;

use crate::process::{output, relais, stderr, stdout};

/// A command line that would be right, but for what is added to it.
const SUBMIT: &str = "submit - --queue q";
const WORK: &str = "work --queue q --exec true";
const ADD: &str = "key add --name n --scope read";

/// What names and texts cannot be.
struct Never {
    queue: Vec<String>,
    lane: Vec<String>,
    label: Vec<String>,
    media_type: Vec<String>,
}

impl Never {
    fn new() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let name = format!("{}=1", long(129));
        let value = format!("a={}", long(129));
        Self {
            queue: texts(&["Bad", "", "a b", &long(65)]),
            lane: texts(&["", "a\tb", &long(129)]),
            label: texts(&["x", "=x", "a\tb=1", &name, &value]),
            media_type: texts(&["csv", "", "a/\u{e9}", &format!("a/{}", long(255))]),
        }
    }
}

fn long(len: usize) -> String {
    "x".repeat(len)
}

/// Command, argument, and values that it cannot have.
#[derive(Default)]
struct Wrong(Vec<(&'static str, &'static str, String)>);

impl Wrong {
    fn add<T: AsRef<str>>(&mut self, command: &'static str, argument: &'static str, values: &[T]) {
        self.0.extend(values.iter().map(|value| (command, argument, value.as_ref().to_owned())));
    }
}

fn wrong_values() -> Vec<(&'static str, &'static str, String)> {
    let mut wrong = Wrong::default();
    of_servers(&mut wrong);
    of_tasks(&mut wrong);
    of_others(&mut wrong);
    wrong.0
}

const URL: &[&str] = &["nowhere", "ftp://a", "http://me:secret@a", "http://a/?x=1"];
const SPAN: &[&str] = &["soon", "-1s", "5", ""];

fn of_servers(wrong: &mut Wrong) {
    for command in ["serve", "check"] {
        wrong.add(command, "--listen", &["here", "127.0.0.1", "127.0.0.1:65536", "localhost:80"]);
        wrong.add(command, "--admin-listen", &["here"]);
        wrong.add(command, "--public-url", &[URL, &["https://a/path"]].concat());
        wrong.add(command, "--store", &["relais.db", "sqlite:", "postgres://me:secret@host/db"]);
        wrong.add(command, "--upstream", URL);
        wrong.add(command, "--upstream-host", &["a b", "me@a", ""]);
    }
    wrong.add("serve", "--log", &["loud"]);
    for command in [
        SUBMIT, "watch", "tasks", "show", "why", "result", "cancel", "retry", WORK, "queues",
        "bench",
    ] {
        // Most need something more, which they get.
        let command = match command {
            "watch" => "watch task_01jdk3v5x8e2rbk0t6q9z4m7ha",
            "show" => "show task_01jdk3v5x8e2rbk0t6q9z4m7ha",
            "why" => "why task_01jdk3v5x8e2rbk0t6q9z4m7ha",
            "result" => "result task_01jdk3v5x8e2rbk0t6q9z4m7ha",
            "cancel" => "cancel task_01jdk3v5x8e2rbk0t6q9z4m7ha",
            "retry" => "retry task_01jdk3v5x8e2rbk0t6q9z4m7ha",
            other => other,
        };
        wrong.add(command, "--url", URL);
        if command != "bench" {
            wrong.add(command, "--key", &["a\u{7f}b"]);
            wrong.add(command, "--ticket", &["a\u{7f}b"]);
        }
    }
}

fn of_tasks(wrong: &mut Wrong) {
    let never = Never::new();
    wrong.add(SUBMIT, "--queue", &never.queue);
    wrong.add(SUBMIT, "--content-type", &never.media_type);
    wrong.add(SUBMIT, "--lane", &never.lane);
    wrong.add(SUBMIT, "--delay", SPAN);
    wrong.add(SUBMIT, "--run-at", &["tomorrow", "2026-13-01T00:00:00Z"]);
    wrong.add(SUBMIT, "--deadline", &["tomorrow", "2026-13-01T00:00:00Z"]);
    wrong.add(SUBMIT, "--priority", &["11", "-11", "high"]);
    wrong.add(SUBMIT, "--label", &never.label);
    wrong.add(SUBMIT, "--retention", SPAN);
    wrong.add(SUBMIT, "--idempotency-key", &["", "\u{e9}", &long(256)]);
    for command in ["watch", "show", "why", "result", "cancel", "retry"] {
        wrong.add(command, "ID", &["", "task_1", "lease_01jdk3v5x8e2rbk0t6q9z4m7ha"]);
    }
    wrong.add("watch task_01jdk3v5x8e2rbk0t6q9z4m7ha", "--after", &["-1", "x"]);
    for command in ["tasks", "cancel", "retry"] {
        wrong.add(command, "--queue", &never.queue);
        wrong.add(command, "--status", &["done", "", "Failed"]);
        wrong.add(command, "--label", &never.label);
        wrong.add(command, "--lane", &never.lane);
    }
    wrong.add("retry", "--code", &[""]);
    wrong.add("tasks", "--limit", &["0", "-1", "many"]);
}

fn of_others(wrong: &mut Wrong) {
    let never = Never::new();
    wrong.add(WORK, "--queue", &never.queue);
    wrong.add(WORK, "--exec", &[""]);
    wrong.add(WORK, "--concurrency", &["0", "1001", "all"]);
    wrong.add(WORK, "--name", &["", "a\tb", &long(129)]);
    wrong.add(WORK, "--result-type", &never.media_type);
    wrong.add(WORK, "--drain", SPAN);
    wrong.add(ADD, "--name", &["", "a b", &long(65)]);
    wrong.add(ADD, "--tenant", &["", "A"]);
    wrong.add(ADD, "--scope", &["root", ""]);
    let store = ["relais.db", "memory:", "postgres://me:secret@host/db"];
    for command in [ADD, "key list", "key revoke n", "backup copy.db", "restore copy.db"] {
        wrong.add(command, "--store", &store);
    }
    wrong.add("key revoke --store sqlite:x.db", "NAME", &["a b", ""]);
    wrong.add("token", "TICKET", &["x", "a.b", ""]);
    for command in ["queues show", "queues pause", "queues resume"] {
        wrong.add(command, "NAME", &never.queue);
    }
    wrong.add("bench", "--connections", &["0", "1001"]);
    wrong.add("bench", "--workers", &["0", "101"]);
    wrong.add("bench", "--seconds", &["0", "61"]);
    wrong.add("bench", "--requests", &["0", "1000001"]);
    wrong.add("bench", "--body-bytes", &["1", "1048577"]);
    wrong.add("bench", "--queue", &never.queue);
    wrong.add("demo", "--port-base", &["0", "65534"]);
    wrong.add("completions", "SHELL", &["dos"]);
}

/// Command lines that lack something, or have what does not go together, and what is named.
const WRONG_LINES: &[(&str, &str)] = &[
    ("", "Usage: relais"),
    ("fly", "'fly'"),
    ("serve --fly", "'--fly'"),
    ("check extra", "'extra'"),
    ("submit", "<FILE>"),
    ("submit -", "--queue <NAME>"),
    ("submit - --queue q --output x", "--wait"),
    ("submit - --queue q --delay 1s --run-at 2026-11-22T10:00:05Z", "--run-at <TIME>"),
    ("submit - --queue q --label a=1 --label a=2", "--label <NAME=VALUE>"),
    ("watch", "<ID>"),
    ("show", "<ID>"),
    ("why", "<ID>"),
    ("result", "<ID>"),
    ("tasks --all --limit 3", "--limit <N>"),
    ("tasks --ca nowhere.pem", "--ca <FILE>"),
    ("cancel", "[ID]"),
    ("retry", "[ID]"),
    ("cancel task_01jdk3v5x8e2rbk0t6q9z4m7ha --queue q", "--queue"),
    ("retry task_01jdk3v5x8e2rbk0t6q9z4m7ha --status failed", "--status"),
    ("retry --from-start --queue q", "<ID>"),
    ("work --queue q", "--exec <COMMAND>"),
    ("work --exec true", "--queue <NAME>"),
    ("key", "Usage: relais key"),
    ("key add --scope read", "--name <NAME>"),
    ("key add --name n", "--scope <SCOPE>"),
    ("key revoke n", "--store <URL>"),
    ("key revoke --store sqlite:x.db", "<NAME>"),
    ("token", "[TICKET]"),
    ("queues fly", "'fly'"),
    ("queues pause", "<NAME>"),
    ("limits all", "'all'"),
    ("bench --seconds 1 --requests 1", "--requests <N>"),
    ("bench --folder . --url http://127.0.0.1:1", "--folder"),
    ("completions", "<SHELL>"),
    ("man", "<FOLDER>"),
];

/// What a variable gave was said to be needed: "relais why --url <URL> <ID>".
#[test]
fn a_usage_names_what_is_needed_and_not_what_was_given() {
    let mut command = relais(Path::new("."), &["why"]);
    command.env("RELAIS_URL", "http://127.0.0.1:1").env("RELAIS_API_KEY", "rk_x");
    let told = stderr(&output(command, b""));
    assert!(told.contains("\nUsage: relais why [OPTIONS] <ID>\n"), "{told}");
    let help = relais(Path::new("."), &["key", "add", "--help"]);
    let help = stdout(&output(help, b""));
    // The last of the characters was the full stop, which help texts lose.
    assert!(help.contains("letters, digits, dots, - and _\n"), "{help}");
}

/// Arguments that may be any text: files, and what is judged by others.
const FREE: &[&str] = &[
    "serve config",
    "check config",
    "key list config",
    "submit file",
    "submit output",
    "result output",
    "backup config",
    "backup file",
    "restore config",
    "restore file",
    "bench folder",
    "man folder",
];

#[test]
fn a_wrong_command_line_ends_with_2_and_names_the_argument() {
    let folder = tempfile::tempdir().unwrap();
    let mut taken = Vec::new();
    let mut refused = |args: &[&str], named: &str| {
        let failed = output(relais(folder.path(), args), b"{}");
        let text = stderr(&failed);
        let is_clean = failed.stdout.is_empty() && !text.contains("secret");
        if failed.status.code() != Some(2) || !text.contains(named) || !is_clean {
            taken.push(format!("{args:?} ends with {}: {text}", failed.status));
        }
    };
    for (line, named) in WRONG_LINES {
        refused(&line.split_whitespace().collect::<Vec<_>>(), named);
    }
    let too_many: Vec<String> = (0..17).map(|n| format!("--label=l{n}=v")).collect();
    let args: Vec<&str> = SUBMIT.split(' ').chain(too_many.iter().map(String::as_str)).collect();
    refused(&args, "--label <NAME=VALUE>");
    for (command, argument, value) in wrong_values() {
        let mut args: Vec<&str> = command.split(' ').collect();
        let flag = format!("{argument}={value}");
        if argument.starts_with("--") {
            // What is there already is taken out: most can be given once only.
            if let Some(at) = args.iter().position(|word| *word == argument) {
                args.drain(at..at + 2);
            }
            args.push(&flag);
        } else {
            args.push(&value);
        }
        refused(&args, argument);
    }
    assert!(taken.is_empty(), "{}", taken.join("\n"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was done");
}

#[test]
fn there_is_a_wrong_value_for_each_argument_of_each_command() {
    let mut tried: BTreeSet<String> = FREE.iter().map(|free| (*free).to_owned()).collect();
    for (command, argument, _) in wrong_values() {
        let words: Vec<&str> = command.split(' ').collect();
        let has_action = matches!(words[0], "key" | "queues") && words.len() > 1;
        let name = words[..if has_action { 2 } else { 1 }].join(" ");
        tried.insert(format!("{name} {argument}"));
    }
    let mut command = relais::cli::command();
    command.build();
    let mut left = vec![(String::new(), &command)];
    while let Some((name, command)) = left.pop() {
        let own = command.get_arguments().filter(|argument| !argument.is_global_set());
        for argument in own.filter(|argument| argument.get_action().takes_values()) {
            let id = argument.get_id();
            let flag = argument.get_long().map(|long| format!("--{long}"));
            let value = argument.get_value_names().map(|names| names[0].to_string());
            let is_tried = [flag, value, Some(id.to_string())]
                .into_iter()
                .flatten()
                .any(|argument| tried.contains(&format!("{name} {argument}")));
            assert!(is_tried, "no wrong value of `relais {name}` is tried for {id}");
        }
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            left.push((format!("{name} {}", below.get_name()).trim().to_owned(), below));
        }
    }
}
