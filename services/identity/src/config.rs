//! What an operator may choose about identity. Defaults fit a laptop.

use p92_chassis::HumanDuration;

p92_chassis::config! {
    /// Identity: accounts, sign-in, tokens.
    pub struct Config {
        /// Whether apps may exchange a password for a token (`grant_type=password`). Old, and best left off: it teaches
        /// people to type their password into apps.
        pub password_grant: bool = false,
        /// How many accounts one account of this installation may follow.
        pub most_following: u64 = 10_000,
        /// How many tokens may live for one account at a server and its apps, and how many of one app for no account. One
        /// more ends the oldest, as a new sign-in on a new phone does with one that was forgotten.
        pub most_tokens: u64 = 500,
        /// After how long a sign-in to the pages ends by itself.
        pub session_life: HumanDuration = HumanDuration::secs(90 * 24 * 3_600),
        /// How often expired codes and sessions are looked for and thrown away.
        pub sweep_every: HumanDuration = HumanDuration::secs(3_600),
        /// How passwords are hashed.
        pub hashing: Hashing,
    }
}

p92_chassis::config! {
    /// Argon2id. The defaults are the first choice of the OWASP Password Storage Cheat Sheet.
    pub struct Hashing {
        /// Memory per hash, in KiB.
        pub memory_kib: u32 = 19 * 1024,
        /// Passes over that memory.
        pub passes: u32 = 2,
        /// Hashes at once. Each takes a processor core and its memory for some tens of milliseconds.
        pub at_once: u32 = 2,
        /// Hashes that may wait; beyond, callers are told to come back.
        pub waiting: u32 = 100,
    }
}
