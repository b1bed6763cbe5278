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
