//! So many lanes at once, and no more, read the log for where they are: each of those has a client with threads,
//! connections and memory of its own. Touches nothing.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Control;

/// How many.
const MOST: usize = 16;

/// How soon who waits sees that it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<usize>,
    changed: Condvar,
}

/// Who has it may read; dropped, it is the next one's turn.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn; `None` when told to stop before.
    pub(super) fn take(&self, control: &Control) -> Option<Turn<'_>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken >= MOST {
            if control.is_stopped() {
                return None;
            }
            let waited = self.changed.wait_timeout(taken, LOOK);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken += 1;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken -= 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_late_waits_until_another_is_done_or_all_are_to_stop() {
        let (turns, control) = (Turns::default(), Control::new());
        let mut held: Vec<_> = (0..MOST).map(|_| turns.take(&control).unwrap()).collect();
        std::thread::scope(|scope| {
            let late = scope.spawn(|| turns.take(&control).is_some());
            held.pop();
            assert!(late.join().unwrap());
            held.push(turns.take(&control).unwrap());
            let late = scope.spawn(|| turns.take(&control).is_some());
            control.stop();
            assert!(!late.join().unwrap());
        });
    }
}
