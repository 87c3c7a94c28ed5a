//! A small random number generator (splitmix64), seeded anew for each line, so that a line depends on
//! nothing that came before it. Pure.

/// What splitmix64 adds at each step: 2^64 divided by the golden ratio, odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random numbers for one line.
pub(super) struct Random(u64);

impl Random {
    /// The numbers of line `n` under `seed`.
    pub(super) fn new(seed: u64, n: u64) -> Self {
        Self(mix(seed ^ STEP).wrapping_add(mix(n.wrapping_add(STEP))))
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number in `[0, bound)`, by multiplication: the bias is below 2^-32 for the bounds used here.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from((self.next() >> 32) as u32) * u64::from(bound)) >> 32) as u32
    }

    /// One of `choices`, which is not empty.
    pub(super) fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
