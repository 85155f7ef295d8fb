//! CEL rules of times and addresses.
//!
//! No rule converts a text: a text in another form would fail with an error of the API server before our message is shown.

use kube::core::{Reason, Rule};

/// An existing day in the years 1970 to 2999. The last part is 29 February.
const DAY: &str = "((19[7-9]|2[0-9]{2})[0-9]-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)|(19(7[26]|8[048]|9[26])|2[0-9](0[48]|[2468][048]|[13579][26])|2[048]00)-02-29)";
/// A time of a day, with its zone.
const TIME: &str = "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
/// The host and port of a URL. A regular expression (RE2), escaped for a string of CEL.
const HOST: &str = "([^/?#@:\\\\[\\\\]\\\\s]+|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?";
/// A duration. With at most six digits for each unit, no duration overflows.
pub(super) const DURATION: &str = "^([0-9]{1,6}([.][0-9]{1,3})?[hms])+$";

/// Rule of a time or a day.
pub(super) fn time_or_day(field: &str) -> Rule {
    Rule::new(format!("self.matches('^{DAY}({TIME})?$')"))
        .reason(Reason::FieldValueInvalid)
        .message(&*format!(
            "{field} is a time such as 2027-06-30T00:00:00Z, or a date such as 2027-06-30, on a day that exists, before the year 3000"
        ))
}

/// Rule of a time.
pub(super) fn time(field: &str) -> Rule {
    Rule::new(format!("self.matches('^{DAY}{TIME}$')"))
        .reason(Reason::FieldValueInvalid)
        .message(&*format!(
            "{field} is a time with its zone, such as 2027-06-30T18:00:00Z, on a day that exists, before the year 3000"
        ))
}

/// Rule of the times of a rotation. A text that is not a duration is left to the rule of its field.
pub(super) fn validity() -> Rule {
    let field = |name: &str, usual: &str| format!("(has(self.{name}) ? self.{name} : '{usual}')");
    let (validity, every, overlap) = (
        field("validity", "4320h"),
        field("every", "2160h"),
        field("overlap", "24h"),
    );
    // The sum of two long durations can overflow, the difference cannot.
    Rule::new(format!(
        "![{validity}, {every}, {overlap}].all(d, d.matches('{DURATION}')) || duration({validity}) - duration({every}) >= duration({overlap})"
    ))
    .reason(Reason::FieldValueInvalid)
    .field_path(".validity")
    .message("validity must be at least every + overlap (4320h, 2160h and 24h if not set): otherwise the old credential expires before the new one takes over")
}

/// Rule of the credential that a rotation adopts: other issuers have other IDs, and an ID of the other form would have no effect.
pub(super) fn adopted() -> Rule {
    Rule::new("!has(self.adopt) || has(self.registration) == (size(self.adopt.keyId) == 43)")
        .reason(Reason::FieldValueInvalid)
        .field_path(".adopt.keyId")
        .message("adopt.keyId is a GUID at Entra ID; with registration, it is the thumbprint of a public key (43 characters), as status.keys shows it")
}

/// Rule of an https URL. A query is allowed after a path.
pub(super) fn https_url(field: &str) -> Rule {
    Rule::new(format!(
        "self.matches('\\\\s') || self.matches('^https://{HOST}(/[^#]*)?$')"
    ))
    .reason(Reason::FieldValueInvalid)
    .message(&*format!(
        "{field} must start with https:// and a host, and have no user or fragment, such as https://login.example.com/path"
    ))
}

/// Rule of an https URL without a query.
pub(super) fn https_base(field: &str, example: &str) -> Rule {
    Rule::new(format!(
        "self.matches('\\\\s') || self.matches('^https://{HOST}(/[^?#]*)?$')"
    ))
    .reason(Reason::FieldValueInvalid)
    .message(&*format!(
        "{field} must start with https:// and a host, and have no user, query or fragment, such as {example}"
    ))
}

/// Rule of an https origin.
pub(super) fn https_origin(field: &str, example: &str) -> Rule {
    Rule::new(format!("self.matches('^https://{HOST}$')"))
        .reason(Reason::FieldValueInvalid)
        .message(&*format!(
            "{field} is an https origin without a path, such as {example}"
        ))
}

/// Rule of a URL without line ends and blanks, which are hard to see in YAML.
pub(super) fn no_blank(field: &str) -> Rule {
    Rule::new("!self.matches('\\\\s')")
        .reason(Reason::FieldValueInvalid)
        .message(&*format!(
            "{field} has a line end or a blank in it, such as the one that a YAML block (|) adds; remove it"
        ))
}

/// Rule of a text of one line that may contain spaces.
pub(super) fn no_blank_around(field: &str) -> Rule {
    Rule::new("self.matches('^\\\\S([^\\n\\r\\t]*\\\\S)?$')")
        .reason(Reason::FieldValueInvalid)
        .message(&*format!(
            "{field} has a line end, a tab, or a space at its start or end: remove it"
        ))
}

/// Rule of the API of another GitHub server: not the address of its web pages.
pub(super) fn github_api(field: &str) -> Rule {
    Rule::new("!self.lowerAscii().matches('^https://((www[.])?github[.]com|([^./:]+[.])?ghe[.]com)(:443)?(/|$)')")
        .reason(Reason::FieldValueInvalid)
        .message(&*format!(
            "{field} is the address of the pages and not of the API: remove it for github.com; for NAME.ghe.com write https://api.NAME.ghe.com"
        ))
}

/// Rule of an https URL: its host has no empty part.
pub(super) fn whole_host(field: &str) -> Rule {
    Rule::new("!self.matches('^https://[^/?#]*[.][.]') && !self.matches('^https://[.]')")
        .reason(Reason::FieldValueInvalid)
        .message(&*format!(
            "{field} has a host with an empty part, such as a..b: correct it"
        ))
}

/// Rule of the revocation endpoint of `oauth2`. A host name with letters beyond ASCII has two spellings, so the operator checks it.
pub(super) fn revocation_at_home() -> Rule {
    let plain = |field: &str| {
        format!("self.{field}.matches('^https://[-A-Za-z0-9.]+(:[0-9]{{1,5}})?(/|$)')")
    };
    // Of `https://host:443/path` the third part is `host:443`.
    let host = |field: &str| {
        format!("(self.{field}.lowerAscii().split('/')[2] + '/').replace(':443/', '/')")
    };
    let (own, home) = ("revocationUrl", "tokenUrl");
    Rule::new(format!(
        "!has(self.{own}) || !({} && {}) || {} == {}",
        plain(own),
        plain(home),
        host(own),
        host(home)
    ))
    .reason(Reason::FieldValueInvalid)
    .field_path(".revocationUrl")
    .message("revocationUrl must be on the host of tokenUrl, because tokens are sent to it: correct it, or remove it")
}

/// Pattern of the login server of a registry.
const REGISTRY: &str = "^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?$";

/// Rule of a registry.
pub(super) fn registry() -> Rule {
    Rule::new(format!("self.matches('{REGISTRY}')"))
        .reason(Reason::FieldValueInvalid)
        .message("registry is the login server alone, such as contoso.azurecr.io")
}

/// Rule of an issuer with a second request.
pub(super) fn registry_with_entra() -> Rule {
    Rule::new("!has(self.secondRequest) || !has(self.secondRequest.azureContainerRegistry) || !(has(self.oidc) || has(self.oauth2))")
        .reason(Reason::FieldValueForbidden)
        .field_path(".secondRequest.azureContainerRegistry")
        .message("azureContainerRegistry takes tokens of Entra ID: use it in an issuer with entra, or remove it")
}

/// Rule of an issuer with a second request.
pub(super) fn google_without_entra() -> Rule {
    Rule::new("!has(self.secondRequest) || !has(self.secondRequest.googleServiceAccount) || !has(self.entra)")
        .reason(Reason::FieldValueForbidden)
        .field_path(".secondRequest.googleServiceAccount")
        .message("googleServiceAccount takes tokens of Google's STS: use it in an issuer with oauth2 and tokenUrl https://sts.googleapis.com/v1/token, or remove it")
}

/// Rule of a `TokenIssuer`: the destinations of its second request. The hosts of registries in Azure's clouds:
/// learn.microsoft.com/azure/container-registry.
pub(super) fn known_registry() -> Rule {
    let it = "self.secondRequest.azureContainerRegistry.registry";
    Rule::new(format!(
        "!has(self.secondRequest) || !has(self.secondRequest.azureContainerRegistry) || !{it}.matches('{REGISTRY}') || {it}.lowerAscii().matches('[.]azurecr[.](io|us|cn)(:443)?$')"
    ))
    .reason(Reason::FieldValueForbidden)
    .field_path(".secondRequest.azureContainerRegistry.registry")
    .message("a TokenIssuer sends tokens to registries of Azure alone (azurecr.io, azurecr.us, azurecr.cn): ask an administrator for a ClusterTokenIssuer")
}

/// Rule of a `TokenIssuer`: the destinations of its second request.
pub(super) fn known_google() -> Rule {
    Rule::new("!has(self.secondRequest) || !has(self.secondRequest.googleServiceAccount) || !has(self.secondRequest.googleServiceAccount.endpoint)")
        .reason(Reason::FieldValueForbidden)
        .field_path(".secondRequest.googleServiceAccount.endpoint")
        .message("a TokenIssuer sends tokens to iamcredentials.googleapis.com alone: remove endpoint, or ask an administrator for a ClusterTokenIssuer")
}
