// What is meant by a name that was typed: a misspelling, or the name that another code has for it. Sources: the pipelines
// of diffusers and diffusers.js, the authors' dpm_solver_pytorch.py, ComfyUI's KSampler, A1111's and OpenAI's pictures over HTTP.
import { nearest } from './text.js';

/** Without case and separators: `num_inference_steps` and `numInferenceSteps` are the same words. */
const letters = (name: string) => name.toLowerCase().replace(/[-_ .+]/g, '');

/** Options by what others call them; of several the first that a call has is meant. */
const OPTIONS: Record<string, readonly string[]> = {
  // diffusers, diffusers.js
  numinferencesteps: ['steps'],
  guidancescale: ['guidance', 'scale'],
  numimagesperprompt: ['count'],
  generator: ['seed'],
  predictiontype: ['modelType'],
  solverorder: ['order'],
  usekarrassigmas: ['skipType'],
  useflowsigmas: ['skipType'],
  usebetasigmas: ['skipType'],
  useexponentialsigmas: ['skipType'],
  timestepspacing: ['skipType'],
  timesteps: ['skipType', 'steps'],
  sigmas: ['skipType'],
  dynamicthresholdingratio: ['thresholding', 'ratio'],
  samplemaxvalue: ['thresholding', 'maxValue'],
  callback: ['onStep'],
  callbackonstepend: ['onStep'],
  progresscallback: ['onStep'],
  maskimage: ['mask'],
  latents: ['noise'],
  strength: ['tStart'],
  guidancerescale: ['guidance'],
  finalsigmastype: ['denoiseToZero'],
  euleratfinal: ['lowerOrderFinal'],
  torchdtype: ['dtype'],
  variant: ['dtype'],
  provider: ['executionProviders'],
  providers: ['executionProviders'],
  // of a configuration, by those of NoiseSchedule
  numtraintimesteps: ['betas'],
  betaschedule: ['betas'],
  trainedbetas: ['betas'],
  rescalebetaszerosnr: ['betas'],
  betastart: ['start'],
  betaend: ['end'],
  flowshift: ['shift'],
  // dpm_solver_pytorch.py
  algorithm: ['algorithmType'],
  guidancetype: ['guidance', 'type'],
  condition: ['guidance'],
  unconditionalcondition: ['guidance'],
  classifierfn: ['guidance'],
  correctingx0fn: ['correctX0'],
  correctingxtfn: ['correctXt'],
  returnintermediate: ['intermediates'],
  dynamicthresholding: ['thresholding'],
  maxval: ['maxValue'],
  thresholdingmaxval: ['maxValue', 'thresholding'],
  // ComfyUI, A1111
  cfg: ['guidance', 'scale'],
  cfgscale: ['guidance', 'scale'],
  samplername: ['scheduler', 'method'],
  samplerindex: ['scheduler', 'method'],
  sampler: ['scheduler', 'method'],
  solver: ['algorithmType', 'scheduler'],
  denoise: ['strength', 'tStart'],
  scheduler: ['skipType', 'algorithmType'],
  niter: ['count'],
  batchsize: ['count'],
  denoisingstrength: ['strength'],
  initimages: ['image'],
  noiseseed: ['seed'],
  // OpenAI
  n: ['count'],
  size: ['width'],
  abortsignal: ['signal'],
  // Papers and code of other samplers
  nfe: ['steps'],
  numsteps: ['steps'],
  nsteps: ['steps'],
  samplingsteps: ['steps'],
  unconditionalguidancescale: ['guidance', 'scale'],
  negative: ['negativePrompt'],
  numimages: ['count'],
  initimage: ['image'],
  inputimage: ['image'],
  parameterization: ['modelType'],
};

const BETAS = { cosine: 'squaredcos_cap_v2', squaredcos: 'squaredcos_cap_v2', quadratic: 'scaled_linear' };

/** Values of an option by what others call them. */
const VALUES: Record<string, Record<string, string>> = {
  modelType: {
    ...{ epsilon: 'noise', eps: 'noise', sample: 'x_start', x0: 'x_start', xstart: 'x_start', data: 'x_start' },
    ...{ vprediction: 'v', velocity: 'v', flowprediction: 'flow', rectifiedflow: 'flow' },
  },
  algorithmType: {
    ...{ dpmsolverplusplus: 'dpmsolver++', dpmplusplus: 'dpmsolver++', dpm: 'dpmsolver++' },
    ...{ sdedpmsolverplusplus: 'sde-dpmsolver++', dpmpp2m: 'dpmsolver++', dpmpp2msde: 'sde-dpmsolver++' },
    // A1111's names: DPM++ 2M Karras
    ...{
      dpm2m: 'dpmsolver++',
      dpm2mkarras: 'dpmsolver++',
      dpm2msde: 'sde-dpmsolver++',
      dpm2msdekarras: 'sde-dpmsolver++',
    },
  },
  method: { multi: 'multistep', single: 'singlestep', '2m': 'multistep', '3m': 'multistep', '2s': 'singlestep' },
  skipType: {
    ...{ uniform: 'time_uniform', linspace: 'time_uniform', leading: 'time_uniform', trailing: 'time_uniform' },
    ...{ normal: 'time_uniform', simple: 'time_uniform', sgmuniform: 'time_uniform', ddimuniform: 'time_uniform' },
    ...{ quadratic: 'time_quadratic', quad: 'time_quadratic', lambda: 'logSNR', edm: 'karras' },
    ...{ alignyoursteps: 'ays' },
  },
  'guidance.type': {
    ...{ classifierfree: 'classifier-free', cfg: 'classifier-free', none: 'uncond', unconditional: 'uncond' },
  },
  device: { gpu: 'auto', nvidia: 'cuda', mps: 'coreml', metal: 'coreml', directml: 'dml', wasm: 'cpu' },
  dtype: { fp16: 'float16', half: 'float16', fp32: 'float32', full: 'float32' },
  'the betas': BETAS,
  // The keys of configurations, by this package's own words.
  prediction_type: {
    ...{ noise: 'epsilon', eps: 'epsilon', v: 'v_prediction', velocity: 'v_prediction', flow: 'flow_prediction' },
    ...{ x0: 'sample', xstart: 'sample', data: 'sample' },
  },
  algorithm_type: { dpmpp2m: 'dpmsolver++', dpm: 'dpmsolver++', dpmpp2msde: 'sde-dpmsolver++' },
  beta_schedule: BETAS,
};

/** The option among `known` that is meant by `key`; none where nothing is like it. @internal */
export function meantOption(key: string, known: readonly string[]): string | undefined {
  const typed = letters(key);
  return (
    known.find((name) => letters(name) === typed) ??
    OPTIONS[typed]?.find((name) => known.includes(name)) ??
    nearest(key, known)
  );
}

/** The value among `choices` that is meant by `value` for the option `name`. @internal */
export function meantValue(name: string, value: string, choices: readonly string[]): string | undefined {
  const typed = letters(value);
  // The key of a configuration is followed by its class.
  const meant = VALUES[name.replace(/ of \w+$/, '')]?.[typed];
  return (
    choices.find((choice) => letters(choice) === typed) ??
    (meant !== undefined && choices.includes(meant) ? meant : nearest(value, choices))
  );
}
