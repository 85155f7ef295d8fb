//! No history of edits causes a token to be sent to an issuer that did not issue it.
//!
//! A single state of the objects cannot show this, because the token comes from an earlier one. So the test generates histories (an issuer
//! edited or recreated, `issuerRef` switched, a discovery document changed, another client, scope or grant, renewals that succeed or fail, a
//! restart). After each step it checks where the token may be sent, and compares this with the origin that really issued it, which the model
//! stores with the token.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};
use serde_json::json;
use url::Url;

use crate::{
    api::names::ISSUED_BY,
    credential::{
        Credential, Issuer, IssuerLookup,
        binding::{IssuedBy, issuer_mark, may_refresh, may_return},
        parse,
    },
    fixtures::{cluster_issuer, object, parse_both, token_issuer},
    oauth::{TokenEndpoint, discovery, known_endpoint},
    plan::fingerprint,
};

const HOSTS: [&str; 3] = [
    "https://good.example",
    "https://good.example:8443",
    "https://evil.example",
];

/// Issuer objects: two of an administrator and one of the namespace.
const ISSUERS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    OAuth2,
    Oidc,
    Entra,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    shape: Shape,
    host: usize,
    /// The host of the token endpoint and of the revocation endpoint in a discovery document.
    documents: (usize, usize),
    /// Path, or tenant at Entra.
    path: usize,
}

#[derive(Clone, Debug)]
enum Step {
    /// An issuer object is edited, or deleted and recreated with the same name.
    Issuer(usize, Place),
    Refer(usize),
    Client(usize),
    Scope(usize),
    Grant(&'static str),
    /// A renewal that is due; `false`: the issuer does not answer, and the token stays.
    Renew(bool),
    /// The operator reconciles the credential.
    Reconcile,
    /// The operator's memory is lost.
    Restart,
}

/// A token as the operator has it, and its true origin.
#[derive(Clone, Debug)]
struct Token {
    issued: IssuedBy,
    /// The origin that issued it; None for a static key.
    origin: Option<String>,
    /// Whether a later step changed anything.
    stale: bool,
}

#[derive(Debug)]
struct World {
    issuers: [Place; ISSUERS],
    refer: usize,
    client: usize,
    scope: usize,
    grant: &'static str,
    memory: Option<Token>,
    secret: Option<Token>,
    /// What is recorded on the state Secret, and the real issuer of the refresh token in it.
    state: Option<(String, Giver)>,
}

/// The issuer of a refresh token.
#[derive(Clone, Debug, PartialEq)]
struct Giver {
    /// Origin of the token endpoint.
    origin: String,
    /// The realm of the server, under any address.
    realm: (Shape, Option<usize>, usize),
    /// The issuer object.
    object: usize,
}

fn place() -> impl Strategy<Value = Place> {
    (
        select(vec![Shape::OAuth2, Shape::Oidc, Shape::Entra]),
        0..HOSTS.len(),
        (0..HOSTS.len(), 0..HOSTS.len()),
        0..2_usize,
    )
        .prop_map(|(shape, host, documents, path)| Place {
            shape,
            host,
            documents,
            path,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..ISSUERS, place()).prop_map(|(i, p)| Step::Issuer(i, p)),
        3 => (0..ISSUERS).prop_map(Step::Refer),
        1 => (0..2_usize).prop_map(Step::Client),
        1 => (0..2_usize).prop_map(Step::Scope),
        2 => select(vec!["clientCredentials", "refreshToken", "static"]).prop_map(Step::Grant),
        4 => prop::bool::weighted(0.7).prop_map(Step::Renew),
        2 => Just(Step::Reconcile),
        1 => Just(Step::Restart),
    ]
}

impl Place {
    fn issuer(self, number: usize) -> Issuer {
        let host = HOSTS[self.host];
        let mut spec = match self.shape {
            Shape::OAuth2 => json!({ "oauth2": {
                "tokenUrl": format!("{host}/token?realm={}", self.path), "revocationUrl": format!("{host}/revoke"),
            } }),
            Shape::Oidc => json!({ "oidc": { "issuerUrl": format!("{host}/{}", self.path) } }),
            Shape::Entra => json!({ "entra": {
                "tenantId": format!("tenant{}.example", self.path), "authorityHost": host,
            } }),
        };
        if number < 2 {
            spec["allowedNamespaces"] = json!({ "selector": {} });
            let mut object = cluster_issuer(&spec);
            object.metadata.name = Some(format!("issuer-{number}"));
            Issuer::cluster(&object).unwrap()
        } else {
            Issuer::namespaced(&token_issuer(&spec), &[]).unwrap()
        }
    }
}

/// What the operator records with a token that it gets now.
fn now(credential: &Credential, endpoint: &TokenEndpoint) -> IssuedBy {
    IssuedBy {
        request: fingerprint::request(credential),
        issuer: issuer_mark(credential, endpoint),
    }
}

impl World {
    /// The real issuer of a refresh token from this endpoint now.
    fn giver(&self, endpoint: &TokenEndpoint) -> Giver {
        let place = self.issuers[self.refer];
        Giver {
            origin: endpoint.url.origin().ascii_serialization(),
            // The identifier of an OpenID Connect issuer contains its host as well.
            realm: (
                place.shape,
                (place.shape == Shape::Oidc).then_some(place.host),
                place.path,
            ),
            object: self.refer,
        }
    }

    fn credential(&self) -> Option<Credential> {
        let mut change = json!({
            "client": { "id": format!("client-{}", self.client) },
            "scopes": [format!("https://api{}.example/.default", self.scope)],
        });
        let key = json!({ "name": "grant", "key": "k" });
        match self.grant {
            "refreshToken" => change["grant"] = json!({ "refreshToken": { "secretRef": key } }),
            "static" => {
                change = json!({ "issuerRef": null, "client": null, "scopes": null, "static": { "tokenRef": key } });
            }
            _ => {}
        }
        let issuer = self.issuers[self.refer].issuer(self.refer);
        let lookup = |_: &_| IssuerLookup::Found(issuer.clone());
        parse_both(&object(&change), lookup).ok()
    }

    fn endpoint(&self, credential: &Credential) -> Option<TokenEndpoint> {
        known_endpoint(credential).or_else(|| {
            let place = self.issuers[self.refer];
            let issuer = Url::parse(&format!("{}/{}", HOSTS[place.host], place.path)).unwrap();
            let document = json!({
                "issuer": issuer.as_str(),
                "token_endpoint": format!("{}/token", HOSTS[place.documents.0]),
                "revocation_endpoint": format!("{}/revoke", HOSTS[place.documents.1]),
            });
            discovery::read(issuer.as_str(), document.to_string().as_bytes(), None).ok()
        })
    }

    fn renew(&mut self) {
        let Some(credential) = self.credential() else {
            return;
        };
        let token = match self.endpoint(&credential) {
            // A static key is copied: no issuer is recorded with it.
            None => Token {
                issued: IssuedBy {
                    request: fingerprint::request(&credential),
                    issuer: String::new(),
                },
                origin: None,
                stale: false,
            },
            Some(endpoint) => {
                let origin = endpoint.url.origin().ascii_serialization();
                if self.grant == "refreshToken" {
                    let notes = self.notes();
                    if may_refresh(&credential, &endpoint, "grant", Some(&notes)).is_err() {
                        return;
                    }
                    let giver = self.giver(&endpoint);
                    self.state = Some((issuer_mark(&credential, &endpoint), giver));
                }
                Token {
                    issued: now(&credential, &endpoint),
                    origin: Some(origin),
                    stale: false,
                }
            }
        };
        self.memory = Some(token.clone());
        self.secret = Some(token);
    }

    fn notes(&self) -> BTreeMap<String, String> {
        let noted = self.state.iter();
        noted
            .map(|(issuer, _)| (ISSUED_BY.to_owned(), issuer.clone()))
            .collect()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Issuer(number, place) => self.issuers[*number] = *place,
            Step::Refer(number) => self.refer = *number,
            Step::Client(client) => self.client = *client,
            Step::Scope(scope) => self.scope = *scope,
            Step::Grant(grant) => self.grant = grant,
            Step::Renew(true) => return self.renew(),
            Step::Renew(false) => return,
            Step::Reconcile => {
                if let Some(credential) = self.credential() {
                    let request = fingerprint::request(&credential);
                    self.memory.take_if(|t| t.issued.request != request);
                }
                return;
            }
            Step::Restart => {
                self.memory = None;
                return;
            }
        }
        for token in self.memory.iter_mut().chain(&mut self.secret) {
            token.stale = true;
        }
    }

    /// Checks where the tokens may be sent if the credential is deleted now.
    fn check(&self) -> Result<(), TestCaseError> {
        let Some(credential) = self.credential() else {
            return Ok(());
        };
        let Some(endpoint) = self.endpoint(&credential) else {
            return Ok(());
        };
        let now = now(&credential, &endpoint);
        // For an issuer without a revocation endpoint, all hosts are tried.
        let places = HOSTS
            .iter()
            .map(|h| Url::parse(&format!("{h}/revoke")).unwrap());
        for to in endpoint.revocation.clone().into_iter().chain(places) {
            let origin = to.origin().ascii_serialization();
            for token in self.memory.iter().chain(&self.secret) {
                let may = may_return(Some(&token.issued), &now, &to).is_ok();
                if may {
                    prop_assert_eq!(Some(&origin), token.origin.as_ref(), "{:?}", self);
                } else {
                    let own = token.origin.as_deref() == Some(origin.as_str());
                    prop_assert!(
                        token.stale || !own,
                        "refused though nothing changed: {:?}",
                        self
                    );
                }
            }
            prop_assert!(may_return(None, &now, &to).is_err());
        }
        let sent_to = self.giver(&endpoint);
        let notes = self.notes();
        let refreshes = may_refresh(&credential, &endpoint, "grant", Some(&notes)).is_ok();
        if let Some((_, giver)) = &self.state {
            let own = self.refer == ISSUERS - 1;
            let took_over = own && giver.object != self.refer;
            // Only an administrator may change the address of an issuer on its host.
            let edited = !own && giver.object == self.refer;
            let same = giver.origin == sent_to.origin
                && (giver.realm == sent_to.realm || edited)
                && !took_over;
            let sends = self.grant == "refreshToken";
            prop_assert_eq!(
                refreshes,
                same && (sends || refreshes),
                "a refresh token: {:?}",
                self
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn no_history_of_edits_makes_a_token_go_to_an_issuer_that_did_not_issue_it(
        first in [place(), place(), place()], steps in prop::collection::vec(step(), 1..12)
    ) {
        let mut world = World {
            issuers: first, refer: 0, client: 0, scope: 0, grant: "clientCredentials",
            memory: None, secret: None, state: None,
        };
        world.renew();
        world.check()?;
        for step in &steps {
            world.take(step);
            world.check()?;
        }
    }
}

#[test]
fn a_token_of_an_administrators_issuer_goes_to_no_issuer_of_the_namespace_at_the_same_address() {
    let place = Place {
        shape: Shape::OAuth2,
        host: 0,
        documents: (0, 0),
        path: 0,
    };
    let mut world = World {
        issuers: [place; ISSUERS],
        refer: 0,
        client: 0,
        scope: 0,
        grant: "clientCredentials",
        memory: None,
        secret: None,
        state: None,
    };
    world.renew();
    let token = world.secret.clone().unwrap();
    let may = |world: &World| {
        let credential = world.credential().unwrap();
        let endpoint = world.endpoint(&credential).unwrap();
        let to = endpoint.revocation.clone().unwrap();
        may_return(Some(&token.issued), &now(&credential, &endpoint), &to).is_ok()
    };
    assert!(may(&world));
    // Another object of an administrator with the same address is the same issuer.
    world.refer = 1;
    assert!(may(&world));
    // The namespace chooses the certificates of its own issuer.
    world.refer = 2;
    assert!(!may(&world));

    // The same holds for refresh tokens. An administrator's issuer may take over what was an issuer of the namespace.
    let refreshes = |world: &World, noted: &str| {
        let credential = world.credential().unwrap();
        let endpoint = world.endpoint(&credential).unwrap();
        let notes = crate::fixtures::map(&[(ISSUED_BY, noted)]);
        may_refresh(&credential, &endpoint, "grant", Some(&notes)).is_ok()
    };
    // An origin alone was recorded by a user.
    let (theirs, own) = ("https://good.example", "https://good.example TokenIssuer");
    assert!(refreshes(&world, own) && !refreshes(&world, theirs));
    world.refer = 0;
    assert!(refreshes(&world, own) && refreshes(&world, theirs));
    assert!(!refreshes(&world, "https://evil.example") && !refreshes(&world, ""));
}

/// Realms of one server, each of which is a separate issuer.
#[test]
fn a_refresh_token_goes_to_no_other_realm_of_its_server_unless_an_administrator_moves_the_realm() {
    let oauth2 = |url: &str| json!({ "oauth2": { "tokenUrl": url } });
    let oidc = |url: &str| json!({ "oidc": { "issuerUrl": url } });
    let entra = |tenant: &str| json!({ "entra": { "tenantId": tenant } });
    let mark_and_may = |name: &str, own: bool, spec: &serde_json::Value, noted: Option<&str>| {
        let mut spec = spec.clone();
        let issuer = if own {
            Issuer::namespaced(&token_issuer(&spec), &[]).unwrap()
        } else {
            spec["allowedNamespaces"] = json!({ "selector": {} });
            let mut object = cluster_issuer(&spec);
            object.metadata.name = Some(name.to_owned());
            Issuer::cluster(&object).unwrap()
        };
        let key = json!({ "name": "grant", "key": "k" });
        let change = json!({ "grant": { "refreshToken": { "secretRef": key } } });
        let credential = parse(&object(&change), |_| IssuerLookup::Found(issuer)).unwrap();
        let endpoint = known_endpoint(&credential).unwrap_or_else(|| {
            let url = spec["oidc"]["issuerUrl"].as_str().unwrap();
            // As at Google: all realms have one token endpoint, on another host.
            let document =
                json!({ "issuer": url, "token_endpoint": "https://tokens.example/token" });
            discovery::read(url, document.to_string().as_bytes(), None).unwrap()
        });
        let notes = noted.map(|noted| crate::fixtures::map(&[(ISSUED_BY, noted)]));
        let may = may_refresh(&credential, &endpoint, "grant", notes.as_ref()).is_ok();
        (issuer_mark(&credential, &endpoint), may)
    };
    let fixed = [1, 2].map(|n| oauth2(&format!("https://server.example/realms/{n}/token")));
    let queries = [1, 2].map(|n| oauth2(&format!("https://server.example/token?p=realm-{n}")));
    let none = oauth2("https://server.example/token");
    let elsewhere = oauth2("https://other.example/realms/1/token");
    let found = [1, 2].map(|n| oidc(&format!("https://server.example/realms/{n}")));
    let tenants = [entra("contoso.example"), entra("fabrikam.example")];
    for (from, to, by_its_administrator) in [
        (&fixed[0], &fixed[1], true),
        (&fixed[1], &fixed[0], true),
        (&queries[0], &queries[1], true),
        (&queries[0], &none, true),
        (&none, &queries[0], true),
        (&fixed[0], &elsewhere, false),
        (&found[0], &found[1], true),
        (&found[1], &found[0], true),
        // A discovery document names another host than the token URL did.
        (&fixed[0], &found[0], false),
        (&found[0], &fixed[0], false),
        // A tenant by its name, and then by its id: the host belongs to Microsoft.
        (&tenants[0], &tenants[1], true),
        (&tenants[0], &fixed[0], false),
    ] {
        for own in [false, true] {
            let (noted, _) = mark_and_may("one", own, from, None);
            let may = |name, own, spec| mark_and_may(name, own, spec, Some(&noted)).1;
            let case = format!("{from} {to} {own}");
            assert!(may("one", own, from), "{case}: nothing changed");
            assert!(may("two", own, from), "{case}: another name");
            assert!(!may("two", own, to), "{case}: another issuer");
            assert_eq!(may("one", own, to), by_its_administrator && !own, "{case}");
        }
    }
}
