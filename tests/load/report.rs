//! What is printed: a row per figure, with its yardstick and whether its aim is met.

use crate::pages::Pages;
use crate::reach::Reach;
use crate::writers::Written;
use crate::yardstick::Sync;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// Collects and prints.
#[derive(Debug)]
pub struct Report {
    json: bool,
    bar: ProgressBar,
    began: Instant,
    rows: Vec<Value>,
}

/// In milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Report {
    pub fn new(json: bool) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { json, bar, began: Instant::now(), rows: Vec::new() }
    }

    /// What is done now.
    pub fn step(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// Something that takes minutes begins. Where there is no terminal to draw on, it is a line.
    pub fn begin(&self, what: &str) {
        self.step(what);
        if !std::io::stderr().is_terminal() {
            eprintln!("{:6.1} s  {what}", self.began.elapsed().as_secs_f64());
        }
    }

    /// The line that tells what is done, for those who know how far they are or who write beside it.
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// One figure that is to be at least so much.
    pub fn at_least(&mut self, name: &str, figure: f64, unit: &str, least: f64) {
        self.put(name, figure, unit, Some((figure >= least, format!("at least {least}"))));
    }

    /// One figure; `aim` is the most that it may be.
    pub fn row(&mut self, name: &str, figure: f64, unit: &str, aim: Option<(f64, &str)>) {
        let verdict = aim.map(|(most, words)| (figure <= most, format!("{words} {most}")));
        self.put(name, figure, unit, verdict);
    }

    fn put(&mut self, name: &str, figure: f64, unit: &str, verdict: Option<(bool, String)>) {
        let number = match figure {
            large if large >= 100.0 => format!("{large:.0}"),
            small if small < 0.1 => format!("{small:.4}"),
            middling => format!("{middling:.2}"),
        };
        let aim = verdict
            .as_ref()
            .map_or(String::new(), |(met, aim)| format!("   {aim}: {}", if *met { "met" } else { "MISSED" }));
        if !self.json {
            self.bar.suspend(|| println!("{name:<56} {number:>10} {unit:<10}{aim}"));
        }
        self.rows.push(json!({
            "name": name, "figure": figure, "unit": unit,
            "aim": verdict.as_ref().map(|(_, aim)| aim), "met": verdict.as_ref().map(|(met, _)| met),
        }));
    }

    pub fn disk(&mut self, sync: &Sync) {
        self.row("yardstick: append of 4 KiB and sync, p50", ms(sync.p50), "ms", None);
        self.row("yardstick: append of 4 KiB and sync, p99", ms(sync.p99), "ms", None);
    }

    pub fn writers(&mut self, writers: usize, written: &Written, sync: &Sync) {
        let name = |what| format!("posts, {writers} writers: {what}");
        self.row(&name("acknowledged"), written.per_second, "/s", None);
        self.row(&name("acknowledged per core"), written.per_core, "/s", None);
        self.row(&name("p50"), ms(written.at(0.5)), "ms", None);
        self.row(&name("p99"), ms(written.at(0.99)), "ms", None);
        let syncs = written.per_second * sync.p50.as_secs_f64();
        self.row(&name("per sync of this disk"), syncs, "posts", None);
    }

    /// What is lost to syncs, beside the same on a file system in memory.
    pub fn durability(&mut self, synced: &Written, free: Option<&Written>) {
        let Some(free) = free else { return };
        self.row("yardstick: 64 writers, where a sync costs nothing", free.per_second, "/s", None);
        let share = synced.per_second / free.per_second * 100.0;
        self.put("  share of the yardstick", share, "%", Some((share >= 90.0, "at least 90".to_owned())));
    }

    pub fn reach(&mut self, reach: &Reach, sync: &Sync, trip: Duration) {
        let unit = sync.p50 + trip;
        let times = |time: Duration| time.as_secs_f64() / unit.as_secs_f64();
        self.row(&format!("post in a follower's home, p50 of {}", reach.posts), ms(reach.p50), "ms", None);
        self.row("post in a follower's home, p99", ms(reach.p99), "ms", None);
        self.row("  p50 beside sync and round trip", times(reach.p50), "times", Some((10.0, "at most")));
        self.row("  p99 beside sync and round trip", times(reach.p99), "times", Some((50.0, "at most")));
    }

    /// Pages per core, and the least share of the yardstick.
    pub fn pages(&mut self, name: &str, pages: &Pages, least: f64) {
        self.row(&format!("{name}, per core ({} bytes)", pages.bytes), pages.per_core, "/s", None);
        self.row(&format!("yardstick: {name}, bare, per core"), pages.bare_per_core, "/s", None);
        let share = pages.per_core / pages.bare_per_core;
        let aim = format!("at least {:.0}", least * 100.0);
        self.put("  share of the yardstick", share * 100.0, "%", Some((share >= least, aim)));
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
        if self.json {
            println!("{}", json!({ "rows": self.rows }));
        }
    }
}
