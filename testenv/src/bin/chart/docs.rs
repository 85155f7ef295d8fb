//! Generates the chart's README.md, files/values.yaml, and the annotations of Chart.yaml from values.yaml, crds/ and examples/.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::{Made, read};

const CHART: &str = "charts/apicred";
/// The table is between these lines of README.md.
const TABLE: [&str; 2] = ["<!-- values -->\n", "<!-- end of values -->\n"];
/// The text after this line of Chart.yaml is generated here.
const GENERATED: &str =
    "  # `make chart-docs` writes the rest, from values.yaml, crds/ and examples/.\n";
/// For each kind, an example and the number of its object in the file.
const EXAMPLES: [(&str, usize); 4] = [
    ("examples/01-entra.yaml", 0),
    ("examples/31-shared-client.yaml", 0),
    ("examples/05-oidc-issuer.yaml", 0),
    ("examples/02-cluster-issuer.yaml", 0),
];

/// The generated files.
pub(crate) fn made(root: &Path) -> Result<Vec<Made>, String> {
    let at = |name: &str| format!("{CHART}/{name}");
    let values = read(root, &at("values.yaml"))?;
    let readme = read(root, &at("README.md"))?;
    let [begin, end] = TABLE;
    let (before, rest) = readme.split_once(begin).ok_or("README.md: no table")?;
    let (_, after) = rest
        .split_once(end)
        .ok_or("README.md: no end of the table")?;
    let readme = format!("{before}{begin}{}{end}{after}", table(&values));
    let chart = read(root, &at("Chart.yaml"))?;
    let (before, _) = chart
        .split_once(GENERATED)
        .ok_or("Chart.yaml: no line for the rest")?;
    let chart = format!("{before}{GENERATED}{}", annotations(root, &chart, &values)?);
    Ok(vec![
        (at("README.md").into(), readme),
        (at("files/values.yaml").into(), values),
        (at("Chart.yaml").into(), chart),
    ])
}

/// A row for each value that has a comment. A map whose keys have none is one value.
fn table(values: &str) -> String {
    let mut rows = String::from("| Value | Default | Meaning |\n|---|---|---|\n");
    let mut path: Vec<&str> = Vec::new();
    let mut comment = String::new();
    let mut lines = values.lines().peekable();
    while let Some(line) = lines.next() {
        let text = line.trim_start();
        let depth = (line.len() - text.len()) / 2;
        if let Some(more) = text.strip_prefix("# ") {
            comment = format!("{comment} {more}");
            continue;
        }
        let Some((key, default)) = text.split_once(':').filter(|_| !text.starts_with('-')) else {
            comment.clear();
            continue;
        };
        // Deeper lines without a comment belong to the value above.
        if comment.is_empty() && depth > 0 {
            continue;
        }
        path.truncate(depth);
        path.push(key);
        let block = default.is_empty()
            && lines
                .peek()
                .is_some_and(|next| next.trim_start().starts_with('#'));
        let default = match default.trim() {
            "" if block => String::new(),
            "" => "see `values.yaml`".to_owned(),
            given => format!("`{given}`"),
        };
        if !comment.is_empty() {
            let meaning = comment.trim().replace('|', "\\|");
            let _ = writeln!(rows, "| `{}` | {default} | {meaning} |", path.join("."));
        }
        comment.clear();
    }
    rows
}

/// The annotations of Artifact Hub that repeat other files.
fn annotations(root: &Path, chart: &str, values: &str) -> Result<String, String> {
    let field = |text: &str, name: &str| {
        let line = text
            .lines()
            .find_map(|l| l.trim().strip_prefix(name).map(str::to_owned));
        line.ok_or_else(|| format!("no {name}"))
    };
    let mut crds = String::new();
    let mut examples = String::new();
    for (kind, (path, number)) in [
        "apicredentials",
        "apiclients",
        "tokenissuers",
        "clustertokenissuers",
    ]
    .iter()
    .zip(EXAMPLES)
    {
        let crd: Value = serde_saphyr::from_str(&read(root, &format!("crds/{kind}.yaml"))?)
            .map_err(|e| e.to_string())?;
        let text = |pointer: &str| {
            crd.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let about = text("/spec/versions/0/schema/openAPIV3Schema/description");
        let about = about
            .split_once(". ")
            .map_or(about, |(first, _)| first)
            .trim_end_matches('.');
        for (label, value) in [
            ("- kind", text("/spec/names/kind")),
            ("  version", text("/spec/versions/0/name")),
            ("  name", text("/metadata/name")),
            ("  displayName", text("/spec/names/kind")),
        ] {
            let _ = writeln!(crds, "    {label}: {value}");
        }
        let _ = writeln!(crds, "      description: {about:?}");
        let file = read(root, path)?;
        let object = file
            .split("\n---\n")
            .nth(number)
            .ok_or_else(|| format!("{path}: no object {number}"))?;
        let lines = object
            .lines()
            .filter(|line| !line.trim_start().starts_with('#') && !line.is_empty());
        for (at, line) in lines.enumerate() {
            let _ = writeln!(examples, "    {} {line}", if at == 0 { "-" } else { " " });
        }
    }
    let image = format!(
        "{}:{}",
        field(values, "repository: ")?,
        field(chart, "appVersion: ")?
    );
    Ok(format!(
        "  artifacthub.io/images: |\n    - name: apicred\n      image: {image}\n  artifacthub.io/crds: |\n{crds}  artifacthub.io/crdsExamples: |\n{examples}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_without_comments_inside_is_one_value() {
        let values = "# All of it.\n\nimage:\n  # Registry | name.\n  tag: \"\"\n\n# As in a pod.\n# See there.\nresources:\n  limits:\n    memory: 1Mi\n\n\
                      # A block.\ncrds:\n  # Installs.\n  install: true\n";
        assert_eq!(
            table(values),
            "| Value | Default | Meaning |\n|---|---|---|\n\
             | `image.tag` | `\"\"` | Registry \\| name. |\n\
             | `resources` | see `values.yaml` | As in a pod. See there. |\n\
             | `crds` |  | A block. |\n\
             | `crds.install` | `true` | Installs. |\n"
        );
    }
}
