// Embeds texts with transformers.js: node embed.mjs FOLDER DTYPE POOLING < texts.json > vectors.json
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { env, pipeline } from "@huggingface/transformers";

const [folder, dtype, pooling] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);

const options = dtype === "default" ? {} : { dtype };
const extractor = await pipeline("feature-extraction", basename(folder), options);
const vectors = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  const output = await extractor(text, { pooling, normalize: true });
  vectors.push(output.tolist()[0]);
}
process.stdout.write(JSON.stringify(vectors));
