// A headless Chromium, and a server on this machine of what pages in it load.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const PACKAGES = join(dirname(fileURLToPath(import.meta.url)), "node_modules");
const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".json": "application/json",
  ".mjs": "text/javascript", ".wasm": "application/wasm",
};
// What makes a page cross-origin isolated, without which WebAssembly has no threads.
export const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

// Serves a folder at /, and the npm packages at /npm/ and, as npm does, at /node_modules/; returns
// the address.
export async function serve(folder, headers = ISOLATED) {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    const [, inPackages] = path.match(/^\/(?:npm|node_modules)\/(.*)/) ?? [];
    const file = inPackages ? join(PACKAGES, inPackages) : join(folder, path);
    if (path === "/empty") return response.writeHead(200, { ...headers, "Content-Type": "text/html" }).end();
    if (!existsSync(file) || !statSync(file).isFile()) return response.writeHead(404, headers).end();
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { ...headers, "Content-Type": type, "Content-Length": statSync(file).size });
    return createReadStream(file).pipe(response);
  });
  await new Promise((ready) => { server.listen(0, "127.0.0.1", ready); });
  server.unref();
  return `http://127.0.0.1:${server.address().port}`;
}

// Without a GPU, WebGPU is SwiftShader's, which has no half precision.
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--enable-unsafe-webgpu", "--disable-quic", "--no-first-run",
      "--disable-sync", "--disable-background-networking", "--disable-component-update",
    ],
  });
}
