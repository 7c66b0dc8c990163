//! The table of requirements: failures seen in similar tools, and for each the tests that cover it or the reason why none can.
//!
//! A test compares this table with `docs/requirements.md`. With `YCRED_WRITE_DOCS=1` it writes the page.

mod field;
mod platforms;
mod setup;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use field::FIELD;
use setup::SETUP;

enum ProofHeader {
    /// Names of test functions.
    Tests(&'static [&'static str]),
    /// Why no test can cover it.
    Reason(&'static str),
}
use ProofHeader::{Reason, Tests};

struct Requirement {
    id: &'static str,
    text: &'static str,
    proof: ProofHeader,
}

const fn requirement(id: &'static str, text: &'static str, proof: ProofHeader) -> Requirement {
    Requirement { id, text, proof }
}

#[rustfmt::skip]
const REQUIREMENTS: &[Requirement] = &[
    requirement("F01", "100 processes start together with an empty cache: one request, all print the same token, stderr stays empty",
        Tests(&["a_hundred_processes_with_a_cold_cache_make_one_request_and_print_the_same_token", "a_thousand_processes_at_once_with_a_cold_cache_make_one_request", "eight_kubectls_at_once_share_one_iam_request"])),
    requirement("F02", "100 processes call when the token expires and the cloud is slow: one request",
        Tests(&["a_hundred_processes_at_expiry_make_one_request_to_a_slow_cloud"])),
    requirement("F03", "if the leader fails, all waiters report its error; they make no requests of their own",
        Tests(&["if_the_leader_is_rejected_all_waiters_report_its_error", "if_the_cloud_is_down_all_waiters_report_the_error_of_one_request_and_its_retries"])),
    requirement("F04", "a process that finds a valid token in the cache never waits for a lock",
        Tests(&["a_fresh_token_is_returned_while_the_lock_is_held", "in_the_soft_window_the_cached_token_is_returned_while_another_process_holds_the_lock"])),
    requirement("F05", "a killed lock holder blocks no other process",
        Tests(&["a_killed_leader_does_not_block_the_waiters", "a_killed_leader_without_waiters_leaves_no_lock_behind", "a_killed_lock_holder_blocks_no_other_process"])),
    requirement("F06", "if the lock holder hangs, one waiter makes the request within the deadline",
        Tests(&["exactly_one_waiter_replaces_a_hanging_leader_within_the_deadline", "if_the_relief_fails_the_others_wait_for_the_leader", "a_process_whose_locks_are_all_held_makes_the_request_itself"])),
    requirement("F07", "a lock failure is reported with its real cause",
        Tests(&["without_a_lock_tokens_are_still_fetched_and_the_warning_has_the_cause", "without_lock_support_the_warning_names_the_cause_and_the_token_is_cached"])),
    requirement("F08", "if locking fails, ycred continues without a lock and prints one warning; it retries after EINTR and never blocks in flock",
        Tests(&["a_file_system_without_locking_causes_one_warning_and_no_failure", "an_interrupted_lock_call_is_retried", "the_lock_is_polled_and_never_blocks_in_the_kernel"])),
    requirement("F09", "the lock is a separate file and never blocks readers",
        Tests(&["a_fresh_token_is_returned_while_the_lock_is_held", "a_lock_excludes_and_ends_with_its_holder"])),
    requirement("F10", "the lock is in the user's private directory, so two users never share a lock",
        Tests(&["a_user_with_a_private_home_has_a_private_cache", "another_users_cache_directory_is_rejected_with_a_warning_that_names_the_owner"])),
    requirement("F11", "after taking the lock, ycred reads the cache again before it makes a request",
        Tests(&["in_the_soft_window_one_process_renews_and_all_others_return_the_cached_token_at_once", "many_forced_refreshes_at_once_make_one_request", "twenty_concurrent_renewals_send_a_one_time_refresh_token_once_and_all_succeed", "without_a_working_lock_the_slower_renewal_uses_the_token_of_the_faster_one"])),
    requirement("F12", "different profiles do not wait for each other",
        Tests(&["different_profiles_do_not_wait_for_each_other"])),
    requirement("F13", "at most one browser opens for each identity",
        Tests(&["two_concurrent_logins_open_one_browser", "a_denied_login_is_reported_and_the_browser_does_not_reopen_at_once"])),
    requirement("F14", "if a client calls again right after a rejection, ycred does not repeat the request",
        Tests(&["a_client_that_calls_again_at_once_does_not_repeat_a_rejected_request", "every_run_explains_a_rejected_key_after_one_iam_request", "a_remembered_rejection_ends_with_a_new_key_or_a_forced_refresh"])),
    requirement("F15", "readers never see a torn or empty record",
        Tests(&["concurrent_readers_never_see_a_torn_or_empty_record"])),
    requirement("F16", "after a kill at any system call of a write, the next run succeeds, the record is complete, and a later sweep removes temporary files",
        Tests(&["after_a_kill_at_any_call_of_a_first_miss_the_next_run_succeeds_silently_and_leaves_an_intact_record", "after_a_kill_at_any_call_of_a_renewal_the_old_or_the_new_record_is_intact", "a_later_store_sweeps_the_files_of_killed_processes"])),
    requirement("F17", "after ENOSPC, EFBIG, EIO and similar errors, the token is printed, the old record is intact, and the exit code is 0 with at most one warning",
        Tests(&["a_disk_error_at_any_call_of_a_miss_costs_at_most_one_warning_and_no_token", "a_disk_error_at_any_call_of_a_renewal_leaves_the_old_or_the_new_record_intact", "a_disk_error_at_any_call_of_a_hit_costs_no_token", "on_a_full_disk_the_token_is_printed_with_one_warning_and_the_old_record_is_unchanged", "with_a_file_size_limit_of_zero_the_token_is_printed_and_no_signal_kills_the_process"])),
    requirement("F18", "a shorter record that replaces a longer one leaves nothing of it behind",
        Tests(&["a_shorter_record_replaces_a_longer_one_without_a_tail"])),
    requirement("F19", "any other object in place of a record is a miss: bounded memory, no hang",
        Tests(&["a_wrong_object_in_place_of_the_record_is_a_silent_miss_and_the_next_run_is_a_hit", "every_reader_survives_its_corpus"])),
    requirement("F20", "each format version has its own directory",
        Tests(&["cache_directories_of_other_format_versions_are_left_unchanged"])),
    requirement("F21", "if another user owns the cache directory, ycred prints the token and a warning with the path",
        Tests(&["another_users_cache_directory_is_rejected_with_a_warning_that_names_the_owner", "under_sudo_with_the_callers_home_nothing_is_created_and_one_warning_names_the_directory"])),
    requirement("F22", "if HOME is read-only, unset, missing, `/dev/null` or a file, ycred prints the token and at most one warning",
        Tests(&["an_unusable_home_costs_one_warning_and_no_token", "a_user_without_a_usable_home_gets_the_token_and_one_warning", "roots_cache_is_in_run_if_its_home_cannot_be_created", "a_user_with_a_read_only_cache_gets_the_token_and_one_warning"])),
    requirement("F23", "HOME takes precedence over the password database, which is only the fallback",
        Tests(&["without_home_the_password_database_is_used_and_home_overrides_it"])),
    requirement("F24", "ycred never writes to the current directory",
        Tests(&["nothing_is_ever_written_to_the_current_directory"])),
    requirement("F25", "temporary files are created in the directory of the target",
        Tests(&["after_a_kill_at_any_call_of_a_first_miss_the_next_run_succeeds_silently_and_leaves_an_intact_record", "a_file_is_replaced_whole_and_private"])),
    requirement("F26", "the cache directory may be the user's own symlink, and `ycred use` changes the target of a profile that is a symlink and keeps the symlink",
        Tests(&["a_cache_directory_may_be_the_users_own_symlink", "a_symlinked_profile_is_read_and_stays_a_symlink"])),
    requirement("F27", "two identities never share a record",
        Tests(&["a_change_to_any_input_selects_another_record", "jobs_with_different_secrets_in_one_variable_never_share_a_record", "two_virtual_machines_never_share_a_record", "jobs_of_different_subjects_or_issuers_never_share_a_record"])),
    requirement("F28", "the name of a record is deterministic",
        Tests(&["a_hundred_processes_find_the_same_record", "the_order_of_settings_does_not_change_the_name", "profiles_with_the_same_identity_share_one_record"])),
    requirement("F29", "file names reveal neither secrets nor accounts",
        Tests(&["cache_file_names_reveal_neither_account_nor_secret"])),
    requirement("F30", "an edited profile or a replaced key file takes effect on the next call",
        Tests(&["an_edited_profile_takes_effect_with_the_next_call", "a_replaced_key_file_causes_an_immediate_fetch"])),
    requirement("F31", "logout deletes and reports what it deleted, and a concurrent refresh does not restore it",
        Tests(&["logout_deletes_and_lists_every_link_and_succeeds_with_an_empty_cache", "a_concurrent_fetch_does_not_restore_what_logout_deleted", "a_fetch_that_began_before_a_logout_stores_nothing_although_another_one_has_stored_a_token_since", "a_process_that_is_stopped_while_it_stores_a_token_does_not_undo_a_logout", "a_swept_logout_still_keeps_a_fetch_from_storing", "a_sweep_that_is_stopped_and_loses_its_turn_removes_nothing", "a_sweep_that_is_stopped_removes_no_record_of_a_logout_if_a_process_that_ends_its_turn_is_killed", "a_logout_of_all_deletes_the_tokens_of_a_disk_without_room_to_move_a_file", "a_logout_deletes_the_token_on_a_full_disk_and_says_that_it_stays_valid_in_the_cloud", "a_logout_deletes_what_a_killed_process_was_about_to_store", "a_logout_ends_the_waiters_on_a_full_disk_without_a_request", "a_token_that_is_stored_before_a_late_mark_of_a_logout_is_deleted_too", "a_process_that_is_stopped_while_it_stores_a_login_replaces_no_later_one", "a_cache_that_cannot_be_deleted_keeps_no_login_and_no_token_from_being_revoked", "logout_of_all_revokes_a_token_once_that_two_profiles_have", "a_concurrent_refresh_does_not_restore_a_login_that_logout_ended", "logout_can_revoke_the_login_in_the_cloud", "a_key_that_is_requested_for_the_first_time_during_a_logout_is_not_stored", "a_rejected_token_does_not_come_back_with_the_result_of_a_fetch_that_began_before", "a_process_that_has_lost_its_turn_after_it_has_stored_a_token_leaves_the_record_of_a_logout"])),
    requirement("F32", "expired records and old temporary files are removed",
        Tests(&["a_sweep_removes_only_expired_records_and_old_temporary_files", "objects_set_aside_do_not_accumulate"])),
    requirement("F33", "the soft window starts exactly when `refresh-before` or a tenth of the validity is left; a window longer than the token's validity causes no loop",
        Tests(&["the_soft_window_begins_to_the_millisecond_when_a_tenth_is_left", "refresh_before_extends_the_soft_window_up_to_half_of_the_lifetime"])),
    requirement("F34", "the expiry given to clients is earlier than the real one, but never in the past",
        Tests(&["the_advertised_expiry_is_a_minute_before_the_real_one", "the_advertised_expiry_of_a_short_token_is_neither_past_nor_after_the_real_one"])),
    requirement("F35", "a token valid for 30 s or 1 s is printed; its expiry is never extended, and ycred does not loop",
        Tests(&["a_token_valid_for_seconds_is_requested_once_and_not_in_a_loop"])),
    requirement("F36", "after the clock is set back, ycred requests a new token",
        Tests(&["a_record_from_the_future_is_replaced_and_used_if_the_fetch_fails", "a_record_from_the_future_is_fetched_first"])),
    requirement("F37", "expiry is measured by the wall clock, not the monotonic clock",
        Tests(&["an_expired_token_is_never_returned", "a_token_is_fresh_until_a_tenth_of_its_lifetime_is_left"])),
    requirement("F38", "with a clock 10 minutes off, the cloud accepts the second JWT, or one line says that the clock is wrong",
        Tests(&["if_a_fast_clock_dates_the_jwt_in_the_future_it_is_signed_again_with_the_clouds_time", "if_a_slow_clock_makes_the_jwt_expired_it_is_signed_again_with_the_clouds_time", "a_rejection_with_a_wrong_clock_is_retried_exactly_once"])),
    requirement("F39", "expiries are accepted in every form, and may be missing",
        Tests(&["an_expiry_may_have_any_fraction_and_offset", "an_expiry_that_is_missing_malformed_or_absurd_counts_as_five_minutes", "an_expiry_in_the_year_9999_counts_as_one_day"])),
    requirement("F40", "durations have a type of their own, which prevents unit errors",
        Tests(&["durations", "refresh_before_moves_the_soft_window_up_to_half_the_lifetime"])),
    requirement("F41", "if the cloud is down and the cached token is valid, ycred returns it with one warning",
        Tests(&["after_a_failed_renewal_the_cached_token_is_used_with_one_warning_and_a_back_off", "a_token_below_min_ttl_is_returned_with_one_warning_if_the_cloud_is_down"])),
    requirement("F42", "in the soft window, one process renews the token and the others return at once",
        Tests(&["in_the_soft_window_one_process_renews_and_all_others_return_the_cached_token_at_once"])),
    requirement("F43", "a forced refresh returns a new token; metadata tokens are cached for one minute",
        Tests(&["force_refresh_replaces_a_fresh_token_and_caches_the_new_one", "a_revoked_token_is_returned_until_refresh_fetches_another", "a_changed_account_of_a_virtual_machine_is_noticed_after_a_minute"])),
    requirement("F44", "stdout contains one reply and nothing else, at any verbosity and after a panic",
        Tests(&["on_a_miss_and_on_a_hit_the_reply_is_byte_exact_and_stderr_is_empty", "a_panic_exits_5_with_one_masked_line_and_an_empty_stdout", "verbosity_does_not_change_stdout_on_success", "output_of_the_browser_is_discarded"])),
    requirement("F45", "on success, stderr is empty",
        Tests(&["on_a_miss_and_on_a_hit_the_reply_is_byte_exact_and_stderr_is_empty"])),
    requirement("F46", "the kubectl hook does not touch stdin, and a closed standard descriptor never makes ycred write the token into another file",
        Tests(&["hooks_without_a_request_do_not_read_stdin", "with_any_standard_descriptor_closed_no_file_but_the_record_contains_the_token"])),
    requirement("F47", "if a login is needed and there is no terminal, ycred fails at once and names the command to run",
        Tests(&["a_token_is_printed_in_a_new_session_without_a_terminal", "without_any_credentials_one_error_lists_the_variables_and_metadata_is_not_probed", "without_a_login_there_is_an_immediate_error_and_no_request"])),
    requirement("F48", "one deadline covers the whole run",
        Tests(&["a_cloud_that_does_not_respond_is_abandoned_at_the_deadline", "a_dripping_response_ends_at_the_deadline", "a_hanging_command_is_killed_with_its_children_at_the_deadline", "a_process_whose_locks_are_all_held_makes_the_request_itself", "an_unfinished_request_fails_at_the_deadline"])),
    requirement("F49", "`apiVersion` in the reply is the one in the request",
        Tests(&["the_reply_has_the_version_of_the_request", "a_kubeconfig_with_v1beta1_gets_a_reply_in_v1beta1"])),
    requirement("F50", "if stdout is closed or full: exit code not 0, no panic, intact cache",
        Tests(&["a_full_stdout_exits_5_with_one_error_line_and_the_token_stays_cached", "a_closed_stdout_pipe_exits_5_with_one_error_line_and_the_token_stays_cached"])),
    requirement("F51", "for kubectl, a failure is a `metav1.Status` and the exit code is not 0",
        Tests(&["a_failure_is_a_status", "a_refusal_is_byte_exact_at_any_verbosity_with_one_error_and_one_hint_on_stderr"])),
    requirement("F52", "an error is one line with the cause first, followed by the fix; the server's message and request id are kept",
        Tests(&["a_rejection_has_the_clouds_message_and_request_id_and_is_remembered_for_five_seconds", "a_failure_is_one_line_and_one_hint"])),
    requirement("F53", "docker: errors appear on both streams; a foreign registry is \"not found\", without network or profile",
        Tests(&["a_rejected_key_fails_skopeo_with_the_reason_on_both_streams_of_the_helper", "podman_and_buildah_fail_with_the_reason_and_the_fix",
            "docker_shows_every_failure_before_it_continues_anonymously", "another_host_is_not_found_with_the_exact_message", "a_foreign_host_is_declined_without_a_profile_a_home_or_a_socket"])),
    requirement("F54", "docker: every spelling of an allowed URL matches, and `store` and `erase` succeed for it",
        Tests(&["every_client_spelling_of_a_registry_gets_the_token", "a_login_with_a_password_stores_nothing_and_logout_keeps_the_cached_token"])),
    requirement("F55", "a user's password is never stored",
        Tests(&["a_docker_login_password_is_neither_stored_nor_printed"])),
    requirement("F56", "git: foreign, injected, empty and http hosts get nothing",
        Tests(&["a_git_request_with_an_injected_line_break_gets_no_token", "ambiguous_requests_have_no_host", "plain_http_gets_no_token_even_from_a_listed_host"])),
    requirement("F57", "git: `erase` removes the matching token only",
        Tests(&["git_erase_drops_only_the_given_token", "only_the_stored_token_is_rejected"])),
    requirement("F58", "terraform: an unknown host gets `{}`, `store` is refused, `forget` prints nothing",
        Tests(&["get_returns_a_token_or_an_empty_object_for_other_hosts", "store_is_refused_forget_is_silent_and_the_rest_is_a_usage_error", "a_registry_that_is_not_ours_gets_no_token_and_no_iam_request"])),
    requirement("F59", "exec: passes on exit codes and signals, and changes only documented variables",
        Tests(&["exec_exits_125_126_or_127_for_its_own_errors_and_otherwise_ends_like_the_program", "exec_makes_only_the_documented_changes_to_the_environment", "under_exec_a_provider_gets_the_token_and_no_credentials_that_take_precedence", "ycred_exits_like_the_child", "signals_sent_to_ycred_are_forwarded_to_the_child_once", "the_environment_changes_exactly_as_documented"])),
    requirement("F60", "input that is not UTF-8 never causes a panic",
        Tests(&["input_that_is_not_utf_8_never_panics_and_is_reported_as_one_error", "paths_that_are_not_utf_8_work"])),
    requirement("F61", "429, 5xx and reset connections are retried with jitter and `Retry-After`; other 4xx responses never are",
        Tests(&["a_429_or_5xx_is_retried_three_times_and_then_reported", "a_4xx_other_than_429_is_never_retried", "a_connection_that_breaks_at_any_stage_is_retried", "a_retry_after_in_seconds_is_obeyed", "a_retry_after_as_a_date_is_obeyed"])),
    requirement("F62", "the metadata service is not probed without being configured, is never called through a proxy, and gets its header",
        Tests(&["without_any_credentials_one_error_lists_the_variables_and_metadata_is_not_probed", "metadata_requests_never_use_a_proxy", "a_function_gets_its_accounts_token_at_the_real_address_without_a_proxy", "by_default_the_usual_metadata_address_is_used"])),
    requirement("F63", "proxy variables are obeyed, their credentials are not logged, and 407 is explained",
        Tests(&["https_proxy_overrides_all_proxy_and_lower_case_overrides_upper_case", "no_proxy_is_obeyed_for_addresses_blocks_and_wildcards", "a_proxys_user_and_password_are_sent_to_it_and_never_printed", "a_proxy_that_requires_a_password_is_explained"])),
    requirement("F64", "a CA file adds to the system's roots, and an unusable one is named in the error",
        Tests(&["a_ca_file_is_trusted_in_addition_to_the_usual_roots", "an_unusable_ca_file_is_named"])),
    requirement("F65", "plain http is limited to loopback and the metadata service, and redirects never receive credentials",
        Tests(&["plain_http_is_limited_to_loopback", "redirects_never_receive_credentials"])),
    requirement("F66", "a captive portal and an empty, endless or very slow response: clear error, bounded memory and time",
        Tests(&["an_html_page_in_place_of_a_token_is_reported", "an_empty_response_is_reported", "an_endless_response_is_cut_off", "a_dripping_response_ends_at_the_deadline"])),
    requirement("F67", "with a valid cached token, ycred makes no network system call",
        Tests(&["a_hit_makes_no_network_call_takes_no_lock_and_opens_no_key"])),
    requirement("F68", "under umask 000, files are created with mode 0600 and directories with 0700; loosened modes are tightened",
        Tests(&["files_are_private_from_creation", "under_umask_zero_files_are_0600_and_directories_0700", "loose_modes_are_tightened_by_the_next_store"])),
    requirement("F69", "if ycred rejects a file because of its mode, the error has the mode and the hint has the chmod",
        Tests(&["a_world_writable_profile_is_rejected_with_a_chmod_hint", "a_profile_that_another_user_owns_or_can_write_is_rejected"])),
    requirement("F70", "symlinks in place of the record, temporary file or lock are not followed",
        Tests(&["a_wrong_object_in_place_of_the_record_is_a_silent_miss_and_the_next_run_is_a_hit", "a_wrong_object_in_place_of_the_lock_file_costs_at_most_one_warning_and_is_not_changed", "a_symlink_into_another_users_directory_is_rejected"])),
    requirement("F71", "no secret is in the arguments or the environment of child processes",
        Tests(&["a_profiles_command_gets_the_inherited_environment_one_marker_and_no_secret_argument", "secrets_in_arguments_or_in_a_profile_are_rejected_and_never_repeated"])),
    requirement("F72", "no eight consecutive bytes of a secret appear in any output, log or file name",
        Tests(&["no_source_hook_or_failure_exposes_eight_bytes_of_a_secret", "fragments_of_eight_bytes_are_found_and_fragments_of_seven_are_not"])),
    requirement("F73", "escape sequences from a server never reach the terminal",
        Tests(&["escape_sequences_and_bidi_controls_from_a_server_never_reach_the_terminal", "escape_sequences_from_commands_paths_and_clients_never_reach_the_terminal"])),
    requirement("F74", "the process cannot be dumped and leaves no core file",
        Tests(&["dumps_are_disabled_before_any_configuration_file_is_opened", "a_users_process_memory_belongs_to_root_and_an_abort_leaves_no_core_file"])),
    requirement("F75", "a key file that others can read causes a warning",
        Tests(&["a_key_file_that_others_can_read_causes_one_warning_on_a_miss_and_none_on_a_hit"])),
    requirement("F76", "Ctrl-C at a prompt restores the terminal's echo",
        Reason("ycred never turns the terminal's echo off")),
    requirement("F77", "edits of kubeconfig and of docker's and git's files preserve everything else",
        Tests(&["every_kubeconfig_comes_back_to_the_byte_and_is_written_once", "kubectl_sees_no_other_difference", "every_configuration_of_docker_comes_back_to_the_byte_and_is_written_once", "every_configuration_of_git_comes_back_to_the_byte_and_is_written_once", "every_configuration_of_aws_comes_back_to_the_byte_and_is_written_once", "every_configuration_of_pip_comes_back_to_the_byte_and_is_written_once"])),
    requirement("F78", "setup writes absolute paths and `installHint`",
        Tests(&["kubectl_sees_no_other_difference", "kubectl_gets_a_token_through_what_setup_wrote_and_the_file_comes_back"])),
    requirement("F79", "a hit is fast and uses neither network nor keyring",
        Tests(&["a_hit_makes_no_network_call_takes_no_lock_and_opens_no_key", "a_hit_writes_nothing"])),
    requirement("F80", "the static binary runs in an empty image",
        Tests(&["the_static_binary_gets_a_token_in_an_empty_root", "the_images_run_without_anything_else"])),
    requirement("F81", "ycred works fully without a configuration file",
        Tests(&["without_a_profile_the_variables_are_used_in_the_documented_order", "without_a_profile_a_github_actions_job_needs_only_the_account", "without_a_profile_the_variable_selects_the_metadata_service", "a_user_missing_from_the_password_database_needs_no_home_and_can_use_systemds_cache_directory"])),
    requirement("F82", "a missing or locked keyring is not a problem",
        Reason("ycred does not use a keyring")),
    requirement("F83", "absolute XDG directories are used, and relative ones are ignored",
        Tests(&["the_cache_is_below_home_unless_xdg_cache_home_is_set", "a_relative_xdg_directory_is_ignored"])),
    requirement("F84", "the suffix of a symlink selects the profile, and the names do not collide with other plugins",
        Tests(&["a_symlink_names_the_hook_and_the_profile", "every_spelling_of_a_symlink_runs_its_hook_with_the_profile_in_the_suffix", "a_symlinks_suffix_is_never_a_path"])),
];

/// Requirements from faults and attacks that were tried on ycred itself. The id is the topic.
#[rustfmt::skip]
const FURTHER: &[Requirement] = &[
    requirement("sharing", "one caller's failure does not reach a caller that would succeed: deadline, PATH, proxy, certificates, `command-env`, subject token",
        Tests(&["with_an_empty_cache_a_failure_does_not_reach_a_caller_that_would_succeed", "with_an_empty_cache_callers_at_the_same_time_get_what_they_would_get_alone", "a_failed_renewal_does_not_keep_another_caller_from_renewing", "behind_many_callers_whose_path_makes_the_program_fail_a_caller_gets_its_token", "behind_many_callers_whose_subject_token_has_expired_a_caller_gets_its_token", "a_renewal_that_fails_without_a_network_does_not_reach_callers_that_have_one", "a_limit_of_one_process_is_not_remembered_for_others", "a_failure_that_says_nothing_about_others_counts_for_no_process", "a_time_out_is_not_passed_on_with_the_time_limit_of_a_process_that_has_only_read_it", "only_the_cloud_limits_processes_of_other_networks"])),
    requirement("sharing", "each group of equal callers makes one request and gets one reason; the cloud's answer counts for all groups",
        Tests(&["each_group_of_equal_callers_makes_one_request_and_reports_one_error", "the_clouds_answer_counts_for_every_group", "a_request_to_wait_counts_for_the_same_proxy_only", "a_failed_renewal_is_not_repeated_by_callers_that_would_fail_too", "three_hundred_callers_with_three_hundred_deadlines_share_a_refused_connection", "where_nothing_listens_a_process_that_comes_later_makes_one_attempt"])),
    requirement("sharing", "beside a stopped holder, a caller gets its token in time or names the holder; a late result replaces nothing better",
        Tests(&["beside_a_first_caller_that_is_stopped_with_the_lock_the_second_one_gets_its_token_in_time", "beside_a_stopped_holder_a_token_that_comes_within_a_tenth_of_the_time_is_in_time", "a_holder_that_stops_with_the_locks_of_a_whole_chain_is_replaced_in_time", "a_caller_waits_for_a_relief_leader_that_has_just_begun_and_names_the_leader", "beside_a_stopped_leader_equal_callers_make_one_request_to_a_slow_cloud", "beside_a_leader_and_a_relief_leader_that_hang_callers_that_are_not_like_them_get_one_token", "a_relief_leader_that_is_not_like_a_process_or_does_not_say_so_is_not_its_own", "a_renewal_that_is_killed_keeps_no_caller_from_a_longer_token", "a_renewal_that_gets_no_connection_holds_up_callers_on_another_network_for_one_attempt", "a_stream_of_refreshes_that_get_no_connection_keeps_nobody_from_renewing_the_login", "callers_without_a_connection_make_four_attempts_in_a_crowd_and_in_a_chain", "beside_a_stopped_leader_and_a_stopped_relief_leader_callers_make_one_request_and_get_its_token", "a_silent_relief_leader_is_succeeded_by_one_process_at_a_time", "with_a_time_limit_of_a_second_a_caller_beside_a_stopped_leader_gets_a_token", "a_process_whose_locks_are_all_held_makes_the_request_itself", "a_killed_leader_is_named_to_nobody", "a_leader_in_another_container_is_named_as_such", "a_holder_counts_as_dead_only_if_its_number_is_of_the_same_space", "a_late_leaders_token_is_kept_if_it_expires_later", "a_late_leader_replaces_a_token_only_by_one_that_expires_later", "a_late_leaders_token_replaces_a_failure_but_not_a_logout", "a_fetch_that_began_before_a_logout_stores_nothing_whatever_the_logout_found", "a_fetch_that_ends_after_a_logout_is_not_stored_even_if_there_was_no_record", "a_process_that_is_stopped_while_it_stores_a_token_does_not_undo_a_logout", "a_process_that_is_stopped_while_it_stores_a_token_delays_others_once_and_replaces_nothing_later", "beside_a_process_that_is_stopped_while_it_stores_a_token_callers_get_theirs_in_time", "a_process_that_is_stopped_while_it_stores_a_token_keeps_no_other_profile_from_storing_one", "a_process_that_stores_its_token_late_replaces_only_one_that_expires_earlier", "a_process_that_is_stopped_in_its_turn_loses_it_and_replaces_nothing", "a_process_that_is_stopped_in_its_turn_loses_it_and_removes_nothing", "an_older_ycred_and_this_one_exclude_each_other", "a_logout_is_marked_if_an_older_ycred_may_be_storing_a_token", "a_process_whose_time_is_over_waits_for_its_turn_for_less_than_half_a_second", "a_directory_whose_mode_was_changed_is_usable_again", "beside_a_process_that_does_not_finish_a_miss_uses_the_address_that_another_one_has_stored", "a_process_that_is_stopped_while_it_stores_a_token_delays_others_once_and_replaces_nothing_later"])),
    requirement("clock", "after the clock was set back, no failure lasts longer than it should, and a login is renewed",
        Tests(&["after_the_clock_was_set_back_a_login_whose_renewal_has_failed_is_renewed", "after_the_clock_was_set_back_a_forced_refresh_makes_a_request", "a_failure_is_remembered_for_as_long_as_its_kind_allows"])),
    requirement("identity", "machines that share a home do not share tokens of their metadata service",
        Tests(&["two_machines_that_share_a_home_never_share_the_token_of_their_metadata_service", "if_the_machine_cannot_be_told_from_others_no_token_of_its_metadata_service_is_kept"])),
    requirement("identity", "a command's token is kept for one home, program and combination of the variables in `command-env`",
        Tests(&["a_command_has_one_record_for_each_home_program_and_value_of_command_env", "a_program_that_reads_its_environment_never_gives_one_users_token_to_another"])),
    requirement("identity", "a key that is replaced and put back during a fetch, or within one time stamp, gives no account another one's token",
        Tests(&["nothing_is_stored_if_a_key_was_replaced_during_the_fetch_even_if_it_was_put_back", "a_stamp_is_certain_once_another_change_would_have_another_one", "an_ambiguous_stamp_does_not_count_as_equal", "on_a_file_system_with_whole_seconds_a_file_replaced_in_the_same_second_is_noticed", "nothing_is_stored_if_a_link_led_to_another_key_when_the_fetch_read_it"])),
    requirement("identity", "a profile or `ca-file` that others can replace is not used for a fetch",
        Tests(&["a_profile_or_ca_file_in_a_directory_that_others_can_write_is_rejected_before_a_fetch"])),
    requirement("growth", "dead identities are removed with their locks, and never while a process uses them",
        Tests(&["dead_identities_are_removed_with_their_locks_while_a_valid_one_is_used", "an_identity_in_use_is_kept_with_all_of_its_files", "a_record_that_changes_before_its_removal_is_kept", "a_lock_file_that_was_removed_after_it_was_opened_is_opened_again", "the_sweep_runs_hourly_and_soon_again_while_it_leaves_work", "the_sweep_stops_when_its_time_is_over"])),
    requirement("growth", "with 100,000 identities a day, at most 3 files are left for each one in use, plus 1,000",
        Tests(&["with_a_hundred_thousand_identities_a_day_few_files_are_left_at_any_time", "a_large_directory_is_swept_in_parts_and_soon_again", "an_identity_whose_files_are_in_two_parts_of_the_list_is_kept_while_it_is_in_use", "a_position_of_another_directory_or_version_does_no_harm", "the_further_locks_of_an_identity_in_use_are_removed_unless_a_process_holds_them", "the_further_locks_in_a_part_of_a_large_directory_are_removed", "one_identity_has_three_files_whatever_path_its_callers_have"])),
    requirement("growth", "100,000 names in the cache add no system call to a hit, and only a part of them is listed in a miss",
        Tests(&["a_hundred_thousand_names_add_no_system_call_to_a_hit_and_are_not_all_listed_in_a_miss"])),
    requirement("growth", "`logout --all` ends at its time limit and says what is left",
        Tests(&["idle_identities_are_deleted_until_the_deadline_and_busy_ones_are_returned", "logout_all_ends_at_its_time_limit_and_the_next_one_goes_on", "logout_all_is_not_delayed_by_a_process_that_is_stopped_while_it_stores_a_token", "logout_all_ends_within_ten_seconds_beside_stopped_processes", "logout_of_all_with_revoke_has_one_time_limit"])),
    requirement("login", "whatever ends a call, the answer of the auth host is kept: the next call gets the token without a new login",
        Tests(&["no_ending_of_a_call_costs_a_login_whose_host_has_answered", "a_slow_renewal_in_the_soft_window_is_finished_after_its_caller", "if_no_process_can_be_started_the_caller_renews_and_signals_wait"])),
    requirement("login", "no refresh token is sent again while its answer is outstanding or another token is usable; a lost answer ends the login in one line",
        Tests(&["while_the_token_is_usable_a_refresh_token_without_an_answer_is_not_sent_again", "a_refresh_token_in_doubt_is_sent_once_more_and_never_again", "a_refresh_token_in_doubt_that_a_busy_host_has_not_read_is_sent_again", "a_killed_renewal_process_leaves_a_token_that_is_sent_once_more", "a_renewal_that_is_killed_before_it_has_a_connection_leaves_the_refresh_token_as_it_was", "what_must_happen_before_a_request_is_sent_happens_after_the_proxy_has_connected", "a_disk_that_is_slow_just_before_the_request_keeps_the_refresh_token_from_being_sent", "nothing_is_in_doubt_if_the_request_was_not_written", "only_an_answer_or_an_unsent_request_settles_what_became_of_the_refresh_token", "on_a_full_disk_a_valid_token_is_returned_and_nothing_is_sent"])),
    requirement("login", "a renewal process is detached from its caller, holds none of its pipes, and has no secret in its arguments",
        Tests(&["a_renewal_process_is_detached_and_its_arguments_have_no_secret", "a_renewal_does_not_hold_the_pipes_of_its_caller"])),
    requirement("login", "a call ends at most half a second after its time limit, whatever the auth host does, and nobody else holds its pipes",
        Tests(&["no_ending_of_a_call_costs_a_login_whose_host_has_answered", "a_renewal_does_not_hold_the_pipes_of_its_caller", "a_call_is_late_if_it_or_a_holder_of_its_pipe_ends_after_the_control_process"])),
    requirement("login", "a stopped renewal process is named to the callers that wait for it",
        Tests(&["a_stopped_renewal_process_is_named_and_nobody_sends_the_token_again", "a_lock_names_its_holder"])),
    requirement("login", "calls that no token can satisfy do not renew a login one after another",
        Tests(&["a_hundred_calls_that_no_token_can_satisfy_renew_a_login_once"])),
    requirement("login", "a renewal that fails without a network fails no call that has one; the auth host's answer counts for both",
        Tests(&["a_renewal_that_fails_without_a_network_does_not_reach_a_caller_that_has_one", "a_sandbox_of_the_process_that_renews_a_login_does_not_reach_the_callers_that_wait_for_it", "a_renewal_that_fails_without_an_answer_outstanding_leaves_the_version_as_it_is", "a_forced_refresh_that_fails_keeps_no_call_from_the_token_of_the_login", "the_auth_hosts_answer_counts_in_each_network", "a_failed_renewal_counts_for_the_same_group_and_network_and_an_answer_for_all"])),
    requirement("clocks", "after the clock was set back, no failure, request, token or address of the time to come keeps a login, a forced refresh or `serve` from a request",
        Tests(&["a_failed_renewal_by_a_clock_that_was_ahead_answers_no_later_call", "a_failure_of_a_clock_that_was_ahead_does_not_count_until_that_time_comes", "failures_of_others_are_kept_for_five_minutes_whatever_clock_they_are_of", "a_failure_of_an_unlike_process_by_a_clock_that_was_ahead_leads_to_no_further_lock", "a_refresh_token_that_was_sent_by_a_clock_that_was_ahead_is_sent_once_more", "a_token_renewed_by_a_clock_that_was_ahead_is_not_returned_for_longer_than_it_is_valid", "a_token_renewed_by_a_clock_that_was_ahead_is_returned_for_some_minutes_if_renewing_fails", "a_renewal_that_a_call_has_waited_for_counts_whatever_its_clock_showed", "a_renewal_is_recent_by_its_id_or_by_a_time_since_the_call_began", "a_token_and_a_back_off_of_a_clock_that_was_ahead_are_unreliable", "a_login_that_is_interrupted_is_not_reported_with_the_reason_of_one_by_a_clock_that_was_ahead", "a_forced_refresh_accepts_no_address_that_was_discovered_by_a_clock_that_was_ahead", "force_refresh_accepts_only_fetches_that_began_since", "a_waiter_ignores_older_failures_of_a_clock_that_was_ahead", "a_token_without_a_record_that_was_fetched_in_the_future_is_due", "a_clock_that_is_set_does_not_change_the_pause_of_the_refresher"])),
    requirement("login", "without a cache, a call does not wait long for a better token than one that is good enough",
        Tests(&["a_call_waits_five_seconds_at_most_for_a_better_token_than_one_that_is_good_enough"])),
    requirement("upgrade", "an older ycred and this one share one login, in both directions",
        Tests(&["an_older_ycred_and_this_one_renew_one_login_in_turns", "an_older_ycred_and_this_one_wait_for_each_others_renewal"])),
    requirement("upgrade", "an older ycred and this one share one cache, in both directions",
        Tests(&["an_older_ycred_and_this_one_use_and_renew_each_others_token", "an_older_ycred_and_this_one_wait_for_each_others_request", "a_failure_of_an_older_ycred_or_of_this_one_never_keeps_the_other_from_a_token"])),
    requirement("other users", "a callback that another user answers first is rejected, and the login continues",
        Tests(&["another_users_callback_is_rejected_and_the_login_continues"])),
    requirement("other users", "idle connections of another user keep nobody from the endpoints of `exec --serve` or from a login",
        Tests(&["nine_hundred_idle_connections_of_another_user_delay_neither_exec_serve_nor_a_login", "another_user_is_rejected_and_a_connection_without_a_request_loses_its_place", "the_user_of_a_connection_is_known_without_proc", "the_kernel_names_the_user_of_an_open_socket"])),
    requirement("other users", "if `exec --serve` is killed, its program ends, before another user can serve a foreign token at its port",
        Tests(&["if_exec_serve_is_killed_its_child_ends_before_another_user_takes_the_port", "a_child_whose_parent_is_killed_before_exec_does_not_start"])),
];

/// Returns the names of tests for a cell of a table.
fn names_in_cell(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" · ")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The numbered requirements, for the table of platforms.
fn rows() -> Vec<platforms::Row> {
    let tests = |requirement: &Requirement| match requirement.proof {
        Tests(names) => Some(names),
        Reason(_) => None,
    };
    REQUIREMENTS.iter().map(|requirement| (requirement.id, tests(requirement))).collect()
}

/// Every Rust file of the project.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src"), root().join("integration"), root().join("fuzz")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a readable directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn every_requirement_names_existing_tests_or_a_reason() {
    let text: String = sources().iter().map(|path| std::fs::read_to_string(path).expect("a source file")).collect();
    for (at, requirement) in REQUIREMENTS.iter().enumerate() {
        assert_eq!(requirement.id, format!("F{:02}", at + 1), "each id occurs once and in order");
    }
    let check = |of: &str, names: &[&str]| {
        assert!(!names.is_empty(), "{of}");
        for name in names {
            let is_test = |indent| text.contains(&format!("{indent}fn {name}()"));
            let is_known = ["#[test]\n    ", "#[test]\n"].into_iter().any(is_test);
            assert!(is_known || text.contains(&format!("\")]\n    fn {name}()")), "{of}: unknown test {name}");
        }
    };
    for requirement in REQUIREMENTS.iter().chain(FURTHER) {
        match &requirement.proof {
            Tests(names) => check(requirement.id, names),
            Reason(why) => assert!(why.len() > 10, "{}", requirement.id),
        }
    }
    for (_, requirement, names) in FIELD.iter().chain(SETUP) {
        check(requirement, names);
    }
    let faults = platforms::faults(&rows(), &sources(), root());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(REQUIREMENTS.len(), 84);
}

#[test]
fn the_page_of_requirements_is_this_table() {
    let mut page = String::from(
        "# Requirements and their tests\n\n\
         Each row is a requirement for ycred. It comes from a failure that users of other credential helpers have reported. \
         The tests in the row\ncheck it. To run a test, use `cargo test NAME`.\n\n\
         The *leader* is the process that fetches a token, and the *waiters* are the processes that wait for its result. In \
         the *soft window*, which is\nthe time before a token expires, one process renews it and the others still return it.\n\n\
         Do not edit this page. Edit `integration/requirements.rs`, then run `YCRED_WRITE_DOCS=1 cargo test \
         page_of_requirements`. Every test run\ncompares the two.\n\n\
         | | requirement | tests |\n|---|---|---|\n",
    );
    for (at, Requirement { id, text, proof }) in REQUIREMENTS.iter().chain(FURTHER).enumerate() {
        if at == REQUIREMENTS.len() {
            page.push_str(
                "\n## Further requirements\n\nThese come from faults and attacks that were tried on ycred itself.\n\n\
                 | about | requirement | tests |\n|---|---|---|\n",
            );
        }
        let proof = match proof {
            Tests(names) => names_in_cell(names),
            Reason(why) => format!("not tested: {why}"),
        };
        let _ = writeln!(page, "| {id} | {text} | {proof} |");
    }
    page.push_str(
        "\n## Requirements of setup\n\nThese are for the files of other programs that `ycred setup` changes.\n\n\
         | about | requirement | tests |\n|---|---|---|\n",
    );
    for (about, requirement, names) in SETUP {
        let _ = writeln!(page, "| {about} | {requirement} | {} |", names_in_cell(names));
    }
    page.push_str(
        "\n## Faults from the field, by kind\n\nUsers of similar tools, testers and newcomers have met these. A fault may return \
         in another place, so the tests of a row try several.\n\n| kind | requirement | tests |\n|---|---|---|\n",
    );
    for (kind, requirement, names) in FIELD {
        let _ = writeln!(page, "| {kind} | {requirement} | {} |", names_in_cell(names));
    }
    page.push_str(&platforms::section(&rows(), &sources(), root()));
    let path = root().join("docs/requirements.md");
    if std::env::var_os("YCRED_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        current == page,
        "docs/requirements.md differs from integration/requirements.rs; to update it: YCRED_WRITE_DOCS=1 cargo test page_of_requirements"
    );
}
