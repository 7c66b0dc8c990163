//! The table of requirements: failures seen in similar tools, and for each the tests that cover it or the reason why none can.
//!
//! A test compares this table with `docs/requirements.md`. With `YCRED_WRITE_DOCS=1` it writes the page.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

enum Proof {
    /// Names of test functions.
    Tests(&'static [&'static str]),
    /// Why no test can cover it.
    Reason(&'static str),
}
use Proof::{Reason, Tests};

struct Requirement {
    id: &'static str,
    text: &'static str,
    proof: Proof,
}

const fn requirement(id: &'static str, text: &'static str, proof: Proof) -> Requirement {
    Requirement { id, text, proof }
}

#[rustfmt::skip]
const REQUIREMENTS: &[Requirement] = &[
    requirement("F01", "100 processes start together with an empty cache: one request, all print the same token, stderr stays empty",
        Tests(&["a_hundred_processes_with_a_cold_cache_make_one_request_and_print_the_same_token", "a_thousand_processes_at_once_with_a_cold_cache_make_one_request", "eight_kubectls_at_once_share_one_iam_request"])),
    requirement("F02", "100 processes call when the token expires and the cloud is slow: one request",
        Tests(&["a_hundred_processes_at_the_moment_of_expiry_make_one_request_while_the_cloud_is_slow"])),
    requirement("F03", "if the leader fails, all waiters report its error; they make no requests of their own",
        Tests(&["when_the_one_that_fetches_is_refused_all_hear_the_same_reason_of_one_request", "when_the_cloud_is_down_all_hear_the_same_reason_of_one_request_and_its_retries"])),
    requirement("F04", "a process that finds a valid token in the cache never waits for a lock",
        Tests(&["a_fresh_token_is_handed_out_while_the_lock_is_held_all_the_time", "in_the_soft_window_the_cached_token_is_handed_out_while_somebody_else_holds_the_lock"])),
    requirement("F05", "a killed lock holder blocks no other process",
        Tests(&["a_leader_that_is_killed_blocks_nobody", "a_leader_that_is_killed_alone_leaves_no_lock_behind", "a_holder_of_the_lock_that_is_killed_blocks_nobody"])),
    requirement("F06", "if the lock holder hangs, one waiter makes the request within the deadline",
        Tests(&["a_leader_that_hangs_is_relieved_by_exactly_one_within_the_deadline", "a_relief_that_fails_leaves_the_others_to_the_leader", "nobody_waits_beyond_the_deadline_for_a_lock"])),
    requirement("F07", "a lock failure is reported with its real cause",
        Tests(&["where_a_lock_is_impossible_tokens_are_had_without_it_and_the_cause_is_told", "where_locking_is_unsupported_the_warning_gives_the_real_cause_and_the_token_is_kept_all_the_same"])),
    requirement("F08", "if locking fails, ycred continues without a lock and prints one warning; it retries after EINTR and never blocks in flock",
        Tests(&["a_file_system_that_cannot_lock_costs_one_warning_and_no_token", "an_interrupted_lock_is_tried_again", "the_lock_is_polled_and_never_waited_for_in_the_kernel"])),
    requirement("F09", "the lock is a separate file and never blocks readers",
        Tests(&["a_fresh_token_is_handed_out_while_the_lock_is_held_all_the_time", "a_lock_excludes_and_ends_with_its_holder"])),
    requirement("F10", "the lock is in the user's private directory, so two users never share a lock",
        Tests(&["an_ordinary_user_with_a_home_of_its_own_has_a_cache_of_its_own", "a_directory_of_another_user_is_refused_with_a_warning_that_says_whose_it_is"])),
    requirement("F11", "after taking the lock, ycred reads the cache again before it makes a request",
        Tests(&["in_the_soft_window_one_process_renews_and_all_others_hand_out_the_cached_token_at_once", "many_forced_refreshes_at_once_make_one_request", "twenty_who_renew_at_once_send_a_one_time_refresh_token_once_and_lose_nobody", "without_a_working_lock_the_refresh_token_of_whoever_was_first_is_taken"])),
    requirement("F12", "different profiles do not wait for each other",
        Tests(&["different_profiles_do_not_wait_for_each_other"])),
    requirement("F13", "at most one browser opens for each identity",
        Tests(&["two_who_log_in_at_once_open_one_browser", "a_no_is_told_and_no_browser_opens_again_at_once"])),
    requirement("F14", "if a client calls again right after a rejection, ycred does not repeat the request",
        Tests(&["a_client_that_runs_us_again_at_once_costs_no_second_refused_request", "every_run_explains_a_rejected_key_after_one_iam_request", "a_remembered_refusal_is_forgotten_when_the_key_or_the_profile_changes_or_a_refresh_is_forced"])),
    requirement("F15", "readers never see a torn or empty record",
        Tests(&["readers_in_a_storm_of_writers_never_see_a_torn_or_empty_record"])),
    requirement("F16", "after a kill at any system call of a write, the next run succeeds, the record is complete, and a later sweep removes temporary files",
        Tests(&["killed_at_any_system_call_of_a_first_miss_the_next_run_works_in_silence_and_leaves_a_whole_record", "killed_at_any_system_call_of_a_renewal_the_old_token_or_the_new_one_is_there_whole", "what_killed_processes_left_is_swept_by_a_later_store"])),
    requirement("F17", "after ENOSPC, EFBIG, EIO and similar errors, the token is printed, the old record is intact, and the exit code is 0 with at most one warning",
        Tests(&["whatever_call_of_a_miss_the_disk_fails_the_token_is_printed_with_one_warning_at_most", "whatever_call_of_a_renewal_the_disk_fails_the_old_record_is_whole_or_replaced", "whatever_call_of_a_hit_the_disk_fails_a_token_is_printed", "on_a_full_disk_the_token_is_printed_with_one_warning_and_the_old_record_is_as_it_was", "under_a_file_size_limit_of_nothing_the_token_is_printed_and_no_signal_kills"])),
    requirement("F18", "a shorter record that replaces a longer one leaves nothing of it behind",
        Tests(&["a_shorter_record_over_a_longer_one_leaves_no_tail"])),
    requirement("F19", "any other object in place of a record is a miss: bounded memory, no hang",
        Tests(&["whatever_stands_in_a_records_place_is_a_miss_in_silence_and_the_next_run_is_a_hit", "every_reader_survives_its_corpus"])),
    requirement("F20", "each format version has its own directory",
        Tests(&["old_and_new_formats_live_side_by_side"])),
    requirement("F21", "if another user owns the cache directory, ycred prints the token and a warning with the path",
        Tests(&["a_directory_of_another_user_is_refused_with_a_warning_that_says_whose_it_is", "under_sudo_with_the_callers_home_nothing_is_created_there_and_one_warning_names_it"])),
    requirement("F22", "if HOME is read-only, unset, missing, `/dev/null` or a file, ycred prints the token and at most one warning",
        Tests(&["a_home_that_is_none_costs_one_warning_at_most_and_no_token", "an_ordinary_user_without_a_usable_home_gets_the_token_and_one_warning", "a_user_with_a_read_only_cache_gets_the_token_and_one_warning"])),
    requirement("F23", "HOME takes precedence over the password database, which is only the fallback",
        Tests(&["without_home_it_is_the_password_databases_and_home_beats_that"])),
    requirement("F24", "ycred never writes to the current directory",
        Tests(&["nothing_is_ever_written_to_the_current_directory"])),
    requirement("F25", "temporary files are created in the directory of the target",
        Tests(&["killed_at_any_system_call_of_a_first_miss_the_next_run_works_in_silence_and_leaves_a_whole_record", "a_file_is_replaced_whole_and_private"])),
    requirement("F26", "the cache directory may be the user's own symlink, and edited symlinks stay symlinks",
        Tests(&["a_cache_directory_that_is_a_users_own_link_works", "a_profile_that_is_a_link_is_read_and_stays_one"])),
    requirement("F27", "two identities never share a record",
        Tests(&["any_one_input_that_changes_makes_another_entry", "two_jobs_with_different_secrets_in_one_variable_never_share_an_entry", "two_virtual_machines_never_share_an_entry", "two_jobs_of_different_subjects_or_issuers_never_share_a_record"])),
    requirement("F28", "the name of a record is deterministic",
        Tests(&["the_same_identity_is_found_again_a_hundred_times", "the_order_of_telling_does_not_matter", "two_profiles_with_the_same_identity_share_one_entry"])),
    requirement("F29", "file names reveal neither secrets nor accounts",
        Tests(&["names_in_the_cache_tell_neither_account_nor_secret"])),
    requirement("F30", "an edited profile or a replaced key file takes effect on the next call",
        Tests(&["an_edited_profile_takes_effect_with_the_next_call", "a_replaced_key_file_brings_a_new_token_at_once"])),
    requirement("F31", "logout deletes and reports what it deleted, and a concurrent refresh does not restore it",
        Tests(&["logout_forgets_every_link_says_what_it_forgot_and_is_content_with_nothing", "a_fetch_under_way_does_not_bring_back_what_logout_forgot", "a_refresh_under_way_does_not_bring_back_what_logout_ended", "logout_can_end_it_in_the_cloud_too"])),
    requirement("F32", "expired records and old temporary files are removed",
        Tests(&["a_sweep_takes_dead_records_and_old_litter_and_leaves_what_is_alive_or_not_ours", "what_is_set_aside_again_and_again_does_not_pile_up"])),
    requirement("F33", "the soft window starts at the exact time; a window longer than the token's validity causes no loop",
        Tests(&["the_soft_window_begins_to_the_millisecond_when_a_tenth_is_left", "refresh_before_moves_the_soft_window_up_to_half_of_the_life"])),
    requirement("F34", "the expiry given to clients is earlier than the real one, but never in the past",
        Tests(&["the_advertised_expiry_is_a_minute_before_the_real_one", "half_of_what_is_left_is_shaved_where_that_is_less_than_a_minute_and_never_into_the_past"])),
    requirement("F35", "a token valid for 30 s or 1 s is printed; its expiry is never extended, and ycred does not loop",
        Tests(&["a_token_that_lives_for_seconds_is_handed_out_once_and_not_asked_for_in_a_loop"])),
    requirement("F36", "after the clock is set back, ycred requests a new token",
        Tests(&["a_record_from_the_future_is_fetched_anew_and_usable_if_that_fails", "a_record_from_the_future_is_fetched_first"])),
    requirement("F37", "expiry is measured by the wall clock, not the monotonic clock",
        Tests(&["an_expired_token_is_never_handed_out", "a_token_is_fresh_until_a_tenth_of_its_life_is_left"])),
    requirement("F38", "with a clock 10 minutes off, the cloud accepts the second JWT, or one line reports the clock",
        Tests(&["a_fast_clock_whose_jwt_is_of_the_future_is_mended_with_the_clouds_time", "a_clock_so_slow_that_the_jwt_has_expired_is_mended_with_the_clouds_time", "a_refusal_with_a_wrong_clock_is_tried_once_more_and_no_oftener"])),
    requirement("F39", "expiries are accepted in every form, and may be missing",
        Tests(&["an_expiry_is_read_with_any_fraction_and_offset", "an_expiry_that_is_missing_malformed_or_absurd_counts_as_five_minutes", "an_expiry_in_the_year_9999_is_a_day"])),
    requirement("F40", "durations have a type of their own, which prevents unit errors",
        Tests(&["durations", "refresh_before_moves_the_soft_window_and_never_beyond_half_of_the_life"])),
    requirement("F41", "if the cloud is down and the cached token is valid, ycred returns it with one warning",
        Tests(&["a_renewal_that_fails_serves_the_cached_token_with_one_warning_and_is_not_repeated_at_once", "a_token_below_min_ttl_is_handed_out_with_one_warning_when_the_cloud_is_down"])),
    requirement("F42", "in the soft window, one process renews the token and the others return at once",
        Tests(&["in_the_soft_window_one_process_renews_and_all_others_hand_out_the_cached_token_at_once"])),
    requirement("F43", "a forced refresh returns a new token; metadata tokens are cached for one minute",
        Tests(&["force_refresh_fetches_though_the_token_is_fresh_and_what_it_brings_is_kept", "a_revoked_token_is_returned_until_refresh_fetches_another", "the_account_of_a_virtual_machine_may_be_swapped_which_is_noticed_after_a_minute"])),
    requirement("F44", "stdout contains one reply and nothing else, at any verbosity and after a panic",
        Tests(&["a_hooks_reply_is_exact_to_the_byte_and_stderr_is_empty_on_a_miss_and_on_a_hit", "a_panic_is_exit_5_with_one_clean_line_and_nothing_on_stdout", "verbosity_changes_nothing_on_stdout_in_success", "a_browsers_noise_reaches_nobody"])),
    requirement("F45", "on success, stderr is empty",
        Tests(&["a_hooks_reply_is_exact_to_the_byte_and_stderr_is_empty_on_a_miss_and_on_a_hit"])),
    requirement("F46", "the kubectl hook does not touch stdin, and closed descriptors leak nothing",
        Tests(&["hooks_without_a_request_leave_stdin_alone", "with_any_of_the_three_descriptors_closed_the_token_gets_into_no_file_but_the_record"])),
    requirement("F47", "if a login is needed and there is no terminal, ycred fails at once and names the command to run",
        Tests(&["without_a_terminal_and_without_a_session_it_works", "where_nothing_says_whose_token_one_error_names_the_ways_and_metadata_is_not_probed", "whoever_is_not_logged_in_is_told_at_once_and_nobody_is_asked"])),
    requirement("F48", "one deadline covers the whole run",
        Tests(&["a_cloud_that_does_not_answer_ends_with_the_deadline", "a_dripping_answer_ends_with_the_deadline", "a_command_that_hangs_is_killed_at_the_deadline_with_all_that_it_started", "nobody_waits_beyond_the_deadline_for_a_lock", "a_request_that_never_ends_is_given_up_at_the_deadline"])),
    requirement("F49", "`apiVersion` in the reply is the one in the request",
        Tests(&["the_reply_has_the_version_of_the_request", "a_kubeconfig_with_v1beta1_gets_a_reply_in_v1beta1"])),
    requirement("F50", "if stdout is closed or full: exit code not 0, no panic, intact cache",
        Tests(&["a_full_stdout_is_exit_5_and_one_line_and_the_token_is_kept", "a_reader_that_has_gone_is_exit_5_and_one_line_and_the_token_is_kept"])),
    requirement("F51", "for kubectl, a failure is a `metav1.Status` and the exit code is not 0",
        Tests(&["a_failure_is_a_status", "a_hooks_refusal_is_exact_to_the_byte_at_any_verbosity_and_is_one_error_and_one_hint_on_stderr"])),
    requirement("F52", "an error is one line with the cause first, followed by the fix; the server's message and request id are kept",
        Tests(&["a_refusal_is_told_with_the_clouds_words_and_request_id_and_remembered_for_five_seconds", "a_failure_is_one_line_and_one_hint"])),
    requirement("F53", "docker: errors appear on both streams; a foreign registry is \"not found\", without network or profile",
        Tests(&["a_rejected_key_fails_skopeo_with_the_reason_on_both_streams_of_the_helper", "podman_and_buildah_fail_with_the_reason_and_the_fix",
            "docker_shows_every_failure_before_it_continues_anonymously", "another_host_is_not_found_in_the_exact_words", "a_foreign_host_needs_no_profile_no_home_no_network_and_opens_no_socket"])),
    requirement("F54", "docker: every spelling of an allowed URL matches, and `store` and `erase` succeed for it",
        Tests(&["every_spelling_of_ours_that_a_client_sends_gets_the_token", "a_login_with_a_password_stores_nothing_and_logout_keeps_the_cached_token"])),
    requirement("F55", "a user's password is never stored",
        Tests(&["a_password_given_to_docker_login_is_neither_kept_nor_told"])),
    requirement("F56", "git: foreign, injected, empty and http hosts get nothing",
        Tests(&["a_request_of_gits_with_a_break_in_it_gets_nothing", "requests_that_could_be_read_in_two_ways_are_nobodys", "plain_http_gets_no_token_even_from_a_listed_host"])),
    requirement("F57", "git: `erase` removes the matching token only",
        Tests(&["git_erase_drops_the_very_token_and_no_other", "only_the_very_token_is_rejected"])),
    requirement("F58", "terraform: an unknown host gets `{}`, `store` is refused, `forget` prints nothing",
        Tests(&["get_gives_a_token_and_for_others_an_empty_object", "store_is_refused_forget_is_silent_and_the_rest_is_usage", "a_registry_that_is_not_ours_gets_no_token_and_no_iam_request"])),
    requirement("F59", "exec: passes on exit codes and signals, and changes only documented variables",
        Tests(&["exec_has_125_126_and_127_of_its_own_and_otherwise_the_programs_code_and_signal", "exec_changes_what_is_documented_in_the_environment_and_nothing_else", "under_exec_a_provider_gets_the_token_and_no_credentials_that_take_precedence", "the_end_of_the_child_is_ours", "signals_that_are_sent_to_us_reach_the_child_and_are_left_to_it", "the_environment_changes_as_documented_and_nowhere_else"])),
    requirement("F60", "input that is not UTF-8 never causes a panic",
        Tests(&["what_is_not_utf_8_never_panics_and_is_told_in_one_line", "paths_that_are_not_utf_8_work"])),
    requirement("F61", "429, 5xx and reset connections are retried with jitter and `Retry-After`; other 4xx responses never are",
        Tests(&["a_429_or_5xx_is_asked_again_three_times_and_then_told", "a_4xx_other_than_429_is_never_asked_again", "a_connection_that_breaks_at_any_stage_is_tried_again", "a_retry_after_in_seconds_is_waited_for", "a_retry_after_as_a_date_is_waited_for"])),
    requirement("F62", "the metadata service is not probed without being configured, is never called through a proxy, and gets its header",
        Tests(&["where_nothing_says_whose_token_one_error_names_the_ways_and_metadata_is_not_probed", "metadata_is_never_asked_for_through_a_proxy", "a_function_gets_its_accounts_token_at_the_real_address_past_every_proxy", "without_a_setting_metadata_is_asked_for_at_its_usual_address"])),
    requirement("F63", "proxy variables are obeyed, their credentials are not logged, and 407 is explained",
        Tests(&["https_proxy_comes_before_all_proxy_and_lower_case_before_upper", "no_proxy_is_obeyed_for_names_subdomains_and_blocks", "the_user_and_password_of_a_proxy_are_sent_to_it_and_shown_to_nobody", "a_proxy_that_wants_a_password_is_explained"])),
    requirement("F64", "a CA file adds to the system's roots, and an unusable one is named in the error",
        Tests(&["a_ca_file_is_trusted_besides_the_usual_roots", "a_ca_file_that_is_none_is_named"])),
    requirement("F65", "plain http is limited to loopback and the metadata service, and redirects never receive credentials",
        Tests(&["plain_http_is_for_this_machine_alone", "no_redirect_carries_credentials"])),
    requirement("F66", "a captive portal and an empty, endless or very slow response: clear error, bounded memory and time",
        Tests(&["a_page_for_people_in_place_of_a_token_is_told_as_such", "an_empty_answer_is_told_as_such", "an_endless_answer_is_cut_off", "a_dripping_answer_ends_with_the_deadline"])),
    requirement("F67", "with a valid cached token, ycred makes no network system call",
        Tests(&["a_hit_makes_no_network_call_takes_no_lock_and_opens_no_key"])),
    requirement("F68", "under umask 000, files are created with mode 0600 and directories with 0700; loosened modes are tightened",
        Tests(&["files_are_private_at_their_making_and_not_a_moment_later", "under_umask_zero_files_are_0600_and_directories_0700", "loose_modes_are_tightened_by_the_next_store"])),
    requirement("F69", "if ycred rejects a file because of its mode, the error has the mode and the hint has the chmod",
        Tests(&["a_profile_that_anyone_may_write_is_refused_with_the_chmod", "a_profile_that_others_may_write_or_that_is_anothers_is_refused_with_the_mend"])),
    requirement("F70", "symlinks in place of the record, temporary file or lock are not followed",
        Tests(&["whatever_stands_in_a_records_place_is_a_miss_in_silence_and_the_next_run_is_a_hit", "whatever_stands_in_a_locks_place_costs_one_warning_and_no_token_and_is_not_touched", "a_link_into_another_users_directory_is_refused"])),
    requirement("F71", "no secret is in the arguments or the environment of child processes",
        Tests(&["a_command_of_a_profile_sees_what_was_inherited_and_one_mark_and_no_secret_on_its_command_line", "no_secret_is_ever_on_our_own_command_line_and_none_can_be_put_there"])),
    requirement("F72", "no eight consecutive bytes of a secret appear in any output, log or file name",
        Tests(&["no_source_by_any_hook_in_any_failure_at_any_verbosity_tells_eight_bytes_of_a_secret", "the_net_catches_pieces_of_eight_bytes_and_none_of_seven"])),
    requirement("F73", "escape sequences from a server never reach the terminal",
        Tests(&["escape_sequences_and_bidi_controls_of_a_server_reach_no_terminal", "escape_sequences_of_a_commands_stderr_and_of_file_names_reach_no_terminal"])),
    requirement("F74", "the process cannot be dumped and leaves no core file",
        Tests(&["the_process_forbids_dumps_before_it_opens_any_file_of_ours", "the_memory_of_an_ordinary_users_run_belongs_to_root_and_leaves_no_core"])),
    requirement("F75", "a key file that others can read causes a warning",
        Tests(&["a_key_file_that_others_can_read_is_one_warning_on_a_miss_and_none_on_a_hit"])),
    requirement("F76", "Ctrl-C at a prompt restores the terminal's echo",
        Reason("ycred never turns the terminal's echo off")),
    requirement("F77", "edits of kubeconfig and of docker's and git's files preserve everything else",
        Reason("this version does not edit other programs' files; the pages show what to paste")),
    requirement("F78", "setup writes absolute paths and `installHint`",
        Reason("see F77; the snippets on the kubectl page have both")),
    requirement("F79", "a hit is fast and uses neither network nor keyring",
        Tests(&["a_hit_makes_no_network_call_takes_no_lock_and_opens_no_key", "a_hit_writes_nothing"])),
    requirement("F80", "the static binary runs in an empty image",
        Reason("the machines that run the tests lack the musl target; where it is installed, `.ci/run` builds the binary. F22 and F81 cover a missing home, password database, certificates and temporary directory")),
    requirement("F81", "ycred works fully without a configuration file",
        Tests(&["without_a_profile_the_environment_serves_in_the_documented_order", "without_a_profile_a_job_of_github_actions_needs_the_account_alone", "without_a_profile_the_variable_says_that_the_metadata_service_is_meant", "a_user_whom_no_database_knows_needs_no_home_and_systemds_directory_serves"])),
    requirement("F82", "a missing or locked keyring is not a problem",
        Reason("ycred does not use a keyring")),
    requirement("F83", "absolute XDG directories are used, and relative ones are ignored",
        Tests(&["the_cache_is_below_home_and_xdg_goes_before_it", "a_relative_xdg_directory_is_ignored_as_the_specification_says"])),
    requirement("F84", "the suffix of a symlink selects the profile, and the names do not collide with other plugins",
        Tests(&["symlinks_name_hook_and_profile", "every_symlink_in_every_spelling_is_its_hook_with_the_profile_of_its_suffix", "a_symlinks_suffix_is_never_a_path"])),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
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
        match &requirement.proof {
            Tests(names) => {
                assert!(!names.is_empty(), "{}", requirement.id);
                for name in *names {
                    assert!(
                        text.contains(&format!("#[test]\n    fn {name}()"))
                            || text.contains(&format!("#[test]\nfn {name}()")),
                        "{}: unknown test {name}",
                        requirement.id
                    );
                }
            }
            Reason(why) => assert!(why.len() > 10, "{}", requirement.id),
        }
    }
    assert_eq!(REQUIREMENTS.len(), 84);
}

#[test]
fn the_page_of_requirements_is_this_table() {
    let mut page = String::from(
        "# Requirements and their tests\n\n\
         Each row is a requirement for ycred. It comes from a failure that users of other credential helpers have reported. \
         The tests in the row\ncheck it. To run a test, use `cargo test NAME`.\n\n\
         Do not edit this page. Edit `integration/requirements.rs`, then run `YCRED_WRITE_DOCS=1 cargo test \
         page_of_requirements`. Every test run\ncompares the two.\n\n\
         | | requirement | tests |\n|---|---|---|\n",
    );
    for Requirement { id, text, proof } in REQUIREMENTS {
        let proof = match proof {
            Tests(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" · "),
            Reason(why) => format!("not tested: {why}"),
        };
        let _ = writeln!(page, "| {id} | {text} | {proof} |");
    }
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
