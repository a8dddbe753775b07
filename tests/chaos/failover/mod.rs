//! Several operators: the one that leads dies, leaves or freezes, and another goes on.

pub mod installed;
mod pair;
mod replica;
mod slots;
mod wire;

#[tokio::test]
async fn a_leader_that_is_killed_is_followed_within_fifteen_seconds() {
    pair::killed().await;
}

#[tokio::test]
async fn a_leader_that_is_stopped_is_followed_at_once() {
    pair::stopped().await;
}

#[tokio::test]
async fn a_leader_that_was_frozen_past_its_lease_makes_no_further_write() {
    pair::frozen().await;
}

#[tokio::test]
async fn a_leader_that_was_frozen_for_a_moment_goes_on() {
    pair::frozen_shortly().await;
}

#[tokio::test]
async fn the_installed_operators_follow_one_another() {
    installed::hand_over().await;
}

#[tokio::test]
async fn each_slot_runs_once_though_leaders_come_to_their_end_around_it() {
    slots::each_runs_once().await;
}
