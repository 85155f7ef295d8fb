//! Messages of the API server: who rejects a write, without any data of it.

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::SecretString;

use super::super::rejection::{Answer, ServerMessage};

const TYPES: (Option<&str>, &str) = (Some("Opaque"), "kubernetes.io/dockerconfigjson");

fn read(code: u16, message: &str, causes: &[(&str, &str)], token: Option<&str>) -> ServerMessage {
    let causes: Vec<(String, String)> = causes
        .iter()
        .map(|(field, message)| ((*field).to_owned(), (*message).to_owned()))
        .collect();
    let token = token.map(SecretString::from);
    let answer = Answer {
        code,
        message,
        causes: &causes,
    };
    ServerMessage::read(answer, token.as_ref())
}

fn sentence(code: u16, message: &str, causes: &[(&str, &str)]) -> String {
    read(code, message, causes, None)
        .sentence("t", TYPES)
        .expect("a sentence")
}

#[test]
fn each_kind_of_rejection_is_reported_with_its_source_and_the_next_step() {
    // Texts of kube-apiserver 1.34, and of the components that it calls.
    let policy = "secrets \"t\" is forbidden: ValidatingAdmissionPolicy 'platform-42' with binding 'all-teams' denied request: secrets called vap- are forbidden by platform policy 42";
    let webhook = "admission webhook \"validate.kyverno.svc-fail\" denied the request: \n\nresource Secret/n/t was blocked\n";
    let down = "Internal error occurred: failed calling webhook \"gate.example.com\": failed to call webhook: Post \"https://gate.ops.svc:443/x?timeout=10s\": dial tcp 10.0.0.1:443: connect: connection refused";
    let quota = "secrets \"t\" is forbidden: exceeded quota: few, requested: count/secrets=1, used: count/secrets=2, limited: count/secrets=2";
    let rights = "secrets is forbidden: User \"system:serviceaccount:apicred-system:apicred\" cannot create resource \"secrets\" in API group \"\" in the namespace \"n\"";
    let owner = "secrets \"t\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>";
    let delete = "secrets \"t\" is forbidden: cannot set an ownerRef on a resource you can't delete: , <nil>";
    let name = (
        "metadata.name",
        "Invalid value: \"a..b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
    );
    let label = (
        "metadata.labels",
        "Invalid value: \"-x\": a valid label must be an empty string or consist of alphanumeric characters",
    );
    for (code, message, causes, manager, what) in [
        (
            422,
            policy,
            vec![(
                "",
                "ValidatingAdmissionPolicy 'platform-42' with binding 'all-teams' denied request: x",
            )],
            "admission policy platform-42 denies the write of Secret t: \"secrets called vap- are forbidden by platform policy 42\"",
            "owner of the policy",
        ),
        (403, policy, vec![], "platform-42", "owner of the policy"),
        (
            403,
            webhook,
            vec![],
            "webhook validate.kyverno.svc-fail denies the write of Secret t: ",
            "owner of the webhook",
        ),
        (400, webhook, vec![], "was blocked", "owner of the webhook"),
        (
            403,
            "admission webhook \"a.b.c\" denied the request without explanation",
            vec![],
            "webhook a.b.c",
            "owner",
        ),
        (
            500,
            down,
            vec![],
            "webhook gate.example.com does not answer: \"failed to call webhook: Post",
            "apicred tries again",
        ),
        (
            403,
            quota,
            vec![],
            "quota few",
            "used: count/secrets=2, limited: count/secrets=2); raise it",
        ),
        (
            403,
            rights,
            vec![],
            "apicred may not create Secret t",
            "give its role create and patch",
        ),
        (
            403,
            owner,
            vec![],
            "owner reference",
            "give its role delete",
        ),
        (
            403,
            delete,
            vec![],
            "owner reference",
            "give its role delete",
        ),
        (
            422,
            "Secret \"t\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
            vec![(
                "data",
                "Forbidden: field is immutable when `immutable` is set",
            )],
            "Secret t is immutable",
            "delete it",
        ),
        (
            422,
            "Secret \"t\" is invalid: type: Invalid value",
            vec![(
                "type",
                "Invalid value: \"kubernetes.io/dockerconfigjson\": field is immutable",
            )],
            "has the type Opaque and spec.target.type is kubernetes.io/dockerconfigjson",
            "delete the Secret",
        ),
        (
            422,
            "Secret \"a..b\" is invalid",
            vec![name],
            "metadata.name of Secret t: \"Invalid value: \\\"a..b\\\""
                .trim_end_matches('"')
                .split('\\')
                .next()
                .unwrap(),
            "correct spec.target",
        ),
        (
            422,
            "Secret \"t\" is invalid",
            vec![label],
            "metadata.labels of Secret t: ",
            "correct spec.target",
        ),
        (
            400,
            "an unknown plugin says no",
            vec![],
            "HTTP 400: \"an unknown plugin says no\"",
            "ask an administrator",
        ),
        (413, "", vec![], "HTTP 413;", "ask an administrator"),
    ] {
        let reported = sentence(code, message, &causes);
        assert!(
            reported.contains(manager),
            "{message}\n{reported}\n{manager}"
        );
        assert!(reported.contains(what), "{message}\n{reported}\n{what}");
        let (_, next) = reported.rsplit_once("; ").expect("a next step");
        assert!(
            !next.is_empty() && reported.chars().count() < 700,
            "{reported}"
        );
    }
}

#[test]
fn what_is_reported_is_printable_and_bounded() {
    let hostile = format!(
        "admission webhook \"{}\" denied the request: \u{1b}]0;x\u{7}\u{202e}\n{}",
        "n".repeat(3000),
        "m ".repeat(3000)
    );
    let reported = sentence(403, &hostile, &[]);
    assert!(reported.chars().count() < 1000, "{}", reported.len());
    assert!(
        !reported.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{reported}"
    );
    let mut cut = "x".repeat(4095);
    cut.push('ž');
    assert!(sentence(400, &cut, &[]).contains('…'));
}

#[test]
fn nothing_that_was_sent_or_stood_there_is_repeated() {
    let token = "canary-Token.with_dots~and-more-of-it";
    let wire = STANDARD.encode(token);
    let json = STANDARD.encode(format!(
        "{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\"}}"
    ));
    let old = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2lzc3VlciIsInN1YiI6IngifQ.c2lnbmF0dXJlLW9mLXRoZS1vbGQtb25lIQ";
    for message in [
        format!("admission webhook \"w\" denied the request: {token}"),
        format!(
            "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: data {wire} and {json}"
        ),
        format!(
            "Secret in version \"v1\" cannot be handled: error found in #10 byte of ...|{}|...",
            &wire[4..]
        ),
        format!("bigger context ...|{}|...", &token[5..30]),
        format!(
            "admission webhook \"{token}\" denied the request: {}",
            &json[8..60]
        ),
        format!(
            "failed calling webhook \"w\": {old} is there, as {}",
            STANDARD.encode(old)
        ),
        format!("exceeded quota: {wire}, requested: {token}"),
        format!("x cannot {token} y"),
    ] {
        for causes in [
            vec![],
            vec![("data[token]", message.as_str())],
            vec![(token, token)],
        ] {
            let rejection = read(403, &message, &causes, Some(token));
            let reported = rejection.sentence("t", TYPES).expect("a sentence")
                + &rejection.fault().expect("a fault");
            // The part of the file that contains the token.
            let file = &json[24..24 + token.len()];
            for secret in [
                token,
                &wire[..wire.len() - 4],
                file,
                old,
                &STANDARD.encode(old),
            ] {
                for part in secret.as_bytes().windows(12) {
                    let part = std::str::from_utf8(part).unwrap();
                    assert!(!reported.contains(part), "{part} of\n{message}\n{reported}");
                }
            }
        }
    }
}

#[test]
fn names_of_kubernetes_are_not_taken_for_data() {
    for expected_part in [
        "ValidatingAdmissionPolicyBinding",
        "system:serviceaccount:apicred-system:apicred",
        "disallow-secrets-without-a-team-label-2024-01",
        "https://gate.ops-platform-team-blue.svc:443/validate/v1/secrets?timeout=10s",
        "validate.kyverno.svc-fail",
        "kubernetes.io/dockerconfigjson",
        "app.kubernetes.io/managed-by",
        "requests.cpu/limits.memory",
        "11111111-aaaa-bbbb-cccc-000000000001",
        "K8sRequiredLabelsConstraintTemplate",
    ] {
        let reported = sentence(400, &format!("says {expected_part} so"), &[]);
        assert!(reported.contains(expected_part), "{reported}");
    }
}

#[test]
fn the_name_of_a_rule_is_reported_without_its_text() {
    let token = "an-opaque-refresh-token";
    for (code, message, manager) in [
        (
            422,
            format!("ValidatingAdmissionPolicy 'p-1' with binding 'b' denied request: {token}"),
            "the admission policy p-1 denies it",
        ),
        (
            403,
            format!("admission webhook \"w.example.com\" denied the request: {token}"),
            "the admission webhook w.example.com denies it",
        ),
        (
            500,
            format!("failed calling webhook \"w.example.com\": {token}"),
            "the admission webhook w.example.com does not answer",
        ),
        (422, token.to_owned(), "the API server answers HTTP 422"),
    ] {
        assert_eq!(
            read(code, &message, &[], None).rejected_by().as_deref(),
            Some(manager)
        );
    }
    assert_eq!(ServerMessage::default().rejected_by(), None);
}
