//! Reads the kubeconfig like kubectl: `KUBECONFIG` is a list of files, and files that do not exist are skipped.

pub mod fault;

use std::{
    env,
    ffi::OsStr,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// The configuration of a client from the named file; if not set, from the files in `KUBECONFIG`; if not set, from `~/.kube/config`.
/// `context`: the current one if not set. `None`: there is no kubeconfig.
///
/// # Errors
/// Which file or context cannot be used, and why.
pub async fn config(file: Option<&Path>, context: Option<&str>) -> Result<Option<Config>, String> {
    let Some((name, read)) = read(file)? else {
        return Ok(None);
    };
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(read, &options).await;
    config
        .map(Some)
        .map_err(|e| format!("{name} cannot be used: {}", fault::kubeconfig(&e)))
}

/// The kubeconfig, with its name for messages.
fn read(named: Option<&Path>) -> Result<Option<(String, Kubeconfig)>, String> {
    let of = |path: &Path| path.display().to_string();
    if let Some(path) = named {
        let read = Kubeconfig::read_from(path).map_err(|e| unreadable(path, &e))?;
        return Ok(Some((of(path), read)));
    }
    let list = env::var_os("KUBECONFIG");
    if let Some(list) = &list
        && let Some(read) = merged(list)?
    {
        let name = format!("the kubeconfig of KUBECONFIG ({})", of(Path::new(list)));
        return Ok(Some((name, read)));
    }
    let Some(path) = usual() else { return Ok(None) };
    // An empty file names no cluster, as no file does.
    let read =
        self::file(&path)?.filter(|read| !read.contexts.is_empty() || !read.clusters.is_empty());
    Ok(read.map(|read| (of(&path), read)))
}

/// The file that is used if no other is named.
fn usual() -> Option<PathBuf> {
    env::home_dir().map(|home| home.join(".kube").join("config"))
}

/// The files of a `KUBECONFIG` list, merged. `None`: the list is empty, and the default file applies.
fn merged(list: &OsStr) -> Result<Option<Kubeconfig>, String> {
    let named = env::split_paths(list).filter(|path| !path.as_os_str().is_empty());
    let named: Vec<_> = named.collect();
    let mut found: Option<Kubeconfig> = None;
    for path in &named {
        let Some(next) = file(path)? else {
            continue;
        };
        found = Some(match found {
            None => next,
            Some(before) => before.merge(next).map_err(|e| {
                let why = fault::kubeconfig(&e);
                format!("{} does not fit the files before it: {why}", path.display())
            })?,
        });
    }
    if found.is_none() && !named.is_empty() {
        let names: Vec<String> = named.iter().map(|p| p.display().to_string()).collect();
        return Err(format!(
            "KUBECONFIG names no file that exists ({})",
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

/// The defect of a file.
fn unreadable(path: &Path, error: &KubeconfigError) -> String {
    format!(
        "{} cannot be read: {}",
        path.display(),
        fault::kubeconfig(error)
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        assert!(none.contains("gone-too"), "{none}");
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
        // A value of another type, which the parser quotes in its first line.
        fs::write(&bad, "users: secret-of-mine\n").unwrap();
        let why = merged(bad.as_os_str()).unwrap_err();
        assert!(
            why.contains("bad") && why.contains("line 1") && !why.contains("secret-of-mine"),
            "{why}"
        );
        // A folder exists and is not a file.
        let why = merged(folder.path().as_os_str()).unwrap_err();
        assert!(why.contains("cannot be read"), "{why}");
    }

    #[tokio::test]
    async fn a_context_that_does_not_exist_is_named_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, empty) = (folder.path().join("file"), folder.path().join("empty"));
        fs::write(&file, config("a")).unwrap();
        fs::write(&empty, "").unwrap();
        let of = async |file: &Path, context| {
            super::config(Some(file), context)
                .await
                .map(|c| c.map(|c| c.cluster_url.to_string()))
        };
        let found = of(&file, None).await.unwrap();
        assert_eq!(found.as_deref(), Some("https://a.example/"));
        let why = of(&file, Some("nosuch")).await.unwrap_err();
        let named = file.display().to_string();
        assert!(
            why.starts_with(&named) && why.contains("context nosuch does not exist"),
            "{why}"
        );
        let why = of(&empty, None).await.unwrap_err();
        assert!(why.contains("no current-context"), "{why}");
    }
}
