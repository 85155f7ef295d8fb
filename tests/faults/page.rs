//! The page that lists the faults names tests that exist, and each test of this target.

use std::{collections::BTreeSet, fs, path::Path};

/// `target::module::name` of each test below a folder.
fn tests(target: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(target);
    let mut found = BTreeSet::new();
    for file in fs::read_dir(folder).expect("the target's folder") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let module = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).expect("a text");
        for part in text.split("\n#[test]\n").skip(1) {
            let name = part.strip_prefix("fn ").and_then(|p| p.split_once('('));
            found.extend(name.map(|(name, _)| format!("{target}::{module}::{name}")));
        }
    }
    found
}

#[test]
fn the_page_names_tests_that_exist_and_all_of_this_target() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let page = fs::read_to_string(page).expect("the page");
    let named: BTreeSet<String> = page
        .split('`')
        .filter(|w| w.starts_with("faults::") || w.starts_with("cluster::"))
        // The two words that stand for all of their kind.
        .filter(|w| !w.ends_with('…'))
        .map(str::to_owned)
        .collect();
    let ours = tests("faults");
    assert!(
        ours.len() > 20 && named.len() > 40,
        "{} {}",
        ours.len(),
        named.len()
    );
    let all: BTreeSet<String> = ours.union(&tests("cluster")).cloned().collect();
    let missing: Vec<_> = named.difference(&all).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    // What tests the tests themselves is no fault.
    let own = ["faults::page::", "faults::wire::"];
    let silent: Vec<_> = ours
        .difference(&named)
        .filter(|t| !own.iter().any(|o| t.starts_with(o)))
        .collect();
    assert!(silent.is_empty(), "the page does not name {silent:#?}");
}
