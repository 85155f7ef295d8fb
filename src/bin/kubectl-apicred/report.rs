//! The result of a sign-in, without a token.

use apicred::{credential::Credential, oauth::Token};

/// The content of the report.
pub(crate) struct Report<'a> {
    /// The credential as declared.
    pub(crate) credential: &'a Credential,
    pub(crate) user: Option<&'a str>,
    pub(crate) token: &'a Token,
    /// Where the refresh token is stored.
    pub(crate) place: &'a str,
    pub(crate) key: &'a str,
}

impl Report<'_> {
    /// The lines for the terminal.
    pub(crate) fn lines(&self) -> Vec<String> {
        let credential = self.credential;
        let user_part = self
            .user
            .map_or_else(String::new, |name| format!(" as {name}"));
        let mut lines = vec![format!("Signed in{user_part}.")];
        let mut line = |name: &str, value: String| {
            if !value.is_empty() {
                lines.push(format!("  {name:<12}{value}"));
            }
        };
        line(
            "credential",
            format!("{}/{}", credential.namespace, credential.name),
        );
        line("client", credential.client_id.clone());
        let (id, origin) = (credential.issuer.id.to_string(), &credential.issuer.origin);
        // An issuer without an object is already identified by its address.
        line(
            "issuer",
            if id.contains(origin) {
                id
            } else {
                format!("{id}, {origin}")
            },
        );
        let claims = self.token.claims.as_ref();
        line(
            "API",
            claims.map(|c| c.audience.join(" ")).unwrap_or_default(),
        );
        let granted = self.token.scope.clone();
        line(
            "granted",
            granted.unwrap_or_else(|| claims.map(|c| c.scopes.join(" ")).unwrap_or_default()),
        );
        line(
            "not granted",
            self.token
                .not_granted(&credential.issuer, &credential.request.scopes)
                .join(" "),
        );
        line("stored in", format!("{}, key {}", self.place, self.key));
        let next = format!(
            "apicred uses it automatically; check with: kubectl get apicredential {} --namespace {}",
            credential.name, credential.namespace
        );
        lines.push(if credential.suspend {
            "The credential is suspended; apicred uses the sign-in when spec.suspend is removed."
                .to_owned()
        } else {
            next
        });
        lines
    }
}
