// Bundles the page into one file: node build.mjs [--check]. --check only says whether the file is up to date.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const file = join(here, "../mlpfit/report/playground.bundle.html");

const bundle = (entry) => {
  const options = { bundle: true, minify: true, write: false, target: "es2022", charset: "ascii" };
  const built = buildSync({ ...options, entryPoints: [join(here, entry)], legalComments: "none" });
  return built.outputFiles[0].text.trim().replaceAll("</script", "<\\/script");
};
const parts = {
  style: readFileSync(join(here, "page/style.css"), "utf8"),
  worker: bundle("worker/worker.ts"),
  script: bundle("page/main.ts"),
};
const note = "<!-- built from src/playground by make playground: change it there -->\n";
const page = readFileSync(join(here, "page/index.html"), "utf8")
  .replace("<html", `${note}<html`)
  .replace(/^ +/gm, "")
  .replace(/\/\* (style|worker|script) \*\//g, (_, name) => parts[name]);

if (process.argv.includes("--check")) {
  if (readFileSync(file, "utf8") !== page) {
    console.error(`${file}: not what src/playground builds to; run make playground`);
    process.exit(1);
  }
} else {
  writeFileSync(file, page);
}
