//! The operator in the root of its image: no shell, no libc, no user database, no writable path.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::support::{PROGRAM, World, run};

/// An image to run instead of the tested program, as `make image-oci` writes it.
const IMAGE: &str = "APICRED_TEST_IMAGE";

/// Copies a file into `root`, at the same path.
fn copy(file: &Path, root: &Path) {
    let to = root.join(file.strip_prefix("/").expect("an absolute path"));
    fs::create_dir_all(to.parent().expect("a folder")).expect("folders");
    let copied = fs::copy(file, &to);
    assert!(copied.is_ok(), "{}: {copied:?}", file.display());
    // The kubelet mounts files that the user of the pod can read.
    fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// The program under test, and the libraries that it is linked with. A static program has none.
fn put_program(root: &Path) {
    let program = Path::new(env!("CARGO_BIN_EXE_apicred"));
    fs::create_dir_all(root).expect("a folder");
    fs::copy(program, root.join("apicred")).expect("the program");
    let linked = Command::new("ldd").arg(program).output().expect("ldd runs");
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    let expected = linked.split_whitespace();
    for library in expected.filter(|expected_part| expected_part.starts_with('/')) {
        copy(Path::new(library), root);
    }
}

/// A script that becomes the program, with `root` as its root. Without the rights of root it needs a user namespace, which only some
/// systems allow.
fn script(root: &Path) -> PathBuf {
    let path = root.with_extension("sh");
    let root = root.display();
    let text = format!(
        "#!/bin/sh\n\
         [ \"$(id -u)\" = 0 ] && exec chroot --userspec=65532:65532 {root} /apicred \"$@\"\n\
         exec unshare --map-root-user chroot {root} /apicred \"$@\"\n"
    );
    fs::write(&path, text).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                BTreeSet::from([path])
            }
        })
        .collect()
}

#[test]
fn the_operator_needs_nothing_that_its_image_lacks() {
    run(async {
        let mut world = World::own().await;
        let root = world.cluster.dir().join("root");
        match std::env::var_os(IMAGE) {
            Some(image) => {
                let architecture = match std::env::consts::ARCH {
                    "aarch64" => "arm64",
                    _ => "amd64",
                };
                let config = testenv::unpack_image(Path::new(&image), architecture, &root);
                config.expect("an image");
            }
            None => put_program(&root),
        }
        // Files that a kubelet puts into every container, and the account.
        fs::create_dir_all(root.join("etc")).expect("a folder");
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").expect("a file");
        copy(world.operator_kubeconfig(), &root);
        let before = files(&root);
        world
            .environment
            .push((PROGRAM, script(&root).display().to_string()));
        world.start_operator().await;

        let place = world.place("image").await;
        place.create("c", json!({})).await;
        let view = place.ready("c").await;
        assert_eq!(place.call("demo", "whoami", &view.token).await, 200);
        assert_eq!(files(&root), before, "it wrote files");
        let (status, _) = world.take_operator().terminate().await;
        assert!(status.success(), "{status:?}");
    });
}
