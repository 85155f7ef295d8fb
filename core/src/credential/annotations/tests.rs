use super::*;

fn reported(keys: &[&str], place: AnnotatedKind) -> Option<String> {
    let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
    unread(keys.iter(), place)
}

#[test]
fn a_misspelt_or_misplaced_annotation_is_reported_with_what_was_meant() {
    use AnnotatedKind::{Account, Client, Credential, Issuer, Secret};
    for (place, key, what) in [
        (
            Client,
            "apicred.dev/rotate-requestd-at",
            "did you mean apicred.dev/rotate-requested-at?",
        ),
        (
            Client,
            "apicred.dev/renew-requested-at",
            "belongs on the ApiCredential",
        ),
        (
            Account,
            "apicred.dev/allowed-audience",
            "did you mean apicred.dev/allowed-audiences?",
        ),
        (
            Account,
            "apicred.dev/allowedIssuers",
            "did you mean apicred.dev/allowed-issuers?",
        ),
        (
            Account,
            "apicerd.dev/allowed-audiences",
            "did you mean apicred.dev/allowed-audiences?",
        ),
        (Account, "apicred.dev/publish-by", "belongs on the Secret"),
        (
            Account,
            "apicred.dev/renew-requested-at",
            "belongs on the ApiCredential",
        ),
        (
            Account,
            "apicred.dev/renew-at",
            "is written by apicred on Secrets",
        ),
        (
            Issuer,
            "apicred.dev/allowed-issuers",
            "belongs on the Secret",
        ),
        (
            Issuer,
            "apicred.dev/renew-requested-at",
            "belongs on the ApiCredential",
        ),
        (
            Issuer,
            "apicred.dev/allowed-audiences",
            "belongs on a ServiceAccount",
        ),
        (
            Issuer,
            "apicred.dev/allowed-namespaces",
            "is not known; remove it",
        ),
        (
            Credential,
            "apicred.dev/renew-request-at",
            "did you mean apicred.dev/renew-requested-at?",
        ),
        (
            Credential,
            "apicred.dev/renewRequestedAt",
            "did you mean apicred.dev/renew-requested-at?",
        ),
        (
            Credential,
            "apicred.io/renew-requested-at",
            "did you mean apicred.dev/renew-requested-at?",
        ),
        (
            Credential,
            "apicred/renew-requested-at",
            "did you mean apicred.dev/renew-requested-at?",
        ),
        (
            Credential,
            "apicerd.dev/renew-requested-at",
            "did you mean apicred.dev/renew-requested-at?",
        ),
        (
            Credential,
            "apicred.dev/secret-expires-at",
            "belongs on the Secret",
        ),
        (
            Credential,
            "apicred.dev/allowed-audiences",
            "belongs on a ServiceAccount",
        ),
        (
            Credential,
            "apicred.dev/expires-at",
            "is written by apicred",
        ),
        (Credential, "apicred.dev/owner", "is not known; remove it"),
        (
            Secret,
            "apicred.dev/secret-expire-at",
            "did you mean apicred.dev/secret-expires-at?",
        ),
        (
            Secret,
            "apicred.dev/secret_expires_at",
            "did you mean apicred.dev/secret-expires-at?",
        ),
        (
            Secret,
            "apicred.dev/secretExpiresAt",
            "did you mean apicred.dev/secret-expires-at?",
        ),
        (
            Secret,
            "apicred.dev/allowed-issuer",
            "did you mean apicred.dev/allowed-issuers?",
        ),
        (
            Secret,
            "apicred.dev/allowedIssuers",
            "did you mean apicred.dev/allowed-issuers?",
        ),
        (
            Secret,
            "apicred.dev/adopted-by",
            "did you mean apicred.dev/adopt-by?",
        ),
        (
            Secret,
            "apicred.dev/published-by",
            "did you mean apicred.dev/publish-by?",
        ),
        (
            Secret,
            "apicred.dev/state-off",
            "did you mean apicred.dev/state-of?",
        ),
        (
            Secret,
            "apicred.dev/renew-requested-at",
            "belongs on the ApiCredential",
        ),
        (
            Secret,
            "apicred.dev/allowed-audiences",
            "belongs on a ServiceAccount",
        ),
        (
            Secret,
            "apicred.dev/rotate-requested-at",
            "belongs on the ApiClient",
        ),
        (
            Secret,
            "apicred.dev/rotated-by",
            "did you mean apicred.dev/rotate-by?",
        ),
    ] {
        let message = reported(&[key], place).unwrap_or_else(|| panic!("{key}"));
        assert!(
            message.starts_with(key) && message.contains(what),
            "{key}: {message}"
        );
    }
}

#[test]
fn what_is_read_and_what_is_of_others_is_not_reported() {
    for (place, keys) in [
        (AnnotatedKind::Credential, ON_CREDENTIAL.as_slice()),
        (AnnotatedKind::Secret, ON_SECRET.as_slice()),
        (AnnotatedKind::Secret, WRITTEN.as_slice()),
        (AnnotatedKind::Secret, names::RECORD.as_slice()),
        (AnnotatedKind::Account, ON_ACCOUNT.as_slice()),
        (
            AnnotatedKind::Issuer,
            &[
                "cert-manager.io/issuer",
                "kubectl.kubernetes.io/last-applied-configuration",
            ],
        ),
        (
            AnnotatedKind::Credential,
            &[
                "kubectl.kubernetes.io/last-applied-configuration",
                "argocd.argoproj.io/sync-wave",
                "owner",
                "api/x",
                "apicredentials.example.com/owner",
                "apicurio.dev/x",
                "apicred.contoso.com/owner",
            ],
        ),
    ] {
        assert_eq!(reported(keys, place), None);
    }
}

#[test]
fn few_names_are_reported_and_each_is_short_and_printable() {
    let long = format!("apicred.dev/{}", "x".repeat(300));
    let keys = [
        "apicred.dev/a\u{202e}",
        &long,
        "apicred.dev/c",
        "apicred.dev/d",
        "apicred.dev/e",
    ];
    let message = reported(&keys, AnnotatedKind::Secret).unwrap();
    assert!(
        message.ends_with("; and 2 more") && message.len() < 400,
        "{message}"
    );
    assert!(!message.contains('\u{202e}'));
}

/// Every annotation of `api::names` is known here, so that a new one is not reported as unknown.
#[test]
fn every_name_of_apicred_is_known() {
    let text = include_str!("../../api/names.rs");
    let named = text.split("\"apicred.dev/").skip(1);
    let named: Vec<String> = named
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| !name.is_empty())
        .map(|name| format!("apicred.dev/{name}"))
        // A finalizer is not an annotation.
        .filter(|name| name != crate::api::names::REVOKE_FINALIZER)
        .collect();
    assert!(named.len() > 25, "{named:?}");
    for name in named {
        let known = [
            ON_CREDENTIAL.as_slice(),
            &ON_CLIENT,
            &ON_SECRET,
            &ON_ACCOUNT,
            &ON_POD,
            &WRITTEN,
            &names::RECORD,
        ];
        assert!(known.iter().any(|k| k.contains(&name.as_str())), "{name}");
    }
}
