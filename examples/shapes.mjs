// What the examples share: the network that comes with the package, run with onnxruntime by hand.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const model = (file) => fileURLToPath(new URL(`../models/shapes/${file}`, import.meta.url));
const json = (file) => JSON.parse(readFileSync(model(file), 'utf8'));

export const schedulerConfig = json('scheduler/scheduler_config.json');

/** The prompt's words as the text encoder wants them, padded; the empty prompt is all padding. */
function tokens(prompt) {
  const vocabulary = json('tokenizer/tokenizer.json').model.vocab;
  const length = json('tokenizer/tokenizer_config.json').model_max_length;
  const ids = new Int32Array(length).fill(vocabulary['[PAD]']);
  prompt
    .split(' ')
    .filter(Boolean)
    .forEach((word, i) => {
      ids[i] = vocabulary[word];
    });
  return ids;
}

/** A function from (sample, timestep) to the network's output, for a prompt, with the batch doubled for guidance. */
export async function loadUnet(prompt) {
  const encoder = await InferenceSession.create(model('text_encoder/model.onnx'));
  const unet = await InferenceSession.create(model('unet/model.onnx'));
  const ids = [...tokens(''), ...tokens(prompt)];
  const input = new Tensor('int32', Int32Array.from(ids), [2, ids.length / 2]);
  const { last_hidden_state: states } = await encoder.run({ input_ids: input });
  return async (sample, timestep) => {
    const feeds = { sample, timestep: new Tensor('float32', [timestep], [1]), encoder_hidden_states: states };
    return (await unet.run(feeds)).out_sample;
  };
}

/** Writes a picture in [-1, 1], [1, 3, 32, 32], as a text file that most viewers open (PPM). */
export function toPpm({ data, dims: [, , height, width] }) {
  const bytes = Buffer.alloc(3 * height * width);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++)
      bytes[3 * i + c] = Math.round(255 * Math.min(Math.max(data[c * height * width + i] / 2 + 0.5, 0), 1));
  }
  return Buffer.concat([Buffer.from(`P6 ${width} ${height} 255\n`), bytes]);
}
