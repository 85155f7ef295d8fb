//! Environment variables of the programs. An empty variable counts as not set, because a template without a value for it writes an empty one.

use std::{env, ffi::OsStr, path::PathBuf};

use clap::Command;
use rustls::{RootCertStore, pki_types::CertificateDer};
use rustls_native_certs::{load_certs_from_paths, load_native_certs};

/// A file with the CAs of the system, as OpenSSL names it.
const CA_FILE: &str = "SSL_CERT_FILE";

/// The same command, without the variables that are empty.
pub fn without_empty(command: Command) -> Command {
    without(command, is_empty)
}

/// Returns true if the variable is set and empty.
pub fn is_empty(name: &OsStr) -> bool {
    env::var_os(name).is_some_and(|value| value.is_empty())
}

fn without(command: Command, omitted: fn(&OsStr) -> bool) -> Command {
    command
        .mut_args(|arg| match arg.get_env() {
            Some(name) if omitted(name) => arg.env(None::<&'static str>),
            _ => arg,
        })
        .mut_subcommands(|command| without(command, omitted))
}

/// The CAs in `SSL_CERT_FILE` and `SSL_CERT_DIR`; if not set, those of the system. A CA that cannot be read is ignored.
pub fn cas() -> Vec<CertificateDer<'static>> {
    let found = load_native_certs().certs;
    // The library uses the empty variable as the name of a file, and then reads no other file.
    if !found.is_empty() || !is_empty(OsStr::new(CA_FILE)) {
        return found;
    }
    let known = openssl_probe::probe();
    let file = known.cert_file.iter().map(|file| (Some(file), None));
    let folders = known.cert_dir.iter().map(|folder| (None, Some(folder)));
    file.chain(folders)
        .map(|(file, folder): (Option<&PathBuf>, Option<&PathBuf>)| {
            load_certs_from_paths(file.map(PathBuf::as_path), folder.map(PathBuf::as_path)).certs
        })
        .find(|certs| !certs.is_empty())
        .unwrap_or_default()
}

/// The same for clients that load the CAs of the system themselves, and find none because the variable is empty. `None`: the variable does not hide
/// the CAs.
pub fn cas_if_hidden() -> Option<Vec<CertificateDer<'static>>> {
    if !is_empty(OsStr::new(CA_FILE)) {
        return None;
    }
    let mut cas = cas();
    // These clients accept no CA that they cannot parse.
    cas.retain(|der| RootCertStore::empty().add(der.clone()).is_ok());
    (!cas.is_empty()).then_some(cas)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn what_is_left_out_is_read_at_no_depth_and_the_rest_is_read() {
        // Both are set wherever tests run.
        let args = || ["PATH", "HOME"].map(|name| Arg::new(name).long(name).env(name));
        let inner = Command::new("inner").args(args());
        let outer = Command::new("outer").args(args());
        let command = outer.subcommand(inner);
        let found = |command: &Command, args: &[&str]| {
            let all = command.clone().get_matches_from(args);
            let of = all
                .subcommand()
                .map_or(all.clone(), |(_, inner)| inner.clone());
            ["PATH", "HOME"].map(|name| of.get_one::<String>(name).is_some())
        };
        let less = without(command.clone(), |name| name == "HOME");
        for args in [&["outer"][..], &["outer", "inner"]] {
            assert_eq!(found(&command, args), [true, true], "{args:?}");
            assert_eq!(found(&less, args), [true, false], "{args:?}");
        }
        let given = less.get_matches_from(["outer", "--HOME", "/a"]);
        let given = given.get_one::<String>("HOME").map(String::as_str);
        assert_eq!(given, Some("/a"), "a flag is read");
    }

    /// A separate process reads the variable.
    #[test]
    fn an_empty_ssl_cert_file_is_as_none() {
        let known = load_native_certs().certs;
        if is_empty(OsStr::new(CA_FILE)) {
            assert_eq!(known, []);
            assert_ne!(cas(), []);
            assert_ne!(cas_if_hidden(), None);
            return;
        }
        assert_eq!(cas(), known);
        assert_eq!(cas_if_hidden(), None);
        // Nothing to read.
        if known.is_empty() {
            return;
        }
        let this = [
            "--exact",
            "environment::tests::an_empty_ssl_cert_file_is_as_none",
        ];
        let again = std::process::Command::new(env::current_exe().unwrap())
            .args(this)
            .env(CA_FILE, "")
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(
            again.status.success() && output.contains("1 passed"),
            "{output}"
        );
    }
}
