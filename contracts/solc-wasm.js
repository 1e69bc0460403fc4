#!/usr/bin/env node
// The npm build of the Solidity compiler behind the part of solc's command line that py-solc-x and forge use.
// npm's own `solcjs` does not do: it greets on standard output, where they expect nothing but JSON.
"use strict";
const fs = require("fs");
const path = require("path");

const solc = require(path.join(process.env.SWARM_NODE_MODULES || path.join(__dirname, "node_modules"), "solc"));
const args = process.argv.slice(2);
const valuesOf = (flag) => args.flatMap((arg, i) => (arg === flag ? [args[i + 1]] : []));

/** Finds an imported file that the input does not carry itself. */
function readImport(unit) {
  for (const root of [...valuesOf("--base-path"), ...valuesOf("--include-path")]) {
    const file = path.resolve(root, unit);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, "utf8") };
  }
  return { error: `not found: ${unit}` };
}

if (args.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
} else if (args.includes("--standard-json")) {
  process.stdout.write(solc.compile(fs.readFileSync(0, "utf8"), { import: readImport }));
} else {
  console.error("solc-wasm: only --version and --standard-json are supported");
  process.exitCode = 2;
}
