//! What the Jobs that a CronJob has left tell of slots of which nothing is there.

use jiff::{SignedDuration, Timestamp};

/// Up to which time a Job may have been there and is gone, where Kubernetes keeps no more than `limit` Jobs of a kind and
/// these are all that there are of it, by their slots. It deletes the oldest first, so where there are fewer it has deleted
/// none, and those after the oldest would still be there.
#[must_use]
pub fn lost_through(kept: impl IntoIterator<Item = Timestamp>, limit: usize) -> Option<Timestamp> {
    let kept: Vec<Timestamp> = kept.into_iter().collect();
    let oldest = kept.iter().min().filter(|_| kept.len() >= limit)?;
    oldest.checked_sub(SignedDuration::from_secs(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_older_than_a_full_history_can_be_gone() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        assert_eq!(lost_through([at(60), at(180), at(120)], 3), Some(at(59)));
        assert_eq!(lost_through([at(180), at(120)], 3), None, "it has deleted none so far");
        assert_eq!(lost_through([], 100), None);
    }
}
