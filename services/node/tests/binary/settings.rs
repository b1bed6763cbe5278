//! Settings through the binary: a wrong one is refused before anything is made.

use crate::running::p92;

#[test]
fn a_setting_that_does_not_exist_stops_the_start_before_the_data_directory_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut serve = p92(&["serve", "--data", data.to_str().unwrap()]);
    let refused = serve.env("P92_STORE__SHARD", "4").env("P92_HTTP", "nowhere").output().unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(
        words.contains(
            "P92_STORE__SHARD: there is no setting `store.shard`; did you mean `P92_STORE__SHARDS`?"
        )
    );
    assert!(words.contains("P92_HTTP: `http`: "), "{words}");
    assert!(!data.exists());
}

#[test]
fn file_variable_and_flag_each_win_over_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("p92.toml");
    std::fs::write(&file, "domain = \"file.example\"\n[store]\ncache_mib = 5\nshards = 3\n").unwrap();
    let mut print = p92(&["config", "print", "--domain", "flag.example", "--config", file.to_str().unwrap()]);
    let printed = print.env("P92_DOMAIN", "variable.example").env("P92_STORE__SHARDS", "7").output().unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    for line in ["# (from flag --domain)\ndomain = \"flag.example\"", "cache_mib = 5", "shards = 7"] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(text.contains("p92.toml:3)\ncache_mib"), "{text}");
}

/// What a command says on both ends, and whether it went well.
fn command(arguments: &[&str]) -> (bool, String) {
    let done = p92(arguments).output().unwrap();
    (done.status.success(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
}

#[test]
fn the_key_file_is_made_once_and_never_for_another_store() {
    let dir = tempfile::tempdir().unwrap();
    let (data, keys) = (dir.path().join("data"), dir.path().join("mounted.keys"));
    let (data, keys) = (data.to_str().unwrap(), keys.to_str().unwrap());
    let init = || command(&["keys", "init", "--data", data, "--keys", keys]);
    assert!(init().0);
    let made = std::fs::read(keys).unwrap();
    let (good, said) = init();
    assert!(good && said.contains("stays as it is"), "{said}");
    assert_eq!(std::fs::read(keys).unwrap(), made);
    let other = dir.path().join("other");
    let (good, said) = command(&["keys", "init", "--data", other.to_str().unwrap(), "--keys", keys]);
    assert!(!good && said.contains("is of installation"), "{said}");
}

#[test]
fn one_service_says_what_it_lacks_before_it_opens_anything() {
    let (good, said) = command(&["serve", "timelines"]);
    assert!(!good, "{said}");
    for lacked in ["peers.identity", "peers.posting", "store.kind"] {
        assert!(said.contains(lacked), "{lacked} in {said}");
    }
    let (good, said) = command(&["account", "list", "--endpoint", "127.0.0.1:1"]);
    assert!(!good && said.contains("no service answers at 127.0.0.1:1"), "{said}");
}
