//! Nothing outlives its owner, however the owner ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use testenv::{Component, ControlPlane, OidcOptions, OidcProvider, Options, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_testenv");

/// Servers are killed at once; the folder goes a moment later.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// `testenv up`, with the folder and the processes of its control plane.
struct Up {
    owner: Child,
    folder: PathBuf,
    servers: Vec<u32>,
}

fn up() -> Up {
    let mut owner = Command::new(PROGRAM)
        .arg("up")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stdout = owner.stdout.take().expect("its stdout is a pipe");
    let line = BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("export KUBECONFIG=").map(PathBuf::from))
        .expect("it prints its kubeconfig");
    let folder = line
        .parent()
        .expect("a kubeconfig is in a folder")
        .to_path_buf();
    let servers = ["etcd", "kube-apiserver", "kube-controller-manager"]
        .map(|name| read_number(&folder.join(format!("{name}.pid"))))
        .to_vec();
    assert!(
        servers.iter().all(|pid| is_running(*pid)),
        "all servers run"
    );
    Up {
        owner,
        folder,
        servers,
    }
}

fn read_number(file: &Path) -> u32 {
    let text = std::fs::read_to_string(file).expect("a pid file");
    text.trim().parse().expect("a number")
}

/// A process that has ended and only waits to be reaped by its parent does not live.
fn is_running(pid: u32) -> bool {
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        return !stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z'));
    }
    signal(pid, "0").success()
}

fn signal(pid: u32, name: &str) -> ExitStatus {
    let script = r#"kill -s "$1" "$2" 2>/dev/null"#;
    Command::new("/bin/sh")
        .args(["-c", script, "sh", name, &pid.to_string()])
        .status()
        .expect("a shell")
}

async fn nothing_is_left(folder: &Path, servers: &[u32]) {
    eventually(GONE_WITHIN, "the end of all servers", async || {
        let left: Vec<_> = servers.iter().filter(|pid| is_running(**pid)).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?} live"))
        }
    })
    .await;
    eventually(GONE_WITHIN, "the end of the folder", async || {
        !folder.exists()
    })
    .await;
}

#[tokio::test]
async fn an_owner_killed_without_warning_leaves_nothing() {
    let mut up = up();
    up.owner.kill().unwrap();
    up.owner.wait().unwrap();
    nothing_is_left(&up.folder, &up.servers).await;
}

#[tokio::test]
async fn an_owner_that_receives_sigterm_leaves_no_process() {
    for name in ["TERM", "INT"] {
        let mut up = up();
        signal(up.owner.id(), name);
        assert!(
            up.owner.wait().unwrap().success(),
            "SIG{name} is a good end"
        );
        assert!(!up.folder.exists(), "the folder is gone before its owner");
        nothing_is_left(&up.folder, &up.servers).await;
    }
}

#[tokio::test]
async fn a_dropped_control_plane_leaves_nothing() {
    let cluster = ControlPlane::start(Options::default()).await.unwrap();
    let folder = cluster.dir().to_path_buf();
    let servers = [
        Component::Etcd,
        Component::ApiServer,
        Component::ControllerManager,
    ]
    .map(|component| cluster.pid_of(component));
    assert!(servers.iter().all(|pid| is_running(*pid)));
    drop(cluster);
    // No wait: drop returns when all of it is gone.
    assert!(!servers.iter().any(|pid| is_running(*pid)));
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_dropped_issuer_leaves_nothing() {
    let issuer = OidcProvider::start(OidcOptions::default()).await.unwrap();
    let pid = issuer.pid();
    assert!(is_running(pid));
    drop(issuer);
    assert!(!is_running(pid));
}

#[test]
fn run_gives_the_command_a_cluster_and_returns_its_exit_code() {
    let script = "kubectl get namespace default -o name && helm version --short && exit 7";
    let output = Command::new(PROGRAM)
        .args(["run", "--", "/bin/sh", "-c", script])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(7),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("namespace/default") && text.contains("v4."),
        "{text}"
    );
}

#[tokio::test]
async fn a_killed_run_ends_its_command_too() {
    let script = "echo $$; echo $KUBECONFIG; while :; do sleep 0.1; done";
    let mut owner = Command::new(PROGRAM)
        .args(["run", "--without-helm", "--", "/bin/sh", "-c", script])
        .stdout(Stdio::piped())
        // Were the command to live on, it should not keep the test's own stderr open.
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let command: u32 = lines.next().unwrap().unwrap().trim().parse().unwrap();
    let kubeconfig = PathBuf::from(lines.next().unwrap().unwrap());
    let folder = kubeconfig.parent().unwrap().to_path_buf();
    let server = read_number(&folder.join("kube-apiserver.pid"));
    owner.kill().unwrap();
    owner.wait().unwrap();
    nothing_is_left(&folder, &[command, server]).await;
}
