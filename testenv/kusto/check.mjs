// Reads queries in KQL from the standard input, as `{"tables": {NAME: "column: type, ..."}, "queries": [TEXT]}`, and prints
// what Microsoft's own parser finds wrong with them: one line for each fault, with the number of the query and its line.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.js");
const { GlobalState, KustoCode, Symbols, Syntax } = globalThis.Kusto.Language;

const { tables, queries } = JSON.parse(readFileSync(0, "utf8"));
const symbols = Object.entries(tables).map(([name, columns]) => new Symbols.TableSymbol.$ctor7(name, `(${columns})`, ""));
const database = new Symbols.DatabaseSymbol.$ctor1("workspace", symbols, false);
const state = GlobalState.Default.WithDatabase(database);

// The service calls a column `NAME_string` and `NAME_dynamic` if the tables of a union differ in its type. The parser knows
// this only of neighbours.
function* mixed(node) {
  if (node instanceof Syntax.UnionOperator) {
    const types = new Map();
    for (let at = 0; at < node.Expressions.Count; at++) {
      const columns = node.Expressions.getItem(at).Element$1.ResultType.Columns;
      for (let index = 0; index < columns.Count; index++) {
        const { Name: name, Type: type } = columns.getItem(index);
        if (types.has(name) && types.get(name) !== type.Name) yield [node, name];
        types.set(name, type.Name);
      }
    }
  }
  for (let at = 0; at < node.ChildCount; at++) {
    const child = node.GetChild(at);
    if (child) yield* mixed(child);
  }
}

queries.forEach((text, index) => {
  const say = (start, what) => console.log(`query ${index + 1}, line ${text.slice(0, start).split("\n").length}: ${what}`);
  const code = KustoCode.ParseAndAnalyze(text, state);
  const found = code.GetDiagnostics();
  for (let at = 0; at < found.Count; at++) {
    const fault = found.getItem(at);
    if (fault.Severity === "Error" || fault.Severity === "Warning") say(fault.Start, fault.Message);
  }
  for (const [node, name] of mixed(code.Syntax)) say(node.TextStart, `The column '${name}' has two types.`);
});
