//! Starts the binary on free ports over a directory of its own, and ends it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The binary with nothing of ours in its surroundings.
pub fn p92(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_p92"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("P92_") {
            command.env_remove(name);
        }
    }
    command.args(words);
    command
}

/// A server that runs until it is stopped or dropped.
pub struct Running {
    child: Child,
    data: PathBuf,
    /// Where its public HTTP listener is, `127.0.0.1:PORT`.
    pub http: String,
    /// Where its public gRPC listener is.
    pub grpc: String,
    /// Where its listener for operators is.
    pub ops: String,
}

impl Running {
    /// Starts one, with these variables.
    pub fn start(data: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = p92(&[
            "serve",
            "--json",
            "--http",
            "127.0.0.1:0",
            "--grpc",
            "127.0.0.1:0",
            "--ops",
            "127.0.0.1:0",
        ]);
        command.arg("--data").arg(data).envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).expect("a ready line");
        let http = ready["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        let told = |listener: &str| ready[listener].as_str().unwrap().to_owned();
        let (grpc, ops) = (told("grpc"), told("ops"));
        Self { child, data: data.to_owned(), http, grpc, ops }
    }

    /// Runs a command against it; what it printed.
    pub fn command(&self, words: &[&str]) -> String {
        let Output { status, stdout, stderr } = p92(words).arg("--data").arg(&self.data).output().unwrap();
        assert!(status.success(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }

    /// Posts a form with a token; the status line and the rest of the answer.
    pub fn post(&self, path: &str, token: &str, form: &str) -> String {
        self.send(("POST", path), token, form)
    }

    /// The same with another method.
    pub fn send(&self, (method, path): (&str, &str), token: &str, form: &str) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.http,
            form.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// Waits for its end; whether it ended in order.
    pub fn ended(mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    /// Asks it to stop, and waits; whether it ended in order.
    pub fn stop(self) -> bool {
        self.ask_to_stop();
        self.ended()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Stopped already, or its test failed.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
