//! A git server: `git http-backend` behind Basic authentication, as at GitHub
//! (docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation).

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use dev_issuer::DevIssuer;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command, task::JoinHandle};

/// Longest request.
const LONGEST: usize = 8 << 20;

/// Serves bare repositories to the tokens of one installation.
pub(crate) struct GitServer {
    address: SocketAddr,
    task: JoinHandle<()>,
    rules: Arc<Rules>,
}

struct Rules {
    issuer: Arc<DevIssuer>,
    /// `sub` of accepted tokens.
    subject: String,
    folder: TempDir,
    /// IDs of the tokens that were used.
    seen: Mutex<Vec<String>>,
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl GitServer {
    /// Starts one with a repository that has one commit with a file.
    pub(crate) async fn start(issuer: Arc<DevIssuer>, subject: String, repository: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (bare, work) = (folder.path().join(repository), folder.path().join("work"));
        let (bare, work) = (text(&bare), text(&work));
        for args in [
            &["init", "--quiet", "--bare", "-b", "main", &bare][..],
            &["clone", "--quiet", &bare, &work],
            &["-C", &work, "checkout", "--quiet", "-b", "main"],
            &[
                "-C",
                &work,
                "commit",
                "--quiet",
                "--allow-empty",
                "-m",
                "first",
            ],
            &["-C", &work, "push", "--quiet", "origin", "main"],
        ] {
            let (good, output) = run(git(folder.path()).args(args)).await;
            assert!(good, "git {args:?}: {output}");
        }
        let rules = Arc::new(Rules {
            issuer,
            subject,
            folder,
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = Arc::clone(&rules);
        let router = Router::new().fallback(move |request| serve(Arc::clone(&serving), request));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server");
        });
        Self {
            address,
            task,
            rules,
        }
    }

    /// The address of a repository.
    pub(crate) fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }

    /// Whether a token with this ID was used.
    pub(crate) fn has_seen(&self, token_id: &str) -> bool {
        let seen = self.rules.seen.lock().expect("no panic");
        seen.iter().any(|id| id == token_id)
    }
}

/// git with only this home folder.
pub(crate) fn git(home: &Path) -> Command {
    let mut git = Command::new("git");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GIT_")) {
        git.env_remove(name);
    }
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "Ada");
        git.env(format!("GIT_{role}_EMAIL"), "ada@contoso.example");
    }
    git.env("HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    git
}

/// Runs it to its end; returns whether it succeeded, and its output.
pub(crate) async fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().await.expect("git");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

async fn serve(rules: Arc<Rules>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let header = |name: &str| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
    let query = head.uri.query().unwrap_or_default();
    let path = head.uri.path();
    let writes = path.ends_with("/git-receive-pack") || query == "service=git-receive-pack";
    if let Err(refused) = rules.admit(header("authorization").as_deref(), writes) {
        return refused;
    }
    let body = to_bytes(body, LONGEST).await.expect("a body");
    let mut backend = git(rules.folder.path());
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", rules.folder.path())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "x-access-token")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env(
            "HTTP_CONTENT_ENCODING",
            header("content-encoding").unwrap_or_default(),
        )
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default());
    cgi(backend, body).await
}

impl Rules {
    /// A token of the installation, for reading or also for writing.
    fn admit(&self, authorization: Option<&str>, writes: bool) -> Result<(), Response> {
        let refuse = |status: u16, why: &'static str| {
            Response::builder()
                .status(status)
                .header("www-authenticate", "Basic realm=\"GitHub\"")
                .body(Body::from(why))
                .expect("an answer")
        };
        let pair = authorization
            .and_then(|value| STANDARD.decode(value.strip_prefix("Basic ")?).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let token = pair
            .as_deref()
            .and_then(|p| p.strip_prefix("x-access-token:"));
        let claims = token.and_then(|token| self.issuer.validate(token).ok());
        let claims = claims.filter(|claims| claims.sub == self.subject);
        let claims = claims.ok_or_else(|| refuse(401, "no token of the installation"))?;
        let scope = claims.scope.as_deref().unwrap_or_default();
        let may = |level| scope.split(' ').any(|s| s == format!("contents:{level}"));
        if !(may("write") || may("read") && !writes) {
            return Err(refuse(403, "the permission contents is not enough"));
        }
        let id = claims.token_id().unwrap_or_default().to_owned();
        self.seen.lock().expect("no panic").push(id);
        Ok(())
    }
}

/// Runs a CGI program (RFC 3875); its answer is a response.
async fn cgi(mut program: Command, body: Bytes) -> Response {
    program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = program.spawn().expect("git http-backend");
    let mut input = child.stdin.take().expect("its input");
    let feeding = async move {
        // It may answer without reading the whole body.
        let _ = input.write_all(&body).await;
    };
    let ((), output) = tokio::join!(feeding, child.wait_with_output());
    let output = output.expect("its answer").stdout;
    let end = output.windows(4).position(|w| w == b"\r\n\r\n");
    let (head, body) = output.split_at(end.expect("the end of its head"));
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(head).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        response = match name {
            "Status" => response.status(&value[..3]),
            _ => response.header(name, value),
        };
    }
    let body = Bytes::copy_from_slice(&body[4..]);
    response.body(Body::from(body)).expect("an answer")
}
