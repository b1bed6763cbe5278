//! The end of the process as an orchestrator sees it: not ready, and never a refused connection while work is under way.

use crate::running::Running;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn operators_are_answered_until_the_last_request_is() {
    let dir = tempfile::tempdir().unwrap();
    let node = Running::start(&dir.path().join("data"), &[]);
    assert!(get(&node.ops, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
    // A request whose body has not come yet: the process waits for it before it ends.
    let (first, rest) = ("client_name=slow&", "redirect_uris=urn:ietf:wg:oauth:2.0:oob");
    let mut slow = TcpStream::connect(&node.http).unwrap();
    write!(
        slow,
        "POST /api/v1/apps HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nExpect: 100-continue\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        node.http,
        first.len() + rest.len()
    )
    .unwrap();
    // It asks for the body: from here on the request is under way.
    let mut asked = [0; 25];
    slow.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    slow.write_all(first.as_bytes()).unwrap();

    node.ask_to_stop();
    let since = Instant::now();
    while TcpStream::connect(&node.http).is_ok() {
        assert!(since.elapsed() < Duration::from_secs(10), "the public listener stays open");
        std::thread::yield_now();
    }
    // Longer than a listener takes that ends with the others.
    while since.elapsed() < Duration::from_secs(2) {
        let answer = get(&node.ops, "/readyz").expect("an answer, not a refused connection");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"stopping\""), "{answer}");
    }
    assert!(get(&node.ops, "/livez").unwrap().starts_with("HTTP/1.1 200"), "nobody shall kill it now");
    assert!(get(&node.ops, "/metrics").unwrap().contains("p92_process_ready"));

    slow.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(node.ended());
}
