// The worker's side: from words to pixels with models/shapes, by onnxruntime-web and dpm-solver, all of it from this server.
import {
  answerCalls,
  betas,
  DPMSolver,
  NoiseSchedule,
  OrtWebNetwork,
  PromptTokenizer,
  randn,
  setOnnxRuntime,
} from './dpm-solver/web.js';
import { Tokenizer } from './tokenizers/tokenizers.min.mjs';

const model = (file) => new URL(`./models/shapes/${file}`, import.meta.url).href;
const json = async (file) => (await fetch(model(file))).json();

answerCalls({
  /** A picture of 32 by 32 pixels, four bytes each. */
  async draw({ prompt, steps, guidance, seed, device }, { tell, signal }) {
    const began = performance.now();
    const { encode, unet, config } = await load(device);
    const states = await encode(['', prompt]);
    const { beta_schedule: name, num_train_timesteps: n, beta_start: start, beta_end: end } = config;
    const solver = new DPMSolver(
      unet.model({ encoder_hidden_states: states }),
      NoiseSchedule.discrete({ betas: betas(name, n, { start, end }) }),
      {
        modelType: 'v',
        modelDevice: unet.device,
        guidance: { type: 'classifier-free', scale: guidance },
        thresholding: true,
      },
    );
    const { sample, nfe } = await solver.sample(randn([1, 3, 32, 32], { seed }), {
      steps,
      signal,
      onStep: ({ step, steps: of, x }) => tell({ step, of, pixels: pixelsOf(x) }),
    });
    const { device: where, reason } = unet;
    const milliseconds = performance.now() - began;
    return { pixels: pixelsOf(sample), sample: sample.data, nfe, device: where, reason, milliseconds };
  },
});

let loaded;
/** All that is fetched, once: about 13 MB, of which the denoiser is 8. */
function load(device) {
  loaded ??= loadAll(device).catch((error) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function loadAll(wanted) {
  // The build that fetches least: with WebGPU where the browser suspends WebAssembly, or has WebGPU at all.
  const graphics = wanted !== 'cpu' && (await navigator.gpu?.requestAdapter());
  const build = !graphics ? 'wasm' : 'Suspending' in WebAssembly ? 'jspi' : 'webgpu';
  const ort = await import(`./onnxruntime-web/ort.${build}.bundle.min.mjs`);
  ort.env.wasm.wasmPaths = new URL('./onnxruntime-web/', import.meta.url).href;
  setOnnxRuntime(ort);
  const device = graphics ? wanted : 'cpu';
  const [unet, encoder, config, definition, tokens] = await Promise.all([
    OrtWebNetwork.open(model('unet/model.onnx'), { device }),
    // Small, and run once a prompt: on the CPU.
    OrtWebNetwork.open(model('text_encoder/model.onnx'), { device: 'cpu' }),
    json('scheduler/scheduler_config.json'),
    json('tokenizer/tokenizer.json'),
    json('tokenizer/tokenizer_config.json'),
  ]);
  const tokenizer = PromptTokenizer.of(new Tokenizer(definition, tokens), { config: tokens, definition });
  const encode = async (prompts) => {
    const ids = Int32Array.from(prompts.flatMap((prompt) => tokenizer.encode(prompt)));
    const { last_hidden_state } = await encoder.run({
      input_ids: { type: 'int32', data: ids, dims: [prompts.length, tokenizer.length] },
    });
    return last_hidden_state;
  };
  return { unet, encode, config };
}

/** From [1, 3, 32, 32] in [-1, 1]. */
function pixelsOf({ data, dims: [, , height, width] }) {
  const n = height * width;
  const pixels = new Uint8ClampedArray(4 * n);
  for (let i = 0; i < n; i++) {
    for (let c = 0; c < 3; c++) pixels[4 * i + c] = 127.5 * (data[c * n + i] + 1);
    pixels[4 * i + 3] = 255;
  }
  return pixels;
}
