//! What goes on beside a role: the wish to stop is passed on, and now and then a line says how it goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logpipe_workers::ended::SetOnDrop;

use super::signals;

const EVERY: Duration = Duration::from_secs(30);

/// Runs a role. `on_stop` hears again and again that it should end; `lines` says how many lines were done, and how many
/// of them went to the quarantine.
pub(super) fn watched<T>(
    what: &'static str,
    stop: &AtomicBool,
    on_stop: impl Fn() + Sync,
    lines: impl Fn() -> (u64, u64) + Sync,
    role: impl FnOnce() -> T,
) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut progress = Progress::new(what);
            while !done.load(Ordering::Acquire) {
                if stop.load(Ordering::Acquire) {
                    on_stop();
                }
                let (good, dead) = lines();
                progress.tell(good, dead);
                std::thread::sleep(signals::STEP);
            }
        });
        let _ended = SetOnDrop(&done);
        role()
    })
}

/// Says how many lines were done, when that has changed.
struct Progress {
    what: &'static str,
    told: u64,
    at: Instant,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            told: 0,
            at: Instant::now(),
        }
    }

    fn tell(&mut self, lines: u64, dead: u64) {
        if self.at.elapsed() < EVERY || lines + dead == self.told {
            return;
        }
        let rate = (lines + dead - self.told) as f64 / self.at.elapsed().as_secs_f64();
        tracing::info!(lines, dead, per_second = rate.round(), "{}", self.what);
        self.told = lines + dead;
        self.at = Instant::now();
    }
}
