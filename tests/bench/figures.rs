//! Figures: quantiles of many measurements, and how they are written.

use serde_json::{Value, json};

/// Measurements of one thing, sorted.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that so many hundredths of all are not above.
    pub fn at(&self, hundredths: usize) -> f64 {
        let index = (self.0.len() * hundredths).div_ceil(100).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.at(50)
    }

    pub fn p99(&self) -> f64 {
        self.at(99)
    }

    pub fn json(&self) -> Value {
        json!({ "count": self.len(), "p50": self.median(), "p90": self.at(90), "p99": self.p99(), "max": self.at(100) })
    }
}

/// `12 ms`, `340 ms`, `2.6 s`: a duration as people say it.
pub fn time(seconds: f64) -> String {
    if seconds.is_nan() {
        "not measured".to_owned()
    } else if seconds < 0.1 {
        format!("{:.1} ms", seconds * 1000.0)
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.2} s")
    }
}

/// A count as a figure; all of ours are far below what a double can hold.
#[expect(clippy::cast_precision_loss, reason = "counts of at most millions")]
pub fn number(count: usize) -> f64 {
    count as f64
}
