//! The promise, as a reader of the store sees it.

use super::state::{Phase, State};
use super::{Fault, Partition, ROWLESS};

impl Partition {
    /// What a reader finds that lists the store now.
    pub(super) fn check_readers(&self, state: &State) -> Result<(), String> {
        let next = self.values.get(state.checkpoint).next as u8;
        let mut found = [0; 8];
        let mut ranges = Vec::new();
        for &(id, rows, _) in &state.store {
            let range = self.names.get(id).range();
            if !ranges.contains(&range) {
                ranges.push(range);
            }
            for (offset, count) in found.iter_mut().enumerate() {
                *count += rows >> offset & 1;
            }
        }
        for offset in (0..self.records).filter(|&offset| offset != ROWLESS) {
            match found[usize::from(offset)] {
                0 if offset < next => return Err(format!("record {offset} is lost")),
                0 | 1 => {}
                _ => return Err(format!("record {offset} is there twice")),
            }
        }
        let overlap = |a: &std::ops::Range<u64>, b: &std::ops::Range<u64>| {
            a != b && a.start < b.end && b.start < a.end
        };
        if self.fault == Fault::None && ranges.iter().any(|a| ranges.iter().any(|b| overlap(a, b)))
        {
            return Err("the names' ranges overlap".to_owned());
        }
        Ok(())
    }

    /// A worker that takes over now and is left alone finishes, and then every record is there once.
    pub(super) fn check_alone(&self, state: &State, plan: u8) -> Result<(), String> {
        let (_, mut alone) = self.begin(state, plan, None);
        alone.workers = alone.workers.split_off(alone.workers.len() - 1);
        let done = |phase| {
            let Phase::Cut { value } = phase else {
                return false;
            };
            self.ends(self.values.get(value).next as u8)
                .next()
                .is_none()
        };
        let mut steps = 0;
        while !done(alone.workers[0].phase) {
            let mut last = None;
            self.worker_steps(&alone, 0, &mut |_, next| last = Some(next));
            alone = last
                .filter(|next| !next.workers.is_empty())
                .ok_or("a worker that is alone stops")?;
            steps += 1;
            if steps > 100 {
                return Err("a worker that is alone does not finish".to_owned());
            }
        }
        self.check_readers(&alone)?;
        let checkpoint = self.values.get(alone.checkpoint);
        let rows = u64::from(self.records) - 1;
        if alone.conflict || checkpoint.totals.rows != rows || checkpoint.pending.is_some() {
            return Err(format!("a worker that is alone comes to {checkpoint:?}"));
        }
        Ok(())
    }
}
