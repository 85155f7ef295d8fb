//! The rules again, implemented differently: where a request may be sent, and with which Secrets.

use super::*;

impl Drawn {
    /// Where a request is sent, and its inputs. `None`: it is not sent.
    pub(super) fn goes_to(&self, credential: &Credential) -> Option<(Option<String>, Vec<usize>)> {
        let issuer = &credential.issuer;
        binding::may_request(
            issuer,
            "secops",
            Some(&BTreeMap::new()),
            &credential.request,
        )
        .ok()?;
        let mut drawn = Vec::new();
        if !credential.alternatives().is_empty() {
            binding::may_open(credential, Use::Client, &self.secret(0)).ok()?;
            drawn.push(0);
        }
        for (purpose, need) in credential.inputs() {
            let Some(reference) = need.reference() else {
                continue;
            };
            let of = SECRETS.iter().position(|name| *name == reference.name)?;
            binding::may_open(credential, purpose, &self.secret(of)).ok()?;
            drawn.push(of);
        }
        if credential.static_key.is_some() {
            return Some((None, drawn));
        }
        let endpoint = self.endpoint(credential)?;
        let certificate = matches!(credential.authentication, AuthenticationMethod::Mtls(_));
        let posted = endpoint.posted(certificate).origin().ascii_serialization();
        for of in &drawn {
            let annotations = self.annotations(*of);
            binding::may_post(issuer, &posted, "s", Some(&annotations)).ok()?;
        }
        let accounts = matches!(
            credential.authentication,
            AuthenticationMethod::ServiceAccount(_)
        ) || credential
            .grant
            .needs()
            .iter()
            .any(|n| matches!(n, RequiredInput::Account(_)));
        if accounts {
            let notes = self.annotations(2);
            let audience = account_audience(credential, Some(&endpoint));
            let place = Some(&endpoint);
            binding::may_use_account(credential, place, "robot", Some(&notes), &audience).ok()?;
            drawn.push(2);
        }
        let identity = || Box::new(Identity::from_pem(&KEY.0, &KEY.1).unwrap());
        let material = match &credential.authentication {
            AuthenticationMethod::Secrets(_) => Material::Secret(SecretString::from("s")),
            AuthenticationMethod::Certificates(_) => Material::Signer(identity(), 0),
            AuthenticationMethod::Mtls(_) => Material::Tls(identity()),
            AuthenticationMethod::Key(_) => {
                Material::Key(Box::new(ClientKey::read(&KEY.1).unwrap()))
            }
            AuthenticationMethod::Assertion(_) => Material::Stored(SecretString::from("s")),
            AuthenticationMethod::ServiceAccount(_) => Material::Assertion(SecretString::from("s")),
            _ => Material::None,
        };
        let read = |(_, need): &(Use, RequiredInput)| match need {
            RequiredInput::File(_) => SecretString::from(KEY.1.as_str()),
            RequiredInput::Line(key) => SecretString::from(format!("{}-content", key.name)),
            RequiredInput::Account(_) => SecretString::from("s"),
        };
        let grant_inputs: Vec<_> = credential.inputs().iter().map(read).collect();
        let moment = RequestContext {
            now: at(0),
            request_id: "r",
            assertion_id: "a",
        };
        let sent = request(credential, &endpoint, &material, &grant_inputs, moment).ok();
        let Some(sent) = sent else {
            assert!(endpoint.posted_by(certificate).is_err());
            return None;
        };
        assert_eq!(sent.url.scheme(), "https");
        // A Secret that was not opened is not in it, and no secret is in its address.
        let names = |of: &usize| format!("{}-content", SECRETS[*of]);
        let body = sent.body.expose_secret();
        let unread = [1, 3].iter().filter(|of| !drawn.contains(of)).map(names);
        assert!(unread.into_iter().all(|text| !body.contains(&text)));
        assert_eq!(drawn.contains(&3), body.contains(&names(&3)));
        assert!(!sent.url.as_str().contains("content"));
        Some((Some(sent.url.origin().ascii_serialization()), drawn))
    }

    /// The rule: an administrator, Microsoft or the owner vouches for the destination, and the owner for the use. `strict`: only texts that
    /// apicred must understand count.
    pub(super) fn owner_agrees(&self, of: usize, origin: Option<&str>, strict: bool) -> bool {
        let exchanges = ["onBehalfOf", "assertion", "keyFile", "exchange"].contains(&self.grant);
        let consents = match (of, self.dedicated.get(of), self.grant) {
            (1, Some([true, false, false]), "refreshToken") => self.consent == "alerts",
            (1, Some([false, true, false]), "static") => {
                ["alerts", "other, alerts"].contains(&self.consent)
            }
            (1, Some([false, false, false]), grant) => !["refreshToken", "static"].contains(&grant),
            (1, Some([false, false, true]), _) => exchanges && self.allowed[1].is_some(),
            (0 | 3, Some(dedicated), _) => *dedicated == [false; 3],
            (2, ..) => match self.kind {
                // The audience of the real Entra ID is not that of another server with the same protocol.
                Kind::EntraWithCa | Kind::EntraElsewhere => self.audience,
                _ => true,
            },
            _ => false,
        };
        let names = |what: &str| {
            self.allowed[of].is_some_and(|allowed| {
                let (_, means, clear) = ANNOTATIONS[allowed];
                means.contains(&what) && (clear || !strict)
            })
        };
        let free = self.allowed[of].is_none();
        let entra = "https://login.microsoftonline.com";
        let goes = match origin {
            None => self.grant == "static",
            Some(origin) if origin == entra && self.kind.is_microsoft() => {
                let administrators = self.kind.is_cluster();
                let password = self.grant == "password" && of == 1 && !administrators;
                let host = free || names(entra);
                (self.served || !administrators) && (names("tenant.example") || host && !password)
            }
            Some(origin) if self.kind.is_cluster() => self.served && (free || names(origin)),
            Some(origin) => names(origin),
        };
        consents && goes
    }

    /// Where a reader would expect the request to be sent; None: nowhere.
    pub(super) fn expected(&self, credential: &Credential) -> Option<Vec<&'static str>> {
        let home = match self.kind {
            kind if kind.is_microsoft() || kind == Kind::EntraWithCa => {
                "https://login.microsoftonline.com"
            }
            _ => PLACES[self.place].1?,
        };
        let certificate = matches!(credential.authentication, AuthenticationMethod::Mtls(_));
        match self.kind {
            Kind::Oidc | Kind::ClusterOidc => {
                let plain = PLACES[self.discovered].1?;
                let Some(alias) = self.alias.filter(|_| certificate) else {
                    return Some(vec![home, plain]);
                };
                let (written, alias) = PLACES[alias];
                // One with a tab is read as another origin, which no owner lists. One that cannot be used is not replaced by the usual endpoint.
                let alias = alias.filter(|_| !written.contains('\t'))?;
                Some(vec![home, alias])
            }
            _ => Some(vec![home, home]),
        }
    }
}
