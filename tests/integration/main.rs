//! Every integration test, in one binary: the daemon from outside, against fake and real `OpenCode` servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics says why it failed")]
#![allow(
    unreachable_pub,
    reason = "this crate has no outside; `pub` marks what the tests may use of a support module"
)]

mod architecture;
mod at_most_once;
mod attach_and_open;
mod away;
mod bad_input;
mod base_path;
mod catalogue;
mod command_line;
mod cuts;
mod death;
mod endpoints;
mod fidelity;
mod lists;
mod numbers;
mod odd_answers;
mod on_demand;
mod orphans;
mod plugin_command;
mod plugin_javascript;
mod real_attach_elsewhere;
mod real_attached;
mod real_catalogue;
mod real_conformance;
mod real_creation;
mod real_cuts;
mod real_death;
mod real_discovery;
mod real_events;
mod real_everywhere;
mod real_fidelity;
mod real_multi_server_client;
mod real_on_demand;
mod real_operations;
mod real_orphans;
mod real_ownership;
mod real_plain_terminals;
mod real_quiet;
mod real_recovery;
mod real_repair;
mod real_run_attached;
mod real_runs;
mod real_screens;
mod real_sdk;
mod real_second_interface;
mod real_terminal;
mod real_unheard;
mod real_web;
mod registration;
mod repair;
mod restart;
mod routing;
mod safety;
mod second_interface;
mod socket;
mod streaming;
mod streams;
mod support;

mod support_keeps_its_promises;
mod tail;
mod two_ways;
mod unheard;
