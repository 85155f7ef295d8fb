//! Command lines of the three servers.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::scratch::Scratch;
use crate::tls::{Authority, SigningKey};
use crate::{Error, Options, kubeconfig::Kubeconfig, ports};

/// Every request, without bodies. `RequestReceived` contains nothing that a later stage does not contain.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
";

/// The data folder of etcd.
pub(crate) const ETCD_DATA: &str = "etcd-data";

/// The files and ports of one control plane, created before the first start and used again at restarts.
pub(crate) struct Layout {
    pub(crate) server_url: String,
    pub(crate) ca_pem: String,
    authority: Authority,
    pub(crate) admin_token: String,
    pub(crate) admin_kubeconfig: PathBuf,
    pub(crate) audit_log: PathBuf,
    etcd_client: u16,
    etcd_peer: u16,
    secure: u16,
    folder: PathBuf,
}

impl Layout {
    pub(crate) fn write(scratch: &Scratch) -> Result<Self, Error> {
        let authority = Authority::new("testenv control plane")?;
        let signing = SigningKey::new()?;
        let admin_token = random_token()?;

        scratch.write("ca.crt", authority.ca_pem())?;
        write_certificate(scratch, &authority)?;
        scratch.write("service-account.key", &signing.private_pem)?;
        scratch.write("service-account.pub", &signing.public_pem)?;
        scratch.write(
            "tokens.csv",
            &format!("{admin_token},admin,admin,\"system:masters\"\n"),
        )?;
        scratch.write("audit-policy.yaml", AUDIT_POLICY)?;

        let secure = ports::free()?;
        let server_url = format!("https://127.0.0.1:{secure}");
        let admin_kubeconfig = scratch.path().join("admin.kubeconfig");
        let kubeconfig = Kubeconfig {
            server: &server_url,
            ca_pem: authority.ca_pem(),
            user: "admin",
            token: &admin_token,
            namespace: "default",
        };
        kubeconfig.write(&admin_kubeconfig)?;
        Ok(Self {
            server_url,
            ca_pem: authority.ca_pem().to_owned(),
            authority,
            admin_token,
            admin_kubeconfig,
            audit_log: scratch.path().join("audit.jsonl"),
            etcd_client: ports::free()?,
            etcd_peer: ports::free()?,
            secure,
            folder: scratch.path().to_path_buf(),
        })
    }

    /// Another certificate of the API server, from the same CA.
    pub(crate) fn renew_certificate(&self, scratch: &Scratch) -> Result<(), Error> {
        write_certificate(scratch, &self.authority)
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub(crate) fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_client)
    }

    pub(crate) fn etcd(&self, options: &Options) -> Vec<String> {
        let client = self.etcd_url();
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer);
        let mut flags = vec![
            format!("--data-dir={}", self.file(ETCD_DATA)),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".to_owned(),
        ];
        if !options.fsync {
            // The data is deleted with the folder, so waiting for the disk would only slow the tests.
            flags.push("--unsafe-no-fsync".to_owned());
        }
        flags
    }

    pub(crate) fn apiserver(&self, options: &Options) -> Vec<String> {
        let mut flags = self.apiserver_at(&self.etcd_url(), self.secure);
        if options.audit {
            flags.extend([
                format!("--audit-policy-file={}", self.file("audit-policy.yaml")),
                format!("--audit-log-path={}", self.audit_log.display()),
                "--audit-log-format=json".to_owned(),
                // Written before the request ends, so that a test need not wait for a batch.
                "--audit-log-mode=blocking".to_owned(),
                // In MB, before the log is rotated. It must never be rotated, because marks are offsets in one file.
                "--audit-log-maxsize=1000000".to_owned(),
            ]);
        }
        flags.extend(options.apiserver_flags.iter().cloned());
        flags
    }

    /// The flags of an API server on this port with its store at this URL.
    pub(crate) fn apiserver_at(&self, etcd: &str, port: u16) -> Vec<String> {
        vec![
            format!("--etcd-servers={etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            // Loopback is not a valid endpoint of a Service, so it must not be published as one.
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", self.file("apiserver.crt")),
            format!("--tls-private-key-file={}", self.file("apiserver.key")),
            format!("--cert-dir={}", self.file("apiserver-certs")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            format!("--service-account-issuer={}", self.server_url),
            format!(
                "--service-account-signing-key-file={}",
                self.file("service-account.key")
            ),
            format!(
                "--service-account-key-file={}",
                self.file("service-account.pub")
            ),
            "--authorization-mode=RBAC".to_owned(),
            format!("--token-auth-file={}", self.file("tokens.csv")),
            "--allow-privileged".to_owned(),
        ]
    }

    pub(crate) fn controller_manager(&self, options: &Options) -> Vec<String> {
        let mut flags = vec![
            format!("--kubeconfig={}", self.admin_kubeconfig.display()),
            format!(
                "--service-account-private-key-file={}",
                self.file("service-account.key")
            ),
            format!("--root-ca-file={}", self.file("ca.crt")),
            "--use-service-account-credentials".to_owned(),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            // No client sends requests to it, so it needs no port.
            "--secure-port=0".to_owned(),
            // With the default of 20 requests per second, its start takes four seconds: each of its
            // controllers first requests a token of its ServiceAccount.
            "--kube-api-qps=1000".to_owned(),
            "--kube-api-burst=2000".to_owned(),
        ];
        flags.extend(options.controller_manager_flags.iter().cloned());
        flags
    }
}

/// Creates a certificate of the API server.
fn write_certificate(scratch: &Scratch, authority: &Authority) -> Result<(), Error> {
    // The second pair has the names that Pods use; clients in the service network check it.
    let certificate = authority.certificate_for(&[
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "kubernetes.default.svc",
    ])?;
    scratch.write("apiserver.crt", &certificate.certificate_pem)?;
    scratch.write("apiserver.key", &certificate.key_pem)?;
    Ok(())
}

/// A random bearer token.
fn random_token() -> Result<String, Error> {
    let mut bytes = [0; 32];
    ports::fill_random(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
