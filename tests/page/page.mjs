// Opens the page of a bundle from the disk, as whoever receives it does. Every assertion that fails ends the run.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const bundles = process.argv[2];
const cases = JSON.parse(readFileSync(join(bundles, "cases.json")));
const key = readFileSync(join(bundles, "log.vkey"), "utf8").split("\n")[0];
const unpacked = mkdtempSync(join(tmpdir(), "tabellion-page-"));
execFileSync("unzip", ["-q", join(bundles, "good.zip"), "-d", unpacked]);
const folder = join(unpacked, readdirSync(unpacked)[0]);
const index = join(folder, "index.html");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
  ],
});

const asked = [];
const complaints = [];
async function open(path, options = {}) {
  const page = await browser.newPage(options);
  page.on("request", (request) => asked.push(request.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(pathToFileURL(path).href);
  return page;
}
const settled = (page) => page.waitForFunction(() => document.documentElement.dataset.state !== "checking", null, { timeout: 60000 });
const state = (page) => page.evaluate(() => document.documentElement.dataset.state);
const codes = (page, list) => page.$$eval(`#${list} li[data-code]`, (lines) => lines.map((line) => line.dataset.code));

async function give(page, path) {
  await page.evaluate(() => { document.documentElement.dataset.state = "checking"; });
  await page.setInputFiles(path.endsWith(".zip") ? "#zip" : "#folder", path);
  await settled(page);
}

// A good bundle, as it opens.
const page = await open(index, { viewport: { width: 1100, height: 1400 } });
await settled(page);
assert.equal(await state(page), "verified", await page.textContent("#problems"));
const own = ["files", "checkpoint", "exchanges", "content", "custody", "graph", "rules", "receipts", "cosignatures", "older", "existed", "not-before", "completeness", "export"];
assert.equal(await page.textContent("#word"), "Agrees with itself");
assert.deepEqual(await codes(page, "proved"), own);
assert.ok((await codes(page, "unchecked")).includes("key"), "it must say that the key is the bundle's own");
assert.ok((await codes(page, "unchecked")).includes("copy"), "it must say that it checked its own copy");
assert.equal(await page.$$eval(".exchange", (all) => all.length), 4);
const kinds = await page.$$eval("#exchanges .redacted b", (all) => [...new Set(all.map((one) => one.textContent))]);
assert.ok(kinds.includes("CREDIT_CARD") && kinds.includes("US_SSN"), kinds.join());
assert.ok((await page.textContent("#exchanges")).includes("refund"), "the conversation is shown");
assert.ok((await page.$$eval("#custody li", (all) => all.length)) >= 3);
await page.screenshot({ path: "light.png", fullPage: true });
const dark = await open(index, { viewport: { width: 1100, height: 1400 }, colorScheme: "dark" });
await settled(dark);
await dark.screenshot({ path: "dark.png", fullPage: true });
await dark.close();
const narrow = await open(index, { viewport: { width: 390, height: 1200 } });
await settled(narrow);
assert.ok(await narrow.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "no scrolling sideways on a telephone");
await narrow.screenshot({ path: "narrow.png" });
await narrow.close();
await page.pdf({ path: "print.pdf", format: "A4" });

// With the key from elsewhere; a key of somebody else's is refused.
await page.evaluate(() => { document.querySelector("details").open = true; });
await page.fill("#vkey", key);
await page.click("#again");
await settled(page);
assert.equal(await page.textContent("#word"), "Verified");
assert.deepEqual(await codes(page, "proved"), ["files", "key", ...own.slice(1)]);
await page.fill("#vkey", "tabellion.example/demo+00000000+AAAA");
await page.click("#again");
await settled(page);
assert.equal(await state(page), "refused");
assert.deepEqual(await codes(page, "problems"), ["given"]);
await page.fill("#vkey", key);

// The files themselves: the zip file, and the folder.
for (const [given, path] of [["zip", join(bundles, "good.zip")], ["folder", folder]]) {
  await give(page, path);
  assert.equal(await state(page), "verified", `${given}: ${await page.textContent("#problems")}`);
  const proved = await codes(page, "proved");
  for (const code of ["files", "key", "page", "same"]) assert.ok(proved.includes(code), `${given}: ${code} in ${proved}`);
}

// Whatever is done to a bundle is refused, and for the right reason.
for (const { file, name, code } of cases) {
  await give(page, join(bundles, file));
  assert.equal(await state(page), "refused", `${name} was not refused`);
  const found = await codes(page, "problems");
  assert.ok(found.includes(code), `${name}: ${code} not in ${found}`);
  if (name === "an outcome edited") await page.screenshot({ path: "refused.png", fullPage: true });
}
await page.close();
assert.deepEqual(complaints, []);

// A page that was changed: its copy is found out by the page, its program does not run under the page's own policy.
const text = readFileSync(index, "utf8");
const at = text.indexOf('id="bundle">') + 5000;
const damaged = join(unpacked, "damaged.html");
writeFileSync(damaged, text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1));
const broken = await open(damaged);
await settled(broken);
assert.equal(await state(broken), "refused");
await broken.close();
const rewritten = join(unpacked, "rewritten.html");
const script = text.replace("report.verified ?", "true ?");
assert.notEqual(script, text);
writeFileSync(rewritten, script);
const idle = await open(rewritten);
await idle.waitForTimeout(1000);
assert.equal(await state(idle), "checking", "a script that was changed must not run");
assert.ok(complaints.some((one) => one.includes("Content Security Policy")), complaints.join());
await idle.close();

// Nothing was asked of any network.
assert.deepEqual(asked.filter((url) => !url.startsWith("file:")), []);
await browser.close();
console.log(`the page shows a good bundle, and refuses ${cases.length} changed ones, each with its reason`);
