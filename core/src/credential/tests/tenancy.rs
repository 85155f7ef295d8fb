//! No set of objects causes a secret of a namespace to be sent to an origin that its owner did not name.
//!
//! Credentials, issuers, discovery documents and annotations are generated at random. They pass the same checks as a request: parsing, whether
//! the request is allowed, whether each Secret may be sent, whether it may be sent to the endpoint, and the request itself. The resulting
//! origin is compared with [`Drawn::owner_agrees`], which does not parse URLs: it reads a table with the meaning of each spelling to a reader.

mod objects;
mod oracle;

use std::{collections::BTreeMap, sync::LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::{prelude::*, sample::select};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::{
    api::names::{ALLOWED_AUDIENCES, ALLOWED_ISSUERS, CREDENTIAL_UID, PUBLISH_BY, STATE_OF},
    credential::{
        AuthenticationMethod, Credential, Issuer, IssuerLookup,
        binding::{self, Use},
    },
    fixtures::{at, cluster_issuer, object, parse_both, token_issuer},
    oauth::{
        ClientKey, Identity, Material, RequestContext, RequiredInput, TokenEndpoint,
        account_audience, discovery, known_endpoint, request,
    },
};

/// Spellings of a host, and the origin that a reader understands; None: a secret must not be sent there.
#[rustfmt::skip]
const PLACES: [(&str, Option<&str>); 25] = [
    ("https://good.example", Some("https://good.example")),
    ("https://good.example:443", Some("https://good.example")),
    ("HTTPS://Good.EXAMPLE", Some("https://good.example")),
    ("https://ｇood.example", Some("https://good.example")),
    ("https://good%2eexample", Some("https://good.example")),
    ("https://good.example\\@evil.example", Some("https://good.example")),
    ("https://good.example:8443", Some("https://good.example:8443")),
    ("https://good.example.", Some("https://good.example.")),
    ("https://evil.example", Some("https://evil.example")),
    ("https://good.example.evil.example", Some("https://good.example.evil.example")),
    // The URL standard ignores the tab, so the text differs from the host of the request.
    ("https://good.example\t.evil.example", None),
    ("https://evil.example/https://good.example", Some("https://evil.example")),
    ("https://evil.example/?https://good.example", Some("https://evil.example")),
    ("https://evil.example\\good.example", Some("https://evil.example")),
    ("https://bücher.example", Some("https://xn--bcher-kva.example")),
    ("https://127.1", Some("https://127.0.0.1")),
    ("https://[::ffff:127.0.0.1]", Some("https://[::ffff:7f00:1]")),
    ("https://login.microsoftonline.com.evil.example", Some("https://login.microsoftonline.com.evil.example")),
    ("https://login.microsoftonline.com", Some("https://login.microsoftonline.com")),
    ("https://user@good.example", None),
    ("https://good.example@evil.example", None),
    ("https://good.example:443@evil.example", None),
    ("http://good.example", None),
    ("https://good.example#@evil.example", None),
    ("//good.example", None),
];

/// Texts in `allowed-issuers`, their meaning to owners, and whether apicred must understand them. A text that is not exactly an origin may be
/// refused.
#[rustfmt::skip]
const ANNOTATIONS: [(&str, &[&str], bool); 19] = [
    ("", &[], true),
    (",, ,/", &[], true),
    ("*", &[], true),
    ("https://*.example", &[], true),
    ("good.example", &["https://good.example"], false),
    ("https://good.example", &["https://good.example"], true),
    ("https://good.example/", &["https://good.example"], true),
    ("HTTPS://GOOD.example", &["https://good.example"], true),
    ("https://good.example:443", &["https://good.example"], false),
    ("https://good.example/token", &["https://good.example"], false),
    ("https://good.example:8443", &["https://good.example:8443"], true),
    ("https://good.example, https://evil.example", &["https://good.example", "https://evil.example"], true),
    ("https://evil.example ,https://other.example", &["https://evil.example", "https://other.example"], true),
    ("https://good.example https://evil.example", &["https://good.example", "https://evil.example"], false),
    ("https://user@good.example", &[], true),
    ("http://good.example", &[], true),
    ("https://login.microsoftonline.com", &["https://login.microsoftonline.com"], true),
    ("https://login.microsoftonline.com/tenant.example", &["tenant.example"], true),
    ("https://login.microsoftonline.com/TENANT.example/, https://good.example", &["tenant.example", "https://good.example"], true),
];

/// The inputs of a request, by the index in [`Drawn::allowed`]: three Secrets and a ServiceAccount.
const SECRETS: [&str; 4] = ["client", "grant", "robot", "parameter"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Inline,
    Entra,
    EntraWithCa,
    EntraElsewhere,
    OAuth2,
    Oidc,
    ClusterOAuth2,
    ClusterOidc,
    ClusterEntra,
}

impl Kind {
    fn is_cluster(self) -> bool {
        matches!(
            self,
            Self::ClusterOAuth2 | Self::ClusterOidc | Self::ClusterEntra
        )
    }

    /// Whether it is Microsoft itself, as public CAs confirm.
    fn is_microsoft(self) -> bool {
        matches!(self, Self::Inline | Self::Entra | Self::ClusterEntra)
    }
}

/// One random case.
#[derive(Clone, Debug)]
struct Drawn {
    kind: Kind,
    /// Index of the issuer's place.
    place: usize,
    /// Index for the token endpoint in a discovery document, and for the one with certificates.
    discovered: usize,
    alias: Option<usize>,
    /// Whether the administrator's issuer serves this namespace.
    served: bool,
    grant: &'static str,
    client_auth: &'static str,
    /// Whether the request has a parameter from a Secret. An extension grant always has one.
    parameter: bool,
    /// `allowed-issuers` of the Secret of the client authentication, of the Secret of the grant, of the ServiceAccount, and of the Secret of
    /// the parameter.
    allowed: [Option<usize>; 4],
    /// The annotations that reserve the Secrets: `state-of`, `publish-by`, and a token that apicred published.
    dedicated: [[bool; 3]; 4],
    /// The text of `state-of` and `publish-by`.
    consent: &'static str,
    /// Whether the ServiceAccount lists the audience of Entra ID.
    audience: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    use Kind::{
        ClusterEntra, ClusterOAuth2, ClusterOidc, Entra, EntraElsewhere, EntraWithCa, Inline,
        OAuth2, Oidc,
    };
    let kinds = select(vec![
        Inline,
        Entra,
        EntraWithCa,
        EntraElsewhere,
        OAuth2,
        OAuth2,
        Oidc,
        Oidc,
        ClusterOAuth2,
        ClusterOidc,
        ClusterEntra,
    ]);
    let place = || prop_oneof![2 => 0..7_usize, 3 => 0..PLACES.len()];
    let note = || {
        let some = prop_oneof![1 => 5..7_usize, 1 => 0..ANNOTATIONS.len()];
        prop::option::weighted(0.7, some)
    };
    let dedicated = || {
        let usual = [
            [false; 3],
            [true, false, false],
            [false, true, false],
            [false, false, true],
        ];
        prop_oneof![6 => Just([false; 3]), 6 => select(usual.to_vec()), 1 => any::<[bool; 3]>()]
            .boxed()
    };
    let grants = [
        "clientCredentials",
        "refreshToken",
        "onBehalfOf",
        "assertion",
        "keyFile",
        "exchange",
        "password",
        "extension",
        "extensionOfTwo",
        "static",
    ];
    let methods = [
        "secret",
        "certificate",
        "mtls",
        "serviceAccount",
        "public",
        "none",
    ];
    let consents = ["", "alerts", "other", "other, alerts", "alert", "*"];
    (
        (
            kinds,
            place(),
            place(),
            prop::option::of(place()),
            any::<bool>(),
        ),
        (
            select(grants.to_vec()),
            select(methods.to_vec()),
            any::<bool>(),
            [note(), note(), note(), note()],
            // A ServiceAccount has none.
            [
                dedicated(),
                dedicated(),
                Just([false; 3]).boxed(),
                dedicated(),
            ],
            select(consents.to_vec()),
            any::<bool>(),
        ),
    )
        .prop_map(
            |(
                (kind, place, discovered, alias, served),
                (grant, client_auth, parameter, allowed, dedicated, consent, audience),
            )| Drawn {
                kind,
                place,
                discovered,
                alias,
                served,
                grant,
                client_auth,
                parameter: parameter || grant.starts_with("extension"),
                allowed,
                dedicated,
                consent,
                audience,
            },
        )
}

static KEY: LazyLock<(String, String)> = LazyLock::new(|| {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let params = CertificateParams::new(["client".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn no_set_of_objects_makes_a_secret_leave_for_an_origin_that_its_owner_did_not_name(draw in drawn()) {
        let Some(credential) = draw.credential() else {
            return Ok(());
        };
        if let Some((origin, drawn)) = draw.goes_to(&credential) {
            for of in drawn {
                prop_assert!(
                    draw.owner_agrees(of, origin.as_deref(), false),
                    "secret {of} leaves for {origin:?}"
                );
            }
        } else {
            // A request to which all agree is not refused.
            let all = if draw.parameter { vec![0, 1, 2, 3] } else { vec![0, 1, 2] };
            let agreed = if draw.grant == "static" {
                draw.owner_agrees(1, None, true)
            } else {
                draw.expected(&credential).is_some_and(|origins| {
                    origins.iter().all(|origin| all.iter().all(|of| draw.owner_agrees(*of, Some(origin), true)))
                })
            };
            prop_assert!(!agreed, "refused although all agree: {:?}", draw.expected(&credential));
        }
    }

    #[test]
    fn an_issuer_takes_no_address_but_https_without_a_user(place in 0..PLACES.len()) {
        let spec = json!({ "oauth2": { "tokenUrl": format!("{}/token", PLACES[place].0) } });
        let origin = Issuer::namespaced(&token_issuer(&spec), &[]).ok().map(|i| i.origin);
        prop_assert_eq!(origin.as_deref(), PLACES[place].1, "{}", PLACES[place].0);
    }
}
