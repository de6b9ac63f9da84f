//! The import, as a function.

use std::time::Duration;

use serde_json::{Value, json};
use shop::import::{Checkpoint, Format, ImportError, Pace, Summary, import};
use shop::sample;

/// Time goes on by one millisecond a line.
#[derive(Default)]
struct FakePace(u64);

impl Pace for FakePace {
    fn work(&mut self) {
        self.0 += 1;
    }
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0)
    }
}

struct Run {
    result: Result<Summary, ImportError>,
    worked: u64,
    reports: Vec<Value>,
}

impl Run {
    fn of(&self, kind: &str) -> Vec<&Value> {
        self.reports.iter().filter_map(|report| report.get(kind)).collect()
    }
}

fn run(input: &[u8], checkpoint: Option<&Checkpoint>) -> Run {
    let (mut pace, mut reports) = (FakePace::default(), Vec::new());
    let result = import(input, checkpoint, &mut pace, &mut reports);
    let reports = String::from_utf8(reports).unwrap();
    let reports = reports.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Run { result, worked: pace.0, reports }
}

fn summary(input: &[u8]) -> Summary {
    run(input, None).result.unwrap()
}

/// The line and the reason of each bad line.
fn bad(input: &[u8]) -> Vec<(u64, String)> {
    summary(input).bad_lines.into_iter().map(|bad| (bad.line, bad.reason)).collect()
}

fn sample(lines: u64, bad_every: Option<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    sample::write(sample::Options { lines, bad_every, seed: 7 }, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_sample_is_good_and_its_bad_lines_are_bad() {
    let good = summary(&sample(500, None));
    assert_eq!((good.format, good.lines, good.imported), (Format::Products, 500, 500));
    let bad = summary(&sample(500, Some(50)));
    assert_eq!((bad.imported, bad.rejected), (490, 10));
    let lines: Vec<u64> = bad.bad_lines.iter().map(|bad| bad.line).collect();
    assert_eq!(lines, (1..=10).map(|n| n * 50 + 1).collect::<Vec<_>>(), "the header is line 1");
    assert_eq!(sample(500, Some(50)), sample(500, Some(50)));
}

#[test]
fn every_reason_is_told() {
    let input = b"sku,name,price,quantity\n\
        A,good,1.50,3\n\
        ,no sku,1,3\n\
        A,double,1,3\n\
        B,price,1.505,3\n\
        C,quantity,1,-3\n\
        D,too few,1\n\
        E,too,many,1,3\n\
        F,nul\0,1,3\n\
        G,caf\xe9,1,3\n\
        B,good after a bad one,1,3\n";
    let reasons = [
        (3, "sku is empty"),
        (4, "sku \"A\" is there already"),
        (5, "price \"1.505\" is not a decimal such as 12.50"),
        (6, "quantity \"-3\" is not an integer"),
        (7, "3 fields instead of 4"),
        (8, "5 fields instead of 4"),
        (9, "name has a NUL byte"),
        (10, "name is not UTF-8"),
    ];
    assert_eq!(bad(input), reasons.map(|(line, reason)| (line, reason.to_owned())));
    assert_eq!(summary(input).imported, 2);
}

#[test]
fn bad_lines_have_the_number_that_an_editor_shows() {
    let lines = [
        "sku,name,price,quantity",
        "A,\"two\nlines, \"\"really\"\"\",1,1",
        "",
        "B,x,?,1",
        "C,\"\n\n\",1,1",
        "",
        "",
        "D,x,?,1",
    ];
    for end in ["\n", "\r\n"] {
        for bom in ["", "\u{feff}"] {
            for last in ["", end] {
                let input = format!("{bom}{}{last}", lines.join("|").replace(['|', '\n'], end));
                let found = bad(input.as_bytes());
                let numbers: Vec<u64> = found.iter().map(|(line, _)| *line).collect();
                assert_eq!(numbers, [5, 11], "{input:?}");
                assert_eq!(summary(input.as_bytes()).imported, 2, "{input:?}");
            }
        }
    }
}

#[test]
fn a_quote_that_is_never_closed_is_a_bad_line() {
    let closed = b"id,name,country\nA,\"Acme\",FR\nB,\"Bolt";
    assert_eq!(bad(closed), [(3, "a quote is never closed".into())]);
    assert_eq!(bad(b"id,name,country\nA,x,\"F\nR\n\n"), [(2, "a quote is never closed".into())]);
    assert_eq!(bad(b"id,name,country\nA,\"Acme \"\"\"\"\",\"FR\""), []);
}

#[test]
fn suppliers_and_the_oui_registry_are_known_by_their_header() {
    let suppliers = b"id,name,country\nA,Acme,FR\nA,Again,FR\nB,,FR\nC,Case,fr\n";
    assert_eq!(summary(suppliers).format, Format::Suppliers);
    let lines: Vec<u64> = bad(suppliers).iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4, 5]);
    let oui = "Registry,Assignment,Organization Name,Organization Address\r\n\
        MA-L,F4BD9E,\"Cisco Systems, Inc\",80 West Tasman Drive San Jose CA US 94568 \r\n\
        MA-L,080030,CERN,CH-1211 GENEVE CH 23 \r\n\
        MA-L,080030,\"ROYAL \"\"MELBOURNE\"\" INST OF TECH\",GPO Box 2476V AU 3001 \r\n\
        MA-M,70B3D5E,Seven digits,\r\n\
        MA-L,00000G,Not hex,\r\n\
        MA-L,000001, ,\r\n";
    let summary = summary(oui.as_bytes());
    assert_eq!((summary.format, summary.imported, summary.rejected), (Format::Oui, 3, 3));
    let lines: Vec<u64> = summary.bad_lines.iter().map(|bad| bad.line).collect();
    assert_eq!(lines, [5, 6, 7]);
}

#[test]
fn bad_lines_are_listed_up_to_the_limit_and_counted_beyond() {
    let input = [b"id,name,country\n".to_vec(), b"A,B\n".repeat(250)].concat();
    let summary = summary(&input);
    assert_eq!((summary.bad_lines.len(), summary.rejected), (100, 250));
}

#[test]
fn a_field_is_good_up_to_the_limit() {
    let input = |len| format!("id,name,country\nA,{},FR\n", "x".repeat(len));
    let limit = shop::limits::IMPORT_FIELD_LEN_MAX;
    assert_eq!(bad(input(limit).as_bytes()), []);
    assert_eq!(bad(input(limit + 1).as_bytes()), [(2, "name has more than 4096 bytes".into())]);
}

#[test]
fn what_is_no_known_file_is_refused() {
    assert!(matches!(run(b"", None).result, Err(ImportError::Empty)));
    assert!(matches!(run(b"\r\n\n", None).result, Err(ImportError::Empty)));
    for input in ["a,b\n1,2\n", "sku,name,price\n", "\0\0", "<html>"] {
        let result = run(input.as_bytes(), None).result;
        assert!(matches!(result, Err(ImportError::UnknownHeader { .. })), "{input:?}");
    }
    let nothing = summary(b"id,name,country\n");
    assert_eq!((nothing.lines, nothing.bad_lines.len()), (0, 0));
}

#[test]
fn progress_and_checkpoints_come_when_they_are_due() {
    let run = run(&sample(2_500, Some(100)), None);
    let checkpoints = [(1_000, 990, 10), (2_000, 1_980, 20)];
    let expected = checkpoints.map(|(line, imported, rejected)| {
        json!({"format": "products", "line": line, "imported": imported, "rejected": rejected})
    });
    assert_eq!(run.of("checkpoint"), expected.each_ref());
    let progress = run.of("progress");
    assert_eq!(progress.len(), 25, "one each 100 ms of 2,500 ms");
    let tenth = json!({"percent": 40, "done": 1_001, "total": 2_500, "message": "line 1,001"});
    assert_eq!(progress[10], &tenth);
}

#[test]
fn a_resume_at_any_checkpoint_ends_as_if_nothing_had_happened() {
    // The doubles of the sample repeat its first line: they are found across every checkpoint.
    let input = sample(5_500, Some(70));
    let whole = run(&input, None);
    let expected = whole.result.as_ref().unwrap();
    let checkpoints = whole.of("checkpoint");
    assert_eq!(checkpoints.len(), 5);
    for (index, checkpoint) in checkpoints.iter().enumerate() {
        let checkpoint: Checkpoint = serde_json::from_value((*checkpoint).clone()).unwrap();
        let resumed = run(&input, Some(&checkpoint));
        let summary = resumed.result.as_ref().unwrap();
        assert_eq!(summary.resumed_at, Some(checkpoint.line));
        assert_eq!(Summary { resumed_at: None, ..summary.clone() }, *expected);
        assert_eq!(resumed.worked, 5_500 - checkpoint.line, "no work is done twice");
        assert_eq!(resumed.of("checkpoint"), checkpoints[index + 1..]);
    }
}

#[test]
fn a_checkpoint_of_another_file_is_refused() {
    let input = sample(3_000, Some(70));
    let foreign = Checkpoint { format: Format::Products, line: 1_000, imported: 1, rejected: 999 };
    let beyond = Checkpoint { line: 4_000, ..foreign };
    let other = Checkpoint { format: Format::Oui, ..foreign };
    for checkpoint in [foreign, beyond, other] {
        let result = run(&input, Some(&checkpoint)).result;
        assert!(matches!(result, Err(ImportError::ForeignCheckpoint { .. })));
    }
}
