//! Whether a schedule is paused: in the spec, or by hand where the spec is Git's.

use jiff::Timestamp;
use kube::api::ObjectMeta;

use crate::api::{Schedule, label};

/// Why a schedule is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// `schedule.suspend`.
    Spec,
    /// The annotation, until a time or until it is taken off, and the reason that somebody gave.
    ByHand { until: Option<Timestamp>, reason: Option<String> },
    /// It was paused, and the spec that would let it go on cannot be carried out.
    Stays,
}

impl Pause {
    /// Why, in one word.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Pause::Spec => "SpecSuspended",
            Pause::ByHand { .. } | Pause::Stays => "Paused",
        }
    }

    /// The same in a sentence.
    pub(super) fn message(&self) -> String {
        match self {
            Pause::Spec => "schedule.suspend is true".to_owned(),
            Pause::ByHand { until, reason } => {
                let until = until.map_or_else(
                    || format!("until somebody takes the annotation {} off", label::PAUSED_UNTIL),
                    |until| format!("until {until}"),
                );
                let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
                format!("paused by hand {until}{reason}")
            }
            Pause::Stays => "paused as before, until the spec can be carried out: Ready says what is wrong with it".to_owned(),
        }
    }

    /// When it ends by itself.
    pub(super) fn until(&self) -> Option<Timestamp> {
        match self {
            Pause::Spec | Pause::Stays => None,
            Pause::ByHand { until, .. } => *until,
        }
    }
}

/// Whether the schedule of an object is paused now.
///
/// # Errors
/// Tells what the annotation should say.
pub(super) fn pause(meta: &ObjectMeta, schedule: Option<&Schedule>, now: Timestamp) -> Result<Option<Pause>, String> {
    if schedule.is_some_and(|schedule| schedule.suspend == Some(true)) {
        return Ok(Some(Pause::Spec));
    }
    let annotation = |key: &str| meta.annotations.as_ref()?.get(key);
    let Some(written) = annotation(label::PAUSED_UNTIL) else { return Ok(None) };
    let reason = annotation(label::PAUSE_REASON).cloned();
    if written == "indefinite" {
        return Ok(Some(Pause::ByHand { until: None, reason }));
    }
    let until: Timestamp = written.parse().map_err(|_| {
        format!(
            "metadata.annotations[{}]: {written:?} is no time; want one such as 2026-12-01T06:00:00Z, or indefinite",
            label::PAUSED_UNTIL
        )
    })?;
    Ok((now < until).then_some(Pause::ByHand { until: Some(until), reason }))
}

/// When a pause by hand has ended by itself: slots from then on are no part of it.
pub(super) fn ended(meta: &ObjectMeta, now: Timestamp) -> Option<Timestamp> {
    let written = meta.annotations.as_ref()?.get(label::PAUSED_UNTIL)?;
    written.parse().ok().filter(|until| *until <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused(suspend: Option<bool>, annotation: Option<&str>) -> Result<Option<String>, String> {
        let schedule = Schedule { suspend, ..Schedule::default() };
        let annotations = annotation.map(|text| (label::PAUSED_UNTIL.to_owned(), text.to_owned()));
        let meta = ObjectMeta { annotations: Some(annotations.into_iter().collect()), ..ObjectMeta::default() };
        pause(&meta, Some(&schedule), "2026-12-01T06:00:00Z".parse().unwrap()).map(|pause| pause.map(|pause| pause.message()))
    }

    #[test]
    fn a_pause_is_the_specs_or_the_annotations_and_ends_at_its_time() {
        assert_eq!(paused(None, None), Ok(None));
        assert_eq!(paused(Some(false), None), Ok(None));
        assert_eq!(paused(Some(true), Some("2020-01-01T00:00:00Z")), Ok(Some("schedule.suspend is true".to_owned())));
        assert_eq!(paused(None, Some("2026-12-01T06:00:00Z")), Ok(None), "it is over when its time comes");
        assert_eq!(paused(None, Some("2026-12-01T07:00:01+01:00")), Ok(Some("paused by hand until 2026-12-01T06:00:01Z".to_owned())));
        let words = "paused by hand until somebody takes the annotation nightshift.dev/paused-until off";
        assert_eq!(paused(None, Some("indefinite")), Ok(Some(words.to_owned())));
    }

    #[test]
    fn what_is_no_time_is_told_with_the_fix() {
        for wrong in ["", "tomorrow", "2026-12-01", "true"] {
            let told = paused(None, Some(wrong)).unwrap_err();
            assert!(
                told.contains("nightshift.dev/paused-until") && told.contains("want one such as 2026-12-01T06:00:00Z, or indefinite"),
                "{told}"
            );
        }
    }
}
