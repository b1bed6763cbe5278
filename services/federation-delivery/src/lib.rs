//! What other hosts must get, and the only way out to them.
