// onnxruntime, one image forward; prints one JSON line.
// node bench_ort.mjs MODEL.onnx THREADS HEIGHT WIDTH REPS   (in a folder whose node_modules has onnxruntime-node)
import { createRequire } from 'node:module';
const require = createRequire(process.cwd() + '/');
const ort = require('onnxruntime-node');
const version = require('onnxruntime-node/package.json').version;
const [model, threads, height, width, reps] = process.argv.slice(2);

const session = await ort.InferenceSession.create(model, { intraOpNumThreads: +threads, graphOptimizationLevel: 'all' });
const values = Float32Array.from({ length: 3 * height * width }, Math.random);
const x = new ort.Tensor('float32', values, [1, 3, +height, +width]);
const times = [];
for (let i = 0; i < +reps + 2; i++) {
  const start = process.hrtime.bigint();
  await session.run({ [session.inputNames[0]]: x });
  times.push(Number(process.hrtime.bigint() - start) / 1e9);
}
const sorted = times.slice(2).sort((a, b) => a - b);
const middle = (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
console.log(JSON.stringify({ peer: 'onnxruntime ' + version, median_s: middle, min_s: sorted[0] }));
