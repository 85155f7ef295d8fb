//! Errors of the client of the API server, as sentences.
//!
//! The texts of kube contain what it has read and started: the environment, arguments and output of a credential plugin, the lines of a
//! kubeconfig around a defect, and the password of a proxy. So none of these texts is shown.

use std::{error::Error, io};

use http::Uri;
use kube::{
    client::{AuthError, RustlsTlsError},
    config::{AuthInfo, KubeconfigError, LoadDataError},
};
use rustls::CertificateError;

use crate::{bounded, http::tls_error};

/// Longest name of a program, context or host that is shown.
const NAME: usize = 253;
/// An answer that does not come from an API server.
const FOREIGN: &str = "the answer is not that of a Kubernetes API server, but for example that of a proxy or of a sign-in page; check server in the kubeconfig, and the network";

/// The program that a kubeconfig names for credentials.
pub fn program(auth: &AuthInfo) -> Option<String> {
    let exec = auth.exec.as_ref().and_then(|exec| exec.command.clone());
    let provider = auth.auth_provider.as_ref();
    exec.or_else(|| provider?.config.get("cmd-path").cloned())
}

/// Why a client cannot be built, or a call failed. `program`: the program that provides the credentials, if it is known.
pub fn sentence(error: &kube::Error, program: Option<&str>) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server answers HTTP {}", status.code),
        kube::Error::Auth(error) => auth(error, program),
        kube::Error::InferKubeconfig(error) => kubeconfig(error),
        kube::Error::ProxyProtocolUnsupported { proxy_url }
        | kube::Error::ProxyProtocolDisabled { proxy_url, .. } => proxy(proxy_url),
        kube::Error::RustlsTls(error) => certificates(error).to_owned(),
        kube::Error::SerdeError(error) if error.is_data() => {
            "the answer has a form that this program does not know; use the version of the installed CRDs".to_owned()
        }
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => FOREIGN.to_owned(),
        other => broken(other),
    }
}

/// Why a kubeconfig cannot be used. Only names of contexts, clusters and files are shown.
pub fn kubeconfig(error: &KubeconfigError) -> String {
    use KubeconfigError as E;
    match error {
        E::CurrentContextNotSet => {
            "it has no current-context; set it, or name a context".to_owned()
        }
        E::KindMismatch => "its files have different kinds".to_owned(),
        E::ApiVersionMismatch => "its files have different API versions".to_owned(),
        E::LoadContext(name) => format!("the context {} does not exist", bounded(name, NAME)),
        E::LoadClusterOfContext(name) => {
            format!(
                "the cluster {} of the context does not exist",
                bounded(name, NAME)
            )
        }
        E::FindPath => "the home folder is not known".to_owned(),
        E::ReadConfig(error, _) => error.to_string(),
        // Even the first line of the parser's text may contain a value of the file.
        E::Parse(error) => match error.location() {
            Some(at) => format!(
                "line {}, column {} is not that of a kubeconfig",
                at.line(),
                at.column()
            ),
            None => "it is not a kubeconfig".to_owned(),
        },
        E::MissingClusterUrl => "the cluster has no server".to_owned(),
        E::ParseClusterUrl(_) => "server of the cluster is not a URL".to_owned(),
        E::ParseProxyUrl(_) => "proxy-url of the cluster, or HTTPS_PROXY, is not a URL".to_owned(),
        E::LoadCertificateAuthority(error) => loaded("certificate-authority", error),
        E::LoadClientCertificate(error) => loaded("client-certificate", error),
        E::LoadClientKey(error) => loaded("client-key", error),
        E::ParseCertificates(_) => "certificate-authority is not PEM".to_owned(),
    }
}

fn loaded(field: &str, error: &LoadDataError) -> String {
    match error {
        LoadDataError::DecodeBase64(_) => format!("{field}-data is not base64"),
        LoadDataError::ReadFile(error, path) => {
            format!("{field}: {} cannot be read: {error}", path.display())
        }
        LoadDataError::NoBase64DataOrFile => format!("{field} is missing"),
    }
}

/// Why there are no credentials.
fn auth(error: &AuthError, program: Option<&str>) -> String {
    use AuthError as E;
    let plugin = match program {
        Some(name) => format!(
            "the credential plugin {} of the kubeconfig",
            bounded(name, NAME)
        ),
        None => "the credential plugin of the kubeconfig".to_owned(),
    };
    match error {
        E::AuthExecStart(error) if error.kind() == io::ErrorKind::NotFound => format!(
            "{plugin} does not exist, or is not in PATH; install it, or correct exec.command of the user"
        ),
        E::AuthExecStart(error) => format!("{plugin} cannot be started: {error}"),
        E::AuthExecRun { out, .. } => match out.status.code() {
            Some(code) => format!("{plugin} failed with exit code {code}; run it alone to see why"),
            None => format!("{plugin} was ended by a signal; run it alone to see why"),
        },
        E::AuthExecParse(_) | E::ParseTokenKey(_) | E::ExecPluginFailed => {
            format!("the output of {plugin} is not an ExecCredential with a status")
        }
        E::UnrefreshableTokenResponse => format!("{plugin} returned no new token"),
        E::MalformedTokenExpirationDate(_) => {
            format!("the output of {plugin} has an expiry that is not a time of RFC 3339")
        }
        E::MissingCommand => "the user of the kubeconfig has exec without a command".to_owned(),
        E::AuthExecSerialize(_) | E::ExecMissingClusterInfo => {
            format!("{plugin} needs information about the cluster that is not known")
        }
        E::AuthExec(_) => {
            "the auth-provider of the kubeconfig failed or is not supported; use a credential plugin (exec) or a token".to_owned()
        }
        E::InvalidBasicAuth(_) => {
            "the user name or password of the kubeconfig has characters that HTTP does not allow".to_owned()
        }
        E::InvalidBearerToken(_) => {
            "the token for the API server has characters that HTTP does not allow, such as a line break".to_owned()
        }
        E::ReadTokenFile(error, path) => {
            format!("the token file {} cannot be read: {error}", path.display())
        }
        E::NoValidNativeRootCA(_) => "the system has no CA that can be used".to_owned(),
    }
}

/// The proxy of a kubeconfig; the URL may contain a user and password.
fn proxy(url: &Uri) -> String {
    format!(
        "the kubeconfig has a proxy-url (host {}), and apicred connects to the API server without a proxy; remove it, or make the API server reachable directly",
        bounded(url.host().unwrap_or("unknown"), NAME)
    )
}

fn certificates(error: &RustlsTlsError) -> &'static str {
    use RustlsTlsError as E;
    match error {
        E::InvalidIdentityPem(_)
        | E::MissingPrivateKey
        | E::MissingCertificate
        | E::InvalidPrivateKey(_)
        | E::UnknownPrivateKeyFormat => {
            "the client certificate or its key cannot be used; correct client-certificate and client-key of the kubeconfig"
        }
        E::AddRootCertificate(_) => {
            "the CA cannot be used; correct certificate-authority of the kubeconfig"
        }
        E::NoValidNativeRootCA(_) => "the system has no CA that can be used",
        E::InvalidServerName(_) => "tls-server-name of the kubeconfig is not a name",
    }
}

/// A call without an answer.
fn broken(error: &(dyn Error + 'static)) -> String {
    let mut cause = Some(error);
    let mut connects = false;
    while let Some(this) = cause {
        if let Some(error) = this.downcast_ref::<AuthError>() {
            return auth(error, None);
        }
        if let Some(error) = tls_error(this) {
            return tls(error);
        }
        if let Some(io) = this.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::TimedOut => {
                    return "the API server does not answer in time; check server in the kubeconfig, and the network".to_owned();
                }
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable => {
                    return format!(
                        "no connection to the API server ({}); check server in the kubeconfig, and the network",
                        io.kind()
                    );
                }
                _ => {}
            }
        }
        // The type is private to the HTTP client.
        if this.to_string().starts_with("dns error") {
            return "DNS has no address for the API server; check server in the kubeconfig, and the network".to_owned();
        }
        connects |= this
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect);
        cause = this.source();
    }
    if connects {
        "no connection to the API server; check server in the kubeconfig, and the network"
    } else {
        "the connection to the API server ended without an answer; check the network"
    }
    .to_owned()
}

fn tls(error: &rustls::Error) -> String {
    use CertificateError as C;
    let rustls::Error::InvalidCertificate(cause) = error else {
        return format!(
            "the TLS handshake with the API server failed ({}); check server and the client certificate in the kubeconfig",
            bounded(&error.to_string(), NAME)
        );
    };
    let what = match cause {
        C::UnknownIssuer => "is signed by a CA that is not trusted",
        C::Expired | C::ExpiredContext { .. } => "has expired",
        C::NotValidYet | C::NotValidYetContext { .. } => "is not valid yet",
        C::NotValidForName | C::NotValidForNameContext { .. } => "is not for its host name",
        _ => "is not acceptable",
    };
    format!(
        "the certificate of the API server {what}; check server and certificate-authority in the kubeconfig"
    )
}

#[cfg(test)]
mod tests;
