//! What a state is made of. Values that are large are numbered, so that states are small and quick to
//! compare.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use crate::explore::FastHasher;

/// The number of an interned value: equal numbers are equal values.
pub(super) type Id = u16;

/// A set of records by offset: bit 0 is offset 0.
pub(super) type Rows = u8;

/// The objects, in the order of their names' numbers: name, rows, and the checkpoint that its footer carries.
pub(super) type Store = Vec<(Id, Rows, Id)>;

/// What was worked out before.
pub(super) type Cache<K, V> = RefCell<HashMap<K, V, FastHasher>>;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(super) checkpoint: Id,
    pub(super) store: Store,
    pub(super) workers: Vec<Worker>,
    /// What was sent and not waited for.
    pub(super) in_flight: Vec<Request>,
    pub(super) takeovers: u8,
    pub(super) timeouts: u8,
    /// How often the checkpoint was lost.
    pub(super) losses: u8,
    /// A worker met a file of the name of its own and with other rows.
    pub(super) conflict: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) owner: u8,
    pub(super) plan: u8,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// Nothing is pending; it cuts a batch.
    Cut { value: Id },
    /// It puts the files of `[value.next, end)` under `plan`, the one numbered `file` next.
    Put {
        value: Id,
        end: u8,
        plan: u8,
        file: u8,
    },
    /// It swaps.
    Swap { expected: Id, new: Id },
    /// Its swap failed or timed out; it reads the checkpoint again.
    Doubt { expected: Id, new: Id },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Request {
    Swap { expected: Id, new: Id },
    Put { name: Id, rows: Rows, imprint: Id },
}

#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "the fields are printed in traces")]
pub(crate) enum Step {
    /// A worker starts under a plan, reads the checkpoint and is about to take over. A worker in whose
    /// place it starts has crashed.
    Begin { owner: u8, plan: u8 },
    /// It decides where its batch ends.
    Cut { owner: u8, end: u8 },
    /// It notes that the next record has no row.
    Note { owner: u8 },
    /// It puts its next file.
    Put { owner: u8, file: u8 },
    /// It goes on to commit, and announces the batch up to `end` along with it.
    Commit { owner: u8, and_announce: Option<u8> },
    /// It swaps, and gets the answer.
    Swap { owner: u8, done: bool },
    /// It sends a request and does not wait for the answer.
    TimeOut { owner: u8 },
    /// It reads the checkpoint in doubt.
    ReadAgain { owner: u8 },
    /// A request that nobody waits for comes through.
    Land { request: Request },
    /// The checkpoint is lost, every worker is stopped, and it is made again from the files.
    Rebuild,
    /// A file of a finished batch is merged into another and deleted.
    Compact { name: Id },
}

/// Values by number.
pub(super) struct Interned<T> {
    pub(super) numbers: Cache<Rc<T>, Id>,
    pub(super) values: RefCell<Vec<Rc<T>>>,
}

impl<T: Eq + Hash> Interned<T> {
    pub(super) fn new() -> Self {
        Self {
            numbers: RefCell::default(),
            values: RefCell::default(),
        }
    }

    pub(super) fn id(&self, value: T) -> Id {
        let value = Rc::new(value);
        let mut values = self.values.borrow_mut();
        *self
            .numbers
            .borrow_mut()
            .entry(Rc::clone(&value))
            .or_insert_with(|| {
                values.push(value);
                Id::try_from(values.len() - 1).expect("few values")
            })
    }

    pub(super) fn get(&self, id: Id) -> Rc<T> {
        Rc::clone(&self.values.borrow()[usize::from(id)])
    }
}
