//! How permissions are granted in Entra ID, for messages: to an application by consent, to a managed identity by an assignment.

use crate::credential::{AuthenticationMethod, Credential, Endpoint};

/// The rest of a sentence about a consent that is required.
pub fn how(credential: &Credential) -> String {
    let Endpoint::Entra { authority } = &credential.issuer.endpoint else {
        return String::new();
    };
    // A managed identity has no registration, so there is no consent page.
    if matches!(
        credential.authentication,
        AuthenticationMethod::ManagedIdentity(_)
    ) {
        return ": a managed identity is given app roles by an administrator with Microsoft Graph (POST /servicePrincipals/{object id of the identity}/appRoleAssignments)".to_owned();
    }
    let id = &credential.client_id;
    // The page redirects at its end. An application for application context has no redirect URI.
    let end = if credential.grant.for_user() {
        ""
    } else {
        " (if the last page shows AADSTS500113, the consent was granted nevertheless), or az ad app permission admin-consent --id "
    };
    let named = if end.is_empty() { "" } else { id.as_str() };
    format!(": {authority}/adminconsent?client_id={id}{end}{named}")
}
