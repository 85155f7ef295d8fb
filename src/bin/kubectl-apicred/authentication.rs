//! Client authentication material, read with the user's own rights. A Secret is sent only to addresses that its owner allows, as in the operator
//! ([`binding`]).

use std::collections::BTreeMap;

use apicred::{
    api::SecretKeyRef,
    credential::{
        AccountToken, AuthenticationMethod, Certificate, Credential, KeyPair,
        binding::{self, Use},
    },
    oauth::{
        ClientKey, Identity, Material, TokenEndpoint, file, secret_text,
        sign_in::{Flow, Part, destinations, origins},
        stored_assertion,
    },
};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Secret, ServiceAccount},
};
use kube::api::PostParams;
use secrecy::{ExposeSecret, SecretString};

use crate::cluster::{ApiErrorKind, Cluster, Failed, call};

/// Client authentication material, and its name in messages.
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) material: Material,
}

/// All client credentials of the client, in the order in which they are tried. A ServiceAccount's token is created now: it is valid for ten
/// minutes.
pub(crate) async fn candidates(
    cluster: &Cluster,
    credential: &Credential,
    endpoint: &TokenEndpoint,
    flow: Flow,
) -> Result<Vec<Candidate>, String> {
    // Every part whose origin gets the client authentication.
    let parts = [Part::Discovery, Part::DeviceCode, Part::Token];
    let destinations = destinations(credential, endpoint, flow);
    let origins = origins(&credential.issuer, &destinations, &parts);
    let origins = origins.as_slice();
    let one = |name: String, material| vec![Candidate { name, material }];
    match &credential.authentication {
        AuthenticationMethod::Absent | AuthenticationMethod::Public => Ok(one("no client authentication".to_owned(), Material::None)),
        AuthenticationMethod::Secrets(references) => secrets(cluster, credential, origins, references).await,
        AuthenticationMethod::Certificates(list) => certificates(cluster, credential, origins, list).await,
        AuthenticationMethod::Mtls(pair) => {
            let identity = certificate(cluster, credential, origins, pair).await?;
            Ok(one(pair.secret.clone(), Material::Tls(Box::new(identity))))
        }
        AuthenticationMethod::Key(settings) => {
            let SecretKeyRef { name, key } = &settings.reference;
            let secret = open(cluster, credential, origins, name).await?;
            let read = file(bytes(&secret, name, key)?);
            let read = read.and_then(|text| ClientKey::read(text.expose_secret()));
            let read = read.map_err(|problem| settings.sentence(&problem))?;
            Ok(one(name.clone(), Material::Key(Box::new(read))))
        }
        AuthenticationMethod::Assertion(SecretKeyRef { name, key }) => {
            let secret = open(cluster, credential, origins, name).await?;
            let text = stored_assertion(bytes(&secret, name, key)?);
            let text = text.map_err(|problem| unfit(name, key, &problem))?;
            let notes = secret.metadata.annotations.as_ref();
            binding::may_send_text(credential, name, notes, text.expose_secret(), &[])
                .map_err(|denial| denial.message().to_owned())?;
            Ok(one(name.clone(), Material::Stored(text)))
        }
        AuthenticationMethod::ServiceAccount(account) => {
            let token = account_token(cluster, credential, (endpoint, origins), account).await?;
            Ok(one(account.name.clone(), Material::Assertion(token)))
        }
        AuthenticationMethod::ManagedIdentity(_) | AuthenticationMethod::IdentityAssertion(_) => Err(
            "the operator's managed identity cannot sign in a user; use another client for this credential".to_owned(),
        ),
    }
}

async fn secrets(
    cluster: &Cluster,
    credential: &Credential,
    origins: &[String],
    references: &[SecretKeyRef],
) -> Result<Vec<Candidate>, String> {
    let mut found = Vec::new();
    let mut last = String::new();
    for SecretKeyRef { name, key } in references {
        let read = async {
            let secret = open(cluster, credential, origins, name).await?;
            let text = secret_text(bytes(&secret, name, key)?);
            let text = text.map_err(|problem| unfit(name, key, &problem))?;
            // The audiences of this cluster are not known here, so the common ones are used.
            let notes = secret.metadata.annotations.as_ref();
            binding::may_send_text(credential, name, notes, text.expose_secret(), &[])
                .map_err(|denial| denial.message().to_owned())?;
            Ok(text)
        };
        match read.await {
            Ok(secret) => found.push(Candidate {
                name: format!("key {key} of Secret {name}"),
                material: Material::Secret(secret),
            }),
            Err(why) => last = why,
        }
    }
    if found.is_empty() {
        Err(last)
    } else {
        Ok(found)
    }
}

/// All certificates that can be read, in the order in which they are tried.
async fn certificates(
    cluster: &Cluster,
    credential: &Credential,
    origins: &[String],
    list: &[Certificate],
) -> Result<Vec<Candidate>, String> {
    let mut found = Vec::new();
    let mut last = String::new();
    for (place, entry) in list.iter().enumerate() {
        match certificate(cluster, credential, origins, &entry.pair).await {
            Ok(identity) => found.push(Candidate {
                name: format!("the certificate in Secret {}", entry.pair.secret),
                material: Material::Signer(Box::new(identity), place),
            }),
            Err(why) => last = why,
        }
    }
    if found.is_empty() {
        Err(last)
    } else {
        Ok(found)
    }
}

async fn certificate(
    cluster: &Cluster,
    credential: &Credential,
    origins: &[String],
    pair: &KeyPair,
) -> Result<Identity, String> {
    let name = &pair.secret;
    let secret = open(cluster, credential, origins, name).await?;
    let text = |key: &str| -> Result<SecretString, String> {
        file(bytes(&secret, name, key)?).map_err(|problem| unfit(name, key, &problem))
    };
    let (certificate, key) = (text(&pair.certificate)?, text(&pair.private_key)?);
    Identity::from_pem(certificate.expose_secret(), key.expose_secret())
        .map_err(|problem| format!("Secret {name}: {problem}"))
}

fn unfit(name: &str, key: &str, problem: &str) -> String {
    format!("key {key} of Secret {name} {problem}")
}

fn bytes<'a>(secret: &'a Secret, name: &str, key: &str) -> Result<&'a [u8], String> {
    let data = secret.data.as_ref().and_then(|d| d.get(key));
    data.map(|b| b.0.as_slice())
        .ok_or_else(|| format!("Secret {name} has no key {key}"))
}

async fn open(
    cluster: &Cluster,
    credential: &Credential,
    origins: &[String],
    name: &str,
) -> Result<Secret, String> {
    let secret = call(cluster.api::<Secret>().get(name))
        .await
        .map_err(|failed| match failed.error_kind {
            ApiErrorKind::Forbidden => format!(
                "the client secret is in Secret {name}, which you may not read: ask a user with this right to sign in, or register a public client (client.public)"
            ),
            _ => failed.about(&format!("reading Secret {name}")),
        })?;
    binding::may_open(credential, Use::Client, &secret.metadata)
        .map_err(|denial| denial.message().to_owned())?;
    may_go(
        credential,
        origins,
        name,
        secret.metadata.annotations.as_ref(),
    )?;
    Ok(secret)
}

/// Checks that it may be sent to every address of this sign-in.
fn may_go(
    credential: &Credential,
    origins: &[String],
    name: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), String> {
    for origin in origins {
        binding::may_post(&credential.issuer, origin, name, annotations)
            .map_err(|denial| denial.message().to_owned())?;
    }
    Ok(())
}

async fn account_token(
    cluster: &Cluster,
    credential: &Credential,
    (endpoint, origins): (&TokenEndpoint, &[String]),
    account: &AccountToken,
) -> Result<SecretString, String> {
    let name = &account.name;
    let doing =
        format!("requesting a token of ServiceAccount {name}, which authenticates this client");
    let object = call(cluster.api::<ServiceAccount>().get(name))
        .await
        .map_err(|t| t.about(&format!("reading ServiceAccount {name}")))?;
    let notes = object.metadata.annotations.as_ref();
    may_go(credential, origins, name, notes)
        .map_err(|text| text.replacen("Secret ", "ServiceAccount ", 1))?;
    let audience = account.audience_at(credential, Some(endpoint));
    let denied = |denial: binding::Denial| denial.message().to_owned();
    let api = cluster.api::<ServiceAccount>();
    let request = async |audiences: Vec<String>, dry_run: bool| {
        let token_request = TokenRequest {
            spec: TokenRequestSpec {
                audiences,
                expiration_seconds: Some(account.seconds),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let params = PostParams {
            dry_run,
            ..PostParams::default()
        };
        let made: Result<TokenRequest, _> =
            call(api.create_subresource("token", name, &params, &token_request)).await;
        made.map_err(|failed| failed.about(&doing))
    };
    // Without an audience, the API server adds its own audiences to the request, and returns them in the answer. The operator reads
    // them from its own token; a user may not have one.
    let own = request(Vec::new(), true).await?.spec.audiences;
    binding::may_request_audience(name, &audience, &own).map_err(denied)?;
    binding::may_use_account(credential, Some(endpoint), name, notes, &audience).map_err(denied)?;
    let token = request(vec![audience], false)
        .await?
        .status
        .ok_or_else(|| Failed::from(ApiErrorKind::Unavailable).about(&doing))?
        .token;
    binding::may_leave(name, &token, &own).map_err(denied)?;
    Ok(SecretString::from(token))
}
