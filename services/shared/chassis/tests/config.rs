//! Settings as an operator writes them: what wins, what is refused, and what the refusal says.

// A test says by a panic what it expected.
#![allow(clippy::unwrap_used, clippy::panic)]

use p92_chassis::config::{Loaded, Loader, REDACTED, print};
use p92_chassis::{HumanDuration, Secret, config};
use std::collections::BTreeMap;
use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
enum Engine {
    Embedded,
    Cql,
}

config! {
    /// Where the store is.
    struct Store {
        /// Which engine holds the data.
        engine: Engine = Engine::Embedded,
        /// Nodes to ask first.
        nodes: Vec<String> = Vec::new(),
        /// Who we are to the store.
        password: Option<Secret> = None,
        /// How long one statement may take.
        ///
        /// Longer than the store's own limit makes no sense.
        patience: HumanDuration = HumanDuration::secs(5),
        /// Labels of racks, by name.
        racks: BTreeMap<String, u32> = BTreeMap::new(),
    }
}

config! {
    /// A process.
    struct Process {
        /// Public HTTP.
        http: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8092)),
        /// A name for people.
        title: String = "P92".to_owned(),
        /// Whether strangers may register.
        open: bool = false,
        /// The store.
        store: Store,
    }
}

fn variables<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn problems(loader: Loader<Process>) -> Vec<String> {
    loader.load().unwrap_err().0.iter().map(ToString::to_string).collect()
}

fn loaded(loader: Loader<Process>) -> Loaded<Process> {
    loader.load().unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn nothing_given_is_the_defaults() {
    let config = loaded(Loader::default()).value;
    assert_eq!(config.http.to_string(), "127.0.0.1:8092");
    assert_eq!(config.store.patience, HumanDuration::secs(5));
}

#[test]
fn later_layers_win_one_setting_at_a_time() {
    let file = "title = 'file'\nopen = true\n[store]\nengine = 'cql'\nnodes = ['a', 'b']\npatience = '1s'\n";
    let loaded = loaded(
        Loader::default()
            .text("p92.toml", file)
            .environment(variables([
                ("P92_STORE__PATIENCE", "2s"),
                ("P92_TITLE", "variable"),
                ("HOME", "/x"),
            ]))
            .flag("title", "flag"),
    );
    let config = &loaded.value;
    assert_eq!((config.title.as_str(), config.open, config.store.engine), ("flag", true, Engine::Cql));
    assert_eq!(config.store.nodes, ["a", "b"]);
    assert_eq!(config.store.patience, HumanDuration::secs(2));
    let origins: Vec<_> = loaded.origins.iter().map(|(path, origin)| format!("{path} {origin}")).collect();
    assert_eq!(
        origins,
        [
            "open p92.toml:2",
            "store.engine p92.toml:4",
            "store.nodes p92.toml:5",
            "store.patience environment variable P92_STORE__PATIENCE",
            "title flag --title",
        ]
    );
}

#[test]
fn text_is_read_as_what_the_setting_is() {
    let config = loaded(Loader::default().environment(variables([
        ("P92_OPEN", "true"),
        ("P92_TITLE", "92"),
        ("P92_HTTP", "0.0.0.0:80"),
        ("P92_STORE__ENGINE", "cql"),
        ("P92_STORE__NODES", "['x', 'y']"),
        ("P92_STORE__PASSWORD", "12345"),
        ("P92_STORE__RACKS__ONE", "1"),
    ])))
    .value;
    assert!(config.open);
    assert_eq!((config.title.as_str(), config.http.port()), ("92", 80));
    assert_eq!(config.store.nodes, ["x", "y"]);
    assert_eq!(config.store.password.unwrap().expose(), "12345");
    assert_eq!(config.store.racks, BTreeMap::from([("one".to_owned(), 1)]));
}

#[test]
fn what_is_wrong_is_named_with_its_place_all_at_once() {
    let file = "titel = 'x'\nopen = 'yes'\nstore = 3\n[store]\n";
    assert_eq!(problems(Loader::default().text("a.toml", file)).len(), 1, "no TOML at all");
    let file = "titel = 'x'\nopen = 'yes'\n\n[store]\nengine = 'rocks'\nhttp = '1.2.3.4:5'\npatience = 5\n";
    let loader = Loader::default()
        .text("a.toml", file)
        .environment(variables([("P92_STORE__NODE", "x"), ("P92_STORE", "x")]))
        .flag("store.enginee", "cql");
    let got = problems(loader);
    let expected = [
        "a.toml:1: there is no setting `titel`; did you mean `title`?",
        "a.toml:6: there is no setting `store.http`; did you mean `http`?",
        "environment variable P92_STORE: `store` is a section, not a value",
        "environment variable P92_STORE__NODE: there is no setting `store.node`; did you mean `P92_STORE__NODES`?",
        "flag --store.enginee: there is no setting `store.enginee`; did you mean `store.engine`?",
        "a.toml:2: `open`: invalid type: string \"yes\", expected a boolean",
        "a.toml:5: `store.engine`: unknown variant `rocks`, expected `embedded` or `cql`",
        "a.toml:7: `store.patience`: invalid type: integer `5`, expected a duration as text, like \"5s\"",
    ];
    for line in expected {
        assert!(
            got.iter().any(|problem| problem.starts_with(line)),
            "{line}\nis not among\n{}",
            got.join("\n")
        );
    }
    assert_eq!(got.len(), expected.len(), "{}", got.join("\n"));
}

#[test]
fn far_from_everything_gets_no_advice() {
    assert_eq!(
        problems(Loader::default().flag("colour", "red")),
        ["flag --colour: there is no setting `colour`"]
    );
}

#[test]
fn broken_toml_names_its_line() {
    let got = problems(Loader::default().text("a.toml", "title = 'x'\nopen = = true\n"));
    assert!(got.len() == 1 && got[0].starts_with("a.toml:2: "), "{got:?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p92.toml");
    let got = problems(Loader::default().file(&path));
    assert!(got.len() == 1 && got[0].starts_with(&path.display().to_string()), "{got:?}");
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2\n").unwrap();
    let path = file.path().to_str().unwrap();
    let loaded = loaded(Loader::default().environment(variables([("P92_STORE__PASSWORD_FILE", path)])));
    assert_eq!(loaded.value.store.password.as_ref().unwrap().expose(), "hunter2");
    let printed = print(&loaded.value, &loaded.origins).unwrap();
    assert!(!printed.contains("hunter2") && printed.contains(REDACTED));

    let got = problems(Loader::default().flag("store.password_file", "/does/not/exist"));
    assert!(got.len() == 1 && got[0].contains("/does/not/exist"), "{got:?}");
}

#[test]
fn what_is_printed_is_read_back_and_says_what_each_key_is_for() {
    let loader = Loader::default()
        .text("a.toml", "title = \"it's \\\"mine\\\"\"\nstore.nodes = ['a']\nstore.racks.x = 3\n");
    let before = loaded(loader).value;
    let printed = print(&before, &BTreeMap::new()).unwrap();
    let after = loaded(Loader::default().text("printed", &printed)).value;
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    let store = "\
# The store.
[store]

# Which engine holds the data.
engine = \"embedded\"
";
    assert!(printed.contains(store), "{printed}");
    assert!(printed.contains("# How long one statement may take.\n#\n# Longer"), "{printed}");
    assert!(printed.contains("# password = …\n"), "{printed}");
}

#[test]
fn what_is_printed_says_where_it_comes_from() {
    let loaded = loaded(Loader::default().flag("title", "x"));
    let printed = print(&loaded.value, &loaded.origins).unwrap();
    assert!(printed.contains("# A name for people.\n# (from flag --title)\ntitle = \"x\"\n"), "{printed}");
}

#[test]
fn kubernetes_links_are_no_settings() {
    let links = variables([
        ("P92_POSTING_SERVICE_HOST", "10.0.0.1"),
        ("P92_POSTING_SERVICE_PORT_GRPC", "8093"),
        ("P92_POSTING_PORT", "tcp://10.0.0.1:8093"),
        ("P92_POSTING_PORT_8093_TCP_ADDR", "10.0.0.1"),
    ]);
    loaded(Loader::default().environment(links));
    let own =
        Loader::default().ignoring(["P92_CONFIG"]).environment(variables([("P92_CONFIG", "/etc/p92.toml")]));
    loaded(own);
}

#[test]
fn a_problem_of_the_whole_is_told_at_its_place() {
    let loaded = loaded(Loader::default().text("a.toml", "\ntitle = ''\n"));
    assert_eq!(loaded.problem("title", "is empty").to_string(), "a.toml:2: `title`: is empty");
    assert_eq!(loaded.problem("open", "is closed").to_string(), "default: `open`: is closed");
}
