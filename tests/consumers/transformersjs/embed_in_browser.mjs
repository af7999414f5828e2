// Embeds texts with transformers.js in headless Chromium, each list of texts as a batch:
// node embed_in_browser.mjs FOLDER wasm|webgpu DTYPE... < batches.json > vectors.json
// Prints the vectors of each dtype, or the error; a dtype after a slash is a file's name, and what
// ends in @1 has one thread of WebAssembly, as pages have that are not cross-origin isolated.
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { launch, serve } from "./browser.mjs";

const [folder, device, ...dtypes] = process.argv.slice(2);
const batches = JSON.parse(readFileSync(0, "utf8"));
const origin = await serve(dirname(folder));
const browser = await launch();
const page = await browser.newPage();

async function embed({ name, device, dtype: wanted, batches }) {
  const { env, pipeline } = await import("/npm/@huggingface/transformers/dist/transformers.min.js");
  env.allowLocalModels = true; // it is false in browsers
  env.allowRemoteModels = false;
  env.localModelPath = "/";
  env.useBrowserCache = false;
  env.useWasmCache = false;
  const runtime = `${location.origin}/npm/onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify`;
  env.backends.onnx.wasm.wasmPaths = { mjs: `${runtime}.mjs`, wasm: `${runtime}.wasm` };
  const [dtype, threads = 2] = wanted.split("@");
  env.backends.onnx.wasm.numThreads = Number(threads);
  const file = dtype.startsWith("/")
    ? { model_file_name: dtype.slice(1), dtype: "fp32" } : dtype === "default" ? {} : { dtype };
  const extractor = await pipeline("feature-extraction", name, { device, ...file });
  const vectors = [];
  for (const texts of batches) {
    const output = await extractor(texts, { pooling: "mean", normalize: true });
    vectors.push(...output.tolist());
  }
  await extractor.dispose();
  return { vectors, isolated: globalThis.crossOriginIsolated };
}

const found = {};
for (const dtype of dtypes) {
  // A new page each time: after an error, onnxruntime-web loads nothing more.
  await page.goto(`${origin}/empty`);
  const settings = { name: basename(folder), device, dtype, batches };
  const start = Date.now();
  found[dtype] = await page.evaluate(embed, settings).catch((error) => ({ error: String(error) }));
  console.error(`${device} ${dtype}: ${Date.now() - start} ms`);
}
await browser.close();
process.stdout.write(JSON.stringify(found), () => process.exit());
