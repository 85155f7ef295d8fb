//! The operator is killed at each of its requests (F01), or after the server has executed the request, without the answer (F02).

use crate::{answers::at_each_call, calls::Fault, support::run};

#[test]
fn a_crash_before_any_request_ends_as_if_it_had_not_been() {
    run(at_each_call(&[("f01", Fault::Crash)]));
}

#[test]
fn a_crash_after_any_request_ends_as_if_it_had_not_been() {
    run(at_each_call(&[("f02", Fault::CrashAfter)]));
}
