//! The guard that refuses writes before the disk is full: a journal write that fails half-way is worse than a refusal.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes.
pub const MIB: u64 = 1024 * 1024;

type Probe = dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync;

/// Tells how many bytes are free where a directory lies.
#[derive(Clone)]
pub struct FreeSpace(Arc<Probe>);

impl std::fmt::Debug for FreeSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FreeSpace")
    }
}

impl FreeSpace {
    /// Asks the file system.
    #[must_use]
    pub fn of_file_system() -> Self {
        Self(Arc::new(|dir| {
            let stat = nix::sys::statvfs::statvfs(dir)?;
            Ok(stat.blocks_available() * stat.fragment_size())
        }))
    }

    /// Asks somebody else.
    pub fn by(probe: impl Fn(&Path) -> std::io::Result<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(probe))
    }
}

/// Remembers the last answer for a tenth of a second.
#[derive(Debug)]
pub struct Guard {
    probe: FreeSpace,
    floor_mib: u64,
    asked: Option<(Instant, u64)>,
}

const FRESH: Duration = Duration::from_millis(100);

impl Guard {
    /// A guard with that floor.
    pub const fn new(probe: FreeSpace, floor_mib: u64) -> Self {
        Self { probe, floor_mib, asked: None }
    }

    /// `Err((free, floor))` in MiB if writes must be refused.
    pub fn check(&mut self, dir: &Path) -> Result<(), (u64, u64)> {
        let fresh = self.asked.filter(|(at, _)| at.elapsed() < FRESH);
        let free = match fresh {
            Some((_, free)) => free,
            None => {
                // A file system that cannot be asked refuses by itself if it must.
                let free = (self.probe.0)(dir).unwrap_or(u64::MAX);
                self.asked = Some((Instant::now(), free));
                free
            }
        };
        let free_mib = free / MIB;
        if free_mib < self.floor_mib { Err((free_mib, self.floor_mib)) } else { Ok(()) }
    }
}
