//! No history of edits causes a token to be sent to an issuer that did not issue it.
//!
//! A single state of the objects cannot show this, because the token comes from an earlier one. So the test generates histories (an issuer
//! edited or recreated, `issuerRef` switched, a discovery document changed, another client, scope or grant, renewals that succeed or fail, a
//! restart). After each step it checks where the token may be sent, and compares this with the origin that really issued it, which the model
//! stores with the token.

mod moved;

use std::collections::{BTreeMap, BTreeSet};

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
    /// The host of both endpoints for clients that show a certificate, if the document has them.
    alias: Option<usize>,
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
    /// The origins of the token endpoints of its issuer at that time, as far as the client used them; none for a static key.
    origins: Vec<String>,
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
    /// Origins of the token endpoints.
    origins: Vec<String>,
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
        prop::option::of(0..HOSTS.len()),
        0..2_usize,
    )
        .prop_map(|(shape, host, documents, alias, path)| Place {
            shape,
            host,
            documents,
            alias,
            path,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..ISSUERS, place()).prop_map(|(i, p)| Step::Issuer(i, p)),
        3 => (0..ISSUERS).prop_map(Step::Refer),
        2 => (0..4_usize).prop_map(Step::Client),
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
            origins: self.origins(endpoint),
            // The identifier of an OpenID Connect issuer contains its host as well.
            realm: (
                place.shape,
                (place.shape == Shape::Oidc).then_some(place.host),
                place.path,
            ),
            object: self.refer,
        }
    }

    /// True if the client shows a certificate.
    fn shows_certificate(&self) -> bool {
        self.client >= 2 && self.grant != "static" && self.issuers[self.refer].shape != Shape::Entra
    }

    fn origins(&self, endpoint: &TokenEndpoint) -> Vec<String> {
        let alias = endpoint
            .mtls_url
            .iter()
            .filter(|_| self.shows_certificate());
        let all = std::iter::once(&endpoint.url).chain(alias);
        let all: BTreeSet<String> = all.map(|u| u.origin().ascii_serialization()).collect();
        all.into_iter().collect()
    }

    fn credential(&self) -> Option<Credential> {
        let mut client = json!({ "id": format!("client-{}", self.client % 2) });
        if self.shows_certificate() {
            client["secrets"] = json!(null);
            client["mtls"] = json!({ "secretName": "t" });
        }
        let mut change = json!({
            "client": client,
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
            let mut document = json!({
                "issuer": issuer.as_str(),
                "token_endpoint": format!("{}/token", HOSTS[place.documents.0]),
                "revocation_endpoint": format!("{}/revoke", HOSTS[place.documents.1]),
            });
            if let Some(host) = place.alias.map(|alias| HOSTS[alias]) {
                document["mtls_endpoint_aliases"] = json!({
                    "token_endpoint": format!("{host}/token"),
                    "revocation_endpoint": format!("{host}/revoke"),
                });
            }
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
                origins: Vec::new(),
                stale: false,
            },
            Some(endpoint) => {
                let origins = self.origins(&endpoint);
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
                    origins,
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
        let named = endpoint.revoked_at(self.shows_certificate()).cloned();
        for to in named.into_iter().chain(places) {
            let origin = to.origin().ascii_serialization();
            for token in self.memory.iter().chain(&self.secret) {
                let may = may_return(Some(&token.issued), &now, &to).is_ok();
                let own = token.origins.contains(&origin);
                if may {
                    prop_assert!(own, "{} {:?}", origin, self);
                } else {
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
            let same = giver.origins == sent_to.origins
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
