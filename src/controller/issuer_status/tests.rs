use super::*;

#[test]
fn a_failure_names_the_part_that_failed() {
    let told = |stage| {
        let refusal =
            Refusal::local(Class::Transient, Reason::InternalError, "this is wrong").at(stage);
        part("token endpoint", refusal).next_step.to_string()
    };
    for asked in [
        Stage::Name,
        Stage::Connect,
        Stage::Tls,
        Stage::ClientCertificate,
        Stage::Timeout,
        Stage::BrokenOff,
    ] {
        assert_eq!(told(asked), "token endpoint: this is wrong", "{asked:?}");
    }
    for own in [
        Stage::Own,
        Stage::Proxy,
        Stage::Tunnel,
        Stage::Foreign,
        Stage::Answered,
    ] {
        assert_eq!(told(own), "this is wrong", "{own:?}");
    }
}
