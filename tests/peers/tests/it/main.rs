//! One test a script.

use relais_peers::run;

#[test]
fn an_unchanged_service_answers_the_same_with_and_without_a_ticket() {
    run("httpbin.py");
}

#[test]
fn pages_of_listed_origins_read_answers_and_others_do_not() {
    run("cors.mjs");
}

#[test]
fn the_page_of_a_task_is_live_readable_and_small_in_two_browsers() {
    run("page.mjs");
}

#[test]
fn the_elements_of_one_script_tag_show_tasks_in_two_browsers() {
    run("elements.mjs");
}

#[test]
fn the_interface_is_as_its_description_says() {
    run("schemathesis.py");
}

#[test]
fn clients_made_for_other_services_follow_a_202() {
    run("operations.py");
}

#[test]
fn clients_in_javascript_made_for_other_services_follow_a_202() {
    run("operations.mjs");
}

#[test]
fn every_program_of_the_quickstart_does_what_the_page_says() {
    run("quickstart.py");
}

#[test]
fn an_unchanged_web_application_takes_a_form_through_relais() {
    run("django_login.py");
}

#[test]
fn every_command_of_the_operations_page_was_run() {
    run("operations_page.py");
}

#[test]
fn generators_make_typed_clients_of_the_description() {
    run("typed_clients.py");
}

#[test]
fn metrics_are_read_by_the_programs_that_they_are_for() {
    run("metrics.py");
}

#[test]
fn clients_read_an_answer_while_it_comes_and_read_on_where_they_were_cut_off() {
    run("live.py");
}

#[test]
fn the_client_in_typescript_reads_on_after_whatever_happens_on_the_way() {
    run("client.mjs");
}

#[test]
fn proxies_in_front_pass_streams_and_let_nobody_in() {
    run("proxies.py");
}

#[test]
fn clients_of_websockets_in_python_follow_tasks_also_through_proxies() {
    run("websocket.py");
}

#[test]
fn clients_of_websockets_in_javascript_follow_tasks_and_the_description_holds() {
    run("websocket.mjs");
}

#[test]
fn a_cache_in_front_gives_no_ticket_to_the_next() {
    run("caching.py");
}

#[test]
fn plain_links_and_forms_to_slow_answers_come_back_in_two_browsers() {
    run("navigations.mjs");
}

#[test]
fn the_page_of_the_shop_shows_every_way_side_by_side_in_two_browsers() {
    run("shop.mjs");
}
