//! The objects that a draw describes.

use super::*;

impl Drawn {
    pub(super) fn url(&self) -> String {
        format!("{}/token", PLACES[self.place].0)
    }

    /// `None`: the API server would have rejected it from an administrator, or apicred reports a fault.
    pub(super) fn issuer(&self) -> Option<Issuer> {
        let entra = json!({ "tenantId": "tenant.example" });
        let elsewhere =
            json!({ "tenantId": "tenant.example", "authorityHost": PLACES[self.place].0 });
        let names = if self.served { "secops" } else { "another" };
        let rule = json!({ "names": [names] });
        let (oauth2, oidc) = (
            json!({ "tokenUrl": self.url() }),
            json!({ "issuerUrl": PLACES[self.place].0 }),
        );
        let own = |spec: Value| Issuer::namespaced(&token_issuer(&spec), &[]).ok();
        let cluster = |mut spec: Value| {
            spec["allowedGrants"] = json!([
                "ClientCredentials",
                "RefreshToken",
                "OnBehalfOf",
                "JwtBearer",
                "TokenExchange",
                "Password",
                "Extension"
            ]);
            Issuer::cluster(&cluster_issuer(&spec)).ok()
        };
        match self.kind {
            Kind::Inline => Issuer::inline("tenant.example", crate::api::Cloud::Public).ok(),
            Kind::Entra => own(json!({ "entra": entra })),
            Kind::EntraWithCa => own(json!({ "entra": entra, "caBundle": "PEM" })),
            Kind::EntraElsewhere => own(json!({ "entra": elsewhere })),
            Kind::OAuth2 => own(json!({ "oauth2": oauth2 })),
            Kind::Oidc => own(json!({ "oidc": oidc })),
            Kind::ClusterOAuth2 => cluster(json!({ "oauth2": oauth2, "allowedNamespaces": rule })),
            Kind::ClusterOidc => cluster(json!({ "oidc": oidc, "allowedNamespaces": rule })),
            Kind::ClusterEntra => cluster(json!({ "entra": entra, "allowedNamespaces": rule })),
        }
    }

    pub(super) fn credential(&self) -> Option<Credential> {
        let reference = json!({ "name": "grant", "key": "k" });
        let secret = json!({ "name": "first", "secretRef": { "name": "parameter", "key": "k" } });
        let grant = match self.grant {
            "refreshToken" => json!({ "refreshToken": { "secretRef": reference } }),
            "onBehalfOf" => json!({ "onBehalfOf": { "assertionRef": reference } }),
            "assertion" => json!({ "jwtBearer": { "assertionRef": reference } }),
            "keyFile" => {
                json!({ "jwtBearer": { "signed": { "keyRef": reference, "issuer": "me" } } })
            }
            "exchange" => {
                json!({ "tokenExchange": { "subject": { "secretRef": reference }, "actor": { "serviceAccount": { "name": "robot" } } } })
            }
            "password" => json!({ "password": { "username": "u", "passwordRef": reference } }),
            "extension" => {
                json!({ "extension": { "grantType": "urn:x:key", "parameters": [secret] } })
            }
            "extensionOfTwo" => json!({ "extension": {
                "grantType": "account",
                "parameters": [{ "name": "second", "secretRef": reference }, secret],
            } }),
            "static" => Value::Null,
            _ => json!({ "clientCredentials": {} }),
        };
        let client_auth = match self.client_auth {
            "secret" => json!({ "id": "c", "secrets": [{ "name": "client", "key": "k" }] }),
            "certificate" => json!({ "id": "c", "certificates": [{ "secretName": "client" }] }),
            "mtls" => json!({ "id": "c", "mtls": { "secretName": "client" } }),
            "serviceAccount" => json!({ "id": "c", "serviceAccount": { "name": "robot" } }),
            "public" => json!({ "id": "c", "public": {} }),
            _ => Value::Null,
        };
        let mut change = json!({ "grant": grant, "client": null });
        if self.kind == Kind::Inline {
            change["issuerRef"] = Value::Null;
            change["entra"] = json!({ "tenantId": "tenant.example" });
        }
        if self.parameter && !self.grant.starts_with("extension") && self.grant != "static" {
            change["parameters"] = json!([secret]);
        }
        if self.grant == "static" {
            change["issuerRef"] = Value::Null;
            change["entra"] = Value::Null;
            change["scopes"] = Value::Null;
            change["static"] = json!({ "tokenRef": { "name": "grant", "key": "k" } });
        }
        let mut object = object(&change);
        object.spec.client = serde_json::from_value(client_auth).unwrap();
        let lookup = |_: &_| {
            self.issuer()
                .map_or(IssuerLookup::Missing, IssuerLookup::Found)
        };
        parse_both(&object, lookup).ok()
    }

    pub(super) fn annotations(&self, of: usize) -> BTreeMap<String, String> {
        let allowed = self.allowed[of].map(|a| (ALLOWED_ISSUERS, ANNOTATIONS[a].0));
        let [state, publish, published] = self.dedicated.get(of).copied().unwrap_or_default();
        let robot = of == 2 && self.audience;
        allowed
            .into_iter()
            .chain(state.then_some((STATE_OF, self.consent)))
            .chain(publish.then_some((PUBLISH_BY, self.consent)))
            .chain(published.then_some((CREDENTIAL_UID, "another-uid")))
            .chain(robot.then_some((ALLOWED_AUDIENCES, "sts, api://AzureADTokenExchange")))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    pub(super) fn secret(&self, of: usize) -> ObjectMeta {
        ObjectMeta {
            name: Some(SECRETS[of].to_owned()),
            annotations: Some(self.annotations(of)),
            ..ObjectMeta::default()
        }
    }

    pub(super) fn endpoint(&self, credential: &Credential) -> Option<TokenEndpoint> {
        known_endpoint(credential).or_else(|| {
            let issuer = url::Url::parse(PLACES[self.place].0).ok()?;
            let token = |place: usize| format!("{}/token", PLACES[place].0);
            let mut document =
                json!({ "issuer": issuer.as_str(), "token_endpoint": token(self.discovered) });
            if let Some(alias) = self.alias {
                document["mtls_endpoint_aliases"] = json!({ "token_endpoint": token(alias) });
            }
            discovery::read(issuer.as_str(), document.to_string().as_bytes(), None).ok()
        })
    }
}
