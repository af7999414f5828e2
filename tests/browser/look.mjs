// Looks at a page as people do: node look.mjs PAGE WIDTH light|dark [SCREENSHOT]
// Prints what it saw as JSON; tests judge.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [page_file, width, scheme, screenshot] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
  ],
});
const context = await browser.newContext({
  viewport: { width: Number(width), height: 900 },
  colorScheme: scheme,
});
const page = await context.newPage();
const seen = { console: [], requests: [] };
page.on("console", (message) => seen.console.push(`${message.type()}: ${message.text()}`));
page.on("pageerror", (error) => seen.console.push(`error: ${error.message}`));
page.on("request", (request) => {
  if (!/^(file|data):/.test(request.url())) seen.requests.push(request.url());
});
await page.goto(pathToFileURL(page_file).href);

seen.overflow = await page.evaluate(
  () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
);

// Words of a plot that lie on one another, or that the page has no room for.
[seen.overlaps, seen.outside] = await page.evaluate(() => {
  const overlaps = [], outside = [];
  for (const plot of document.querySelectorAll("svg.plot")) {
    const words = [...plot.querySelectorAll("text")].filter((text) => text.textContent);
    const boxes = words.map((text) => [text.textContent, text.getBoundingClientRect()]);
    const room = plot.closest("section").getBoundingClientRect();
    boxes.forEach(([name, box], number) => {
      if (box.left < room.left || box.right > room.right) outside.push(name);
      for (const [other, at] of boxes.slice(number + 1)) {
        const width = Math.min(box.right, at.right) - Math.max(box.left, at.left);
        const height = Math.min(box.bottom, at.bottom) - Math.max(box.top, at.top);
        // Boxes have some room above and below the letters.
        if (width > 1 && height > 3) overlaps.push(`${name} and ${other}`);
      }
    });
  }
  return [overlaps, outside];
});
// Tables that need to be scrolled sideways.
seen.scrolled = await page.evaluate(() => [...document.querySelectorAll(".scroll")]
  .filter((part) => part.checkVisibility() && part.scrollWidth > part.clientWidth + 1)
  .map((part) => part.getAttribute("aria-label")));
seen.background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
if (screenshot) await page.screenshot({ path: screenshot, fullPage: true });

// Everything that can be used, by Tab alone, with something to see of the focus.
const usable = "a[href], button, summary, [tabindex='0']";
seen.usable = await page.evaluate((selector) => {
  const shown = [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility());
  shown.forEach((element, number) => { element.dataset.number = number; });
  return shown.length;
}, usable);
const reached = new Set();
seen.unmarked = [];
for (let press = 0; press < seen.usable + 5; press += 1) {
  await page.keyboard.press("Tab");
  const [number, outline, name] = await page.evaluate(() => {
    const element = document.activeElement;
    return [element.dataset.number, getComputedStyle(element).outlineStyle, element.outerHTML.slice(0, 80)];
  });
  if (number !== undefined) reached.add(number);
  if (number !== undefined && outline === "none") seen.unmarked.push(name);
}
seen.reached = reached.size;

// A closed part opens by the keyboard, and code is copied.
await page.keyboard.press("Escape");
const closed = page.locator("details:not([open]) > summary").first();
if (await closed.count()) {
  const handle = await closed.elementHandle();
  await handle.focus();
  await page.keyboard.press("Enter");
  seen.opens = await handle.evaluate((element) => element.parentElement.open);
}
const copy = page.locator(".copy:visible").first();
if (await copy.count()) {
  await copy.focus();
  await page.keyboard.press("Enter");
  seen.copied = await copy.evaluate((button) => new Promise((done) => {
    setTimeout(() => done(button.textContent), 300);
  }));
}

// All parts open, so that what is in them is checked too.
await page.evaluate(() => {
  for (const part of document.querySelectorAll("details")) {
    part.removeAttribute("name");
    part.open = true;
  }
});
await page.evaluate(axe);
const report = await page.evaluate(() => window.axe.run(document, {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}));
seen.violations = report.violations.flatMap((violation) => violation.nodes.map(
  (node) => `${violation.id}: ${node.html.slice(0, 120)}: ${node.any.map((a) => a.message).join("; ")}`,
));
seen.checked = report.passes.map((pass) => pass.id);

// On paper: light, and with all parts open although nobody opened them.
await page.reload();
await page.emulateMedia({ media: "print" });
seen.paper = await page.evaluate(() => ({
  hidden: [...document.querySelectorAll("details pre, details table")]
    .filter((element) => element.getBoundingClientRect().height === 0).length,
  background: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
}));
await browser.close();
console.log(JSON.stringify(seen));
