//! The suite that defines what a store is. A driver is one when it passes.
//!
//! ```text
//! mod stores {
//!     relais_store::conformance!(memory, async || {
//!         let store = relais_store::MemoryStore::new();
//!         let world = World::from(store.clone()).beside(store.clone());
//!         world.damaged_by(move |task, kind| store.damage(task, kind))
//!     });
//! }
//! ```
//!
//! The second argument opens an empty store each time it is called, in a [`World`] that has another
//! handle on it and knows how a body of it is damaged. It is called from a module within: what it names begins with `crate::`,
//! `super::` or a crate. Each case becomes a test of its own, so that a failure reads
//! `stores::memory::a_claim_respects_the_lane_limit`. The driver's crate needs tokio with its
//! macros. [`fixture`] is for drivers' own tests, too. Not here: what only a driver can show
//! (crashes, full disks, damage).

#![expect(clippy::missing_panics_doc, reason = "a case panics when the store is not one")]

pub mod bodies;
pub mod changes;
pub mod claims;
pub mod commits;
pub mod due;
pub mod fixture;
pub mod growing;
pub mod keys;
pub mod lanes;
pub mod nodes;
pub mod purposes;
pub mod random;
pub mod reads;
pub mod sessions;
pub mod shares;
pub mod webhooks;
pub mod world;

pub use world::World;

/// Expands the suite for one store; see [`conformance`](mod@crate::conformance).
#[macro_export]
macro_rules! conformance {
    ($name:ident, $factory:expr) => {
        $crate::conformance_cases! { $name, $factory;
            commits {
                an_empty_batch_does_nothing
                a_refused_commit_leaves_its_neighbours_alone
                a_batch_is_applied_in_order
                a_task_is_read_back_as_it_was_accepted
                many_tasks_are_read_in_the_order_asked_for
                a_step_stores_state_events_and_bodies_together
                a_refused_step_changes_nothing
                a_step_on_a_task_of_another_tenant_finds_nothing
                a_stale_token_never_changes_anything
                a_settle_said_twice_is_recorded_once
                a_rescue_that_comes_after_the_completion_changes_nothing
                a_late_settle_of_a_canceled_task_only_frees_its_slot
                positions_rise_in_the_order_of_commits
                an_accept_repeated_under_its_id_makes_one_task
                an_erased_task_leaves_nothing_behind
                erasing_a_task_frees_the_slot_of_its_holder
                secrets_are_kept_until_they_are_removed
                secrets_are_found_by_how_their_names_begin
            }
            keys {
                concurrent_accepts_with_one_key_make_one_task
                another_request_with_the_same_key_is_told_so
                a_key_twice_in_one_batch_makes_one_task
                a_key_outlives_its_task_until_its_moment
                a_key_is_kept_as_long_as_its_task
                a_key_that_ends_by_itself_does_not_wait_for_its_task
                a_key_that_ends_by_itself_does_not_hold_for_a_task_that_was_canceled
                a_refused_accept_leaves_its_key_free
                a_full_queue_refuses_until_a_task_is_over
                a_full_tenant_refuses_in_all_its_queues
                a_batch_fills_a_queue_to_the_limit_exactly
                a_known_key_is_attached_although_the_queue_is_full
                a_retry_by_hand_is_taken_by_a_full_queue
            }
            shares {
                a_source_takes_its_share_of_each_queue_and_no_more
                a_share_is_given_back_however_a_task_ends
                a_retry_by_hand_takes_of_the_share_again
                a_task_that_runs_or_waits_keeps_its_place_in_the_share
                a_known_key_is_attached_although_the_share_is_taken
                a_batch_takes_a_share_exactly
                a_task_without_a_source_takes_no_share
            }
            claims {
                a_claim_brings_lease_and_bodies
                a_claim_takes_from_its_own_pool_only
                repeatable_and_other_requests_share_a_pool
                the_nonces_bound_a_claim
                a_claim_that_looked_at_the_clock_too_early_starts_what_is_ready
                tasks_start_in_the_order_of_their_moments
                urgent_tasks_start_first
                a_task_that_has_waited_long_enough_overtakes_urgent_ones
                a_scheduled_task_is_invisible_before_its_moment
                a_task_past_its_deadline_does_not_start
                nothing_starts_in_a_paused_queue
                a_queue_may_be_paused_before_its_first_task
                a_claim_respects_the_queue_limit
                a_claim_respects_the_lane_limit
                every_end_of_an_attempt_frees_its_slot
                a_canceled_task_keeps_its_slot_until_its_holder_stops
                a_rate_spaces_starts_and_says_when_the_next_may
                a_full_queue_wants_a_slot_not_a_moment
                a_failed_attempt_is_followed_by_the_next_at_its_moment
                a_blocked_lane_of_thousands_hides_no_other
            }
            lanes {
                lanes_take_turns
                lanes_take_turns_within_one_claim
                a_held_lane_waits_and_the_others_go_on
                a_rate_of_lanes_is_that_of_each_lane
                the_bucket_of_a_lane_outlives_its_tasks
                a_lane_that_was_empty_while_its_rate_held_it_starts_again
                a_rate_of_lanes_counts_the_starts_of_all_pools
                a_rate_of_lanes_that_is_gone_holds_nobody
                weights_divide_the_turns
                a_lane_that_was_idle_neither_catches_up_nor_queues_behind
                a_lane_behind_an_urgent_one_is_not_pushed_back
                a_strict_lane_runs_one_task_after_the_other
                a_strict_lane_ignores_priority
                a_strict_lane_is_held_through_retries_releases_and_waiting
                canceling_the_holder_lets_a_strict_lane_go
                a_strict_lane_steps_over_what_is_gone
                a_strict_lane_steps_over_what_may_not_start_any_more
                a_scheduled_task_holds_no_strict_lane_before_its_moment
                a_strict_lane_is_one_line_for_all_its_pools
                a_retried_task_stands_in_the_strict_line_again
            }
            purposes {
                an_internal_task_is_in_no_list_count_or_log
                an_internal_task_takes_no_capacity
                internal_tasks_wait_apart
            }
            sessions {
                a_session_is_kept_as_it_was_changed
                two_tabs_and_two_nodes_lose_nothing
                a_full_session_asks_which_of_its_tasks_are_over
                a_session_that_is_gone_is_not_brought_back
                sessions_are_bounded_in_all_and_by_the_task_they_began_with
                sessions_are_bounded_by_the_source_they_began_from
                a_session_whose_cookie_never_came_back_ends_early
                sessions_that_have_ended_are_cleaned_up
            }
            webhooks {
                nobody_who_subscribed_is_nothing_written
                an_entry_waits_for_each_endpoint_that_takes_it
                a_claim_and_a_settle_are_told_in_the_same_commit
                a_tasks_own_webhook_is_told_of_it_alone
                a_delivery_becomes_a_task_once
                what_waits_for_an_endpoint_that_is_held_waits_on
                what_becomes_of_an_endpoint_is_told_to_the_others
                an_erased_task_has_nothing_more_to_tell_than_that
                what_waits_outlives_the_retention_of_its_task
                an_endpoint_that_is_removed_leaves_what_waited_to_be_dropped
                what_waited_for_too_long_is_dropped_and_told_of
                beyond_what_may_wait_the_oldest_is_dropped
                deliveries_are_listed_page_by_page
                a_delivery_is_listed_as_long_as_its_task
                a_delivery_that_is_let_wait_is_as_before
                a_delivery_that_arrived_is_made_again_by_hand
                a_tenant_has_a_bounded_number_of_endpoints
            }
            due {
                nothing_is_due_in_an_idle_store
                a_lease_is_due_at_its_end
                a_deadline_is_due_in_every_state
                waiting_is_due_at_its_end
                retention_is_due_at_its_end
                a_pool_is_named_when_its_scheduled_task_is_ready
                a_claim_leaves_the_news_of_other_pools
                a_pool_is_named_when_a_task_is_to_be_tried_again
                every_pool_with_ready_tasks_is_named_at_the_start
                the_pools_of_one_queue_are_named_alone
                the_most_overdue_come_first_and_the_rest_at_once
                no_pool_is_lost_to_the_limit
                one_dead_lease_among_ten_thousand_is_found_at_once
                what_nobody_saw_to_stays_due
            }
            changes {
                every_change_is_told_in_one_order
                changes_are_read_page_by_page
                a_handle_learns_what_another_committed
                a_node_that_is_alone_is_not_woken
                who_asks_from_too_long_ago_is_told_of_a_gap
            }
            nodes {
                a_node_that_was_silent_for_too_long_is_dead
                a_node_is_as_alive_as_it_says
                what_a_node_holds_is_found_by_its_number
                the_format_of_a_store_is_the_lowest_of_the_living
                a_clock_that_was_set_back_is_noticed
                what_a_dead_node_held_is_found_among_thousands
                what_a_node_attends_is_found_by_its_number
                a_dead_node_that_attends_tasks_is_named
            }
            bodies {
                every_byte_comes_back
                a_spool_spills_beyond_the_limit
                a_spilled_body_is_read_in_pieces
                a_growing_spool_is_read_as_it_grows
                a_reader_outlives_its_task
                a_spool_that_is_given_up_leaves_nothing
                a_spilled_body_of_a_refused_commit_is_not_stored
                credentials_are_erased_on_success_and_on_cancel
                a_damaged_body_ends_its_task_and_no_other
                a_damaged_result_is_an_error_of_its_own
                a_checkpoint_is_kept_until_the_task_succeeds
                a_retry_from_the_start_forgets_the_checkpoint
                the_answer_of_a_failed_attempt_is_kept_if_it_is_the_last
                an_early_result_becomes_the_result_on_another_node
                an_early_result_ends_with_its_lease
                early_results_are_bounded_per_tenant_and_in_all
                bodies_are_read_beside_writes
            }
            growing {
                an_answer_is_read_while_it_grows
                an_answer_that_is_no_outcome_is_broken_off
                an_answer_ends_with_its_spool_unless_it_is_whole
            }
            reads {
                a_list_goes_from_the_newest_to_the_oldest
                a_cursor_outlives_its_task
                every_filter_narrows
                a_list_by_status_is_whole_among_many_queues_and_many_others
                a_log_is_read_on_from_any_number
                the_log_of_the_store_shows_a_tenant_its_own
                events_among_thousands_of_others_are_found
                the_counts_of_a_queue_follow_its_tasks
                the_settings_of_a_queue_are_kept
                a_queue_is_read_by_its_name
                a_place_counts_those_ahead_in_the_lane
                a_place_says_how_its_queue_stands
                a_place_says_how_the_rate_of_its_lane_stands
                an_accept_tells_the_place
                a_queue_says_since_when_its_oldest_task_waits
            }
            random {
                slots_and_counts_are_right_after_every_random_step
                it_does_what_the_reference_does
                it_does_what_the_reference_does_by_another_seed
            }
        }
    };
}

/// One test per case.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($name:ident, $factory:expr; $($module:ident { $($case:ident)* })*) => {
        mod $name {
            $($(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let opened = ($factory)().await;
                    let world = $crate::conformance::World::from(opened);
                    $crate::conformance::$module::$case(world).await;
                }
            )*)*
        }
    };
}
