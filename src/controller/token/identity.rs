//! The operator's own identity: the Azure settings in its environment, the two files that it may read for this, and the audiences of its own token.

use crate::Reason;
use secrecy::{ExposeSecret, SecretString};

use crate::controller::context::Context;
use crate::{
    credential::{Credential, OperatorIdentity},
    oauth::{self, Class, Local, MAX_ARC_KEY, Material, RawAnswer, TokenError},
};

fn fault(text: &str) -> TokenError {
    TokenError::local(Class::Invalid, Reason::IdentityEnvironmentMissing, text)
}

/// The operator's own credentials, if the issuer of the credential allows the use of its identity.
pub(in crate::controller) async fn material(
    context: &Context,
    credential: &Credential,
) -> Result<Material, TokenError> {
    let environment = &context.settings.identity;
    match &credential.issuer.operator_identity {
        Some(OperatorIdentity::Imds(origin)) => Ok(Material::Local(Local::Imds(origin.clone()))),
        Some(OperatorIdentity::AzureArc(origin)) => {
            Ok(Material::Local(Local::AzureArc(origin.clone(), None)))
        }
        Some(OperatorIdentity::AppService) => match (&environment.endpoint, &environment.header) {
            (Some(endpoint), Some(header)) => Ok(Material::Local(Local::AppService(
                endpoint.clone(),
                header.clone(),
            ))),
            _ => Err(fault(
                "the operator's environment has no IDENTITY_ENDPOINT and IDENTITY_HEADER; is an identity assigned to it?",
            )),
        },
        Some(OperatorIdentity::WorkloadIdentity) => {
            let path = environment.federated_token_file.as_ref().ok_or_else(|| {
                fault(
                    "the operator's environment has no AZURE_FEDERATED_TOKEN_FILE; label its pod for Entra Workload ID (see docs/identity.md)",
                )
            })?;
            // Read for each request: the kubelet renews the file, and an old copy is rejected (AADSTS700024).
            let bytes = tokio::fs::read(path)
                .await
                .map_err(|_| fault("the operator's federated token file cannot be read"))?;
            let assertion = oauth::secret_text(bytes.trim_ascii_end())
                .map_err(|_| fault("the operator's federated token file contains no token"))?;
            Ok(Material::Workload {
                assertion,
                client_id: environment.client_id.clone(),
            })
        }
        None => Err(fault(
            "this issuer does not allow the operator's identity; an administrator sets managedIdentity on a ClusterTokenIssuer",
        )),
    }
}

/// The endpoint with what the challenge requires, if the response is a challenge. The Azure Arc agent checks that its client
/// may read its files: it names a file, and requires its content.
pub(in crate::controller) async fn after_challenge(
    context: &Context,
    local: &Local,
    answer: &RawAnswer,
) -> Result<Option<Local>, TokenError> {
    let (Local::AzureArc(origin, None), 401) = (local, answer.status) else {
        return Ok(None);
    };
    let folder = &context.settings.identity.arc_folder;
    let path = oauth::arc_key_file(answer, &folder.to_string_lossy())?;
    let unreadable = || {
        TokenError::local(
            Class::Transient,
            Reason::IdentityEndpointRefused,
            "the Azure Arc agent's key file cannot be read; the operator must run on that machine in the group himds",
        )
    };
    let about = tokio::fs::symlink_metadata(&path)
        .await
        .map_err(|_| unreadable())?;
    if !about.is_file() || about.len() > MAX_ARC_KEY as u64 {
        return Err(unreadable());
    }
    let bytes = tokio::fs::read(&path).await.map_err(|_| unreadable())?;
    let key = oauth::secret_text(bytes.trim_ascii_end()).map_err(|_| unreadable())?;
    let header = SecretString::from(format!("Basic {}", key.expose_secret()));
    Ok(Some(Local::AzureArc(origin.clone(), Some(header))))
}
