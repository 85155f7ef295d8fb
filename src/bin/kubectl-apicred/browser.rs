//! Opens the user's browser, if there is one.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use url::Url;

/// A program that has not failed by then counts as successful.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tries to open the address. Returns true if a program opened it.
pub(crate) async fn open(url: &Url) -> bool {
    for (program, arguments) in starters() {
        let started = Command::new(program)
            .args(arguments)
            .arg(url.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = started else {
            continue;
        };
        let mut waited = Duration::ZERO;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return true,
                Ok(None) if waited < PATIENCE => {}
                Ok(None) => return true,
                Ok(Some(_)) | Err(_) => break,
            }
            let step = Duration::from_millis(50);
            tokio::time::sleep(step).await;
            waited += step;
        }
    }
    false
}

/// Programs that open an address on this system, best first. A program gets its arguments unchanged: no shell reads the
/// address.
fn starters() -> Vec<(String, Vec<&'static str>)> {
    let plain = |program: &str| (program.to_owned(), Vec::new());
    if cfg!(target_os = "macos") {
        return vec![plain("open")];
    }
    if cfg!(windows) {
        return vec![("rundll32".to_owned(), vec!["url.dll,FileProtocolHandler"])];
    }
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    // Without a display xdg-open would start a browser inside this terminal.
    if is_set("WSL_DISTRO_NAME") {
        vec![plain("wslview"), plain("xdg-open")]
    } else if is_set("DISPLAY") || is_set("WAYLAND_DISPLAY") {
        vec![plain("xdg-open")]
    } else {
        Vec::new()
    }
}
