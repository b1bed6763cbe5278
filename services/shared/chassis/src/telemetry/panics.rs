//! A panic is a bug: it is logged with its place, counted, and raises an alert.
//!
//! Our own code has no panics (lints forbid them), so the message is a library's, or the compiler's for arithmetic.

use super::metrics::meter;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// A message is cut here: a library may print what it was given.
const LONGEST: usize = 300;

/// From now on every panic of the process is logged and counted.
pub(super) fn install() {
    let panics = meter("process").counter("panics", "Bugs that ended a task or a call");
    // A counter that is first seen at 1 has not risen, and the first panic would raise no alert.
    panics.add(0, &[]);
    std::panic::set_hook(Box::new(move |info| {
        panics.add(1, &[]);
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!(place, thread, panic = message(info), %backtrace, "a panic");
        } else {
            tracing::error!(place, thread, panic = message(info), "a panic");
        }
    }));
}

fn message(info: &PanicHookInfo<'_>) -> String {
    info.payload_as_str().unwrap_or("no message").chars().take(LONGEST).collect()
}
