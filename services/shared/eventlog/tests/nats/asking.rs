//! How fast the server answers a small question, asked with no more rights than the doctor has (helm/p92/with-nats).

use crate::server::{Server, config, connected, eventually, shards};
use nkeys::KeyPair;
use p92_eventlog::bus::nats::Login;
use p92_eventlog::{Bus as _, NatsBus};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_timed_and_one_that_nobody_answers_is_told() {
    let mut server = Server::away();
    let (doctor, mute) = (KeyPair::new_user(), KeyPair::new_user());
    let user = |pair: &KeyPair, publish: &str| {
        format!(
            "{{ nkey: {}, permissions: {{ publish: [{publish:?}], subscribe: [\"_INBOX_doctor.>\"] }} }}",
            pair.public_key()
        )
    };
    let users = [user(&doctor, "$JS.API.STREAM.INFO.p92-v1-*"), user(&mute, "nothing")].join(", ");
    let file = server.folder().join("nats.conf");
    std::fs::write(&file, format!("authorization {{ users = [ {users} ] }}")).unwrap();
    server.arguments(&["-c".to_owned(), file.to_str().unwrap().to_owned()]);
    server.run().await;
    let connect = async |pair: &KeyPair, name: &str| {
        let mut config = config(&server);
        config.inbox_prefix = "_INBOX_doctor".to_owned();
        let seed = server.folder().join(name);
        std::fs::write(&seed, pair.seed().unwrap()).unwrap();
        config.login = Login::Nkey { seed };
        config.request_timeout = Duration::from_millis(500);
        NatsBus::connect(config, shards()).await.unwrap()
    };
    let bus = connect(&doctor, "doctor").await;
    connected(&bus).await;
    // That there is no stream is an answer too.
    let took = bus.round_trip().unwrap().await.unwrap();
    assert!(took > Duration::ZERO && took < Duration::from_millis(500), "{took:?}");
    let unheard = connect(&mute, "mute").await;
    connected(&unheard).await;
    assert!(
        unheard.round_trip().unwrap().await.is_err(),
        "a question that may not be asked is answered by nobody"
    );
    server.kill();
    eventually("nobody answers", async || bus.round_trip().unwrap().await.is_err()).await;
}
