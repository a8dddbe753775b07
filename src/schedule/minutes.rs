//! The minutes of a day, as a set.

/// Minutes in a day of the wall clock.
pub(super) const DAY: u32 = 24 * 60;
const WORDS: usize = (DAY as usize).div_ceil(64);

/// A set of minutes of one day. Sets are joined, cut and counted without a look at each minute, which is what lets a
/// minutely line be counted over years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Minutes([u64; WORDS]);

impl Minutes {
    /// Adds a minute; one that no day has is left out.
    pub fn insert(&mut self, minute: u32) {
        if let Some(word) = self.0.get_mut(minute as usize / 64).filter(|_| minute < DAY) {
            *word |= 1 << (minute % 64);
        }
    }

    /// Whether the minute is one of them.
    pub fn has(&self, minute: u32) -> bool {
        self.0.get(minute as usize / 64).is_some_and(|word| word & (1 << (minute % 64)) != 0)
    }

    /// Adds all of `other`.
    pub fn join(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    /// Those from minute `first` up to the one before `end`.
    pub fn within(&self, first: u32, end: u32) -> Self {
        let below = |limit: u32, word: u32| match limit.saturating_sub(word * 64) {
            bits @ 0..=63 => (1 << bits) - 1,
            _ => u64::MAX,
        };
        let mut kept = *self;
        for (word, n) in kept.0.iter_mut().zip(0..) {
            *word &= below(end, n) & !below(first, n);
        }
        kept
    }

    /// How many they are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Each of them, earliest first, or from the other end.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> {
        (0..DAY).filter(|minute| self.has(*minute))
    }
}
