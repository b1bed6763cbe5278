//! A store that processes share, and that is not there: whoever starts waits and says so, whoever migrates gives up in time.

use crate::running::p92;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// A port where nobody listens and nobody will.
fn nobody() -> (std::net::TcpListener, String) {
    // Bound and never listened at would need a socket of our own; one that is closed at once to whoever comes is as good.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let closing = held.try_clone().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = closing.accept() {
            drop(stream)
        }
    });
    (held, address)
}

fn sharing(words: &[&str], store: &str) -> Command {
    let mut command = p92(words);
    command.env("P92_STORE__KIND", "cql").env("P92_STORE__CQL__CONTACT_POINTS", format!("[{store:?}]"));
    command
}

#[test]
fn an_embedded_store_needs_no_migration() {
    let done = p92(&["migrate", "--json"]).output().unwrap();
    assert!(done.status.success());
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((told["store"].as_str(), told["made"].as_array().map(Vec::len)), (Some("embedded"), Some(0)));
}

#[test]
fn a_migration_waits_no_longer_than_it_is_told() {
    let (_held, store) = nobody();
    let done = sharing(&["migrate", "--wait", "1s"], &store).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success());
    assert!(said.contains(&format!("waiting: the store cannot be used yet: {store}")), "{said}");
    assert!(said.lines().any(|line| line.starts_with("p92: ") && line.contains(&store)), "{said}");
}

#[test]
fn settings_that_cannot_be_right_are_told_before_anybody_is_asked() {
    let mut migrate = sharing(&["migrate"], "nowhere");
    let wrong = [
        ("P92_STORE__CQL__KEYSPACE", "Social-1"),
        ("P92_STORE__CQL__USERNAME", "p92"),
        ("P92_STORE__CQL__REPLICATION", "0"),
        ("P92_STORE__CQL__TLS__CERTIFICATE_PATH", "/own.crt"),
        ("P92_BUS__KIND", "nats"),
        ("P92_BUS__NKEY_PATH", "/own.nk"),
        ("P92_BUS__CREDENTIALS_PATH", "/own.creds"),
        ("P92_BUS__URL", " , "),
    ];
    let done = migrate.envs(wrong).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success());
    for key in [
        "`store.cql.contact_points`: \"nowhere\"",
        "`store.cql.keyspace`",
        "`store.cql.password`",
        "`store.cql.replication`",
        "`store.cql.tls.certificate_path`",
        "`store.cql.tls.authority_path`",
        "`bus.credentials_path`",
        "`bus.url`",
    ] {
        assert!(said.contains(key), "{key} in {said}");
    }
}

#[test]
fn everything_in_one_process_says_where_others_of_its_store_reach_it() {
    let done = sharing(&["serve"], "store.example:9042").output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success());
    assert!(said.contains("`internal.listen`: 127.0.0.1:8094 is reached from this machine alone"), "{said}");
}

#[test]
fn a_service_whose_store_is_away_lives_says_why_it_is_not_ready_and_ends_when_asked() {
    let (_held, store) = nobody();
    let ops = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut serve = sharing(&["serve", "identity"], &store);
    serve.env("P92_INTERNAL__LISTEN", "127.0.0.1:0").env("P92_OPS", &ops);
    let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // It is said in the log, once it is so.
    let log = BufReader::new(child.stderr.take().unwrap());
    let said = log.lines().map(Result::unwrap).find(|line| line.contains("the start waits for the store"));
    assert!(said.is_some_and(|line| line.contains(&store)));
    let asked = |path: &str| {
        let mut stream = TcpStream::connect(&ops).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {ops}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(asked("/livez").starts_with("HTTP/1.1 200"));
    let ready = asked("/readyz");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(&store), "{ready}");
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}
