//! Builds programs from Go modules. A `go.sum` pins every dependency.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::cache::{Entry, Step, on_path, publish, run_step};
use crate::process::Launch;
use crate::progress::Progress;

/// A Go module: it lists programs of other projects, or is a small program of this project.
pub(crate) struct Module {
    /// The name of its entry in the cache.
    name: &'static str,
    /// The requirement in `go.mod` whose version is the version of the programs.
    subject: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// Program and package.
    packages: &'static [(&'static str, &'static str)],
    /// Names and texts of its own source files.
    sources: &'static [(&'static str, &'static str)],
    /// Build tags; with them C is compiled as well, for `SQLite`.
    tags: Option<&'static str>,
    /// A remark for the waiting user: how long a build without any cache takes.
    usually: &'static str,
}

pub(crate) static KUBERNETES: Module = Module {
    name: "kubernetes",
    subject: "k8s.io/kubernetes",
    go_mod: include_str!("../go.mod"),
    go_sum: include_str!("../go.sum"),
    packages: &[
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        (
            "kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
        ),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ],
    sources: &[],
    tags: None,
    usually: "2 to 8 minutes, and only once",
};

pub(crate) static HELM: Module = Module {
    name: "helm",
    subject: "helm.sh/helm/v4",
    go_mod: include_str!("../helm/go.mod"),
    go_sum: include_str!("../helm/go.sum"),
    packages: &[("helm", "helm.sh/helm/v4/cmd/helm")],
    sources: &[],
    tags: None,
    usually: "1 to 3 minutes, and only once",
};

pub(crate) static KSTATUS: Module = Module {
    name: "kstatus",
    subject: "sigs.k8s.io/cli-utils",
    go_mod: include_str!("../kstatus/go.mod"),
    go_sum: include_str!("../kstatus/go.sum"),
    packages: &[("kstatus", "apicred.dev/testenv/kstatus")],
    sources: &[("main.go", include_str!("../kstatus/main.go"))],
    tags: None,
    usually: "a minute, and only once",
};

pub(crate) static ARGO: Module = Module {
    name: "argo",
    subject: "github.com/yuin/gopher-lua",
    go_mod: include_str!("../argo/go.mod"),
    go_sum: include_str!("../argo/go.sum"),
    packages: &[("argo", "apicred.dev/testenv/argo")],
    sources: &[("main.go", include_str!("../argo/main.go"))],
    tags: None,
    usually: "half a minute, and only once",
};

pub(crate) static FLUX: Module = Module {
    name: "flux",
    subject: "github.com/fluxcd/pkg/ssa",
    go_mod: include_str!("../flux/go.mod"),
    go_sum: include_str!("../flux/go.sum"),
    packages: &[("flux", "apicred.dev/testenv/flux")],
    sources: &[("main.go", include_str!("../flux/main.go"))],
    tags: None,
    usually: "1 to 3 minutes, and only once",
};

pub(crate) static IMAGE: Module = Module {
    name: "image",
    subject: "github.com/google/go-containerregistry",
    go_mod: include_str!("../image/go.mod"),
    go_sum: include_str!("../image/go.sum"),
    packages: &[("image", "apicred.dev/testenv/image")],
    sources: &[("main.go", include_str!("../image/main.go"))],
    tags: None,
    usually: "a minute, and only once",
};

pub(crate) static HYDRA: Module = Module {
    name: "hydra",
    subject: "github.com/ory/hydra/v2",
    go_mod: include_str!("../hydra/go.mod"),
    go_sum: include_str!("../hydra/go.sum"),
    packages: &[("hydra", "github.com/ory/hydra/v2")],
    sources: &[],
    // Its database is SQLite.
    tags: Some("sqlite"),
    usually: "2 to 4 minutes, and only once",
};

impl Module {
    /// The version that `go.mod` pins, with its `v`.
    fn version(&self) -> &str {
        required_version(self.go_mod, self.subject)
    }

    fn entry(&self) -> Result<Entry, Error> {
        let name = format!("{}-{}", self.name, self.version());
        let sources = self.sources.iter().map(|(_, text)| *text);
        let inputs: Vec<&str> = [self.go_mod, self.go_sum]
            .into_iter()
            .chain(sources)
            .collect();
        Entry::new(&name, &inputs)
    }

    /// The path of a program, also if it is not built yet.
    pub(crate) fn path(&self, program: &str) -> Result<PathBuf, Error> {
        Ok(self.entry()?.folder.join(program))
    }

    /// Builds the named programs that are not in the cache yet.
    pub(crate) async fn build(&self, programs: &[&str]) -> Result<(), Error> {
        let entry = self.entry()?;
        let missing = || -> Vec<(&str, &str)> {
            let wanted = self
                .packages
                .iter()
                .filter(|(name, _)| programs.contains(name));
            wanted
                .filter(|(name, _)| !entry.folder.join(name).is_file())
                .copied()
                .collect()
        };
        if missing().is_empty() {
            return Ok(());
        }
        let _lock = entry.lock().await?;
        // The previous holder of the lock may have built all of it.
        let missing = missing();
        if missing.is_empty() {
            return Ok(());
        }
        let go = on_path(
            "go",
            "install Go from https://go.dev/dl/ (or, for etcd, kube-apiserver and kubectl, let \
             KUBEBUILDER_ASSETS name a folder that holds them)",
        )?;
        let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
        let what = format!("{} {} ({})", self.name, self.version(), names.join(", "));
        let mut progress =
            Progress::begin(format!("building {what} from pinned sources"), self.usually);

        let files = [("go.mod", self.go_mod), ("go.sum", self.go_sum)];
        let files: Vec<(&str, &str)> = files.iter().chain(self.sources).copied().collect();
        entry.open_workshop(&files)?;
        let out = entry.workshop.join("out");
        let packages = missing.iter().map(|(_, package)| *package);
        let launch = Launch {
            name: "build",
            program: &go,
            args: self.arguments(&out, packages),
            folder: &entry.workshop,
            env: vec![
                ("CGO_ENABLED", u8::from(self.tags.is_some()).to_string()),
                // With these flags, SQLite compiles in 5 s of CPU time; optimised, it takes 40 s. Tests do not need a fast one.
                ("CGO_CFLAGS", "-O0 -g0".to_owned()),
                ("GOWORK", "off".to_owned()),
            ],
        };
        if let Step::Failed { log, tail } = run_step(launch, &mut progress).await? {
            return Err(self.explain(what, log, tail));
        }
        for (name, package) in missing {
            publish(&out.join(output_name(package)), &entry.folder.join(name))?;
        }
        let _ = std::fs::remove_dir_all(&entry.workshop);
        progress.done();
        Ok(())
    }

    /// The arguments with which Go builds these packages into a folder.
    fn arguments<'a>(&self, out: &Path, packages: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut args: Vec<String> = [
            "build",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
        ]
        .map(str::to_owned)
        .into();
        args.push(version_flags(self.version()));
        if let Some(tags) = self.tags {
            args.extend(["-tags".to_owned(), tags.to_owned()]);
        }
        // With a slash at the end, the path is a folder, and each program is written to a file in it.
        args.extend(["-o".to_owned(), format!("{}/", out.display())]);
        args.extend(packages.map(str::to_owned));
        args
    }

    fn explain(&self, what: String, log: PathBuf, tail: String) -> Error {
        let output = tail.to_lowercase();
        let any = |signs: &[&str]| signs.iter().any(|sign| output.contains(sign));
        // The second message is that of toolchains before 1.21 for a version with three numbers.
        if any(&["requires go >=", "invalid go version"]) {
            let needed = directive(self.go_mod, "go").to_owned();
            return Error::GoTooOld { needed };
        }
        if any(&[
            "dial tcp",
            "no such host",
            "i/o timeout",
            "connection refused",
            "tls: ",
        ]) {
            return Error::Download { what, tail };
        }
        Error::Build { what, log, tail }
    }
}

/// The linker sets the version of Kubernetes; without it, clients warn about a server `v0.0.0`.
/// Programs without these variables ignore the flags.
fn version_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
    let base = "-X k8s.io/component-base/version.";
    format!("-s -w {base}gitVersion={version} {base}gitMajor={major} {base}gitMinor={minor}")
}

/// The name that `go build` gives to a program: the last element of its path that is not a version.
fn output_name(package: &str) -> &str {
    let is_version = |part: &&str| {
        part.strip_prefix('v')
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    package
        .rsplit('/')
        .find(|part| !is_version(part))
        .unwrap_or(package)
}

/// Tools are listed as "indirect" requirements, because nothing imports them.
pub(crate) fn required_version<'a>(go_mod: &'a str, module: &str) -> &'a str {
    let mut lines = go_mod
        .lines()
        .map(|line| line.trim().trim_start_matches("require "));
    lines
        .find_map(|line| line.strip_prefix(module)?.strip_prefix(" v").map(|_| line))
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap_or("v0.0.0")
}

fn directive<'a>(go_mod: &'a str, name: &str) -> &'a str {
    go_mod
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_module_files() {
        assert_eq!(KUBERNETES.version(), "v1.36.3");
        assert_eq!(HELM.version(), "v4.3.1");
        assert_eq!(HYDRA.version(), "v2.3.0");
        assert_eq!(KSTATUS.version(), "v0.37.2");
        assert_eq!(ARGO.version(), "v1.1.1");
        assert_eq!(FLUX.version(), "v0.77.0");
        assert_eq!(IMAGE.version(), "v0.22.1");
        assert_eq!(directive(KUBERNETES.go_mod, "go"), "1.26.0");
    }

    #[test]
    fn every_program_is_a_tool_of_its_module() {
        for module in [&KUBERNETES, &HELM, &HYDRA] {
            for (_, package) in module.packages {
                let listed = module
                    .go_mod
                    .lines()
                    .any(|line| line.trim().trim_start_matches("tool ") == *package);
                assert!(listed, "{package} is not pinned as a tool");
            }
        }
    }

    #[test]
    fn the_linker_gets_the_version() {
        let flags = version_flags("v1.36.3");
        assert!(
            flags.contains("gitVersion=v1.36.3") && flags.contains("gitMinor=36"),
            "{flags}"
        );
    }

    #[test]
    fn go_names_a_program_by_its_path() {
        assert_eq!(output_name("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(output_name("helm.sh/helm/v4/cmd/helm"), "helm");
        assert_eq!(output_name("github.com/ory/hydra/v2"), "hydra");
    }

    #[test]
    fn the_reason_of_a_failed_build_is_recognised() {
        let explained = |tail: &str| HELM.explain("helm".to_owned(), "log".into(), tail.to_owned());
        let old = "go: go.mod requires go >= 1.26.0 (running go 1.22.1; GOTOOLCHAIN=local)";
        assert!(explained(old).to_string().contains("Go 1.26.0 or newer"));
        assert!(matches!(
            explained("dial tcp: lookup x: no such host"),
            Error::Download { .. }
        ));
        assert!(matches!(explained("undefined: foo"), Error::Build { .. }));
    }
}
