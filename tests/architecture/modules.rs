//! Which module of `src/controller` imports which. Paths are read from `use` and from their place in code; the content of
//! `mod tests` does not count.

use std::collections::{BTreeMap, BTreeSet};

use super::{code, is_test, product};

/// Modules by path below `controller`, each with those that it imports. The root is the empty path.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Parts of a list between commas, without those inside of braces.
fn parts(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&list[start..]);
    found
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

/// The paths of a tree of imports: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        return vec![name.trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let below = parts(inner).into_iter().flat_map(paths);
    below
        .map(|path| format!("{}{path}", prefix.trim()))
        .collect()
}

/// All paths in a piece of code that may lead to a module.
fn mentioned(code: &str) -> Vec<String> {
    let code = code.split("mod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = code;
    // `use` is at the start of a line, with at most a visibility before it.
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap_or_default().trim();
        rest = &rest[at + "use ".len()..];
        if !line.is_empty() && !line.starts_with("pub") {
            continue;
        }
        let (tree, after) = rest.split_once(';').unwrap_or((rest, ""));
        found.extend(paths(tree));
        rest = after;
    }
    for start in ["crate::controller::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let end = code[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            let path = &code[at..end.map_or(code.len(), |end| at + end)];
            // A path that ends here is the beginning of a tree, which `use` has returned.
            if !path.ends_with(':') {
                found.push(path.to_owned());
            }
        }
    }
    found
}

/// The module that a path leads to, seen from a module; none if it is outside.
fn target<'a>(path: &str, from: &str, modules: &BTreeSet<&'a str>) -> Option<&'a str> {
    let own = from.split("::").filter(|part| !part.is_empty());
    let mut at: Vec<&str> = own.collect();
    let mut names = path.split("::").map(str::trim).peekable();
    match names.peek().copied()? {
        "crate" => {
            names.next();
            if names.next() != Some("controller") {
                return None;
            }
            at.clear();
        }
        "self" => {
            names.next();
        }
        "super" => {
            while names.next_if_eq(&"super").is_some() {
                // The rest of the crate is above the root.
                at.pop()?;
            }
        }
        // Another crate, unless the module has a child of that name.
        first => {
            let child = [&at[..], &[first]].concat().join("::");
            modules.get(child.as_str())?;
        }
    }
    at.extend(names);
    loop {
        if let Some(module) = modules.get(at.join("::").as_str()) {
            return Some(module);
        }
        at.pop()?;
    }
}

/// The graph of files: path below `controller`, and code.
fn graph(files: &[(String, String)]) -> Graph {
    let module = |path: &str| {
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let path = path.strip_suffix("mod").unwrap_or(path);
        path.trim_end_matches('/').replace('/', "::")
    };
    let files: Vec<(String, &String)> = files.iter().map(|(p, code)| (module(p), code)).collect();
    let modules: BTreeSet<&str> = files.iter().map(|(module, _)| module.as_str()).collect();
    let mut graph = Graph::new();
    for (from, code) in &files {
        let imports = mentioned(code)
            .iter()
            .filter_map(|path| target(path, from, &modules))
            .filter(|to| to != from)
            .map(str::to_owned)
            .collect();
        graph.insert(from.clone(), imports);
    }
    graph
}

/// A path from a module back to itself, if there is one.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    fn walk(
        graph: &Graph,
        at: &str,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(since) = way.iter().position(|seen| seen == at) {
            return Some([&way[since..], &[at.to_owned()]].concat());
        }
        if done.contains(at) {
            return None;
        }
        way.push(at.to_owned());
        let next = graph.get(at).into_iter().flatten();
        let found = next
            .into_iter()
            .find_map(|next| walk(graph, next, way, done));
        way.pop();
        done.insert(at.to_owned());
        found
    }
    let mut done = BTreeSet::new();
    graph
        .keys()
        .find_map(|from| walk(graph, from, &mut Vec::new(), &mut done))
}

/// Its parts are in a folder, and it wires the other modules as a file next to the folders does.
const CONTEXT: &str = "context";

/// The graph of the folders. Files next to them do not count: they wire the folders, or all folders use them.
fn folders(graph: &Graph) -> Graph {
    let folder = |module: &str| module.split_once("::").map(|(folder, _)| folder.to_owned());
    // `mod.rs` of a folder has its name.
    let folder = |module: &str| folder(module).filter(|folder| folder != CONTEXT);
    let all: BTreeSet<String> = graph.keys().filter_map(|module| folder(module)).collect();
    let of = |module: &str| folder(module).or_else(|| all.get(module).cloned());
    let mut found = Graph::new();
    for (from, imports) in graph {
        let Some(from) = of(from) else { continue };
        let to = imports.iter().filter_map(|to| of(to));
        let to: BTreeSet<String> = to.filter(|to| *to != from).collect();
        found.entry(from).or_default().extend(to);
    }
    found
}

fn controller() -> Graph {
    let files: Vec<(String, String)> = product()
        .into_iter()
        .filter_map(|(path, code)| Some((path.strip_prefix("controller/")?.to_owned(), code)))
        .filter(|(path, _)| !is_test(path))
        .collect();
    graph(&files)
}

#[test]
fn no_module_of_the_controller_imports_itself_by_way_of_others() {
    let graph = controller();
    let edges: usize = graph.values().map(BTreeSet::len).sum();
    assert!(
        graph.len() > 40 && edges > 100,
        "the check reads the modules: {graph:?}"
    );
    assert_eq!(circle(&graph), None);
    assert_eq!(circle(&folders(&graph)), None);
}

#[test]
fn the_cache_and_the_calls_know_nothing_of_credentials_steps() {
    let folders = folders(&controller());
    let all: Vec<&str> = folders.keys().map(String::as_str).collect();
    assert_eq!(
        all,
        [
            "api",
            "cache",
            "clients",
            "limiter",
            "reconcile",
            "target",
            "token"
        ]
    );
    for folder in ["api", "cache", "limiter"] {
        for step in ["reconcile", "token", "target"] {
            assert!(
                !folders[folder].contains(step),
                "{folder} imports from {step}"
            );
        }
    }
}

#[test]
fn the_check_reads_imports_and_finds_circles() {
    let file = |path: &str, text: &str| (path.to_owned(), code(text));
    let files = [
        file("mod.rs", "mod a;\nuse a::b;\npub use c::X;\nuse std::fmt;"),
        file(
            "c.rs",
            "// use super::a::b;\nfn f() { let _ = \"super::a::b\"; }",
        ),
        file(
            "a/mod.rs",
            "use crate::{\n    api::Y,\n    controller::c::{self, X},\n};\nuse b::Z as W;",
        ),
        file(
            "a/b.rs",
            "use super::d::{E, F};\n#[cfg(test)]\nmod tests {\n use crate::controller::c;\n}",
        ),
        file(
            "a/d.rs",
            "pub(in crate::controller) fn f() { crate::controller::c::f(); }",
        ),
    ];
    let found = graph(&files);
    let of = |module: &str| found[module].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of(""), ["a::b", "c"]);
    assert_eq!(of("c"), Vec::<&str>::new());
    assert_eq!(of("a"), ["a::b", "c"]);
    assert_eq!(of("a::b"), ["a::d"]);
    assert_eq!(of("a::d"), ["c"]);
    assert_eq!(circle(&found), None);
    let back = file("c.rs", "use super::a::d::f;");
    let files = [&files[..1], &[back], &files[2..]].concat();
    let found = graph(&files);
    assert_eq!(circle(&found).unwrap(), ["a::d", "c", "a::d"]);
    // A circle through a file next to the folders is a circle of modules, not of folders.
    assert_eq!(circle(&folders(&found)), None);
    let other = [
        file("x/y.rs", "use crate::controller::z::w;"),
        file("z/w.rs", "use crate::controller::q;"),
        file("z/v.rs", "use crate::controller::x::y;"),
        file("q.rs", ""),
        file("mod.rs", ""),
    ];
    let found = graph(&other);
    assert_eq!(circle(&found), None);
    assert!(circle(&folders(&found)).is_some(), "{found:?}");
}
