use std::fmt::Write;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::*;

const SECRET: &str = "not-to-be-shown";

/// The sentence about a client for a kubeconfig with this cluster and user.
async fn refused(cluster: &str, user: &str) -> String {
    let mut text =
        "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n".to_owned();
    write!(
        text,
        "clusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:9\"{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
    )
    .unwrap();
    let read = Kubeconfig::from_yaml(&text).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let config = match config {
        Ok(config) => config,
        Err(error) => return kubeconfig(&error),
    };
    let program = program(&config.auth_info);
    match Client::try_from(config) {
        Ok(_) => "none".to_owned(),
        Err(error) => sentence(&error, program.as_deref()),
    }
}

#[tokio::test]
async fn the_cause_is_named_and_nothing_of_a_credential_is_shown() {
    let exec = |command: &str, script: &str| {
        format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {command}, args: [-c, '{script}', {SECRET}], env: [{{name: KEY, value: {SECRET}}}]}}"
        )
    };
    let proxy = |scheme: &str| format!(", proxy-url: \"{scheme}://u:{SECRET}@proxy.example:3128\"");
    #[rustfmt::skip]
    let cases = [
        ("", exec("sh", "echo $KEY; echo $KEY >&2; exit 7"), "credential plugin sh of the kubeconfig failed with exit code 7"),
        ("", exec("sh", "kill -9 $$"), "credential plugin sh of the kubeconfig was ended by a signal"),
        ("", exec("nosuch-plugin", ""), "credential plugin nosuch-plugin of the kubeconfig does not exist, or is not in PATH"),
        ("", exec("sh", "echo token: $KEY: x"), "output of the credential plugin sh of the kubeconfig is not an ExecCredential"),
        ("", exec("sh", "echo status: $KEY"), "is not an ExecCredential"),
        ("", exec("sh", "echo \"{status: {token: $KEY, expirationTimestamp: $KEY}}\""), "not a time of RFC 3339"),
        ("", format!("auth-provider: {{name: gcp, config: {{cmd-path: \"false\", cmd-args: {SECRET}}}}}"), "credential plugin false of the kubeconfig failed with exit code 1"),
        ("", format!("auth-provider: {{name: other, config: {{key: {SECRET}}}}}"), "auth-provider"),
        ("", format!("client-certificate-data: {SECRET}=, client-key-data: {SECRET}"), "client-certificate"),
        ("", "tokenFile: /nosuch/token".to_owned(), "/nosuch/token cannot be read"),
        (&*proxy("http"), String::new(), "proxy-url (host proxy.example)"),
        (&*proxy("socks5"), String::new(), "proxy-url (host proxy.example)"),
        (&*proxy("ftp"), String::new(), "proxy-url (host proxy.example)"),
        (", certificate-authority: /nosuch/ca", String::new(), "/nosuch/ca cannot be read"),
    ];
    for (cluster, user, expected) in cases {
        let why = refused(cluster, &user).await;
        assert!(why.contains(expected), "{cluster} {user}: {why}");
        assert!(!why.contains(SECRET), "{cluster} {user}: {why}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_of_a_newer_version_or_of_another_program() {
    for (body, expected) in [
        (
            "{\"kind\":\"Secret\"}",
            "use the version of the installed CRDs",
        ),
        ("<html>", "sign-in page"),
        ("", "sign-in page"),
    ] {
        let error = serde_json::from_str::<Vec<u8>>(body).expect_err("another form");
        let why = sentence(&kube::Error::SerdeError(error), None);
        assert!(why.contains(expected), "{body}: {why}");
    }
}

#[tokio::test]
async fn a_connection_that_fails_has_its_cause() {
    let of = async |server: &str| {
        let mut config = Config::new(server.parse().expect("a URL"));
        config.default_retry = false;
        let client = Client::try_from(config).expect("a client");
        let error = client.apiserver_version().await.expect_err("no answer");
        sentence(&error, None)
    };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("its address");
    drop(closed);
    let why = of(&format!("http://{address}")).await;
    assert!(
        why.contains("no connection") && why.contains("refused"),
        "{why}"
    );
    let why = of("http://nosuch.invalid").await;
    assert!(why.contains("DNS"), "{why}");

    let plain = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = plain.local_addr().expect("its address");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = plain.accept().await {
            use tokio::io::AsyncWriteExt;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            // A closed one would be a connection that was reset.
            open.push(stream);
        }
    });
    let why = of(&format!("https://{address}")).await;
    assert!(why.contains("TLS handshake"), "{why}");
}

#[test]
fn a_certificate_that_is_not_trusted_is_named() {
    for (cause, expected) in [
        (CertificateError::UnknownIssuer, "a CA that is not trusted"),
        (CertificateError::Expired, "has expired"),
        (CertificateError::NotValidForName, "not for its host name"),
    ] {
        let inner = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidCertificate(cause),
        );
        let error = kube::Error::Service(Box::new(io::Error::other(inner)));
        let why = sentence(&error, None);
        assert!(why.contains(expected), "{why}");
    }
}
