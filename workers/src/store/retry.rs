//! How long a failing store is tried again: what passes by itself is waited for, what a person must mend is said
//! after a short patience. Touches nothing but the clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::verdict::{Refused, Verdict, verdict};
use super::{ATTEMPTS, Failure, Store};

/// How often a store that is out of reach is spoken of.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// How long to try, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// The first wait; it doubles.
    pub(super) first: Duration,
    /// The longest wait.
    pub(super) longest: Duration,
    /// How long what passes by itself is waited for; for ever when there is none. Not looked at for a folder.
    pub(super) transient: Option<Duration>,
    /// The same at the start, where a person waits for the answer.
    pub(super) start: Duration,
    /// How long to hope that an expired token, or the place that credentials come from, heals.
    pub(super) credentials: Duration,
}

impl Policy {
    /// A folder, where waiting helps little: five attempts for whatever fails.
    pub(super) fn brief() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
            transient: None,
            start: Duration::ZERO,
            credentials: Duration::ZERO,
        }
    }

    /// A bucket. A Secret that was changed takes up to a minute and a half until it is in a pod's files.
    pub(super) fn bucket() -> Self {
        Self {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(15),
            transient: None,
            start: Duration::from_secs(30),
            credentials: Duration::from_mins(2),
        }
    }

    /// Where a person waits for the answer.
    pub(super) fn at_start(self) -> Self {
        Self {
            transient: Some(self.start),
            credentials: Duration::ZERO,
            ..self
        }
    }

    /// The wait after the n-th failure, without its jitter.
    fn wait(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << (failures - 1).min(16));
        doubled.min(self.longest)
    }
}

/// The last warning, for all who use the store together: one that fails again and again is spoken of rarely too.
#[derive(Debug, Default)]
pub(super) struct Warnings(Mutex<Spoken>);

#[derive(Debug, Default)]
struct Spoken {
    last: Option<Instant>,
    /// It was not said since that the store answers again.
    is_open: bool,
}

impl Warnings {
    fn is_due(&self) -> bool {
        let mut spoken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = spoken.last.is_none_or(|last| last.elapsed() >= WARN_EVERY);
        if due {
            spoken.last = Some(Instant::now());
            spoken.is_open = true;
        }
        due
    }

    /// Whether it has to be said that the store answers again.
    fn close(&self) -> bool {
        let mut spoken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut spoken.is_open)
    }
}

/// Why trying again ended.
pub(super) enum GaveUp {
    /// A bucket will not do it.
    Refused(Refused),
    /// Another store failed again and again.
    Failed {
        attempts: u32,
        source: object_store::Error,
    },
}

/// The failures of one operation so far.
pub(super) struct Attempts<'a> {
    store: &'a Store,
    policy: Policy,
    failures: u32,
    /// Of those, how many in a row a person would have to mend.
    refusals: u32,
    since: Instant,
    refused_since: Instant,
}

impl Store {
    pub(super) fn attempts(&self, policy: Policy) -> Attempts<'_> {
        let now = Instant::now();
        Attempts {
            store: self,
            policy,
            failures: 0,
            refusals: 0,
            since: now,
            refused_since: now,
        }
    }
}

impl Attempts<'_> {
    /// Waits until it is time to try again, or says that it is not worth it.
    pub(super) async fn failed(&mut self, failure: Failure) -> Result<(), GaveUp> {
        self.failures += 1;
        self.store.counters.sink_failures.add(1);
        let Some(bucket) = &self.store.bucket else {
            return self.failed_elsewhere(failure).await;
        };
        let (reason, patience) = match verdict(&failure.error) {
            Verdict::Transient(reason) => {
                self.refusals = 0;
                let limit = self.policy.transient;
                if limit.is_some_and(|limit| self.since.elapsed() >= limit) {
                    return Err(GaveUp::Refused(bucket.unreachable(&reason)));
                }
                (reason, "it is waited for, and nothing is lost")
            }
            Verdict::Refused(refusal) => {
                if self.refusals == 0 {
                    self.refused_since = Instant::now();
                }
                self.refusals += 1;
                let hope = refusal.may_heal() && self.policy.credentials > Duration::ZERO;
                let over = if hope {
                    self.refused_since.elapsed() >= self.policy.credentials
                } else {
                    self.refusals >= ATTEMPTS
                };
                let refused = bucket.refused(failure.operation, refusal);
                if over {
                    return Err(GaveUp::Refused(refused));
                }
                (refused.to_string(), "trying again")
            }
        };
        if self.store.warnings.is_due() {
            tracing::warn!(
                "{} failed at {}: {reason}; {patience}",
                failure.operation,
                self.store.place
            );
        }
        tokio::time::sleep(jitter(self.policy.wait(self.failures))).await;
        Ok(())
    }

    /// It went well at last.
    pub(super) fn succeeded(&self) {
        if self.failures > 0 && self.store.warnings.close() {
            tracing::warn!("{} answers again", self.store.place);
        }
    }

    async fn failed_elsewhere(&self, failure: Failure) -> Result<(), GaveUp> {
        let attempts = self.failures;
        if attempts >= ATTEMPTS {
            let source = failure.error;
            return Err(GaveUp::Failed { attempts, source });
        }
        tracing::warn!(place = self.store.place, attempts, error = %failure.error, "the store failed, trying again");
        tokio::time::sleep(self.policy.wait(attempts)).await;
        Ok(())
    }
}

/// Between half of it and all, so that workers that failed together do not come back together.
fn jitter(wait: Duration) -> Duration {
    // Without random bytes all wait alike, which is no fault.
    let share = getrandom::u32().unwrap_or(u32::MAX);
    wait.mul_f64(0.5 + 0.5 * f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy = Policy::bucket();
        assert_eq!(policy.wait(1), Duration::from_millis(200));
        assert_eq!(policy.wait(3), Duration::from_millis(800));
        assert_eq!(policy.wait(8), Duration::from_secs(15));
        assert_eq!(policy.wait(u32::MAX), Duration::from_secs(15));
        for _ in 0..100 {
            let wait = jitter(Duration::from_secs(2));
            assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&wait));
        }
    }

    #[test]
    fn a_store_that_fails_again_and_again_is_spoken_of_rarely() {
        let warnings = Warnings::default();
        assert!(!warnings.close());
        assert!(warnings.is_due());
        assert!(!warnings.is_due());
        assert!(warnings.close());
        assert!(!warnings.is_due());
        assert!(!warnings.close());
    }
}
