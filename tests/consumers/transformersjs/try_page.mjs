// Presses the button of a folder's try.html in headless Chromium: node try_page.mjs FOLDER
// Prints the page's first text, and the others with the cosines that it shows.
import { basename, dirname } from "node:path";
import { launch, serve } from "./browser.mjs";

const [folder] = process.argv.slice(2);
const origin = await serve(dirname(folder));
const browser = await launch();
const page = await browser.newPage();
const elsewhere = [];
page.on("request", (request) => {
  if (!/^(blob|data):/.test(request.url()) && !request.url().startsWith(`${origin}/`)) elsewhere.push(request.url());
});
await page.goto(`${origin}/${basename(folder)}/try.html`);
await page.click("#go");
await page.waitForFunction(() => document.querySelector("#rows tr, #status.failed"), null, { timeout: 120_000 });
const found = await page.evaluate(() => ({
  status: document.getElementById("status").textContent,
  query: document.getElementById("query").value,
  rows: [...document.querySelectorAll("#rows tr")].map((row) => [row.cells[0].textContent, Number(row.cells[1].textContent)]),
}));
await browser.close();
process.stdout.write(JSON.stringify({ ...found, elsewhere }), () => process.exit());
