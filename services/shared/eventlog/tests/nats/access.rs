//! Who may connect: passwords, keys, certificates; and the words when it does not work.

use crate::flow::{LOG, group};
use crate::server::{Server, config, connected, eventually, shards, until, waiting};
use nkeys::KeyPair;
use p92_eventlog::bus::nats::{BusKey, BusState, Login, NatsTls, Unusable};
use p92_eventlog::{Bus as _, NatsBus};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as CertificateKey};
use std::path::{Path, PathBuf};

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn told(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

async fn publishes(bus: &NatsBus) {
    bus.publish(LOG, group(LOG, 1));
    eventually("it is published", async || bus.counts().published == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_exchanged_without_a_restart() {
    let mut server = Server::away();
    let text = "authorization { users = [ { user: posting, password: right } ] }";
    let file = write(server.folder(), "nats.conf", text);
    server.arguments(&["-c".to_owned(), told(&file)]);
    server.run().await;
    let password = write(server.folder(), "password", "wrong\n");
    let mut config = config(&server);
    config.login = Login::Password { user: "posting".to_owned(), file: password.clone() };
    let bus = NatsBus::connect(config, shards()).await.unwrap();
    let words = waiting(&bus, "authorization violation").await;
    assert!(!words.contains("wrong"), "{words}");
    std::fs::remove_file(&password).unwrap();
    waiting(&bus, "password cannot be read").await;
    std::fs::write(&password, "right\n").unwrap();
    connected(&bus).await;
    publishes(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_and_missing_rights_are_named() {
    let mut server = Server::away();
    let (service, admin) = (KeyPair::new_user(), KeyPair::new_user());
    let text = format!(
        r#"authorization {{ users = [
            {{ nkey: {}, permissions: {{
                publish: ["p92.v1.posting.*", "$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.>"],
                subscribe: ["_INBOX_posting.>"] }} }},
            {{ nkey: {} }} ] }}"#,
        service.public_key(),
        admin.public_key(),
    );
    let file = write(server.folder(), "nats.conf", &text);
    server.arguments(&["-c".to_owned(), told(&file)]);
    server.run().await;
    let connect = async |pair: &KeyPair, inbox: &str, name: &str| {
        let mut config = config(&server);
        config.inbox_prefix = inbox.to_owned();
        config.login = Login::Nkey { seed: write(server.folder(), name, &pair.seed().unwrap()) };
        NatsBus::connect(config, shards()).await.unwrap()
    };
    // The service may not make streams here, and says so; whoever may makes it.
    let bus = connect(&service, "_INBOX_posting", "service").await;
    bus.publish(LOG, group(LOG, 1));
    let words = waiting(&bus, "the stream of posting").await;
    let words = if words.contains("Permissions") { words } else { waiting(&bus, "Permissions").await };
    assert!(words.contains("$JS.API.STREAM.CREATE.p92-v1-posting"), "{words}");
    let rights = connect(&admin, "_INBOX", "admin").await;
    publishes(&rights).await;
    // From then on its rights suffice, both ways.
    let _hears = bus.subscribe(LOG);
    eventually("it publishes", async || {
        bus.publish(LOG, group(LOG, 2));
        bus.counts().published > 0 && bus.counts().received > 0
    })
    .await;
    connected(&bus).await;
}

/// An authority, and pairs of certificate and key that it signed; of each kind one that is good and one whose time is over.
struct Certificates {
    authority: PathBuf,
    server: (PathBuf, PathBuf),
    client: (PathBuf, PathBuf),
    old_server: (PathBuf, PathBuf),
    old_client: (PathBuf, PathBuf),
}

fn certificates(folder: &Path) -> Certificates {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, CertificateKey::generate().unwrap()).unwrap();
    let signed = |name: &str, alternative: &str, until: i32| {
        let key = CertificateKey::generate().unwrap();
        let mut params = CertificateParams::new(vec![alternative.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let certificate = write(folder, &format!("{name}.pem"), &certificate.pem());
        (certificate, write(folder, &format!("{name}.key"), &key.serialize_pem()))
    };
    Certificates {
        authority: write(folder, "authority.pem", &issuer.pem()),
        server: signed("server", "127.0.0.1", 4_096),
        client: signed("client", "posting", 4_096),
        old_server: signed("old-server", "127.0.0.1", 2_020),
        old_client: signed("old-client", "posting", 2_020),
    }
}

/// Runs a server that shows this pair, and wants a certificate of that authority.
async fn serving(server: &mut Server, (certificate, key): &(PathBuf, PathBuf), authority: &Path) {
    let files = [("--tlscert", certificate.as_path()), ("--tlskey", key), ("--tlscacert", authority)];
    let named = files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), told(file)]);
    server.arguments(&[vec!["--tlsverify".to_owned()], named.collect()].concat());
    server.run().await;
}

/// Waits until an attempt at a connection has failed: before the first, a bus waits for an answer, whatever its
/// certificates are worth.
async fn refused(bus: &NatsBus) {
    until(bus, |state| match state {
        BusState::Waiting(words) => words.starts_with("NATS at") && !words.contains("no answer"),
        BusState::Connected => panic!("it is connected"),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_wanted_both_ways() {
    let mut server = Server::away();
    let ours = certificates(server.folder());
    let foreign = tempfile::tempdir().unwrap();
    let foreign = certificates(foreign.path());
    serving(&mut server, &ours.server, &ours.authority).await;
    let connect = async |server: &Server, tls: NatsTls| {
        let mut config = config(server);
        config.tls = tls;
        NatsBus::connect(config, shards()).await.unwrap()
    };
    let right =
        NatsTls { required: true, authorities: Some(ours.authority.clone()), own: Some(ours.client.clone()) };
    let wrong = [
        NatsTls { own: None, ..right.clone() },
        NatsTls { own: Some(foreign.client), ..right.clone() },
        NatsTls { own: Some(ours.old_client), ..right.clone() },
        NatsTls { authorities: Some(foreign.authority), ..right.clone() },
    ];
    let mut others = Vec::new();
    for tls in wrong {
        others.push(connect(&server, tls).await);
    }
    // What is published goes out as soon as there is a connection.
    others.iter().for_each(|bus| bus.publish(LOG, group(LOG, 1)));
    let bus = connect(&server, right.clone()).await;
    connected(&bus).await;
    publishes(&bus).await;
    for bus in &others {
        refused(bus).await;
        assert_eq!(bus.counts().published, 0);
    }

    // The same certificates, but for that of the server.
    let mut old = Server::away();
    serving(&mut old, &ours.old_server, &ours.authority).await;
    let bus = connect(&old, right).await;
    bus.publish(LOG, group(LOG, 1));
    refused(&bus).await;
    assert_eq!(bus.counts().published, 0);
}

#[tokio::test]
async fn what_can_never_work_is_refused() {
    let refused = async |servers: &[&str]| {
        let servers = servers.iter().map(ToString::to_string).collect();
        let config = p92_eventlog::bus::nats::NatsConfig::at(servers, "test", BusKey::of_nobody());
        NatsBus::connect(config, shards()).await.err()
    };
    assert!(matches!(refused(&[]).await, Some(Unusable::NoServer)));
    assert!(matches!(refused(&["http://127.0.0.1"]).await, Some(Unusable::Address(..))));
    let secret = refused(&["nats://me:secret@127.0.0.1"]).await.unwrap();
    assert!(!secret.to_string().contains("secret@"), "{secret}");
}
