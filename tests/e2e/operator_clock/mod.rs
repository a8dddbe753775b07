//! Schedules that no CronJob can keep: the operator itself starts their slots.

mod change;
mod choice;
pub mod overlap;
mod pause;
mod slots;
