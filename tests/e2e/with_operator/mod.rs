//! With the operator up: what people do, and what they then see.

mod cancel;
mod disruptions;
mod exit_codes;
mod history;
mod installation;
mod kubectl;
mod outputs;
mod parameters;
mod pending;
pub mod place;
mod quiet;
mod refusals;
mod refused_schedules;
mod retries;
mod scripts;
mod secrets;
mod timeouts;
mod unreadable;
