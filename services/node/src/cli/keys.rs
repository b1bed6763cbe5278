//! The key file of an installation whose services share a store: made once, before they start.

use super::Common;
use crate::backing::{Waiting, make_keys, open_store};
use crate::settings::Flags;
use p92_chassis::{SystemClock, SystemRandom};

/// Makes the key file, if it is not there.
pub async fn init(flags: &Flags, common: &Common) -> anyhow::Result<()> {
    let settings = flags.load()?;
    let store = open_store(&settings, &common.data, &Waiting::not()).await?;
    let clock = SystemClock::default();
    let made = make_keys(&settings, &common.data, &store, &clock, &SystemRandom).await?;
    tokio::task::spawn_blocking(store.close).await?;
    let path = settings.keys(&common.data);
    if common.json {
        println!("{}", serde_json::json!({ "path": path, "made": made }));
    } else if made {
        println!(
            "the keys are in {}; every service needs this file, and no backup of the store",
            path.display()
        );
    } else {
        println!("{} is there already and stays as it is", path.display());
    }
    Ok(())
}
