//! Ids that nobody makes twice: of an installation, and of whoever holds a lease. It must not know which.

use std::fs::File;
use std::io::{self, Read as _};

/// 16 random bytes of the system as 32 hexadecimal digits.
pub fn random_id() -> io::Result<String> {
    let mut random = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
