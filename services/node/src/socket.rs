//! The socket in the data directory: how commands of the same machine talk to the running server.
//!
//! Only the owner of the directory can open it; whoever can, is the operator. There is no other way in to the internal
//! services of a process.

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::{Channel, Endpoint, Uri};

/// Where the socket of a data directory is.
///
/// Beside the directory's name rather than in a deep path: names of sockets have at most 107 bytes.
#[must_use]
pub fn path(data: &Path) -> PathBuf {
    data.join("p92.sock")
}

/// Listens; what an ended process left is replaced. On a store of its own a lock proves that none is running; on a shared
/// one the directory holds nothing but this socket, and whoever runs answers at it.
pub fn listen(data: &Path) -> anyhow::Result<UnixListener> {
    let path = path(data);
    if !data.exists() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .with_context(|| format!("the directory {} of the socket cannot be made", data.display()))?;
    }
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            anyhow::bail!(
                "another server answers at {}\n  what to do: name another directory with --data, since commands of this machine find a server by it",
                path.display()
            );
        }
        std::fs::remove_file(&path).with_context(|| format!("the old socket {} stays", path.display()))?;
    }
    let listener =
        UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to the server of a data directory, or says that none runs.
pub async fn connect(data: &Path) -> anyhow::Result<Channel> {
    let path = path(data);
    let target = path.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let target = target.clone();
        async move { UnixStream::connect(target).await.map(TokioIo::new) }
    });
    // The name is never resolved: the connector knows only the socket.
    let endpoint = Endpoint::from_static("http://p92.local");
    endpoint.connect_with_connector(connector).await.with_context(|| {
        format!(
            "no server runs on {} (its socket {} does not answer)\n  what to do: start it with `p92 serve --data {}`, or name its directory with --data",
            data.display(),
            path.display(),
            data.display()
        )
    })
}
