//! Access of tests to refresh tokens.

use jiff::Timestamp;

use super::Consented;
use crate::issuer::DevIssuer;
use crate::signin::Realm;

impl DevIssuer {
    /// A refresh token of the default tenant as a sign-in leaves it.
    pub fn issue_refresh_token(&self, client: &str, user: &str, scope: &str) -> String {
        let realm = Realm::Entra(self.tenant().to_owned());
        self.sign_in(realm, client, user, scope)
    }

    /// A refresh token of the generic issuer as a sign-in leaves it.
    pub fn issue_generic_refresh_token(&self, client: &str, user: &str, scope: &str) -> String {
        self.sign_in(Realm::Generic, client, user, scope)
    }

    fn sign_in(&self, realm: Realm, client: &str, user: &str, scope: &str) -> String {
        let consented = Consented {
            realm,
            client_id: client.to_owned(),
            user: user.to_owned(),
            scope: scope.to_owned(),
            audience: None,
            claims: None,
        };
        self.shared
            .refresh_tokens
            .issue(consented, Timestamp::now())
    }

    /// Whether this refresh token can still be used.
    pub fn is_alive(&self, refresh_token: &str) -> bool {
        let now = Timestamp::now();
        self.shared.refresh_tokens.is_alive(refresh_token, now)
    }

    /// Whether any token from the same sign-in can still be used.
    pub fn family_alive(&self, refresh_token: &str) -> bool {
        let now = Timestamp::now();
        self.shared
            .refresh_tokens
            .is_family_alive(refresh_token, now)
    }

    /// Revokes a refresh token and all others from the same sign-in.
    pub fn revoke_family(&self, refresh_token: &str) {
        self.shared.refresh_tokens.revoke_family(refresh_token);
    }

    /// Revokes every consent of a user: refresh tokens are refused from now on, access tokens stay valid until they
    /// expire.
    pub fn revoke_sign_ins(&self, user: &str) {
        self.shared.refresh_tokens.revoke_user(user);
    }
}
