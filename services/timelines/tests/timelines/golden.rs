//! What the log of timelines holds must decode for ever: one file of bytes per event type.

use p92_proto::timelines::v1 as proto;
use prost::{Message, Name};
use std::path::Path;

fn check<M: Message + Name + Default + PartialEq + std::fmt::Debug>(expected: &M) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{}.hex", M::NAME));
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
    let bytes = hex::decode(golden.trim()).unwrap();
    assert_eq!(&M::decode(bytes.as_slice()).unwrap(), expected);
    assert_eq!(expected.encode_to_vec(), bytes, "{} is written otherwise now", M::NAME);
}

#[test]
fn events_decode_for_ever() {
    check(&proto::MarkerSet { account_id: 300, timeline: 2, last_read_id: 1 << 62 });
    check(&proto::NotificationsCleared { account_id: 300, up_to_id: 5 });
    check(&proto::NotificationDismissed { account_id: 300, notification_id: 1 << 40 });
}
