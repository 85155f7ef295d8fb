//! CAs that are trusted for all issuers: `--ca-file`, which the chart sets for `caBundle`.

use std::process::Command;

use serde_json::json;

use crate::support::{World, run};

const CA_FILE: &str = "APICRED_CA_FILE";

#[test]
fn an_issuer_without_a_bundle_is_trusted_only_by_the_file_of_the_operator() {
    run(async {
        let mut world = World::own().await;
        let place = world.place_with_own_issuer("company-ca").await;
        let mut spec = place.entra_issuer();
        let ca = spec["caBundle"].take();
        let ca = ca.as_str().expect("a CA");
        spec.as_object_mut().expect("a spec").remove("caBundle");
        place.put_issuer(spec.clone()).await;
        world.start_operator().await;
        place.until_issuer_reports("TlsFailed", &[]).await;
        let target = json!({ "target": { "secretName": "t" } });
        place.create("c", target).await;
        place.operator_has_seen_it().await;
        assert_eq!(place.posts(), 0);

        let file = world.cluster.dir().join("company-ca.pem");
        std::fs::write(&file, ca).expect("a file");
        world.take_operator().terminate().await;
        world.environment = vec![(CA_FILE, file.display().to_string())];
        world.start_operator().await;
        place.ready("c").await;
        place.issuer_ready().await;

        // The CA of an issuer is trusted as well, and only by this issuer.
        let other = world.place_with_own_issuer("other-ca").await;
        let mut without = other.entra_issuer();
        let bundle = without["caBundle"].take();
        assert_ne!(bundle, ca);
        without.as_object_mut().expect("a spec").remove("caBundle");
        other.put_issuer(without.clone()).await;
        other.until_issuer_reports("TlsFailed", &[]).await;
        other.put_issuer(other.entra_issuer()).await;
        other
            .create("c", json!({ "target": { "secretName": "t" } }))
            .await;
        other.ready("c").await;
        spec["caBundle"] = bundle;
        place.put_issuer(spec).await;
        place.request_renewal("c").await;
        place.issuer_ready().await;
        world.operator_runs();
    });
}

#[test]
fn a_file_without_a_certificate_ends_the_start_with_its_name_and_not_its_content() {
    let folder = tempfile::tempdir().expect("a folder");
    let (empty, key) = (folder.path().join("empty"), folder.path().join("key.pem"));
    std::fs::write(&empty, "hunter2\n").expect("a file");
    let private = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    std::fs::write(&key, &private).expect("a file");
    let nowhere = folder.path().join("nowhere");
    for (file, expected) in [
        (&empty, "no PEM certificate"),
        (&key, "private key"),
        (&nowhere, "cannot be read"),
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_apicred"))
            .arg("run")
            .env("KUBECONFIG", "/nowhere")
            .env(CA_FILE, file)
            .output()
            .expect("it starts");
        let output = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        assert!(!ended.status.success(), "{output}");
        let name = file.display().to_string();
        for expected_part in [CA_FILE, &name, expected] {
            assert!(
                output.contains(expected_part),
                "no {expected_part} in {output}"
            );
        }
        let content = private.lines().nth(1).expect("its second line");
        assert!(
            !output.contains("hunter2") && !output.contains(content),
            "{output}"
        );
    }
}
