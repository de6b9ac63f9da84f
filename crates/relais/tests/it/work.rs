use std::io::BufRead as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::process::{Running, Server, log_with, output, relais, stderr, stdout};

/// A program for workers, as a script.
fn script(folder: &Path, name: &str, lines: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    format!("./{name}")
}

fn work(server: &Server, folder: &Path, exec: &str) -> Running {
    let args = ["work", "--queue", "q", "--concurrency", "4", "--name", "w", "--exec", exec];
    let mut command = server.command(folder, &args);
    command.stderr(Stdio::null());
    Running::start(command)
}

fn submit(server: &Server, folder: &Path, args: &[&str], input: &[u8]) -> std::process::Output {
    output(server.command(folder, &[&["submit", "-", "--queue", "q"], args].concat()), input)
}

fn task(server: &Server, folder: &Path) -> Value {
    let listed = server.run(folder, &["tasks", "--json", "--limit", "1"]);
    serde_json::from_str(listed.trim()).unwrap()
}

#[test]
fn a_program_gets_the_input_and_its_output_is_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    // Standard input is the input, and the environment says the rest.
    let exec = "printf '%s,%s,%s,%s,%s:' \"$RELAIS_ATTEMPT\" \"$RELAIS_QUEUE\" \"$RELAIS_LANE\" \
                \"$RELAIS_CONTENT_TYPE\" \"$RELAIS_API_KEY\"; cat";
    let _worker = work(&server, folder.path(), exec);
    let input: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let args = ["--wait", "--lane", "l-1", "--content-type", "a/b", "--output", "result"];
    let done = submit(&server, folder.path(), &args, &input);
    assert!(done.status.success(), "{}", stderr(&done));
    let result = std::fs::read(folder.path().join("result")).unwrap();
    let (head, rest) = result.split_at("1,q,l-1,a/b,:".len());
    assert_eq!(std::str::from_utf8(head).unwrap(), "1,q,l-1,a/b,:");
    assert!(rest == input, "300,000 bytes of every kind come back");
}

#[test]
fn the_exit_status_is_the_outcome_and_the_last_words_explain_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let exec = script(
        folder.path(),
        "fail.sh",
        "cat > /dev/null\nprintf 'first\\n\\033[31mno such supplier\\033[0m\\n\\n' >&2\nexit 100",
    );
    let _worker = work(&server, folder.path(), &exec);
    let done = submit(&server, folder.path(), &["--wait"], b"x");
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stdout.is_empty());
    let text = stderr(&done);
    let last = text.lines().last().unwrap();
    assert!(
        last.ends_with(
            "failed: handler-failed: no such supplier (the program ended with exit status 100)"
        ),
        "{text}"
    );
    assert!(text.lines().next().unwrap().starts_with("task: task_"), "its id comes first: {text}");
    assert_eq!(task(&server, folder.path())["attempt"], 1);
}

/// It was found unwritable only after the wait, and a link or a pipe was replaced by a file.
#[test]
fn a_result_goes_into_its_file_whole_or_not_at_all() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str| folder.path().join(name);
    std::fs::write(here("result"), "before").unwrap();
    std::fs::set_permissions(here("result"), PermissionsExt::from_mode(0o640)).unwrap();
    symlink("result", here("link")).unwrap();
    std::fs::create_dir(here("folder")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(here("pipe")).status().unwrap().success());
    let names = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let submit = ["submit", "-", "--queue", "q", "--wait", "--url", "http://127.0.0.1:1", "-o"];
    for (path, what) in [
        ("nowhere/result", "could not write nowhere/result: "),
        ("folder", "could not write folder: it is a folder"),
        // This one could be written, but there is no server.
        ("link", "could not reach"),
        ("new", "could not reach"),
    ] {
        let failed = output(relais(folder.path(), &[&submit[..], &[path]].concat()), b"x");
        assert_eq!(failed.status.code(), Some(1), "{path}");
        assert!(stderr(&failed).contains(what), "{path}: {}", stderr(&failed));
    }
    assert_eq!(names(), before, "nothing is left behind");
    assert_eq!(std::fs::read_to_string(here("result")).unwrap(), "before");

    let server = Server::start(folder.path(), &[]);
    let _worker = work(&server, folder.path(), "cat");
    let reader = std::thread::spawn({
        let pipe = here("pipe");
        move || std::fs::read_to_string(pipe).unwrap()
    });
    for path in ["link", "new", "pipe"] {
        let done = submit_to(&server, folder.path(), path);
        assert!(done.status.success(), "{path}: {}", stderr(&done));
    }
    assert_eq!(reader.join().unwrap(), "after");
    assert!(std::fs::symlink_metadata(here("link")).unwrap().is_symlink());
    for (name, mode) in [("result", 0o640), ("new", 0o644)] {
        assert_eq!(std::fs::read_to_string(here(name)).unwrap(), "after");
        let found = std::fs::metadata(here(name)).unwrap().permissions().mode() & 0o777;
        // Whatever the umask of whoever runs the test takes from a new file.
        assert!(found == mode || name == "new" && found & !0o666 == 0, "{name}: {found:o}");
    }
}

fn submit_to(server: &Server, folder: &Path, path: &str) -> std::process::Output {
    submit(server, folder, &["--wait", "-o", path], b"after")
}

/// A child in the background that held the pipes open made a success count as failed.
#[test]
fn a_child_that_is_left_behind_changes_nothing_about_the_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let exec = "cat > /dev/null; echo result; echo reason >&2; echo '{\"output\": 1}' >&3; \
                sleep 1000 & echo $! >> strays; exit $RELAIS_LANE";
    let _worker = work(&server, folder.path(), exec);
    let [good, bad] = ["0", "100"].map(|lane| {
        let done = submit(&server, folder.path(), &["--wait", "--lane", lane], b"x");
        (done.status.code(), stdout(&done), stderr(&done))
    });
    // What the children held is closed by now; they themselves live on until they are stopped here.
    let strays = std::fs::read_to_string(folder.path().join("strays")).unwrap();
    for stray in strays.lines() {
        let ended = std::process::Command::new("kill").args(["-KILL", stray]).status().unwrap();
        assert!(ended.success(), "{stray} was left alone");
    }
    assert_eq!((good.0, good.1.as_str()), (Some(0), "result\n"), "{}", good.2);
    assert!(good.2.contains(" output "), "reports were read: {}", good.2);
    let last = bad.2.lines().last().unwrap();
    let expected = "handler-failed: reason (the program ended with exit status 100)";
    assert!(bad.0 == Some(1) && last.ends_with(expected), "{}", bad.2);
}

#[test]
fn a_failure_is_tried_again_from_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let exec = script(
        folder.path(),
        "resume.sh",
        "if [ -z \"$RELAIS_CHECKPOINT\" ]; then\n\
           echo '{\"checkpoint\": {\"line\": 9}, \"progress\": {\"percent\": 30, \"message\": \"a third\"}}' >&3\n\
           echo 'not a report' >&3\n\
           echo '{\"output\": [1]}' >&3\n\
           exit 75\nfi\n\
         echo \"{\\\"from\\\": $RELAIS_CHECKPOINT}\"",
    );
    let _worker = work(&server, folder.path(), &exec);
    let done = submit(&server, folder.path(), &["--wait"], b"x");
    assert_eq!(stdout(&done), "{\"from\": {\"line\": 9}}", "{}", stderr(&done));
    let task = task(&server, folder.path());
    assert_eq!((&task["attempt"], &task["failures"]), (&2.into(), &1.into()));
    let id = task["id"].as_str().unwrap();
    let events = server.run(folder.path(), &["watch", id, "--json"]);
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    assert_eq!(of("output")["data"]["output"], serde_json::json!([1]));
    assert_eq!(of("progressed")["data"]["message"], "a third");
    assert_eq!(events.last().unwrap()["type"], "succeeded");
}

#[test]
fn a_canceled_program_is_told_to_stop_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let fifo = folder.path().join("told");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // A short lease, so that the heartbeat that brings the news is soon.
    std::fs::write(folder.path().join("x.toml"), "[queue.q]\nlease = \"1s\"\n").unwrap();
    let quick = Server::start(folder.path(), &["--config", "x.toml", "--store", "sqlite:quick.db"]);
    let exec = script(
        folder.path(),
        "stubborn.sh",
        "trap 'echo told > told; exit 3' TERM\necho begun > told\nsleep 1000 &\nwait",
    );
    let args = ["work", "--queue", "q", "--exec", &exec];
    let mut worker = quick.command(folder.path(), &args);
    worker.stderr(std::fs::File::create(folder.path().join("log")).unwrap());
    let worker = Running::start(worker);
    drop(server);
    let id = stdout(&submit(&quick, folder.path(), &[], b"x")).trim().to_owned();
    let read = || {
        let mut line = String::new();
        std::io::BufReader::new(std::fs::File::open(&fifo).unwrap()).read_line(&mut line).unwrap();
        line
    };
    assert_eq!(read(), "begun\n");
    assert_eq!(quick.run(folder.path(), &["cancel", &id]), format!("{id} canceled\n"));
    assert_eq!(read(), "told\n");
    // Canceled stays canceled, and is a failure for whoever waits.
    let watched = output(quick.command(folder.path(), &["watch", &id]), b"");
    assert_eq!(watched.status.code(), Some(1));
    assert!(stdout(&watched).lines().last().unwrap().contains(" canceled"), "{}", stdout(&watched));
    // The worker said nothing of it, but "1 not recorded" at its end.
    worker.signal("TERM");
    assert_eq!(worker.end().0, Some(0));
    let log = log_with(folder.path(), "1 canceled meanwhile");
    let told: Vec<_> = log.lines().filter(|line| line.contains("the task was canceled")).collect();
    assert!(told.len() == 1 && told[0].contains(&id), "{log}");
}

/// P77: a worker that is told to stop gives its task back, and no attempt is burnt.
#[test]
fn a_worker_that_is_told_to_stop_gives_back_what_it_cannot_finish() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let fifo = folder.path().join("told");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let args =
        ["work", "--queue", "q", "--drain", "1ms", "--exec", "echo begun > told; sleep 1000"];
    let mut command = server.command(folder.path(), &args);
    command.stderr(Stdio::null());
    let worker = Running::start(command);
    submit(&server, folder.path(), &[], b"x");
    assert_eq!(std::fs::read_to_string(&fifo).unwrap(), "begun\n");
    worker.signal("TERM");
    assert_eq!(worker.end().0, Some(0));
    let task = task(&server, folder.path());
    assert_eq!((&task["status"], &task["failures"]), (&"queued".into(), &0.into()));
}

/// P17, P70: nobody starts anything again but the server, and nothing is lost or done twice.
#[test]
fn a_server_that_is_killed_is_ridden_out_by_its_worker_and_by_whoever_waits() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for name in ["told", "go"] {
        let fifo = folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    }
    let exec = "echo begun >> begun; echo begun > told; read line < go; cat";
    let _worker = work(&server, folder.path(), exec);
    let waiting = server.command(folder.path(), &["submit", "-", "--queue", "q", "--wait"]);
    let waiting = std::thread::spawn(move || output(waiting, b"the input"));
    assert_eq!(std::fs::read_to_string(folder.path().join("told")).unwrap(), "begun\n");
    server.process.signal("KILL");
    let listen = server.api.strip_prefix("http://").unwrap().to_owned();
    assert_eq!(server.process.end().0, None);
    let _again = Server::start_on(folder.path(), &listen, &[]);
    std::fs::write(folder.path().join("go"), "go\n").unwrap();
    let waited = waiting.join().unwrap();
    assert_eq!((waited.status.code(), stdout(&waited).as_str()), (Some(0), "the input"));
    assert_eq!(std::fs::read_to_string(folder.path().join("begun")).unwrap(), "begun\n");
}

/// The program could not know which report of `/reports/{name}` it was to make.
#[test]
fn a_program_is_told_what_was_asked_of_its_route() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    let config = "[[route]]\npath = \"/reports/{name}\"\nrun = \"workers\"\nmode = \"auto\"\n\
                  queue = \"q\"\n[queue.q]\n";
    std::fs::write(folder.path().join("relais.toml"), config).unwrap();
    let server = Server::start(folder.path(), &["--config", "relais.toml"]);
    let exec = "printf '%s,%s,%s,%s,%s,%s' \"$RELAIS_METHOD\" \"$RELAIS_PATH\" \"$RELAIS_QUERY\" \
                \"$RELAIS_PARAM_NAME\" \"$RELAIS_HEADER_X_COLOUR\" \"$RELAIS_HEADER_AUTHORIZATION\"";
    let _worker = work(&server, folder.path(), exec);
    let address = server.api.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = "PUT /reports/monthly?year=2026 HTTP/1.0\r\nhost: a\r\nx-colour: purple\r\n\
                   authorization: Bearer s\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let told = answer.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(told, "PUT,/reports/monthly,year=2026,monthly,purple,", "{answer}");
}
