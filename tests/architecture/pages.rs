//! Everything that the pages name exists: tests, and the numbers of threats.

use std::{collections::BTreeSet, fs, path::Path};

/// The names in backticks in the column of a page's tables that is headed `Tests`.
fn named_tests(page: &str) -> Vec<String> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        inner.split('|').map(|c| c.trim().to_owned()).collect()
    };
    let (mut column, mut names) = (None, Vec::new());
    for line in page.lines() {
        if !line.starts_with('|') {
            column = None;
        } else if let Some(at) = column {
            let cell = cells(line).get::<usize>(at).cloned().unwrap_or_default();
            names.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        } else {
            column = cells(line).iter().position(|c| c == "Tests");
        }
    }
    names
}

/// The text of every Rust file below a folder.
fn sources(folder: &str) -> String {
    fn walk(folder: &Path, into: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push_str(&fs::read_to_string(path).expect("a source"));
            }
        }
    }
    let mut text = String::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
        &mut text,
    );
    text
}

/// The names of the tests in a text. Neither a helper nor a test that is ignored counts.
fn tests_in(code: &str) -> BTreeSet<String> {
    let (mut is_test, mut ignored, mut found) = (false, false, BTreeSet::new());
    for line in code.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            ignored = true;
        } else if let Some(rest) = line
            .strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "))
        {
            if is_test && !ignored {
                found.extend(rest.split('(').next().map(str::to_owned));
            }
            (is_test, ignored) = (false, false);
        }
    }
    found
}

/// Other pages and issues refer to a threat by its number.
#[test]
fn each_threat_has_one_number() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md");
    let page = fs::read_to_string(page).expect("the page");
    let numbers: Vec<usize> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| T")?.split_once(" |")?.0.parse().ok())
        .collect();
    let expected: Vec<usize> = (1..=numbers.len()).collect();
    assert!(numbers.len() > 20 && numbers == expected, "{numbers:?}");
}

#[test]
fn each_test_that_a_page_names_exists() {
    let sample = "#[test]\nfn a() {\n    fn b() {}\n}\nfn c() {}\n#[test]\n#[ignore = \"x\"]\nfn d() {}\n\
                  #[tokio::test(start_paused = true)]\nasync fn e() {}\n";
    assert_eq!(tests_in(sample), ["a", "e"].map(str::to_owned).into());
    let sample =
        "| # | Tests |\n|---|---|\n| `no` | `a_b` and `c` |\n\n| `x` | `y` |\n| `d` | `e` |";
    assert_eq!(named_tests(sample), ["a_b", "c"]);
    let tests = tests_in(&(sources("core/src") + &sources("src") + &sources("tests")));
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut seen = 0;
    for entry in fs::read_dir(docs).expect("the pages") {
        let path = entry.expect("a page").path();
        let page = fs::read_to_string(&path).unwrap_or_default();
        for name in named_tests(&page) {
            seen += 1;
            assert!(
                tests.contains(&name),
                "{} names a test that is not there: {name}",
                path.display()
            );
        }
    }
    assert!(seen > 40, "only {seen} names were checked");
}

/// With a selector, `kubectl logs` shows ten lines of each pod if `--tail` is not set; the name of a Deployment selects one of its
/// pods, which may be the standby.
#[test]
fn each_log_command_reads_all_replicas_and_sets_the_number_of_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).expect("the pages");
    let mut files: Vec<_> = pages.map(|entry| entry.expect("a page").path()).collect();
    let others = ["README.md", "charts/apicred/files/alerts.yaml"];
    files.extend(others.map(|other| root.join(other)));
    files.push(root.join("charts/apicred/templates/NOTES.txt"));
    let mut seen = 0;
    for path in files {
        let text = fs::read_to_string(&path).expect("a file");
        let commands = text.lines().filter(|line| line.contains("kubectl -n"));
        for line in commands.filter(|line| line.contains(" logs ")) {
            seen += 1;
            assert!(
                line.contains(" logs -l app.kubernetes.io/name=apicred --tail="),
                "{}: {line}",
                path.display()
            );
        }
    }
    assert!(seen > 8, "only {seen} commands were checked");
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The targets of links in a page. A link in code is none.
fn links(page: &str) -> Vec<String> {
    let mut in_code = false;
    let lines = page.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    });
    let parts = lines.flat_map(|line| line.split("](").skip(1));
    parts
        .filter_map(|part| Some(part.split_once(')')?.0.to_owned()))
        .collect()
}

#[test]
fn each_link_between_pages_has_a_heading() {
    assert_eq!(anchor("## What `a` is: (b), c"), "what-a-is-b-c");
    assert_eq!(
        links("[a](b.md#c) [d](#e)\n```\n[f](g)\n```"),
        ["b.md#c", "#e"]
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).expect("the pages");
    let mut files: Vec<_> = pages.map(|entry| entry.expect("a page").path()).collect();
    for other in ["README.md", "CONTRIBUTING.md", "charts/apicred/README.md"] {
        files.push(root.join(other));
    }
    let mut seen = 0;
    for path in &files {
        let page = fs::read_to_string(path).expect("a page");
        for link in links(&page) {
            let Some((file, heading)) = link.split_once('#') else {
                continue;
            };
            if file.contains("://") {
                continue;
            }
            seen += 1;
            let target = match file {
                "" => path.clone(),
                file => path.parent().expect("a folder").join(file),
            };
            let text = fs::read_to_string(&target).unwrap_or_default();
            let mut headings = text.lines().filter(|line| line.starts_with('#'));
            assert!(
                headings.any(|line| anchor(line) == heading),
                "{}: no heading for {link}",
                path.display()
            );
        }
    }
    assert!(seen > 100, "only {seen} links were checked");
}
