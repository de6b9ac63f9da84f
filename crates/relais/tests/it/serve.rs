use std::process::Stdio;

use crate::process::{Running, Server, output, relais, stderr, stdout};

#[test]
fn a_server_says_where_it_listens_and_ends_well_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert_ne!(server.api, server.admin);
    let id = {
        let submit = server.command(folder.path(), &["submit", "-", "--queue", "later"]);
        let submitted = output(submit, b"{\"a\": 1}");
        assert!(stderr(&submitted).contains("ticket: "));
        stdout(&submitted).trim().to_owned()
    };
    assert!(id.starts_with("task_"), "{id}");
    server.process.signal("TERM");
    assert_eq!(server.process.end(), (Some(0), String::new()));
    // What was accepted is there when it comes back, with its key.
    let server = Server::start(folder.path(), &[]);
    let listed = server.run(folder.path(), &["tasks", "--json"]);
    let task: serde_json::Value = serde_json::from_str(listed.trim()).unwrap();
    assert_eq!((task["id"].as_str(), task["status"].as_str()), (Some(id.as_str()), Some("queued")));
    assert_eq!(server.run(folder.path(), &["cancel", &id]), format!("{id} canceled\n"));
    assert_eq!(server.run(folder.path(), &["retry", &id]), format!("{id} queued run 2\n"));
}

/// A stop closed both listeners at once: who was still sent there saw an outage.
#[test]
fn a_server_that_leaves_says_so_and_takes_what_comes_until_its_delay_is_over() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("relais.toml"),
        "[server]\ndrain_delay = \"1h\"\n[queue.later]\n",
    )
    .unwrap();
    let server = Server::start(folder.path(), &[]);
    assert!(server.get("/readyz").starts_with("HTTP/1.1 200"));
    server.process.signal("TERM");
    let gone = loop {
        let answer = server.get("/readyz");
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
    };
    assert!(gone.starts_with("HTTP/1.1 503") && gone.contains("server-draining"), "{gone}");
    let submit = server.command(folder.path(), &["submit", "-", "--queue", "later"]);
    assert!(output(submit, b"{}").status.success());
    // The second signal ends it at once.
    server.process.signal("TERM");
    assert_eq!(server.process.end(), (Some(143), String::new()));
}

#[test]
fn a_second_server_on_one_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Server::start(folder.path(), &[]);
    let ports = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let second = output(relais(folder.path(), &ports), b"");
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("could not open relais.db: another process uses it"));
    assert!(second.stdout.is_empty());
}

#[test]
fn a_deep_check_reads_everything_beside_a_running_server_and_names_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let text = "a body to find again, ".repeat(50);
    let submit = server.command(folder.path(), &["submit", "-", "--queue", "later"]);
    let submitted = output(submit, text.as_bytes());
    assert!(submitted.status.success(), "{}", stderr(&submitted));
    let sound = output(relais(folder.path(), &["check", "--deep", "--json"]), b"");
    assert!(sound.status.success(), "{}", stderr(&sound));
    let report: serde_json::Value = serde_json::from_slice(&sound.stdout).unwrap();
    assert_eq!(report["store_check"]["tasks"], 1);
    assert_eq!(report["store_check"]["body_bytes"], text.len());
    server.process.signal("TERM");
    assert_eq!(server.process.end(), (Some(0), String::new()));

    let path = folder.path().join("relais.db");
    let mut file = std::fs::read(&path).unwrap();
    let at = file.windows(12).position(|bytes| bytes == b"a body to fi").unwrap();
    file[at] = b'X';
    std::fs::write(&path, file).unwrap();
    let damaged = output(relais(folder.path(), &["check", "--deep"]), b"");
    assert_eq!(damaged.status.code(), Some(1));
    let said = stderr(&damaged);
    assert!(said.contains("is not what was stored"), "{said}");
    assert!(said.contains("relais: sqlite:relais.db is damaged: restore it"), "{said}");

    let nowhere = output(relais(folder.path(), &["check", "--deep", "--store", "memory:"]), b"");
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("there is nothing to check"), "{}", stderr(&nowhere));
}

#[test]
fn large_bodies_that_are_damaged_are_an_error_and_no_part_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let submit = server.command(folder.path(), &["submit", "-", "--queue", "later"]);
    let id = stdout(&output(submit, &[b'x'; 200_000])).trim().to_owned();
    let bodies = folder.path().join("relais.db.bodies");
    let file = std::fs::read_dir(&bodies).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[150_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let deep = output(relais(folder.path(), &["check", "--deep"]), b"");
    assert!(stderr(&deep).contains(&format!("the input of {id}")), "{}", stderr(&deep));

    let leased = server.post("/v1/queues/later/leases", "{\"max\": 1}", "");
    let (_, token) = leased.split_once("\"token\":\"").unwrap();
    let field = format!("relais-lease: {}\r\n", token.split('"').next().unwrap());
    let input = server.send("GET", "/v1/leases/input", "", &field);
    assert!(input.starts_with("HTTP/1.1 500 "), "{input}");
    assert!(input.contains("\"code\":\"body-damaged\""), "{input}");
    let listed = server.run(folder.path(), &["tasks", "--json"]);
    let task: serde_json::Value = serde_json::from_str(listed.trim()).unwrap();
    assert_eq!(task["problem"]["code"], "body-damaged", "its worker need not settle it");
}

/// A restore that forgot the key made a new one in silence: what was sealed was lost for good.
#[test]
fn a_store_without_the_key_of_its_credentials_is_no_start() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = ["--upstream", "http://127.0.0.1:9"];
    let server = Server::start(folder.path(), &upstream);
    let fields = "authorization: Bearer secret\r\nprefer: respond-async\r\n";
    let taken = server.post("/later", "x", fields);
    assert!(taken.starts_with("HTTP/1.1 202 "), "{taken}");
    server.process.signal("TERM");
    server.process.end();
    let (key, aside) = (folder.path().join("relais.key"), folder.path().join("aside"));
    std::fs::rename(&key, &aside).unwrap();
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for command in ["check", "serve"] {
        let failed = output(relais(folder.path(), &[&[command], &ports[..]].concat()), b"");
        assert_eq!(failed.status.code(), Some(1), "{command}");
        let said = stderr(&failed);
        assert!(said.contains("sealed with a key that is not there"), "{command}: {said}");
        assert!(said.contains("there is no") && said.contains("relais.key"), "{command}: {said}");
    }
    assert!(!key.exists(), "none was made in its place");
    let check = ["check", "--allow-lost-seal-key"];
    let warned = output(relais(folder.path(), &[&check, &ports[..]].concat()), b"");
    assert!(warned.status.success(), "{}", stderr(&warned));
    assert!(stderr(&warned).contains("warning: the store has credentials sealed"));
    std::fs::rename(&aside, &key).unwrap();
    Server::start(folder.path(), &upstream);
}

#[test]
fn a_backup_beside_a_running_server_is_a_store_with_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let submit = |input: &[u8]| {
        let submit = server.command(folder.path(), &["submit", "-", "--queue", "later"]);
        stdout(&output(submit, input)).trim().to_owned()
    };
    let large = vec![b'x'; 200_000];
    let ids: Vec<String> = [&b"1"[..], b"2", &large].into_iter().map(submit).collect();
    let made = output(relais(folder.path(), &["backup", "copy.db"]), b"");
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(stdout(&made).contains("copy.db is whole: 3 tasks"), "{}", stdout(&made));
    assert!(stderr(&made).contains("relais.key"), "the key is not in it, and that is said");
    assert!(folder.path().join("relais.db-wal").exists(), "the server has its log");
    let late = submit(b"3");
    let again = output(relais(folder.path(), &["backup", "copy.db"]), b"");
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("copy.db exists, and is not overwritten"));
    let there = output(relais(folder.path(), &["restore", "copy.db"]), b"");
    assert!(stderr(&there).contains("relais.db exists, and is not overwritten"));
    server.process.signal("TERM");
    server.process.end();

    for name in ["relais.db", "relais.db.bodies"] {
        let path = folder.path().join(name);
        std::fs::rename(&path, path.with_extension("aside")).unwrap();
    }
    let restored = output(relais(folder.path(), &["restore", "copy.db"]), b"");
    assert!(restored.status.success(), "{}", stderr(&restored));
    let server = Server::start(folder.path(), &[]);
    let listed = server.run(folder.path(), &["tasks", "--json"]);
    assert!(ids.iter().all(|id| listed.contains(id.as_str())), "{listed}");
    assert!(!listed.contains(&late), "it came after the copy");
}

/// One row that could not be read, and there was no backup any more.
#[test]
fn a_backup_of_a_store_with_a_damaged_task_is_made_and_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let submit = server.command(folder.path(), &["submit", "-", "--queue", "later"]);
    let id = stdout(&output(submit, b"1")).trim().to_owned();
    server.process.signal("TERM");
    server.process.end();
    let conn = rusqlite::Connection::open(folder.path().join("relais.db")).unwrap();
    conn.execute("update task set life = x'0909'", []).unwrap();
    drop(conn);
    let made = output(relais(folder.path(), &["backup", "copy.db"]), b"");
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(stderr(&made).contains(&format!("damaged already in what was copied: {id}")));
    assert!(stdout(&made).contains("copy.db is a true copy: 1 tasks"), "{}", stdout(&made));
    let there =
        output(relais(folder.path(), &["restore", "copy.db", "--store", "sqlite:b.db"]), b"");
    assert!(there.status.success(), "{}", stderr(&there));
}

/// Whoever watches the port took the server for ready, and lost what it sent.
#[test]
fn nobody_can_connect_before_the_store_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let holder = rusqlite::Connection::open(folder.path().join("relais.db")).unwrap();
    holder.execute_batch("begin exclusive").unwrap();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let args = ["serve", "--listen", &listen, "--admin-listen", "127.0.0.1:0"];
    let mut command = relais(folder.path(), &args);
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while server.try_wait().unwrap().is_none() {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "it is open");
        std::thread::yield_now();
    }
    assert!(!server.wait().unwrap().success(), "the store was never free");
}

#[test]
fn a_port_that_is_taken_is_said_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for args in [
        ["serve", "--listen", &address, "--admin-listen", "127.0.0.1:0"],
        ["serve", "--listen", "127.0.0.1:0", "--admin-listen", &address],
    ] {
        let failed = output(relais(folder.path(), &args), b"");
        assert_eq!(failed.status.code(), Some(1));
        let said = stderr(&failed);
        assert!(said.contains(&format!("relais: could not listen on {address}")), "{said}");
    }
    assert!(!folder.path().join("relais.db").exists(), "no store was made");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relais.db");
    std::fs::write(&path, "dear diary, ".repeat(1000)).unwrap();
    let failed = output(
        relais(
            folder.path(),
            &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
        ),
        b"",
    );
    assert_eq!(failed.status.code(), Some(1));
    let text = stderr(&failed);
    assert!(text.contains("relais: could not open relais.db: it is not a database"), "{text}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "dear diary, ".repeat(1000));
}

/// What `check` passes, `serve` starts with; and neither makes a folder, nor `check` a store.
#[test]
fn check_and_serve_agree_on_the_place_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("diary"), "dear diary, ".repeat(1000)).unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::create_dir(folder.path().join("sealed")).unwrap();
    std::fs::write(folder.path().join("sealed/relais.key"), "not a key").unwrap();
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for (store, what) in [
        ("sqlite:nowhere/relais.db", "the folder nowhere does not exist"),
        ("sqlite:diary/relais.db", "diary is no folder"),
        ("sqlite:folder", "it is a folder"),
        ("sqlite:diary", "could not open diary: it is not a database"),
        ("sqlite:sealed/relais.db", "sealed/relais.key"),
    ] {
        for command in ["check", "serve"] {
            let args = [&[command, "--store", store], &ports[..]].concat();
            let failed = output(relais(folder.path(), &args), b"");
            assert_eq!(failed.status.code(), Some(1), "{command} {store}");
            assert!(stderr(&failed).contains(what), "{command} {store}: {}", stderr(&failed));
        }
    }
    assert!(!folder.path().join("nowhere").exists());
    let new = output(relais(folder.path(), &[&["check"], &ports[..]].concat()), b"");
    assert!(new.status.success(), "{}", stderr(&new));
    assert!(!folder.path().join("relais.db").exists(), "a check makes nothing");
    assert!(!folder.path().join("relais.key").exists(), "a check makes nothing");
}

#[test]
fn a_route_for_keys_without_any_is_pointed_out() {
    let folder = tempfile::tempdir().unwrap();
    let route = "[[route]]\npath = \"/a\"\nupstream = \"http://127.0.0.1:9\"\naccess = \"key\"\n";
    std::fs::write(folder.path().join("relais.toml"), route).unwrap();
    let checked = || {
        let checked = output(relais(folder.path(), &["check"]), b"");
        assert!(checked.status.success(), "{}", stderr(&checked));
        stderr(&checked)
    };
    let what = "warning: route \"/a\" takes callers with an API key only, and there is none";
    assert!(checked().contains(what), "{}", checked());
    let add = ["key", "add", "--name", "ci", "--scope", "submit", "--store", "sqlite:relais.db"];
    assert!(output(relais(folder.path(), &add), b"").status.success());
    assert_eq!(checked(), "");
    // Beside its server as well.
    let _server = Server::start(folder.path(), &[]);
    assert_eq!(checked(), "");
}

#[test]
fn off_loopback_a_server_needs_a_key_in_the_file_or_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "serve",
        "--listen",
        "0.0.0.0:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--public-url",
        "http://127.0.0.1:9",
    ];
    let failed = output(relais(folder.path(), &args), b"");
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).contains("without any API key"), "{}", stderr(&failed));
    let check = [&["check"], &args[1..]].concat();
    let failed = output(relais(folder.path(), &check), b"");
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).contains("without any API key"), "{}", stderr(&failed));
    let add = [
        "key",
        "add",
        "--name",
        "ci",
        "--tenant",
        "acme",
        "--scope",
        "submit,read",
        "--store",
        "sqlite:relais.db",
    ];
    let added = output(relais(folder.path(), &add), b"");
    let key = stdout(&added).trim().to_owned();
    assert!(key.starts_with("rk_") && key.len() == 46, "{}", stderr(&added));
    let again = output(relais(folder.path(), &add), b"");
    assert!(stderr(&again).contains("has a key named \"ci\" already"));
    let listed =
        output(relais(folder.path(), &["key", "list", "--store", "sqlite:relais.db"]), b"");
    assert!(stdout(&listed).contains("acme") && !stdout(&listed).contains(&key));

    let mut command = relais(folder.path(), &args);
    command.stderr(Stdio::null());
    let mut process = Running::start(command);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut process.stdout, &mut line).unwrap();
    let api = line.split_whitespace().nth(3).unwrap().replace("0.0.0.0", "127.0.0.1");
    let list =
        |key: &str| output(relais(folder.path(), &["tasks", "--url", &api, "--key", key]), b"");
    assert!(list(&key).status.success(), "{}", stderr(&list(&key)));
    // It named fields of HTTP, and said of a wrong key what it says of none.
    for (key, what) in [("rk_0", "the API key that was sent is not valid"), ("", "are needed")] {
        let said = stderr(&list(key));
        assert!(said.contains("unauthorized") && said.contains(what), "{said}");
        assert!(
            said.contains("--key or RELAIS_API_KEY") && !said.contains("Relais-Api-Key"),
            "{said}"
        );
    }
    process.signal("INT");
    assert_eq!(process.end().0, Some(0));

    let revoke = ["key", "revoke", "ci", "--store", "sqlite:relais.db"];
    assert_eq!(stdout(&output(relais(folder.path(), &revoke), b"")), "ci is revoked\n");
    assert!(stderr(&output(relais(folder.path(), &revoke), b"")).contains("has no key named"));
    assert!(!output(relais(folder.path(), &args), b"").status.success());
}

#[test]
fn variables_stand_between_flags_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("x.toml"),
        "[server]\nlisten = \"127.0.0.1:1\"\n[store]\nurl = \"memory:\"\n",
    )
    .unwrap();
    let mut check = relais(folder.path(), &["check", "--json", "--store", "sqlite:flag.db"]);
    check
        .env("RELAIS_CONFIG", "x.toml")
        .env("RELAIS_LISTEN", "127.0.0.1:2")
        .env("RELAIS_STORE", "sqlite:variable.db");
    let said: serde_json::Value = serde_json::from_slice(&output(check, b"").stdout).unwrap();
    assert_eq!(said["listen"], "127.0.0.1:2");
    assert_eq!(said["store"], "sqlite:flag.db");
}

/// Calls to upstreams took every file that the process may have open: no client could connect for ten
/// minutes, and the log said "Too many open files".
#[test]
fn calls_leave_room_for_clients_below_the_limit_of_open_files() {
    let folder = tempfile::tempdir().unwrap();
    let start = |limit: &str, concurrency: u32| {
        let route = "[[route]]\npath = \"/{*rest}\"\nupstream = \"http://127.0.0.1:9\"\n";
        let upstream = format!("[upstream.\"http://127.0.0.1:9\"]\nconcurrency = {concurrency}\n");
        // One that no limit is written for has 64.
        let other = "[[route]]\npath = \"/other\"\nupstream = \"http://127.0.0.1:7\"\n";
        let file = format!("{route}{other}{upstream}");
        std::fs::write(folder.path().join("relais.toml"), file).unwrap();
        let program = relais(folder.path(), &[]);
        let mut command = std::process::Command::new("sh");
        command.current_dir(folder.path()).args(["-c", &format!("{limit} && exec \"$@\"")]);
        command.arg("sh").arg(program.get_program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command
    };
    let refused = output(start("ulimit -n 1000", 900), b"");
    assert!(!refused.status.success());
    let said = stderr(&refused);
    assert!(said.contains("permits 964 calls") && said.contains("LimitNOFILE"), "{said}");
    // The soft limit is raised by the process itself; what does not fit then is told.
    let mut command = start("ulimit -Sn 300 && ulimit -Hn 1100", 100);
    command.stderr(std::fs::File::create(folder.path().join("log")).unwrap());
    let server = Server::by(command);
    assert!(server.get("/readyz").starts_with("HTTP/1.1 200"));
    crate::process::log_with(folder.path(), "at most 424 clients are connected at once");
}
