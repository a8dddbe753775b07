//! A model of the world around the planners, and the laws of a plan as tests over it.
//!
//! The world holds real objects and behaves as `shared/reference/kubernetes-facts.md` has seen Kubernetes behave:
//! [`cluster`] is the API server, [`cron_job_controller`], [`job_controller`] and [`kubelet`] are Kubernetes,
//! [`people`] do what people do, and [`operator`] is the shell, with watches that lag, crashes and lost answers. A
//! [`scenario`] decides all of it; [`world`] plays it.

mod apply;
mod audit;
mod backfills;
mod caches;
mod check;
mod cluster;
mod cron_job_controller;
mod dice;
mod job_controller;
mod kubelet;
mod observe;
mod operator;
mod people;
mod scenario;
mod script;
mod store;
mod world;

mod caps;
mod crashes;
mod ends;
mod history;
mod laws;
mod reference;
mod settle;
mod slots;
mod stories;
mod strategies;
mod workflow_backfills;

/// Where everything is.
const NAMESPACE: &str = "ns";

/// FNV-1a, mixed.
fn hash(text: &str) -> u64 {
    let folded = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 1
}
