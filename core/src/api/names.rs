//! All names of annotations, labels and keys that apicred reads from, or writes to, objects of the cluster.

/// API group of the kinds.
pub const GROUP: &str = "apicred.dev";
/// Field manager of every write, and the `app.kubernetes.io/managed-by` value of target Secrets.
pub const MANAGER: &str = "apicred";
/// Standard label that marks target Secrets.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Prefix of apicred's own annotations; user labels and annotations may not use it.
pub const PREFIX: &str = "apicred.dev/";

/// Finalizer of a credential whose token is revoked before the credential is deleted.
pub const REVOKE_FINALIZER: &str = "apicred.dev/revoke";
/// On a credential: requests one renewal; each new value counts once and is copied to status.
pub const RENEW_REQUESTED_AT: &str = "apicred.dev/renew-requested-at";
/// On a source Secret or a ServiceAccount: origins (comma separated) of the issuers that may receive it. If set, it limits
/// every issuer.
pub const ALLOWED_ISSUERS: &str = "apicred.dev/allowed-issuers";
/// On a ServiceAccount: audiences (comma separated), in addition to the issuer's own, for which its tokens may be requested.
pub const ALLOWED_AUDIENCES: &str = "apicred.dev/allowed-audiences";
/// On a target Secret and on a state Secret: the issuer that issued the token in it.
pub const ISSUED_BY: &str = "apicred.dev/issued-by";
/// On a source Secret: when the client secret in it expires (RFC 3339, or a date), for a warning before the expiry.
pub const SECRET_EXPIRES_AT: &str = "apicred.dev/secret-expires-at";
/// On an `ApiClient`: requests one rotation; each new value counts once and is copied to status.
pub const ROTATE_REQUESTED_AT: &str = "apicred.dev/rotate-requested-at";
/// On a source Secret: name, or NAME@UID, of the `ApiClient` that may replace the client secret or certificate in it.
pub const ROTATE_BY: &str = "apicred.dev/rotate-by";
/// On a source Secret: the state of the rotation of the client's credential (JSON).
pub const ROTATION: &str = "apicred.dev/rotation";
/// On a source Secret: with `true` apicred stores a copy of the last certificate in it that got a token, with `false` it does not. If not set:
/// `true` for a Secret of cert-manager.
pub const KEEP_LAST_GOOD: &str = "apicred.dev/keep-last-good";
/// cert-manager writes it on the Secrets that it renews. Source: <https://cert-manager.io/docs/reference/annotations/>.
pub const CERT_MANAGER: &str = "cert-manager.io/certificate-name";
/// On such a copy: UID and resourceVersion of the original Secret (`UID/VERSION`); empty if the copy contains no key.
pub const LAST_GOOD_OF: &str = "apicred.dev/last-good-of";
/// On a source Secret: names (comma separated), or NAME@UID, of the credentials that may publish a static key from it.
pub const PUBLISH_BY: &str = "apicred.dev/publish-by";
/// On a state Secret: name, or NAME@UID, of the one credential whose refresh token it contains.
pub const STATE_OF: &str = "apicred.dev/state-of";
/// On a state Secret: when the refresh token in it was sent and not yet answered (RFC 3339), and by which process.
pub const IN_FLIGHT_SINCE: &str = "apicred.dev/in-flight-since";
/// On a state Secret: whether the issuer rotated the refresh token at the last refresh (`true` or `false`).
pub const ROTATES: &str = "apicred.dev/rotates";
/// On a state Secret: when the access token expires that apicred got last with its refresh token (RFC 3339). Written if the issuer does
/// not always accept a second use.
pub const TOKEN_EXPIRES_AT: &str = "apicred.dev/token-expires-at";
/// On a state Secret: why the issuer permanently refused the refresh token in it, and a digest of the refused request.
pub const SIGN_IN_REQUIRED: &str = "apicred.dev/sign-in-required";
/// On a state Secret: keyed digest of the refresh token that apicred stored last.
pub const STORED_REFRESH_TOKEN: &str = "apicred.dev/stored-refresh-token";
/// On a state Secret and on a target Secret: keyed digests of refresh tokens that were spent, with the time of use.
pub const SPENT_REFRESH_TOKENS: &str = "apicred.dev/spent-refresh-tokens";
/// On a state Secret: the scopes (space separated) that the sign-in requested, as `kubectl apicred login` writes them.
pub const SIGN_IN_SCOPES: &str = "apicred.dev/sign-in-scopes";
/// On an existing Secret: name, or NAME@UID, of the credential that may take it over.
pub const ADOPT_BY: &str = "apicred.dev/adopt-by";

/// On a target Secret: name of the owning credential.
pub const CREDENTIAL: &str = "apicred.dev/credential";
/// On a target Secret: UID of the owning credential.
pub const CREDENTIAL_UID: &str = "apicred.dev/credential-uid";
/// On a target Secret: the operator that wrote the token, as a number that it derives from its digest key.
pub const OPERATOR: &str = "apicred.dev/operator";
/// On a target Secret: when the token was requested (RFC 3339).
pub const ISSUED_AT: &str = "apicred.dev/issued-at";
/// On a target Secret: when the token expires (RFC 3339).
pub const EXPIRES_AT: &str = "apicred.dev/expires-at";
/// On a target Secret: when apicred will request the next one (RFC 3339).
pub const RENEW_AT: &str = "apicred.dev/renew-at";
/// On a target Secret: which rule chose `renew-at`.
pub const RENEW_REASON: &str = "apicred.dev/renew-reason";
/// On a target Secret: the source of the expiry.
pub const LIFETIME: &str = "apicred.dev/lifetime";
/// On a target Secret: digest of the request without its secret.
pub const REQUEST_DIGEST: &str = "apicred.dev/request-digest";
/// On a target Secret: keyed digest of the request and the content of the secret used.
pub const FINGERPRINT: &str = "apicred.dev/fingerprint";
/// On a target Secret: keyed digest of the token, to recognize an issuer that returns it again.
pub const TOKEN_DIGEST: &str = "apicred.dev/token-digest";
/// On a target Secret: which source Secrets were used or refused, with their versions (JSON).
pub const SOURCES: &str = "apicred.dev/sources";
/// On a target Secret: claims of the token, as far as it can be read (JSON).
pub const CLAIMS: &str = "apicred.dev/claims";
/// On a target Secret: scopes that were requested and not granted, according to the answer.
pub const NOT_GRANTED: &str = "apicred.dev/scopes-not-granted";
/// On a target Secret: the token's own id (`uti` or `jti`), to find it in the issuer's logs.
pub const TOKEN_ID: &str = "apicred.dev/token-id";
/// On a target Secret: the validity of the certificate that authenticated the client (`from/until`, RFC 3339).
pub const CERTIFICATE_VALIDITY: &str = "apicred.dev/certificate-validity";
/// On a target Secret: the value of `renew-requested-at` that this token answered.
pub const RENEW_HANDLED: &str = "apicred.dev/renew-handled";
/// On a target Secret: digest of labels, annotations, type and owner as apicred wrote them.
pub const TEMPLATE_DIGEST: &str = "apicred.dev/template-digest";
/// On a target Secret: the label and annotation keys that [`TEMPLATE_DIGEST`] covers (JSON).
pub const MANAGED_KEYS: &str = "apicred.dev/managed-keys";
/// On a target Secret, for Reloader: pods need no restart for a new token, because they read it from the mounted file.
pub const RELOADER_IGNORE: &str = "reloader.stakater.com/ignore";
/// On a pod: when the Secret that it mounts was last written (RFC 3339), see `spec.target.notifyPods`.
pub const TOKEN_UPDATED_AT: &str = "apicred.dev/token-updated-at";

/// On a target Secret: the annotations that describe its token. If one of them changes, the record is wrong.
pub const RECORD: [&str; 16] = [
    OPERATOR,
    ISSUED_AT,
    EXPIRES_AT,
    RENEW_AT,
    RENEW_REASON,
    LIFETIME,
    REQUEST_DIGEST,
    ISSUED_BY,
    FINGERPRINT,
    TOKEN_DIGEST,
    SOURCES,
    CLAIMS,
    NOT_GRANTED,
    TOKEN_ID,
    CERTIFICATE_VALIDITY,
    RENEW_HANDLED,
];
