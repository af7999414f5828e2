const { files, library, maxTokens, prompts } = JSON.parse(document.getElementById("data").textContent);
const [form, query, texts, file, device, button, status, result, rows] =
  ["form", "query", "texts", "file", "device", "go", "status", "result", "rows"].map((id) => document.getElementById(id));
const folder = new URL(".", location.href);
const packages = new URL("../node_modules/", folder);
let loaded = {};

function say(words, failed = false) {
  status.textContent = words;
  status.className = failed ? "failed" : "";
}

async function load() {
  const wanted = `${file.value} ${device.value}`;
  if (loaded.wanted === wanted) return loaded;
  await loaded.model?.dispose();
  loaded = {};
  if (!location.protocol.startsWith("http")) throw new Error("A browser loads models from a server only, as described below.");
  const { AutoModel, AutoTokenizer, env } = await import(new URL("@huggingface/transformers/dist/transformers.min.js", packages))
    .catch(() => { throw new Error(`transformers.js ${library} was not found at ${packages.pathname}; it is installed as described below.`); });
  env.allowLocalModels = true;
  env.allowRemoteModels = false;
  env.localModelPath = folder.pathname;
  env.useBrowserCache = env.useWasmCache = false;
  const runtime = new URL("onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify", packages).href;
  env.backends.onnx.wasm.wasmPaths = { mjs: `${runtime}.mjs`, wasm: `${runtime}.wasm` };
  const tokenizer = await AutoTokenizer.from_pretrained(".");
  const model = await AutoModel.from_pretrained(".", { ...files[file.value].options, device: device.value });
  loaded = { wanted, model, tokenizer };
  return loaded;
}

async function embed({ model, tokenizer }, text) {
  const inputs = tokenizer(text, { truncation: true, ...(maxTokens ? { max_length: maxTokens } : {}) });
  const { sentence_embedding } = await model(inputs);
  const vector = Float64Array.from(sentence_embedding.data, Number);
  const length = Math.hypot(...vector);
  return vector.map((component) => component / length);
}

function row(text, cosine) {
  const [line, words, figure, meter, bar] = ["tr", "td", "td", "span", "span"].map((name) => document.createElement(name));
  words.className = "text";
  words.textContent = text;
  meter.className = "meter";
  bar.style.width = `${Math.max(0, cosine) * 100}%`;
  meter.append(bar);
  figure.append(cosine.toFixed(3), meter);
  line.append(words, figure);
  return line;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (button.getAttribute("aria-disabled") === "true") return;
  const others = texts.value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!query.value.trim() || !others.length) return say("Enter a text, and one or more to compare it with.", true);
  button.setAttribute("aria-disabled", "true");
  try {
    say("Loading the model …");
    const model = await load();
    say("Embedding the texts …");
    const start = performance.now();
    const wanted = await embed(model, prompts.query + query.value.trim());
    const found = [];
    for (const text of others) {
      const vector = await embed(model, prompts.document + text);
      found.push([text, vector.reduce((sum, component, index) => sum + component * wanted[index], 0)]);
    }
    found.sort((a, b) => b[1] - a[1]);
    rows.replaceChildren(...found.map(([text, cosine]) => row(text, cosine)));
    result.hidden = false;
    say(`${found.length + 1} texts in ${Math.round(performance.now() - start)} ms.`);
  } catch (error) {
    result.hidden = true;
    say(error.message ?? String(error), true);
  } finally {
    button.removeAttribute("aria-disabled");
  }
});

if (navigator.gpu) {
  navigator.gpu.requestAdapter().then((adapter) => {
    if (adapter) device.add(new Option("GPU, by WebGPU", "webgpu"));
  });
}
