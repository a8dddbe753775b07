//! The arithmetic of an objective, in whole numbers: what it allows to be bad, and how much was good.

/// All of it, in thousandths of a percent.
const WHOLE: i64 = 100_000;

/// A share of slots that must be good, in thousandths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Objective(i64);

impl Objective {
    /// Reads a percentage with at most three decimals, such as `99.5%`. None where it is none, or not above 0 and at most 100.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        let (whole, fraction) = number.split_once('.').map_or((number, "0"), |(whole, fraction)| (whole, fraction));
        let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole, 3) || !digits(fraction, 3) {
            return None;
        }
        let thousandths = whole.parse::<i64>().ok()? * 1000 + format!("{fraction:0<3}").parse::<i64>().ok()?;
        Some(Self(thousandths)).filter(|objective| (1..=WHOLE).contains(&objective.0))
    }

    /// How many of so many slots may be bad: rounded down, so that what it allows never misses it.
    #[must_use]
    pub fn budget(self, slots: i64) -> i64 {
        slots.saturating_mul(WHOLE - self.0) / WHOLE
    }

    /// The smallest number of slots of which one may be bad. None where it allows nothing at all.
    #[must_use]
    pub fn smallest_window(self) -> Option<i64> {
        let allowed = WHOLE - self.0;
        (allowed > 0).then(|| (WHOLE + allowed - 1) / allowed)
    }
}

/// How much was good, in percent. Rounded down to the precision that an objective can have, so it never reads as 100% where
/// something was bad, nor as an objective that it misses. None where nothing was counted.
#[must_use]
pub fn attainment(good: i64, counted: i64) -> Option<String> {
    let thousandths = good.saturating_mul(WHOLE).checked_div(counted)?;
    let (whole, fraction) = (thousandths / 1000, format!("{:03}", thousandths % 1000));
    // Two decimals, as people write them, unless there is a third to tell.
    let fraction = fraction.strip_suffix('0').unwrap_or(&fraction);
    Some(format!("{whole}.{fraction}%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objective_is_a_percentage_above_nothing_and_at_most_all() {
        let read = |text: &str| Objective::parse(text).map(|objective| objective.0);
        for (text, thousandths) in
            [("99.5%", 99_500), ("100%", 100_000), ("100.000%", 100_000), ("0.001%", 1), ("99.999%", 99_999), ("9%", 9000)]
        {
            assert_eq!(read(text), Some(thousandths), "{text}");
        }
        for text in
            ["99.5", "0%", "0.000%", "100.1%", "99.9999%", ".5%", "99.%", "-1%", "+9%", "1e1%", "99,5%", " 99%", "%", "1000%", "٩٩%"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_may_be_bad_is_rounded_down() {
        let budget = |text: &str, slots: i64| Objective::parse(text).unwrap().budget(slots);
        for (objective, slots, allowed) in [
            ("99.5%", 0, 0),
            ("99.5%", 1, 0),
            ("99.5%", 30, 0),
            ("99.5%", 199, 0),
            ("99.5%", 200, 1),
            ("99.5%", 50_000, 250),
            ("99.9%", 43_200, 43),
            ("100%", 50_000, 0),
            ("90%", 30, 3),
            ("0.001%", 1, 0),
        ] {
            assert_eq!(budget(objective, slots), allowed, "{objective} of {slots}");
        }
        let smallest = |text: &str| Objective::parse(text).unwrap().smallest_window();
        assert_eq!((smallest("99.5%"), smallest("99%"), smallest("99.7%"), smallest("100%")), (Some(200), Some(100), Some(334), None));
        for text in ["99.5%", "99.7%", "66.667%"] {
            let slots = smallest(text).unwrap();
            assert_eq!((budget(text, slots), budget(text, slots - 1)), (1, 0), "{text}");
        }
    }

    #[test]
    fn what_was_good_never_reads_better_than_it_is() {
        for (good, counted, text) in [
            (198, 200, "99.00%"),
            (199, 200, "99.50%"),
            (7, 8, "87.50%"),
            (1, 3, "33.333%"),
            (49_999, 50_000, "99.998%"),
            (9_999_999, 10_000_000, "99.999%"),
            (200, 200, "100.00%"),
            (0, 1, "0.00%"),
        ] {
            assert_eq!(attainment(good, counted).as_deref(), Some(text));
        }
        assert_eq!(attainment(0, 0), None);
        for objective in ["99.5%", "99.999%", "33.334%", "66.667%"] {
            for counted in 1..400 {
                let bad = Objective::parse(objective).unwrap().budget(counted) + 1;
                let reads = attainment(counted - bad, counted).and_then(|text| Objective::parse(&text));
                assert!(reads < Objective::parse(objective), "{bad} bad of {counted} are too many for {objective}");
            }
        }
    }
}
