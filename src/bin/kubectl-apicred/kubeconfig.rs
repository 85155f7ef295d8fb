//! Reads the kubeconfig like kubectl: `KUBECONFIG` is a list of files, and files that do not exist are skipped.

use std::{ffi::OsStr, io::ErrorKind, path::Path};

use kube::config::{Kubeconfig, KubeconfigError};

/// The files of a `KUBECONFIG` list, merged. `None`: the list is empty, and the default file applies.
pub(crate) fn merged(list: &OsStr) -> Result<Option<Kubeconfig>, String> {
    let named = std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty());
    let named: Vec<_> = named.collect();
    let mut found: Option<Kubeconfig> = None;
    for path in &named {
        let Some(next) = file(path)? else {
            continue;
        };
        found = Some(match found {
            None => next,
            Some(before) => before
                .merge(next)
                .map_err(|e| format!("{} does not fit the files before it: {e}", path.display()))?,
        });
    }
    if found.is_none() && !named.is_empty() {
        let names: Vec<String> = named.iter().map(|p| p.display().to_string()).collect();
        return Err(format!(
            "KUBECONFIG names no file that exists ({}); correct it, or name a file by --kubeconfig",
            names.join(", ")
        ));
    }
    Ok(found)
}

/// One file; `None`: it does not exist.
fn file(path: &Path) -> Result<Option<Kubeconfig>, String> {
    match Kubeconfig::read_from(path) {
        Ok(read) => Ok(Some(read)),
        Err(KubeconfigError::ReadConfig(e, _)) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(path, &e)),
    }
}

/// The defect of a file. Only the first line of the error is shown: a parser shows the lines around the defect, which may contain a key.
pub(crate) fn unreadable(path: &Path, error: &KubeconfigError) -> String {
    let why = match error {
        KubeconfigError::ReadConfig(e, _) => e.to_string(),
        other => other.to_string(),
    };
    let why = why.lines().next().unwrap_or_default();
    format!("{} cannot be read: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    fn config(name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
             clusters: [{{ name: {name}, cluster: {{ server: \"https://{name}.example\" }} }}]\n\
             contexts: [{{ name: {name}, context: {{ cluster: {name}, user: {name} }} }}]\n\
             users: [{{ name: {name}, user: {{ token: secret-of-{name} }} }}]\n"
        )
    }

    #[test]
    fn files_of_the_list_that_do_not_exist_are_skipped_and_the_first_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            fs::write(path(name), config(name)).unwrap();
        }
        let list = |names: &[&str]| env::join_paths(names.iter().map(|n| path(n))).unwrap();
        for (names, current, clusters) in [
            (["gone", "a"].as_slice(), "a", 1),
            (&["a", "gone"], "a", 1),
            (&["gone", "b", "gone-too", "a"], "b", 2),
            (&["a", "b"], "a", 2),
        ] {
            let found = merged(&list(names)).unwrap().unwrap();
            assert_eq!(found.current_context.as_deref(), Some(current), "{names:?}");
            assert_eq!(found.clusters.len(), clusters, "{names:?}");
        }
        // Empty entries are not files.
        assert!(merged(OsStr::new("")).unwrap().is_none());
        assert!(merged(OsStr::new("::")).unwrap().is_none());
        let none = merged(&list(&["gone", "gone-too"])).unwrap_err();
        assert!(
            none.contains("gone-too") && none.contains("--kubeconfig"),
            "{none}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
        fs::write(&good, config("a")).unwrap();
        fs::write(&bad, "clusters: [\n  token: secret-of-mine\nusers: {").unwrap();
        for list in [[&good, &bad], [&bad, &good]] {
            let why = merged(&env::join_paths(list).unwrap()).unwrap_err();
            assert!(
                why.contains("bad") && !why.contains("secret-of-mine"),
                "{why}"
            );
            assert!(!why.contains('\n'), "{why}");
        }
        // A folder exists and is not a file.
        let why = merged(folder.path().as_os_str()).unwrap_err();
        assert!(why.contains("cannot be read"), "{why}");
    }
}
