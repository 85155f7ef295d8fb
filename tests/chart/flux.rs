//! `deploy/flux`: everything that the files name exists, and the chart accepts the values. `tests/cluster/flux.rs` tests the health in Flux.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::support::{Objects, objects, run};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(file: &str) -> Objects {
    let path = Path::new(ROOT).join("deploy/flux").join(file);
    Objects::read(&std::fs::read_to_string(path).expect("a file"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn the_release_of_flux_installs_this_chart_with_values_that_it_takes() {
    run(async {
        let files = read("operator.yaml");
        let release = files.one("HelmRelease");
        let source = files.one("GitRepository");
        let namespace = &files.one("Namespace")["metadata"]["name"];
        for object in [release, source] {
            assert_eq!(&object["metadata"]["namespace"], namespace, "{object}");
        }
        let chart = &release["spec"]["chart"]["spec"];
        assert_eq!(chart["sourceRef"]["kind"], source["kind"]);
        assert_eq!(chart["sourceRef"]["name"], source["metadata"]["name"]);
        let path = Path::new(ROOT).join(text(&chart["chart"]));
        assert!(path.join("Chart.yaml").is_file(), "{}", path.display());
        let set = objects(&release["spec"]["values"]).await;
        // Without an image, the pods of a user who copies the file would never start.
        assert_eq!(set.container()["image"], "registry.example.com/apicred:dev");
    });
}

#[test]
fn each_step_of_flux_waits_for_one_before_it_and_checks_kinds_that_exist() {
    let files = read("kustomizations.yaml");
    let steps = files.all("Kustomization");
    assert_eq!((steps.len(), files.0.len()), (3, 3));
    let crds = std::fs::read_dir(format!("{ROOT}/crds")).expect("the CRDs");
    let kinds = crds.map(|file| {
        let crd = std::fs::read_to_string(file.expect("a CRD").path()).expect("a CRD");
        let crd: Value = serde_saphyr::from_str(&crd).expect("YAML");
        let version = text(&crd["spec"]["versions"][0]["name"]);
        let group = text(&crd["spec"]["group"]);
        let kind = text(&crd["spec"]["names"]["kind"]);
        (format!("{group}/{version}"), kind.to_owned())
    });
    let kinds: BTreeSet<(String, String)> = kinds.collect();
    let mut before = BTreeSet::new();
    let mut checked = 0;
    for (nth, step) in steps.into_iter().enumerate() {
        let spec = &step["spec"];
        assert_eq!(spec["wait"], true, "{step}");
        let waits: Vec<_> = spec["dependsOn"].as_array().into_iter().flatten().collect();
        assert_eq!(waits.is_empty(), nth == 0, "{step}");
        for wait in waits {
            assert!(before.contains(text(&wait["name"])), "{step}");
        }
        for check in spec["healthCheckExprs"].as_array().into_iter().flatten() {
            checked += 1;
            let of = (text(&check["apiVersion"]), text(&check["kind"]));
            let of = (of.0.to_owned(), of.1.to_owned());
            assert!(kinds.contains(&of), "{of:?}");
        }
        before.insert(text(&step["metadata"]["name"]));
    }
    assert_eq!(checked, 1);
}
