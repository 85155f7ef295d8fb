//! Prints the public key of `client.key` as a JWK set. The private key is read with the user's own rights, and no part of it
//! leaves this process.

use apicred::{
    api::{ApiCredential, Client, SecretKeyRef},
    credential::{AuthenticationMethod, ClientLookup, FieldError, PrivateKey, resolve},
    oauth::{ClientKey, file},
};
use k8s_openapi::api::core::v1::Secret;
use secrecy::ExposeSecret;

use crate::{
    Jwks,
    cluster::{ApiErrorKind, Cluster, call},
    subject, terminal,
};

pub(crate) async fn run(args: &Jwks) -> Result<(), String> {
    let cluster = Cluster::connect(&args.target).await?;
    let name = args.target.credential.as_str();
    let (what, client) = if args.client {
        let what = format!("ApiClient {}/{name}", cluster.namespace);
        match subject::client(&cluster, name).await? {
            ClientLookup::Found(spec) => (what, Some(spec.client)),
            ClientLookup::Missing | ClientLookup::Deleted => {
                return Err(format!("{what} does not exist"));
            }
            ClientLookup::Faulty(faults) => {
                return Err(format!(
                    "{what} is not valid: {}",
                    FieldError::join(&faults)
                ));
            }
        }
    } else {
        let what = format!("ApiCredential {}/{name}", cluster.namespace);
        let client = of_credential(&cluster, name, &what).await?;
        (what, client)
    };
    let settings = settings(client.as_ref(), &what)?;
    let set = public_set(&cluster, &settings).await?;
    for line in set.lines() {
        terminal::out(line);
    }
    Ok(())
}

async fn of_credential(
    cluster: &Cluster,
    name: &str,
    what: &str,
) -> Result<Option<Client>, String> {
    let read = call(cluster.api::<ApiCredential>().get(name)).await;
    let object = match read {
        Ok(object) => object,
        Err(failed) => {
            let seen = failed.about(&format!("reading {what}"));
            let absent = failed.error_kind == ApiErrorKind::NotFound;
            let other = absent && is_client(cluster, name).await;
            return Err(if other {
                format!("{what} does not exist, but an ApiClient of this name does; add --client")
            } else {
                seen
            });
        }
    };
    let client = match &object.spec.client_ref {
        Some(reference) => subject::client(cluster, &reference.name).await?,
        None => ClientLookup::Missing,
    };
    let resolved = resolve(&object, |_| client);
    let resolved =
        resolved.map_err(|faults| format!("{what} is not valid: {}", FieldError::join(&faults)))?;
    Ok(resolved.spec.client.clone())
}

async fn is_client(cluster: &Cluster, name: &str) -> bool {
    let found = subject::client(cluster, name).await;
    matches!(found, Ok(ClientLookup::Found(_)))
}

/// The private key of a client, if the client authenticates with one.
fn settings(client: Option<&Client>, what: &str) -> Result<PrivateKey, String> {
    let authentication = AuthenticationMethod::parse(client)
        .map_err(|faults| format!("{what} is not valid: {}", FieldError::join(&faults)))?;
    match authentication {
        AuthenticationMethod::Key(settings) => Ok(settings),
        AuthenticationMethod::Certificates(_) => Err(format!(
            "{what} has client.certificates and no client.key; register the certificate (tls.crt) at the issuer"
        )),
        _ => Err(format!(
            "{what} has no client.key, so it has no public key to register"
        )),
    }
}

async fn public_set(cluster: &Cluster, settings: &PrivateKey) -> Result<String, String> {
    let SecretKeyRef { name, key } = &settings.reference;
    let secret = call(cluster.api::<Secret>().get(name))
        .await
        .map_err(|failed| failed.about(&format!("reading Secret {name}")))?;
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let bytes = bytes.ok_or_else(|| format!("Secret {name} has no key {key}"))?;
    let set = file(&bytes.0)
        .and_then(|text| ClientKey::read(text.expose_secret()))
        .and_then(|read| read.public_set(settings))
        .map_err(|problem| settings.sentence(&problem))?;
    Ok(format!("{set:#}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_client_with_a_key_has_a_public_key_to_register() {
        #[rustfmt::skip]
        let cases = [
            (json!({ "id": "c", "key": { "secretName": "s", "key": "k" } }), None),
            (json!({ "id": "c", "certificates": [{ "secretName": "s" }] }), Some("register the certificate")),
            (json!({ "id": "c", "secrets": [{ "name": "s", "key": "k" }] }), Some("has no client.key")),
            (json!({ "id": "c", "public": {} }), Some("has no client.key")),
            (json!({ "id": "c" }), Some("is not valid")),
        ];
        for (spec, problem) in cases {
            let client: Client = serde_json::from_value(spec.clone()).expect("a client");
            match (settings(Some(&client), "ApiClient team/c"), problem) {
                (Ok(settings), None) => assert_eq!(settings.reference.name, "s"),
                (Err(reported), Some(words)) => assert!(reported.contains(words), "{reported}"),
                (found, _) => panic!("{spec}: {found:?}"),
            }
        }
    }
}
