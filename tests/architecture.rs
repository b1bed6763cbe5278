//! The shape of the house (ARCHITECTURE §1): who imports whom, who may do I/O, and which names are forbidden.
//!
//! Read from `cargo metadata` and from the sources, so that it cannot drift from what is built.

// A test says by a panic what it expected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SERVICES: [&str; 6] =
    ["p92-identity", "p92-posting", "p92-timelines", "p92-federation-delivery", "p92-ranking", "p92-gateway"];

/// The layer of each crate, and which of ours it may name besides those of lower layers.
fn allowed(name: &str) -> Vec<&'static str> {
    let shared = ["p92-kernel", "p92-proto", "p92-storage", "p92-chassis", "p92-activitypub", "p92-eventlog"];
    match name {
        "p92-kernel" | "p92-proto" => vec![],
        "p92-storage" | "p92-chassis" | "p92-activitypub" => vec!["p92-kernel"],
        "p92-eventlog" => vec!["p92-kernel", "p92-proto", "p92-storage"],
        // The door reads no log and no store.
        "p92-gateway" => vec!["p92-kernel", "p92-proto", "p92-chassis", "p92-activitypub"],
        service if SERVICES.contains(&service) => shared.to_vec(),
        "p92-node" => [SERVICES.as_slice(), &shared].concat(),
        // From outside, but for the simulation: it gives services an engine, a bus, a clock and a network of its own.
        "p92-tests" => [SERVICES.as_slice(), &shared, &["p92-node"]].concat(),
        other => panic!("{other} has no layer; say in tests/architecture.rs where it stands"),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every source file of the project, with its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("proto"), root().join("services"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    assert!(files.len() > 50, "the sources were not found");
    files
}

/// What stands before the tests of a file.
fn body(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

/// A crate that names what it does not use is built slower and read wrongly.
#[test]
fn what_a_crate_names_it_uses() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let sources = sources();
    let mut idle = Vec::new();
    for package in &metadata.packages {
        let folder = package.manifest_path.parent().unwrap().strip_prefix(root()).unwrap();
        let text: String = sources
            .iter()
            .filter(|(path, _)| Path::new(path).starts_with(folder))
            .map(|(_, text)| text.as_str())
            .collect();
        for dependency in &package.dependencies {
            // Code that is generated into the contract's crate names these.
            let generated =
                package.name == "p92-proto" && ["prost-types", "tonic-prost"].contains(&&*dependency.name);
            if !generated && !text.contains(&dependency.name.replace('-', "_")) {
                idle.push(format!("{} names {}", package.name, dependency.name));
            }
        }
    }
    assert!(idle.is_empty(), "not used: {idle:?}");
}

#[test]
fn arrows_only_point_downwards() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let allowed = allowed(&package.name);
        for dependency in package.dependencies.iter().filter(|dependency| dependency.name.starts_with("p92-"))
        {
            let itself =
                dependency.name == package.name.as_str() && dependency.kind == DependencyKind::Development;
            if !itself && !allowed.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} → {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the simulation names is there for it alone.
#[test]
fn tests_look_from_outside() {
    let allowed = ["p92-node", "p92-proto"];
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let tests = metadata.packages.iter().find(|package| package.name == "p92-tests").unwrap();
    let ours = tests.dependencies.iter().filter(|dependency| dependency.name.starts_with("p92-"));
    let wrong: Vec<_> = ours
        .filter(|dependency| !dependency.optional && !allowed.contains(&&*dependency.name))
        .map(|dependency| &dependency.name)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?} is named by more than the simulation");
}

#[test]
fn services_are_named_by_the_node_alone() {
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("services/") && !path.starts_with("services/node/"))
        .flat_map(|(path, text)| {
            let own = path.split('/').nth(1).unwrap().replace('-', "_");
            let named = SERVICES.iter().map(|name| name.replace('-', "_"));
            let other = named.filter(|name| *name != format!("p92_{own}"));
            other
                .filter(|name| text.contains(&format!("{name}::")))
                .map(|name| format!("{path}: {name}"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_pure_does_no_io_and_reads_no_clock() {
    const FORBIDDEN: [&str; 12] = [
        "tokio",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "rand::",
        "async fn",
        "reqwest",
        "hyper",
    ];
    let pure = |path: &str| {
        path.starts_with("services/shared/kernel/src")
            || path.starts_with("services/shared/activitypub/src")
            || path.contains("/src/domain/")
    };
    let mut looked = 0;
    let mut wrong = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| pure(path)) {
        looked += 1;
        for line in body(&text).lines().filter(|line| !line.trim_start().starts_with("//")) {
            for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{path}: {word}: {}", line.trim()));
            }
        }
    }
    assert!(looked > 10, "only {looked} pure files were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_door_listens_and_only_delivery_calls() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let calls =
            package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in calls.filter(|dependency| dependency.name == "reqwest") {
            if !["p92-federation-delivery", "p92-tests"].contains(&package.name.as_str()) {
                wrong.push(format!("{} calls strangers by {}", package.name, dependency.name));
            }
        }
    }
    // Listeners are bound by the node and served by the chassis; what they hand to is the gateway.
    let may_listen = ["services/node/", "services/shared/chassis/", "services/gateway/", "tests/"];
    for (path, text) in sources() {
        let inside = body(&text).contains("TcpListener::bind") && !path.contains("/tests/");
        if inside && !may_listen.iter().any(|start| path.starts_with(start)) {
            wrong.push(format!("{path} listens"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn forbidden_names_do_not_occur() {
    const NAMES: [&str; 7] = ["common", "core", "utils", "helpers", "misc", "types", "manager"];
    let wrong: Vec<_> = sources()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.trim_end_matches(".rs").split('/').any(|part| NAMES.contains(&part)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn words_of_mastodon_stay_at_the_door() {
    let inside = |path: &str| {
        path.starts_with("services/")
            && !path.starts_with("services/gateway/")
            && !path.starts_with("services/shared/activitypub/")
    };
    let mut wrong = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| inside(path)) {
        for line in body(&text).lines().filter(|line| !line.trim_start().starts_with("//")) {
            for word in ["toot", "reblog", "Toot", "Reblog"].iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{path}: {word}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_say_what_they_are_and_stay_small() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !text.trim_start().starts_with("//!") {
            wrong.push(format!("{path} does not begin with //!"));
        }
        let lines = text.lines().count();
        if lines > 500 {
            wrong.push(format!("{path} has {lines} lines"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_root_holds_what_it_should() {
    let allowed: BTreeMap<&str, ()> = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        "README.md",
        "FEDERATION.md",
        "rust-toolchain.toml",
        "services",
        "proto",
        "deploy",
        "helm",
        "tests",
        "target",
    ]
    .map(|name| (name, ()))
    .into();
    let wrong: Vec<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            !name.starts_with('.') && !name.starts_with("p92-data") && !allowed.contains_key(name.as_str())
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
