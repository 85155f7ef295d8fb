//! `testenv run`: a command with a separate control plane. Part of the program, not of the library.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};

use testenv::{ControlPlane, Error, Options};
use tokio::process::{Child, Command};
use tokio::signal::unix::Signal;

/// Writes its process ID to a file, then becomes the command. If the folder does not exist, the owner has ended,
/// and the command must not start.
const BECOME: &str = r#"echo $$ >"$1/pid" || exit 1; shift; exec "$@""#;

/// Waits until this process ends, then ends the command and removes the folder with its process ID. The command
/// may have been started so recently that the ID is not written yet.
const GUARD: &str = r#"
read -r _
tries=0
while [ ! -s "$1/pid" ] && [ "$tries" -lt 20 ]; do sleep 0.1; tries=$((tries + 1)); done
read -r pid <"$1/pid" && kill -TERM "$pid"
rm -rf -- "$1"
"#;

/// Runs the command and returns its exit code.
pub(crate) async fn run(
    command: &[OsString],
    with_helm: bool,
    interrupt: &mut Signal,
    terminate: &mut Signal,
) -> Result<ExitCode, Error> {
    let start = async {
        let cluster = ControlPlane::start(Options::default()).await?;
        let mut path = vec![cluster.programs().dir().to_path_buf()];
        if with_helm {
            path.extend(cluster.programs().helm().await?.parent().map(Into::into));
        }
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        Ok::<_, Error>((cluster, std::env::join_paths(path).unwrap_or_default()))
    };
    let (cluster, path) = tokio::select! {
        started = start => started?,
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
    };

    let name = command
        .first()
        .map(|program| program.display().to_string())
        .unwrap_or_default();
    let failed = |source| Error::Io {
        doing: format!("running {name}"),
        source,
    };
    let folder = tempfile::tempdir().map_err(failed)?;
    // Started before the command, so that the command is never without it.
    let guard = guard(folder.path()).map_err(failed)?;
    let mut child = Command::new("/bin/sh")
        .args(["-c", BECOME, "testenv-run"])
        .arg(folder.path())
        .args(command)
        .env("KUBECONFIG", cluster.admin_kubeconfig())
        .env("PATH", path)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let number = child.id().unwrap_or_default().to_string();
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(failed)?,
            // The terminal sends Ctrl-C to the command as well: it ends first, and then this program.
            _ = interrupt.recv() => {}
            _ = terminate.recv() => pass_on(&number).await,
        }
    };
    // Immediately, before the process ID can belong to another process.
    end(guard).await;
    Ok(ExitCode::from(code(status)))
}

/// In a separate process group, so that Ctrl-C at the terminal does not end it.
fn guard(folder: &Path) -> std::io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", GUARD, "testenv-guard"])
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

async fn pass_on(number: &str) {
    let _ = Command::new("/bin/sh")
        .args(["-c", "kill -TERM \"$1\"", "sh", number])
        .status()
        .await;
}

async fn end(mut guard: Child) {
    // If it is killed while its stdin is still open, it does nothing.
    let stdin = guard.stdin.take();
    let _ = guard.kill().await;
    drop(stdin);
}

/// The exit code in the format of a shell: 128 plus the number of a signal.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
