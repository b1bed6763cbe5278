//! The operator API on the operators' listener: only with a token, which may be exchanged while the server runs.

use crate::running::{Running, p92};
use std::path::Path;
use std::process::Output;

const FIRST: &str = "0123456789abcdef0123456789abcdef-first";
const SECOND: &str = "0123456789abcdef0123456789abcdef-second";

fn asked(node: &Running, token: &Path, words: &[&str]) -> Output {
    let mut command = p92(words);
    command.args(["--operator", &node.ops, "--token-file"]).arg(token).output().unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn only_who_shows_a_token_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, mine, wrong) =
        (dir.path().join("tokens"), dir.path().join("mine"), dir.path().join("wrong"));
    std::fs::write(&tokens, format!("{FIRST}\n")).unwrap();
    std::fs::write(&mine, FIRST).unwrap();
    std::fs::write(&wrong, SECOND).unwrap();
    let variables = [("P92_OPERATORS__TOKENS_PATH", tokens.to_str().unwrap())];
    let node = Running::start(&dir.path().join("data"), &variables);
    let lag = asked(&node, &mine, &["lag", "--json"]);
    assert!(lag.status.success(), "{}", String::from_utf8_lossy(&lag.stderr));
    assert!(String::from_utf8_lossy(&lag.stdout).contains("\"service\":\"posting\""));
    assert!(refused(&asked(&node, &wrong, &["lag"])).contains("NOT_AN_OPERATOR"));
    // What changes something goes the same way, and long answers too.
    let rebuilt = asked(&node, &mine, &["view", "rebuild", "identity_accounts", "--verify"]);
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    let place = dir.path().join("backup");
    let taken = asked(&node, &mine, &["backup", place.to_str().unwrap()]);
    assert!(
        taken.status.success() && place.join("p92-backup").exists(),
        "{}",
        String::from_utf8_lossy(&taken.stderr)
    );
    // A token is exchanged while the server runs.
    std::fs::write(&tokens, format!("{SECOND}\n{FIRST}\n")).unwrap();
    assert!(asked(&node, &wrong, &["owners"]).status.success());
    assert!(asked(&node, &mine, &["owners"]).status.success());
    std::fs::write(&tokens, format!("{SECOND}\n")).unwrap();
    assert!(refused(&asked(&node, &mine, &["owners"])).contains("NOT_AN_OPERATOR"));
    assert!(node.stop());
}

#[test]
fn without_tokens_the_listener_serves_no_operator() {
    let dir = tempfile::tempdir().unwrap();
    let any = dir.path().join("any");
    std::fs::write(&any, FIRST).unwrap();
    let node = Running::start(&dir.path().join("data"), &[]);
    assert!(refused(&asked(&node, &any, &["lag"])).contains("OPERATORS_NOT_SERVED"));
    assert!(node.command(&["lag", "--json"]).contains("lags"), "the socket does");
    assert!(node.stop());
}

#[test]
fn a_token_that_can_be_guessed_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "secret").unwrap();
    let mut serve = p92(&["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0"]);
    serve.arg("--data").arg(dir.path().join("data")).env("P92_OPERATORS__TOKENS_PATH", &tokens);
    let words = refused(&serve.output().unwrap());
    assert!(words.contains("at least 32 characters") && words.contains("what to do"), "{words}");
}
