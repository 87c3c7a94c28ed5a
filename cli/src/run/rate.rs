//! Lines a second over the last few seconds. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// Commits come about once a second: a shorter time would swing between nothing and all.
const WINDOW: Duration = Duration::from_secs(5);

/// More samples would tell no more.
const STEP: Duration = Duration::from_millis(200);

/// The speed of a counter that begins at 0.
pub(super) struct Rate {
    /// When, and what the counter was: the first one at or before the window's begin.
    samples: VecDeque<(Duration, u64)>,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            samples: VecDeque::from([(Duration::ZERO, 0)]),
        }
    }
}

impl Rate {
    /// What the counter is now.
    pub(super) fn note(&mut self, now: Duration, total: u64) {
        let last = self.samples.back();
        if last.is_some_and(|(at, _)| now < *at + STEP) {
            return;
        }
        self.samples.push_back((now, total));
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| *at + WINDOW <= now)
        {
            self.samples.pop_front();
        }
    }

    pub(super) fn per_second(&self) -> u64 {
        let (Some((begin, before)), Some((end, total))) =
            (self.samples.front(), self.samples.back())
        else {
            return 0;
        };
        let seconds = end.saturating_sub(*begin).as_secs_f64();
        if seconds == 0.0 {
            return 0;
        }
        (total.saturating_sub(*before) as f64 / seconds).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told after each step of 50 ms, with the time in milliseconds.
    fn told(rate: &mut Rate, millis: std::ops::Range<u64>, total: impl Fn(u64) -> u64) -> Vec<u64> {
        let steps = millis.step_by(50);
        let tell = |now| {
            rate.note(Duration::from_millis(now), total(now));
            rate.per_second()
        };
        steps.map(tell).collect()
    }

    #[test]
    fn commits_once_a_second_give_a_steady_rate() {
        let mut rate = Rate::default();
        let told = told(&mut rate, 0..60_000, |now| now / 1000 * 8000);
        for rate in &told[200..] {
            assert!((6400..=9600).contains(rate), "{rate}");
        }
    }

    #[test]
    fn the_first_second_counts_from_the_start() {
        let mut rate = Rate::default();
        assert_eq!(told(&mut rate, 0..1000, |now| now * 5).pop(), Some(5000));
    }

    #[test]
    fn a_change_is_seen_after_a_few_seconds() {
        let mut rate = Rate::default();
        let slow = told(&mut rate, 0..60_000, |now| now / 10);
        assert_eq!(slow.last(), Some(&100));
        let fast = told(&mut rate, 60_000..67_000, |now| 6000 + (now - 60_000) * 10);
        assert_eq!(fast.last(), Some(&10_000));
        let still = told(&mut rate, 67_000..73_000, |_| 76_000);
        assert_eq!(still.last(), Some(&0));
    }
}
