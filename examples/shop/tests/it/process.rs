//! The program, as a shell starts it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const SHOP: &str = env!("CARGO_BIN_EXE_shop");

/// Runs `shop import` by a shell, which can open file descriptor 3.
fn import(redirect: &str, report: &str, checkpoint: &str, input: &[u8]) -> Output {
    let mut child: Child = Command::new("sh")
        .args(["-c", &format!("exec \"$0\" import --delay-us 0 {redirect}"), SHOP, report])
        .env("RELAIS_CHECKPOINT", checkpoint)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that fails before it reads closes the pipe.
    child.stdin.take().unwrap().write_all(input).ok();
    child.wait_with_output().unwrap()
}

fn sample(lines: &str) -> Vec<u8> {
    let args = ["sample", "--lines", lines, "--bad-every", "100"];
    Command::new(SHOP).args(args).output().unwrap().stdout
}

#[test]
fn an_import_reports_on_descriptor_3_and_goes_on_from_there() {
    let report = format!("{}/report-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let input = sample("2500");
    let whole = import("3>\"$1\"", &report, "", &input);
    assert!(whole.status.success());
    let reports = std::fs::read_to_string(&report).unwrap();
    let reports = reports.lines().map(|line| serde_json::from_str(line).unwrap());
    let last = reports.filter_map(|report: Value| report.get("checkpoint").cloned()).next_back();
    let resumed = import("3>\"$1\"", &report, &last.unwrap().to_string(), &input);
    let (mut whole, mut resumed): (Value, Value) = (
        serde_json::from_slice(&whole.stdout).unwrap(),
        serde_json::from_slice(&resumed.stdout).unwrap(),
    );
    assert_eq!(resumed.as_object_mut().unwrap().remove("resumed_at"), Some(2_000.into()));
    assert_eq!(resumed, whole);
    assert_eq!(whole["rejected"].take(), 25);
    std::fs::remove_file(report).unwrap();
}

#[test]
fn an_import_needs_no_descriptor_3_and_does_not_write_into_one_for_reading() {
    let input = sample("1500");
    let closed = import("3>&-", "", "", &input);
    assert!(closed.status.success());
    let path = format!("{}/reading-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&path, "kept").unwrap();
    let reading = import("3<\"$1\"", &path, "null", &input);
    assert_eq!(reading.stdout, closed.stdout);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_failure_is_an_exit_code_and_a_line() {
    for (checkpoint, input, message) in [
        ("", "a,b\n", "could not import: unknown header \"a,b\"; known are `sku,name,"),
        ("", "", "could not import: the input is empty"),
        ("{", "id,name,country\n", "could not read RELAIS_CHECKPOINT: "),
    ] {
        let output = import("", "", checkpoint, input.as_bytes());
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with(message) && text.lines().count() == 1, "{text}");
    }
    // A progress that cannot be written would be lost in silence.
    let output = import("3>/dev/full", "", "", &sample("10"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("could not import: could not report on file descriptor 3"), "{text}");
}

#[test]
fn the_service_ends_well_on_sigterm() {
    let mut service = Command::new(SHOP)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(service.stderr.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("shop: listening on http://127.0.0.1:"), "{first}");
    let kill = Command::new("kill").args(["-TERM", &service.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert!(service.wait().unwrap().success());
}
