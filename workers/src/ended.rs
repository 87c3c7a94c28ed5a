//! How a thread tells that it has ended, also by a panic. Touches nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Sets a flag when it is dropped: who waits for the flag does not wait for ever.
#[derive(Debug)]
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Sets a flag when it is dropped by a panic.
#[derive(Debug)]
pub struct SetOnPanic<'a>(pub &'a AtomicBool);

impl Drop for SetOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_not_waited_for() {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let _ended = SetOnDrop(&ended);
                panic!("as it was planned");
            });
            assert!(thread.join().is_err());
        });
        assert!(ended.load(Ordering::Acquire));
    }

    #[test]
    fn only_a_thread_that_panics_says_so() {
        for panics in [false, true] {
            let panicked = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    let _panicked = SetOnPanic(&panicked);
                    assert!(!panics, "as it was planned");
                });
                assert_eq!(thread.join().is_err(), panics);
            });
            assert_eq!(panicked.load(Ordering::Acquire), panics);
        }
    }
}
