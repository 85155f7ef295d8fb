//! Explains why the API server does not return, create or renew the Lease.

use crate::{kubeconfig::fault::sentence, publish::rejection::ServerMessage};

/// Why a call failed.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// Another operator was faster: the Lease exists, or has another version.
    Another,
    /// No operator was faster. The cause and the next step.
    Failed(String),
}

/// What is done with the Lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
    Get,
    Create,
    Update,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Update => "update",
        }
    }
}

/// The cause of an error. The Lease contains no secret, so the message of the API server is quoted.
pub(super) fn fault(error: &kube::Error, verb: Verb, namespace: &str, name: &str) -> Fault {
    let kube::Error::Api(status) = error else {
        return Fault::Failed(sentence(error, None));
    };
    let said = ServerMessage::of(status, None);
    let terminating = status
        .details
        .iter()
        .flat_map(|d| &d.causes)
        .any(|c| c.reason == "NamespaceTerminating");
    let answered = || said.fault().unwrap_or_else(|| sentence(error, None));
    Fault::Failed(match status.code {
        409 => return Fault::Another,
        401 => "the API server does not accept the operator's credentials; check the token of its ServiceAccount".to_owned(),
        // A Lease that does not exist is created, so a 404 is about the namespace.
        404 if verb == Verb::Create => format!(
            "namespace {namespace} of the operator does not exist; create it, or correct --namespace (POD_NAMESPACE)"
        ),
        404 => format!("Lease {namespace}/{name} was deleted; apicred tries again"),
        403 if terminating => format!(
            "namespace {namespace} of the operator is being deleted; install the operator in another one"
        ),
        403 if said.is_rights() => format!(
            "the operator's role lacks {} on leases in namespace {namespace}; give it the Role of the chart, or correct --namespace (POD_NAMESPACE)",
            verb.as_str()
        ),
        400 | 403 | 413 | 422 => format!(
            "{}; allow Lease {namespace}/{name}, or correct --lease-name (APICRED_LEASE_NAME)",
            answered()
        ),
        _ => format!(
            "{}; apicred tries again",
            answered()
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(code: u16, message: &str, field: &str, reason: &str, verb: Verb) -> String {
        let causes = json!([{ "field": field, "message": message, "reason": reason }]);
        let status = json!({ "status": "Failure", "message": message, "reason": "", "code": code,
            "details": { "causes": causes } });
        let status = serde_json::from_value(status).expect("a Status");
        let error = kube::Error::Api(Box::new(status));
        match fault(&error, verb, "home", "apicred") {
            Fault::Another => "another".to_owned(),
            Fault::Failed(what) => what,
        }
    }

    #[test]
    fn each_refusal_has_its_cause_and_next_step_and_only_a_conflict_is_another_operator() {
        use Verb::{Create, Get, Update};
        #[rustfmt::skip]
        let cases = [
            (409, "leases \"apicred\" already exists", "", "", Create, "another"),
            (409, "the object has been modified", "", "", Update, "another"),
            (422, "leases \"apicred\" is forbidden: ValidatingAdmissionPolicy 'none' with binding 'all' denied request: no leases", "", "", Create,
                "the admission policy none denies it: \"no leases\"; allow Lease home/apicred"),
            (403, "leases \"apicred\" is forbidden: exceeded quota: few, requested: count/leases=1, used: count/leases=0, limited: count/leases=0", "", "", Create,
                "the quota few leaves no room: "),
            (403, "admission webhook \"guard.example\" denied the request: no", "", "", Update, "the admission webhook guard.example denies it: \"no\""),
            (500, "Internal error occurred: failed calling webhook \"guard.example\": connection refused", "", "", Create,
                "the admission webhook guard.example does not answer: \"connection refused\"; apicred tries again"),
            (403, "User \"a\" cannot update resource \"leases\"", "", "", Update, "the operator's role lacks update on leases in namespace home"),
            (403, "User \"a\" cannot get resource \"leases\"", "", "", Get, "the operator's role lacks get on leases"),
            (404, "namespaces \"home\" not found", "", "", Create, "namespace home of the operator does not exist; create it"),
            (404, "leases \"apicred\" not found", "", "", Update, "Lease home/apicred was deleted"),
            (403, "unable to create new content in namespace home because it is being terminated", "", "NamespaceTerminating", Create,
                "namespace home of the operator is being deleted"),
            (422, "Invalid value: \"A_b\": a lowercase RFC 1123 subdomain", "metadata.name", "", Create, "correct --lease-name"),
            (503, "the server is currently unable to handle the request", "", "", Create, "the API server answers HTTP 503"),
            (401, "Unauthorized", "", "", Create, "does not accept the operator's credentials"),
        ];
        for (code, message, field, reason, verb, expected) in cases {
            let why = why(code, message, field, reason, verb);
            assert!(why.contains(expected), "{code} {message}: {why}");
        }
    }
}
