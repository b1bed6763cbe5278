//! What is printed of a cluster: medians of runs, beside their yardsticks and aims.

use super::messages::Crossed;
use super::posts::{Half, Posted};
use super::scale::CaughtUp;
use super::store::Inserts;
use crate::report::{Report, ms};
use crate::writers::{MANY, quantile};
use std::time::Duration;

/// The middle one.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// One run of posts, with what the store does alone, measured next to it.
#[derive(Clone, Debug)]
pub struct Run {
    pub posted: Posted,
    /// Posts without log and services, a second.
    pub bare: f64,
    /// One after the other.
    pub one: Inserts,
    /// In as many logs at once as there are shards.
    pub many: Inserts,
}

/// The store alone.
fn yardsticks(report: &mut Report, runs: &[Run], logs: i32) {
    report.row(
        "yardstick: bare conditional insert, p50",
        median(runs.iter().map(|run| ms(run.one.p50))),
        "ms",
        None,
    );
    report.row(
        &format!("yardstick: bare conditional inserts, {logs} logs at once"),
        median(runs.iter().map(|run| run.many.per_second)),
        "/s",
        None,
    );
    report.row("yardstick: bare loop", median(runs.iter().map(|run| run.bare)), "posts/s", None);
}

/// Acknowledged posts, beside the store alone; what each costs.
pub fn posts(report: &mut Report, runs: &[Run], authors: usize, logs: i32) {
    yardsticks(report, runs, logs);
    let of = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure));
    let name = |what: &str| format!("posts, {MANY} writers, {authors} authors: {what}");
    report.row(&name("acknowledged"), of(&|run| run.posted.per_second), "/s", None);
    for (share, words) in [(0.5, "p50"), (0.99, "p99")] {
        report.row(&name(words), of(&|run| ms(quantile(&run.posted.latencies, share))), "ms", None);
    }
    let times = of(&|run| run.posted.per_second / run.many.per_second);
    report.at_least("  beside bare conditional inserts", times, "times", 5.0);
    let share = of(&|run| run.posted.per_second / run.bare * 100.0);
    report.at_least("  share of the bare loop", share, "%", 60.0);
    for (operation, words) in [
        ("append", "appends"),
        ("read_log", "reads of logs"),
        ("get", "reads of a row"),
        ("scan", "reads of a page"),
        ("conditional", "conditional writes"),
        ("write", "writes to a partition"),
    ] {
        let asked = of(&|run| run.posted.asked.get(operation).requests);
        report.row(&format!("  {words} for each post"), asked, "", None);
    }
    report.row("  rows written for each post", of(&|run| run.posted.asked.get("write").rows), "", None);
    let bytes = of(&|run| run.posted.asked.get("write").bytes);
    report.row("  bytes of rows written for each post", bytes, "", None);
    let roles = runs.first().map(|run| run.posted.cpu.clone()).unwrap_or_default();
    for (place, (role, _)) in roles.iter().enumerate() {
        let each = of(&|run| {
            let used = run.posted.cpu.get(place).map_or(Duration::ZERO, |(_, used)| *used);
            ms(used) / run.posted.latencies.len() as f64
        });
        report.row(&format!("  CPU of {role} for each post"), each, "ms", None);
    }
}

/// The ways that a post takes, without P92.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    pub insert: Duration,
    pub bus: Duration,
    pub call: Duration,
}

/// How soon posts are acknowledged and in a home, at half load.
pub fn half(report: &mut Report, runs: &[(Ways, Half)], beside: f64) {
    let of = |figure: &dyn Fn(&(Ways, Half)) -> f64| median(runs.iter().map(figure));
    let hops = |ways: &Ways| ms(ways.bus + 2 * ways.call);
    let sorted = |half: &Half, which: &dyn Fn(&crate::reach::Arrival) -> Duration| {
        let mut times: Vec<Duration> = half.arrivals.iter().map(which).collect();
        times.sort();
        times
    };
    report.row(
        "yardstick: bare conditional insert beside that, p50",
        of(&|run| ms(run.0.insert)),
        "ms",
        None,
    );
    report.row("yardstick: hop over the bus, p50", of(&|run| ms(run.0.bus)), "ms", None);
    report.row("yardstick: call over loopback, p50", of(&|run| ms(run.0.call)), "ms", None);
    let name = |what: &str| format!("at {beside:.0} posts/s: {what}");
    report.row(&name("acknowledged, p50"), of(&|run| ms(quantile(&run.1.acknowledged, 0.5))), "ms", None);
    report.row(&name("acknowledged, p99"), of(&|run| ms(quantile(&run.1.acknowledged, 0.99))), "ms", None);
    let times = of(&|run| ms(quantile(&run.1.acknowledged, 0.5)) / ms(run.0.insert));
    report.row("  p50 beside the bare conditional insert", times, "times", Some((3.0, "at most")));
    let posts: usize = runs.iter().map(|run| run.1.arrivals.len()).sum();
    // The hops are those behind the acknowledgement, so that is where the aim counts from. A follower may be told before
    // the author is answered.
    for (share, words, most) in [(0.5, "p50", 10.0), (0.99, "p99", 100.0)] {
        let home = |run: &(Ways, Half)| ms(quantile(&sorted(&run.1, &|arrival| arrival.home), share));
        let what = format!("sent and in a follower's home, {words} of {posts}");
        report.row(&name(&what), of(&home), "ms", None);
        let after = |arrival: &crate::reach::Arrival| arrival.home.saturating_sub(arrival.acknowledged);
        let after = |run: &(Ways, Half)| ms(quantile(&sorted(&run.1, &after), share));
        report.row(&format!("  {words} of it after the acknowledgement"), of(&after), "ms", None);
        let beside = of(&|run| after(run) / hops(&run.0));
        let what = format!("  {words} of that beside a hop and two calls");
        report.row(&what, beside, "times", Some((most, "at most")));
        let beside = of(&|run| home(run) / hops(&run.0));
        report.row(&format!("  {words} of the whole way beside a hop and two calls"), beside, "times", None);
    }
}

/// One replica of timelines against two.
pub fn scale(report: &mut Report, two: &[CaughtUp], one: &[CaughtUp]) {
    let mean = |runs: &[CaughtUp]| median(runs.iter().map(|run| CaughtUp::mean(&run.per_core)));
    let busy = |runs: &[CaughtUp]| median(runs.iter().map(|run| CaughtUp::mean(&run.per_core_busy)));
    let posts = one.first().map_or(0, |run| run.posts);
    report.row(&format!("deliveries of {posts} recorded posts per core, alone"), mean(one), "/s", None);
    report.row("  each of two", mean(two), "/s", None);
    for name in two.first().into_iter().flat_map(|run| run.per_core.keys()) {
        let figure = median(two.iter().filter_map(|run| run.per_core.get(name).copied()));
        report.row(&format!("  of these, {name}"), figure, "/s", None);
    }
    report.at_least("  each of two beside one alone", mean(two) / mean(one) * 100.0, "%", 90.0);
    report.row("  the same without what they use at rest", busy(two) / busy(one) * 100.0, "%", None);
}

/// Messages over the bus.
pub fn messages(report: &mut Report, runs: &[Crossed], replicas: usize) {
    let each = |run: &Crossed| run.messages as f64 / run.deliveries().max(1.0);
    let name = format!("messages over the bus for each delivery, {replicas} timelines");
    report.row("posts with 400 followers each", median(runs.iter().map(|run| run.posts as f64)), "", None);
    let counted = median(runs.iter().map(|run| run.counted as f64 / run.deliveries().max(1.0) * 100.0));
    report.row("  share of their deliveries that timelines counted", counted, "%", None);
    let of_post = median(runs.iter().map(|run| run.messages as f64 / run.posts.max(1) as f64));
    report.row("  messages over the bus for each post", of_post, "", None);
    report.row(&name, median(runs.iter().map(each)), "", Some((0.05, "at most")));
}
