//! The program as a process: started by a test, gone with it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

/// A command of the program, in a folder, without the variables of whoever runs the test.
pub(crate) fn relais(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relais"));
    command.args(args).current_dir(folder).env_remove("RUST_LOG");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RELAIS_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
pub(crate) fn output(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // Whoever does not read its input must not stop the test.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The log of a server in this folder, once it holds this text.
pub(crate) fn log_with(folder: &Path, text: &str) -> String {
    loop {
        let log = std::fs::read_to_string(folder.join("log")).unwrap();
        if log.contains(text) {
            return log;
        }
        std::thread::yield_now();
    }
}

/// A process that runs until the test is over.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Waits for the end, and returns the exit status and the rest of standard output.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on ports of its own.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) api: String,
    pub(crate) admin: String,
}

impl Server {
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        Self::start_on(folder, "127.0.0.1:0", args)
    }

    /// A server whose log is in the file `log` of its folder.
    pub(crate) fn logging(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let ports = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let mut command = relais(folder, &[&ports, args].concat());
        command.envs(variables.iter().copied());
        command.stderr(std::fs::File::create(folder.join("log")).unwrap());
        Self::by(command)
    }

    /// A server on a port that another one had.
    pub(crate) fn start_on(folder: &Path, listen: &str, args: &[&str]) -> Self {
        let ports = ["serve", "--listen", listen, "--admin-listen", "127.0.0.1:0"];
        let mut command = relais(folder, &[&ports, args].concat());
        command.stderr(Stdio::null());
        Self::by(command)
    }

    /// A server by this command.
    pub(crate) fn by(command: Command) -> Self {
        let mut process = Running::start(command);
        let mut line = String::new();
        process.stdout.read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["relais", "ready:", "api", api, "admin", admin] = words.as_slice() else {
            panic!("it is not ready: {line:?}")
        };
        let (api, admin) = ((*api).to_owned(), (*admin).to_owned());
        Self { process, api, admin }
    }

    /// Asks for a path, and reads all that comes back.
    pub(crate) fn get(&self, path: &str) -> String {
        self.send("GET", path, "", "")
    }

    /// Posts JSON, with these fields besides.
    pub(crate) fn post(&self, path: &str, body: &str, fields: &str) -> String {
        self.send("POST", path, body, &format!("content-type: application/json\r\n{fields}"))
    }

    /// Sends a request, and reads all that comes back; each field ends its line.
    pub(crate) fn send(&self, method: &str, path: &str, body: &str, fields: &str) -> String {
        let address = self.api.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let len = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-length: {len}\r\n{fields}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A command that talks to this server.
    pub(crate) fn command(&self, folder: &Path, args: &[&str]) -> Command {
        let mut command = relais(folder, args);
        command.env("RELAIS_URL", &self.api);
        command
    }

    /// What a successful command prints.
    pub(crate) fn run(&self, folder: &Path, args: &[&str]) -> String {
        let output = output(self.command(folder, args), b"");
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    }
}
