//! A line about how it goes, now and then.

use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(30);

/// Says how many lines were done, when that has changed.
pub(super) struct Progress {
    what: &'static str,
    told: u64,
    at: Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            told: 0,
            at: Instant::now(),
        }
    }

    pub(super) fn tell(&mut self, lines: u64, dead: u64) {
        if self.at.elapsed() < EVERY || lines + dead == self.told {
            return;
        }
        let rate = (lines + dead - self.told) as f64 / self.at.elapsed().as_secs_f64();
        tracing::info!(lines, dead, per_second = rate.round(), "{}", self.what);
        self.told = lines + dead;
        self.at = Instant::now();
    }
}
