//! The page of faults names only tests that exist, and each test of this target.

use std::{collections::BTreeSet, fs, path::Path};

/// `target::module::name` of each test below a folder.
fn tests(target: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(target);
    let mut found = BTreeSet::new();
    below(&folder, target, &mut found);
    found
}

fn below(folder: &Path, module: &str, found: &mut BTreeSet<String>) {
    for file in fs::read_dir(folder).expect("a folder") {
        let path = file.expect("a file").path();
        let stem = path.file_stem().expect("a name").to_string_lossy();
        let module = format!("{module}::{stem}");
        if path.is_dir() {
            below(&path, &module, found);
        }
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text");
        for part in text.split("\n#[test]\n").skip(1) {
            let name = part.strip_prefix("fn ").and_then(|p| p.split_once('('));
            found.extend(name.map(|(name, _)| format!("{module}::{name}")));
        }
    }
}

/// Whether a unit test of this name exists: `room::tests::file::name`, or `room::tests::name` in `room.rs` or `room/tests.rs`.
fn is_unit_test(named: &str) -> bool {
    let Some((module, name)) = named.rsplit_once("::") else {
        return false;
    };
    let file = module.strip_suffix("::tests").unwrap_or(module);
    let roots = ["src", "core/src"];
    let modules = [module, file].map(|module| module.replace("::", "/"));
    let mut paths = roots.iter().flat_map(|root| {
        modules
            .iter()
            .map(move |module| format!("{root}/{module}.rs"))
    });
    paths.any(|path| {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        text.is_ok_and(|text| text.contains(&format!("fn {name}(")))
    })
}

#[test]
fn the_page_names_each_case_of_the_catalogue() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let page = fs::read_to_string(page).expect("the page");
    // In a row. The other cases of the catalogue are about load, which docs/performance.md measures.
    let cases = [1..=8, 10..=20, 30..=35, 40..=42, 50..=58];
    let rows: Vec<&str> = page.lines().filter(|l| l.starts_with("| F")).collect();
    let missing: Vec<String> = (cases.into_iter().flatten())
        .map(|number| format!("F{number:02}"))
        .filter(|case| !rows.iter().any(|row| row.contains(case)))
        .collect();
    assert!(missing.is_empty(), "the page does not name {missing:?}");
}

#[test]
fn the_page_names_tests_that_exist_and_all_of_this_target() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let page = fs::read_to_string(page).expect("the page");
    let named: BTreeSet<String> = page
        .split('`')
        .filter(|w| w.starts_with("faults::") || w.starts_with("cluster::"))
        // The two names that represent all tests of their kind.
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
    let units = page.split('`').filter(|w| w.contains("::tests::"));
    let units: Vec<_> = units.filter(|w| !w.contains('…')).collect();
    assert!(units.len() > 5, "{units:?}");
    let gone: Vec<_> = units.into_iter().filter(|w| !is_unit_test(w)).collect();
    assert!(gone.is_empty(), "no such tests: {gone:#?}");
    let missing: Vec<_> = named.difference(&all).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    // Tests of the test code itself are not faults.
    let own = ["faults::page::", "faults::wire::"];
    let silent: Vec<_> = ours
        .difference(&named)
        .filter(|t| !own.iter().any(|o| t.starts_with(o)))
        .collect();
    assert!(silent.is_empty(), "the page does not name {silent:#?}");
}
