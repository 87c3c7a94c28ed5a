//! Exhaustive search, breadth first: every state that a model can reach, each once. The first violation
//! found is one of the shortest.

use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;

/// For sets of states: cheap also in a debug build.
pub(crate) type FastHasher = BuildHasherDefault<Fold>;

/// One multiplication a word. Equal hashes of unequal states cost time and nothing else.
#[derive(Default)]
pub(crate) struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        // The low bits choose the bucket, and multiplication leaves them weak.
        self.0 ^ self.0 >> 29
    }
}

/// A system of states and steps.
pub(crate) trait Model {
    type State: Eq + Hash;
    type Step: Copy + Debug;

    fn start(&self) -> Self::State;

    /// Every step that is possible in `state`, with the state behind it.
    fn steps(&self, state: &Self::State, each: &mut dyn FnMut(Self::Step, Self::State));

    /// The promise; the error says how it is broken.
    fn check(&self, state: &Self::State) -> Result<(), String>;
}

/// What a search came to.
pub(crate) struct Outcome {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    /// How many steps the longest of the shortest ways has.
    pub(crate) depth: usize,
    pub(crate) violation: Option<Violation>,
}

/// A broken promise, and the shortest way to it.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) reason: String,
    pub(crate) trace: Vec<String>,
}

struct Visited<S> {
    parent: usize,
    step: Option<S>,
    depth: usize,
}

/// Searches until a promise is broken or nothing is left. Panics above `limit` states: a search that
/// does not end proves nothing.
pub(crate) fn explore<M: Model>(model: &M, limit: usize) -> Outcome {
    let mut seen: HashSet<Rc<M::State>, FastHasher> = HashSet::default();
    let mut ways: Vec<Visited<M::Step>> = Vec::new();
    let mut queue = VecDeque::new();
    let mut transitions = 0;

    let start = Rc::new(model.start());
    seen.insert(Rc::clone(&start));
    ways.push(Visited {
        parent: 0,
        step: None,
        depth: 0,
    });
    queue.push_back((0, start));
    let mut depth = 0;
    while let Some((at, state)) = queue.pop_front() {
        depth = ways[at].depth;
        if let Err(reason) = model.check(&state) {
            let violation = Some(Violation {
                reason,
                trace: trace(&ways, at),
            });
            return Outcome {
                states: ways.len(),
                transitions,
                depth,
                violation,
            };
        }
        model.steps(&state, &mut |step, next| {
            transitions += 1;
            let next = Rc::new(next);
            if !seen.insert(Rc::clone(&next)) {
                return;
            }
            queue.push_back((ways.len(), next));
            ways.push(Visited {
                parent: at,
                step: Some(step),
                depth: depth + 1,
            });
        });
        assert!(ways.len() <= limit, "more than {limit} states");
    }
    Outcome {
        states: ways.len(),
        transitions,
        depth,
        violation: None,
    }
}

fn trace<S: Debug>(ways: &[Visited<S>], mut at: usize) -> Vec<String> {
    let mut steps = Vec::new();
    while let Some(step) = &ways[at].step {
        steps.push(format!("{step:?}"));
        at = ways[at].parent;
    }
    steps.reverse();
    steps
}

/// Asserts that the promise holds in every state.
pub(crate) fn assert_exact<M: Model>(name: &str, model: &M, limit: usize) {
    let began = std::time::Instant::now();
    let outcome = explore(model, limit);
    println!(
        "{name}: {} states, {} transitions, depth {}, {:.1} s",
        outcome.states,
        outcome.transitions,
        outcome.depth,
        began.elapsed().as_secs_f64()
    );
    if let Some(Violation { reason, trace }) = outcome.violation {
        panic!("{name}: {reason} after\n  {}", trace.join("\n  "));
    }
}

/// Asserts that the promise is broken, in the way that `expected` names: the model can see this fault.
pub(crate) fn assert_broken<M: Model>(name: &str, model: &M, limit: usize, expected: &str) {
    let outcome = explore(model, limit);
    let Some(Violation { reason, trace }) = outcome.violation else {
        panic!(
            "{name}: no violation in {} states, but this variant must fail",
            outcome.states
        );
    };
    println!(
        "{name}: {reason} after {} steps ({} states)\n  {}",
        trace.len(),
        outcome.states,
        trace.join("\n  ")
    );
    assert!(
        reason.contains(expected),
        "{name}: expected {expected:?}, found {reason:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts by 1 or 2, and must not reach `forbidden`.
    struct Counter {
        forbidden: u8,
    }

    impl Model for Counter {
        type State = u8;
        type Step = u8;

        fn start(&self) -> u8 {
            0
        }

        fn steps(&self, state: &u8, each: &mut dyn FnMut(u8, u8)) {
            for step in [1, 2] {
                if state + step <= 10 {
                    each(step, state + step);
                }
            }
        }

        fn check(&self, state: &u8) -> Result<(), String> {
            if *state == self.forbidden {
                return Err(format!("reached {state}"));
            }
            Ok(())
        }
    }

    #[test]
    fn the_search_visits_every_state_once() {
        let outcome = explore(&Counter { forbidden: 11 }, 100);
        assert_eq!((outcome.states, outcome.transitions), (11, 19));
        assert!(outcome.violation.is_none());
    }

    #[test]
    fn the_search_finds_a_shortest_way() {
        let violation = explore(&Counter { forbidden: 7 }, 100).violation.unwrap();
        assert_eq!(violation.trace.len(), 4);
    }

    #[test]
    #[should_panic(expected = "more than 5 states")]
    fn a_search_that_does_not_end_is_not_taken_for_a_proof() {
        explore(&Counter { forbidden: 11 }, 5);
    }
}
