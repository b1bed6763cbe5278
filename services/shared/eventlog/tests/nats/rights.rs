//! The rights that the README names for users of the bus, as a server understands them: they suffice for a service and for
//! whoever only asks how fast the server answers, and give neither what is another's.

use crate::flow::{LOG, group};
use crate::server::{Server, config, connected, eventually, shards};
use futures::StreamExt as _;
use nkeys::KeyPair;
use p92_eventlog::bus::nats::Login;
use p92_eventlog::{Bus as _, NatsBus};
use std::sync::Arc;
use std::time::Duration;

const README: &str = include_str!("../../README.md");
const SOON: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(30);

/// What the README lets a service publish.
fn rights(service: &str) -> Vec<String> {
    let line = README.lines().find(|line| line.starts_with("- **Rights** that a service needs")).unwrap();
    let (publish, _) = line.split_once("; subscribe `<inbox prefix>.>`").unwrap();
    let quoted = publish.split('`').skip(1).step_by(2);
    quoted.map(|right| right.replace("<own service>", service)).collect()
}

/// A user of that name, who hears its own inbox alone.
struct User {
    name: &'static str,
    pair: KeyPair,
    publishes: Vec<String>,
}

impl User {
    fn new(name: &'static str, publishes: Vec<String>) -> Self {
        Self { name, pair: KeyPair::new_user(), publishes }
    }

    fn told(&self) -> String {
        format!(
            "{{ nkey: {}, permissions: {{ publish: {:?}, subscribe: [\"_INBOX_{}.>\"] }} }}",
            self.pair.public_key(),
            self.publishes,
            self.name
        )
    }

    async fn bus(&self, server: &Server) -> Arc<NatsBus> {
        let mut config = config(server);
        config.inbox_prefix = format!("_INBOX_{}", self.name);
        let seed = server.folder().join(self.name);
        std::fs::write(&seed, self.pair.seed().unwrap()).unwrap();
        config.login = Login::Nkey { seed };
        config.request_timeout = SOON;
        let bus = NatsBus::connect(config, shards()).await.unwrap();
        connected(&bus).await;
        bus
    }

    /// The same past the bus.
    async fn streams(&self, server: &Server) -> async_nats::jetstream::Context {
        let options = async_nats::ConnectOptions::with_nkey(self.pair.seed().unwrap());
        let options = options.custom_inbox_prefix(format!("_INBOX_{}", self.name));
        let client = options.connect(server.address()).await.unwrap();
        async_nats::jetstream::context::ContextBuilder::new().timeout(SOON).ack_timeout(SOON).build(client)
    }
}

async fn serving(users: &[&User]) -> Server {
    let mut server = Server::away();
    let users = users.iter().map(|user| user.told()).collect::<Vec<_>>().join(", ");
    let file = server.folder().join("nats.conf");
    std::fs::write(&file, format!("authorization {{ users = [ {users} ] }}")).unwrap();
    server.arguments(&["-c".to_owned(), file.to_str().unwrap().to_owned()]);
    server.run().await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_timed_and_one_that_nobody_answers_is_told() {
    let ask = rights("").into_iter().filter(|right| right.contains("STREAM.INFO")).collect();
    let (doctor, mute) = (User::new("doctor", ask), User::new("mute", vec!["nothing".to_owned()]));
    let mut server = serving(&[&doctor, &mute]).await;
    let bus = doctor.bus(&server).await;
    // That there is no stream is an answer too.
    let took = bus.round_trip().unwrap().await.unwrap();
    assert!(took > Duration::ZERO && took < SOON, "{took:?}");
    let unheard = mute.bus(&server).await.round_trip().unwrap().await;
    assert!(unheard.is_err(), "a question that may not be asked is answered by nobody");
    server.kill();
    eventually("nobody answers", async || bus.round_trip().unwrap().await.is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_the_readme_names_suffice_and_no_more() {
    let posting = User::new("posting", rights("posting"));
    let timelines = User::new("timelines", rights("timelines"));
    let server = serving(&[&posting, &timelines]).await;
    let (publishes, hears) = (posting.bus(&server).await, timelines.bus(&server).await);
    let mut heard = hears.subscribe(LOG);
    // Streams are made by whoever needs them first; what is published before somebody listens may be missed.
    let came = async {
        loop {
            publishes.publish(LOG, group(LOG, 1));
            if let Ok(Some(body)) = tokio::time::timeout(SOON, heard.next()).await {
                return body;
            }
        }
    };
    let came = tokio::time::timeout(LONG, came).await;
    let states = || format!("{:?} {:?}", publishes.between(), hears.between());
    assert_eq!(came.unwrap_or_else(|_| panic!("nothing is heard: {}", states())), group(LOG, 1));
    // Past the bus: nobody removes a stream, and nobody publishes for another service.
    let other = timelines.streams(&server).await;
    assert!(other.get_stream("p92-v1-posting").await.is_ok(), "it is a user like the bus's");
    assert!(other.delete_stream("p92-v1-posting").await.is_err());
    let subject = |service: &str| format!("p92.v1.{service}.1");
    assert!(other.publish(subject("posting"), group(LOG, 2)).await.unwrap().await.is_err());
    // The same words in its own stream, which it may make.
    let _own =
        hears.subscribe(p92_storage::LogKey { service: p92_kernel::Service::Timelines, shard: LOG.shard });
    eventually("it publishes its own", async || {
        other.publish(subject("timelines"), group(LOG, 2)).await.unwrap().await.is_ok()
    })
    .await;
}
