use super::*;

#[test]
fn a_failure_names_the_part_that_failed() {
    let reported = |stage| {
        let token_error =
            TokenError::local(Class::Transient, Reason::InternalError, "this is wrong").at(stage);
        part("token endpoint", token_error).next_step.to_string()
    };
    for retry_after in [
        Stage::Name,
        Stage::Connect,
        Stage::Tls,
        Stage::ClientCertificate,
        Stage::Timeout,
        Stage::BrokenOff,
    ] {
        assert_eq!(
            reported(retry_after),
            "token endpoint: this is wrong",
            "{retry_after:?}"
        );
    }
    for own in [
        Stage::Own,
        Stage::Proxy,
        Stage::Tunnel,
        Stage::Foreign,
        Stage::Answered,
    ] {
        assert_eq!(reported(own), "this is wrong", "{own:?}");
    }
}
