// Checks reports with axe-core in headless Chromium, light and dark, wide and narrow, and that they open in good time.
//
//     npm install --no-save axe-core puppeteer-core
//     CHROMIUM=/usr/bin/chromium node validation/accessibility.mjs runs/photos-1/report.html ...
//
// Prints one line a view and every violation; exit code 1 if one is serious or critical.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import puppeteer from "puppeteer-core";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
let numGrave = 0;
for (const file of process.argv.slice(2)) {
  for (const scheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      const page = await browser.newPage();
      await page.setBypassCSP(true); // the page itself allows no script, axe-core is one
      await page.setViewport({ width, height: 900 });
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      const started = Date.now();
      await page.goto("file://" + resolve(file), { waitUntil: "load" });
      const milliseconds = Date.now() - started;
      await page.evaluate(axeSource);
      const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
      const scrolls = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
      const sideways = scrolls ? ", scrolls sideways" : "";
      console.log(`${file} ${scheme} ${width} px: opened in ${milliseconds} ms, ${violations.length} violations${sideways}`);
      for (const { impact, id, help, nodes } of violations) {
        console.log(`  ${impact} ${id}: ${help} (${nodes.length}), such as ${nodes[0].html.slice(0, 120)}`);
        numGrave += impact === "serious" || impact === "critical";
      }
      await page.close();
    }
  }
}
await browser.close();
process.exit(numGrave ? 1 : 0);
