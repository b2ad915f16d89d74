// Bundles the tests beside this file and runs them in node's own runner: node test/run.mjs
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../.build");
const entryPoints = readdirSync(here)
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => join(here, name));
rmSync(out, { recursive: true, force: true });
const options = { bundle: true, platform: "node", format: "esm", logLevel: "warning" };
buildSync({ ...options, entryPoints, outdir: out, outExtension: { ".js": ".mjs" } });
const files = entryPoints.map((file) => file.replace(here, out).replace(/\.ts$/, ".mjs"));
const done = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" });
rmSync(out, { recursive: true, force: true });
process.exit(done.status ?? 1);
