//! Large bodies through the whole program: they pass, byte for byte, and it
//! does not grow with them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::process::Server;

/// It only bounds tests that fail.
const SOON: Duration = Duration::from_secs(60);
const PIECE: usize = 64 << 10;
/// The most that a stored request may have.
const REQUEST_BYTES: usize = 64 << 20;
const LARGE_BYTES: usize = 200 << 20;
/// How much the program may grow: less than any of the bodies has, more than buffers, caches and
/// what the allocator keeps.
const GROWTH_KIB_MAX: u64 = 56 << 10;
/// Who read one answer at once. What a reader costs must show, also what it costs the threads that read for it.
const READERS: usize = 50;

/// A piece of a body, unlike those before it.
fn piece(number: usize) -> Vec<u8> {
    let mut piece: Vec<u8> = (0..PIECE).map(|at| (at % 251) as u8).collect();
    piece[..8].copy_from_slice(&(number as u64).to_be_bytes());
    piece
}

fn write_body(stream: &mut TcpStream, len: usize) {
    let mut template = piece(0);
    for number in 0..len / PIECE {
        template[..8].copy_from_slice(&(number as u64).to_be_bytes());
        stream.write_all(&template).unwrap();
    }
}

fn read_body(stream: &mut BufReader<TcpStream>, len: usize) {
    let mut expected = piece(0);
    let mut found = vec![0; PIECE];
    for number in 0..len / PIECE {
        expected[..8].copy_from_slice(&(number as u64).to_be_bytes());
        stream.read_exact(&mut found).unwrap();
        assert!(found == expected, "piece {number} is not what was sent");
    }
}

/// A head, in lower case.
fn read_head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "a whole head comes: {head:?}");
    }
    head.to_ascii_lowercase()
}

fn open(stream: TcpStream) -> BufReader<TcpStream> {
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    BufReader::with_capacity(PIECE, stream)
}

/// Takes one request of `request` bytes, and answers it with `answer` bytes;
/// hands out its task's id.
fn answer(upstream: &TcpListener, request: usize, answer: usize) -> Option<String> {
    let mut stream = open(upstream.accept().unwrap().0);
    let head = read_head(&mut stream);
    read_body(&mut stream, request);
    let fields = format!("connection: close\r\ncontent-length: {answer}\r\n\r\n");
    stream.get_mut().write_all(format!("HTTP/1.1 200 OK\r\n{fields}").as_bytes()).unwrap();
    write_body(stream.get_mut(), answer);
    head.lines().find_map(|line| line.strip_prefix("relais-task: ")).map(str::to_owned)
}

/// Sends a request of so many bytes.
fn send(server: &Server, path: &str, len: usize) -> BufReader<TcpStream> {
    let api = server.api.strip_prefix("http://").unwrap();
    let mut stream = open(TcpStream::connect(api).unwrap());
    let fields = format!("host: a\r\nprefer: wait=50\r\ncontent-length: {len}\r\n\r\n");
    stream.get_mut().write_all(format!("POST {path} HTTP/1.1\r\n{fields}").as_bytes()).unwrap();
    write_body(stream.get_mut(), len);
    stream
}

/// Reads an answer of so many bytes.
fn read(client: &mut BufReader<TcpStream>, len: usize) {
    let head = read_head(client);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains(&format!("\r\ncontent-length: {len}\r\n")), "{head}");
    read_body(client, len);
}

/// The most memory a server ever had, in KiB.
fn peak_kib(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.process.child.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn start(folder: &Path, upstream: &TcpListener) -> Server {
    let url = upstream.local_addr().unwrap();
    let routes = ["sync", "auto"].map(|mode| {
        format!("[[route]]\npath = \"/{mode}\"\nupstream = \"http://{url}\"\nmode = \"{mode}\"\n")
    });
    std::fs::write(folder.join("relais.toml"), routes.concat()).unwrap();
    Server::start(folder, &["--config", "relais.toml"])
}

fn exchange(server: &Server, upstream: &TcpListener, path: &str, up: usize, down: usize) {
    std::thread::scope(|threads| {
        let answering = threads.spawn(|| answer(upstream, up, down));
        read(&mut send(server, path, up), down);
        answering.join().unwrap();
    });
}

#[test]
fn two_hundred_mebibytes_pass_both_ways_without_being_held_in_memory() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &upstream);
    for path in ["/auto", "/sync"] {
        exchange(&server, &upstream, path, PIECE, PIECE);
    }
    let before = peak_kib(&server);
    for (path, up) in [("/auto", REQUEST_BYTES), ("/sync", LARGE_BYTES)] {
        exchange(&server, &upstream, path, up, LARGE_BYTES);
        let growth = peak_kib(&server) - before;
        assert!(growth < GROWTH_KIB_MAX, "{path}: it grew by {growth} KiB");
    }
}

/// Each reader has one piece of it at a time, whether it reads or not.
#[test]
fn an_answer_with_many_live_readers_is_held_in_memory_for_none_of_them() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &upstream);
    exchange(&server, &upstream, "/auto", PIECE, PIECE);
    let before = peak_kib(&server);
    let reader = |id: &str| {
        let api = server.api.strip_prefix("http://").unwrap();
        let mut stream = open(TcpStream::connect(api).unwrap());
        let target = format!("GET /v1/tasks/{id}/result?live HTTP/1.1\r\n");
        let fields = format!("host: {api}\r\nprefer: wait=50\r\n\r\n");
        stream.get_mut().write_all((target + &fields).as_bytes()).unwrap();
        stream
    };
    let mut caller = send(&server, "/auto", 0);
    let mut call = open(upstream.accept().unwrap().0);
    let head = read_head(&mut call);
    let id = head.lines().find_map(|line| line.strip_prefix("relais-task: ")).unwrap();
    let fields = format!("content-length: {LARGE_BYTES}\r\n\r\n");
    call.get_mut().write_all(format!("HTTP/1.1 200 OK\r\n{fields}").as_bytes()).unwrap();
    let (mut readers, deaf): (Vec<_>, Vec<_>) =
        (0..READERS).map(|_| reader(id)).enumerate().partition(|(number, _)| number % 2 == 0);
    std::thread::scope(|threads| {
        threads.spawn(|| read(&mut caller, LARGE_BYTES));
        for (_, reader) in &mut readers {
            threads.spawn(|| read(reader, LARGE_BYTES));
        }
        write_body(call.get_mut(), LARGE_BYTES);
    });
    let growth = peak_kib(&server) - before;
    assert!(growth < GROWTH_KIB_MAX, "it grew by {growth} KiB");
    drop(deaf);
}

#[test]
fn a_client_that_does_not_read_delays_no_task_and_costs_no_memory() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &upstream);
    exchange(&server, &upstream, "/auto", PIECE, PIECE);
    let before = peak_kib(&server);
    std::thread::scope(|threads| {
        let answering = threads.spawn(|| answer(&upstream, 0, LARGE_BYTES));
        let mut deaf = send(&server, "/auto", 0);
        let id = answering.join().unwrap().unwrap();
        // It returns when the task is over, and fails unless it has succeeded.
        server.run(folder.path(), &["watch", &id]);
        let growth = peak_kib(&server) - before;
        assert!(growth < GROWTH_KIB_MAX, "it grew by {growth} KiB");
        read(&mut deaf, LARGE_BYTES);
    });
}
