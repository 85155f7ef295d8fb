//! Installations of the chart by different users, with different rights and in different orders.

use std::{path::Path, time::Duration};

use testenv::{ControlPlane, Options, eventually};

use crate::support::{CHART, NAMESPACE, run};

const SOON: Duration = Duration::from_mins(1);
/// The chart before most of its values were added.
const BEFORE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/chart/data/apicred-0.1.0-before.tgz"
);

async fn cluster() -> ControlPlane {
    ControlPlane::start(Options::default())
        .await
        .expect("a control plane")
}

/// Installs a release, or returns the error.
async fn install(
    cluster: &ControlPlane,
    release: &str,
    namespace: &str,
    more: &[&str],
) -> Result<String, String> {
    let done = cluster.install_chart(release, namespace, more).await;
    done.map_err(|e| e.to_string())
}

#[test]
fn crds_of_another_release_are_reported_with_their_owner_and_both_next_steps() {
    run(async {
        let cluster = cluster().await;
        install(&cluster, "first", NAMESPACE, &[])
            .await
            .expect("it installs");
        let reported = async || {
            let reported = install(&cluster, "second", "elsewhere", &[]).await;
            reported.expect_err("the CRDs belong to another release")
        };
        let arguments = [
            "release first",
            NAMESPACE,
            "--take-ownership",
            "crds.checkOwner=false",
            "crds.install=false",
        ];
        let check = |reported: &str| {
            for expected_part in arguments {
                assert!(
                    reported.contains(expected_part),
                    "no {expected_part:?} in {reported}"
                );
            }
        };
        check(&reported().await);
        // The release is gone, and its CRDs are kept.
        let gone = ["uninstall", "first", "--namespace", NAMESPACE, "--wait"];
        cluster.helm(&gone).await.expect("it is uninstalled");
        check(&reported().await);
        let without = ["--set", "crds.install=false"];
        install(&cluster, "second", "elsewhere", &without)
            .await
            .expect("it leaves the CRDs alone");
        let owns = ["--take-ownership", "--set", "crds.checkOwner=false"];
        install(&cluster, "third", NAMESPACE, &owns)
            .await
            .expect("it takes the CRDs");
        let args = [
            "upgrade",
            "third",
            CHART,
            "--namespace",
            NAMESPACE,
            "--set",
            "replicas=0",
        ];
        cluster
            .helm(&args)
            .await
            .expect("they are its own from now on");
        let crds = ["get", "crd", "--output", "name"];
        let crds = cluster.kubectl(&crds).await.expect("CRDs");
        assert_eq!(crds.lines().count(), 4, "{crds}");
    });
}

#[test]
fn crds_applied_by_hand_belong_to_no_release_and_issuers_wait_for_crds() {
    run(async {
        let cluster = cluster().await;
        let issuer = ["--set", "issuers.contoso.entra.tenantId=contoso.example"];
        let reported = install(&cluster, "apicred", NAMESPACE, &issuer).await;
        let reported = reported.expect_err("the kind does not exist");
        assert!(
            reported.contains("helm upgrade") && reported.contains("without `issuers` first"),
            "{reported}"
        );
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
        let apply = ["apply", "--server-side", "-f", crds];
        cluster.kubectl(&apply).await.expect("CRDs");
        let reported = install(&cluster, "apicred", NAMESPACE, &[]).await;
        let reported = reported.expect_err("the CRDs belong to nobody");
        assert!(
            reported.contains("belongs to no release")
                && reported.contains("--take-ownership --force-conflicts"),
            "{reported}"
        );
        let served = cluster.kinds_are_served().await;
        served.expect("the kinds are served");
        let with = [&["--set", "crds.install=false"], &issuer[..]].concat();
        install(&cluster, "apicred", NAMESPACE, &with)
            .await
            .expect("it installs");
        let args = [
            "get",
            "clustertokenissuer",
            "contoso",
            "--output",
            "jsonpath={.spec.entra.tenantId}",
        ];
        let tenant = cluster.kubectl(&args).await.expect("an issuer");
        assert_eq!(tenant, "contoso.example");
    });
}

/// Fields that another manager applied are taken over only by force. Fields with the same value need no force.
#[test]
fn a_release_takes_over_crds_that_were_applied_by_hand_and_differ() {
    run(async {
        let cluster = cluster().await;
        let older = tempfile::tempdir().expect("a folder");
        let crds = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"));
        for file in crds.expect("the CRDs") {
            let path = file.expect("a CRD").path();
            let text = std::fs::read_to_string(&path).expect("a CRD");
            // A column with another name than in the present version.
            let text = text.replacen("name: Ready\n", "name: Healthy\n", 1);
            assert!(text.contains("name: Healthy\n"), "{}", path.display());
            let name = path.file_name().expect("a name");
            std::fs::write(older.path().join(name), text).expect("a file");
        }
        let older = older.path().display().to_string();
        // Once as most users do it, which is an update for the API server, and once by server-side apply.
        for by in ["--server-side=false", "--server-side=true"] {
            let apply = ["apply", by, "--force-conflicts=false", "-f", &older];
            cluster.kubectl(&apply).await.expect("CRDs");
            let reported = install(&cluster, "apicred", NAMESPACE, &[]).await;
            let reported = reported.expect_err("the CRDs belong to nobody");
            let (_, shown) = reported.split_once("add `").expect("a command");
            let (shown, _) = shown.split_once('`').expect("the end of the command");
            let shown: Vec<&str> = shown.split(' ').collect();
            install(&cluster, "apicred", NAMESPACE, &shown)
                .await
                .unwrap_or_else(|e| panic!("{by}: {e}"));
            let args = [
                "upgrade",
                "apicred",
                CHART,
                "--namespace",
                NAMESPACE,
                "--reuse-values",
            ];
            cluster
                .helm(&args)
                .await
                .expect("they are its own from now on");
            let columns = [
                "get",
                "crd",
                "--output",
                "jsonpath={..additionalPrinterColumns[*].name}",
            ];
            let columns = cluster.kubectl(&columns).await.expect("columns");
            assert!(!columns.contains("Healthy"), "{by}: {columns}");
            let gone = ["uninstall", "apicred", "--namespace", NAMESPACE, "--wait"];
            cluster.helm(&gone).await.expect("it is uninstalled");
            let crds = ["delete", "-f", &older];
            cluster.kubectl(&crds).await.expect("they are deleted");
        }
    });
}

#[test]
fn values_of_an_older_release_are_enough_for_this_chart() {
    run(async {
        let cluster = cluster().await;
        assert!(Path::new(BEFORE).is_file());
        let begin = [
            "install",
            "apicred",
            BEFORE,
            "--namespace",
            NAMESPACE,
            "--create-namespace",
        ];
        let values = ["--set", "replicas=0,concurrency=7"];
        cluster
            .helm(&[&begin[..], &values].concat())
            .await
            .expect("it installs");
        for (keep, name) in [
            ("--reuse-values", "v2"),
            ("--reset-then-reuse-values", "v3"),
        ] {
            let args = ["upgrade", "apicred", CHART, "--namespace", NAMESPACE, keep];
            cluster
                .helm(&args)
                .await
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            let env = "jsonpath={.spec.template.spec.containers[0].env[?(@.name==\"APICRED_CONCURRENCY\")].value}";
            let args = [
                "get",
                "deployment",
                "apicred",
                "--namespace",
                NAMESPACE,
                "--output",
                env,
            ];
            assert_eq!(cluster.kubectl(&args).await.expect("a Deployment"), "7");
        }
        let args = ["rollback", "apicred", "1", "--namespace", NAMESPACE];
        cluster.helm(&args).await.expect("it rolls back");
    });
}

#[test]
fn an_administrator_of_two_namespaces_installs_an_operator_for_them() {
    run(async {
        let cluster = cluster().await;
        // The steps of an administrator of the cluster, done once.
        let shared = ["--set", "rbac.create=false,notifyPods.create=false"];
        install(&cluster, "shared", NAMESPACE, &shared)
            .await
            .expect("CRDs and roles of people");
        for namespace in ["team-a", "team-b"] {
            let create = ["create", "namespace", namespace];
            cluster.kubectl(&create).await.expect("a namespace");
            let bind = [
                "create",
                "rolebinding",
                "dora",
                "--clusterrole=admin",
                "--user=dora",
                "--namespace",
                namespace,
            ];
            cluster.kubectl(&bind).await.expect("a binding");
        }
        eventually(SOON, "the controller that aggregates roles", async || {
            let may = [
                "auth",
                "can-i",
                "patch",
                "apicredentials",
                "--subresource=status",
                "--namespace",
                "team-a",
                "--as",
                "dora",
            ];
            cluster.kubectl(&may).await
        })
        .await;
        let dora = [
            "--kube-as-user",
            "dora",
            "--values",
            &format!("{CHART}/ci/namespaced-values.yaml"),
        ];
        let args = [
            "install",
            "team",
            CHART,
            "--namespace",
            "team-a",
            "--set",
            "replicas=0",
        ];
        let installed = cluster.helm_output(&[&args, &dora[..]].concat()).await;
        let installed = installed.expect("it installs");
        assert_eq!(installed.stderr, "");
        let args = [
            "upgrade",
            "team",
            CHART,
            "--namespace",
            "team-a",
            "--set",
            "replicas=0,concurrency=9",
        ];
        cluster
            .helm(&[&args, &dora[..]].concat())
            .await
            .expect("it upgrades");
        let gone = [
            "uninstall",
            "team",
            "--namespace",
            "team-a",
            "--kube-as-user",
            "dora",
        ];
        cluster.helm(&gone).await.expect("it is uninstalled");
        // None of these is a right in another namespace.
        let args = [
            "install",
            "team",
            CHART,
            "--namespace",
            "default",
            "--set",
            "replicas=0",
        ];
        let refused = cluster.helm(&[&args, &dora[..]].concat()).await;
        let refused = refused.expect_err("no right there").to_string();
        assert!(refused.contains("forbidden"), "{refused}");
    });
}
