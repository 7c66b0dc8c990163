//! The promises of `setup` and `unsetup`, and the tests of each.

use super::field::FieldRow;

#[rustfmt::skip]
pub const SETUP: &[FieldRow] = &[
    ("files", "of 40 kubeconfigs, and 20 files each of docker, git and AWS, unsetup restores every byte; setup twice writes once",
        &["every_kubeconfig_comes_back_to_the_byte_and_is_written_once", "every_configuration_of_docker_comes_back_to_the_byte_and_is_written_once", "every_configuration_of_git_comes_back_to_the_byte_and_is_written_once", "every_configuration_of_aws_comes_back_to_the_byte_and_is_written_once", "every_configuration_of_pip_comes_back_to_the_byte_and_is_written_once"]),
    ("files", "in lists of kubeconfigs, the first file with a user counts; a missing or read-only file does not stop setup; links stay links; the list of allowed plugins is only read",
        &["lists_of_files_are_merged_as_by_kubectl", "a_read_only_file_in_a_list_of_kubeconfigs_does_not_keep_setup_from_another_one", "links_stay_links_and_modes_stay", "kubectls_list_of_allowed_plugins_is_read_and_never_changed"]),
    ("files", "an edit changes the planned value and nothing else; any other edit is refused with the stanza to paste",
        &["a_random_change_means_what_was_planned_or_is_refused", "a_random_change_of_json_means_what_was_planned", "kubectl_sees_no_other_difference", "what_cannot_be_edited_is_refused_and_stays", "the_error_has_the_place_and_the_stanza_to_paste", "a_user_with_a_repeated_key_or_name_is_refused_and_stays", "what_docker_does_not_read_as_json_is_refused"]),
    ("files", "after the client has rewritten its file, unsetup removes what ycred wrote and nothing else",
        &["after_kubectl_has_rewritten_the_file_ours_is_taken_out_and_nothing_else", "docker_pulls_through_what_setup_wrote_and_after_a_logout_only_ours_goes", "whatever_docker_rewrites_in_between_the_meaning_of_its_file_comes_back", "after_git_has_changed_its_configuration_ours_is_taken_out_and_others_come_back", "after_aws_configure_has_changed_the_file_ours_is_taken_out_and_nothing_else", "the_aws_cli_gets_a_key_through_what_setup_wrote_and_the_file_comes_back"]),
    ("files", "in whatever order several setups are undone, every byte comes back, and what setup created goes",
        &["in_every_order_of_undoing_each_byte_of_a_kubeconfig_comes_back", "in_every_order_of_undoing_each_byte_of_dockers_configuration_comes_back", "in_every_order_of_undoing_each_byte_of_gits_configuration_comes_back", "in_every_order_of_undoing_each_byte_of_awss_configuration_comes_back", "two_profiles_in_turn_leave_nothing_of_a_file_that_setup_created", "directories_that_setup_created_go_with_the_last_thing_in_them"]),
    ("faults", "after a kill at any system call that changes a file of kubectl, docker, git or AWS, the file is whole, and the next run completes the change and removes the lock",
        &["after_a_kill_at_any_step_of_setup_the_file_is_old_or_new_and_the_next_run_cleans_up", "after_a_kill_at_any_step_of_unsetup_the_file_is_old_or_new_and_the_next_run_cleans_up", "a_file_that_is_overwritten_in_place_survives_a_kill_at_any_step", "signals_leave_no_lock_behind"]),
    ("faults", "on a full, failing or read-only disk, the file is whole, nothing is left beside it, and the error has the cause",
        &["a_disk_error_at_any_step_of_setup_leaves_the_file_old_or_new_and_no_lock", "on_a_full_or_read_only_disk_the_file_stays_and_the_error_says_why"]),
    ("faults", "a bind-mounted file, one with two names and one in a read-only directory are written in place; owner, mode and access control list stay",
        &["a_bind_mounted_file_is_written_in_place_and_restored", "a_hard_link_and_a_file_of_another_user_keep_their_inode_or_owner", "a_file_in_a_read_only_directory_is_written_in_place", "access_control_lists_and_attributes_stay", "root_with_the_home_directory_of_another_user_is_refused"]),
    ("faults", "fifty processes at once, kubectl among them, lose no change; ycred fails only with exit code 4",
        &["fifty_programs_at_once_lose_no_change", "after_fifty_setups_and_unsetups_at_once_the_file_has_each_successful_change", "a_program_that_keeps_changing_the_file_is_not_overwritten", "kubectls_lock_is_respected_and_a_foreign_one_is_never_removed"]),
    ("faults", "a damaged entry of the journal is named, and the others are undone",
        &["a_damaged_entry_of_the_journal_is_named_and_the_others_are_undone", "each_damaged_entry_is_named_and_the_others_are_read"]),
    ("clients", "each client gets a token through what setup wrote",
        &["kubectl_gets_a_token_through_what_setup_wrote_and_the_file_comes_back", "docker_gets_a_token_through_what_setup_wrote_and_the_configuration_comes_back", "podman_and_buildah_get_a_token_through_what_setup_wrote_and_the_configuration_comes_back", "skopeo_gets_a_token_through_what_setup_wrote_and_the_configuration_comes_back", "git_gets_a_token_through_what_setup_wrote_and_the_configuration_comes_back", "terraform_gets_a_token_through_what_setup_wrote_and_the_files_go_again", "the_aws_cli_gets_a_key_through_what_setup_wrote_and_the_file_comes_back", "cargo_gets_a_token_through_the_line_of_setup", "go_gets_a_token_through_what_setup_wrote_and_the_file_comes_back", "pip_gets_a_token_through_what_setup_wrote_and_the_file_comes_back", "uv_gets_a_token_through_the_link_and_the_line_of_setup", "pnpm_gets_a_token_through_the_link_and_the_line_of_setup"]),
    ("account", "a yc profile becomes the profile of that name, unless that is another account; setup prints the account",
        &["a_yc_profile_becomes_the_profile_of_that_name_and_the_account_is_printed", "another_account_in_ycs_configuration_is_refused_unless_the_profile_is_given", "the_home_directory_in_the_stanza_is_where_ycs_configuration_is_read", "a_missing_profile_is_named_with_the_command_that_imports_it"]),
    ("account", "yc's profile `default`, or none, becomes the given or the only profile",
        &["ycs_default_profile_maps_to_nothing_by_name"]),
    ("account", "flags of yc that choose an account are refused by name; a user without credentials is changed only if it is named",
        &["the_error_has_the_place_and_the_stanza_to_paste", "what_cannot_be_edited_is_refused_and_stays", "a_user_without_credentials_is_changed_only_if_it_is_named", "another_plugin_is_replaced_only_by_name_and_force_and_comes_back"]),
    ("yc comes back", "after yc has written its stanza again, `setup kubectl --all --quiet` replaces it and prints one line; with nothing to do, it prints nothing and exits 0",
        &["after_yc_has_written_its_stanza_again_one_quiet_command_puts_ours_in", "every_kubeconfig_comes_back_to_the_byte_and_is_written_once"]),
    ("secrets", "nothing of a client's configuration is printed that is not known to be public",
        &["no_secret_of_a_clients_configuration_is_printed", "only_known_words_are_printed"]),
];
