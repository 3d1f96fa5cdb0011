// The interface of the web UI by AUTOMATIC1111, as far as tools that draw speak it.
import { Hono } from 'hono';
import { answer, type App, atMost, notAllowed, objectIn, readJson, refuse, Wrong } from './answers.js';
import { failed, follow, type FollowOptions, lastOf } from './follow.js';
import { fromBase64 } from './form.js';
import type { Limits } from './limits.js';
import type { Done, Uploads } from './messages.js';
import { modelOf, noModel, type Served } from './models.js';
import { isNews } from './runs.js';
import { readSettings, type settingsSchema } from './settings.js';
import type { UploadBudget } from './upload-budget.js';

export interface A1111Options extends FollowOptions {
  models: readonly Served[];
  limits: Limits;
  settings: ReturnType<typeof settingsSchema>;
  budget: UploadBudget;
}

/** What its samplers are called here. */
const samplers: Record<string, object> = {
  'DPM++ 2M': { solver: 'dpmsolver++', order: 2 },
  'DPM++ 2M Karras': { solver: 'dpmsolver++', order: 2, skipType: 'karras' },
  'DPM++ 3M': { solver: 'dpmsolver++', order: 3 },
  'DPM++ 2S': { solver: 'dpmsolver++', order: 2, method: 'singlestep' },
  'DPM++ 2M SDE': { solver: 'sde-dpmsolver++', order: 2 },
  'DPM++ 2M SDE Karras': { solver: 'sde-dpmsolver++', order: 2, skipType: 'karras' },
  'DPM adaptive': { solver: 'dpmsolver', method: 'adaptive' },
  DDIM: { solver: 'ddim' },
  PLMS: { solver: 'pndm' },
  UniPC: { solver: 'unipc' },
  DEIS: { solver: 'deis' },
};
/** And its grids. */
const schedules: Record<string, string | undefined> = {
  Automatic: undefined,
  Uniform: 'time_uniform',
  Karras: 'karras',
  Exponential: 'exponential',
  Beta: 'beta',
};

/** What of a request counts here. */
const HONOURED = new Set([
  ...['prompt', 'negative_prompt', 'seed', 'steps', 'cfg_scale', 'width', 'height', 'batch_size', 'n_iter'],
  ...['sampler_name', 'sampler_index', 'scheduler', 'override_settings', 'send_images'],
  ...['init_images', 'mask', 'denoising_strength', 'inpainting_mask_invert'],
]);
/** What is asked for by these is another picture than would be made without: who sends more than nothing is refused. */
const REFUSED: Record<string, string> = {
  script_name: 'no script',
  alwayson_scripts: 'no scripts',
  enable_hr: 'false',
  refiner_checkpoint: 'no refiner',
};
/** What says nothing by itself, whatever it is: of files, tasks and passes that there are not here. */
const IDLE =
  /^(?:hr_|firstphase_|do_not_save_|save_images$|include_init_images$|override_settings_restore_afterwards$|force_task_id$|refiner_switch_at$|script_args$|disable_extra_networks$|inpaint_full_res_padding$|comments$|user$)/;
/** Values that ask for what is done here anyway, besides none, false and what is empty. */
const NEUTRAL: Record<string, readonly unknown[]> = {
  subseed: [-1],
  ...{ subseed_strength: [0], seed_resize_from_h: [-1, 0], seed_resize_from_w: [-1, 0] },
  ...{ eta: [0], s_churn: [0], s_tmin: [0], s_tmax: [0], s_noise: [1], s_min_uncond: [0] },
  ...{
    mask_blur: [0],
    mask_blur_x: [0],
    mask_blur_y: [0],
    inpainting_fill: [1],
    inpaint_full_res: [0],
    resize_mode: [0],
  },
  initial_noise_multiplier: [1],
};

type Body = Record<string, unknown>;
type Context = Parameters<typeof refuse>[0];

export function a1111Routes(options: A1111Options): App {
  const { models, limits, budget } = options;
  const app: App = new Hono();
  const small = atMost(limits.body);
  app.post('/txt2img', small, (c) => draw(options, c, () => undefined));
  app.all('/txt2img', (c) => notAllowed(c, 'POST'));
  app.post('/img2img', budget.guard(), (c) => draw(options, c, (body) => readPictures(body, limits)));
  app.all('/img2img', (c) => notAllowed(c, 'POST'));

  const lists: Record<string, () => unknown> = {
    samplers: () => Object.keys(samplers).map((name) => ({ name, aliases: [], options: {} })),
    schedulers: () => Object.keys(schedules).map((label) => ({ name: label.toLowerCase(), label, aliases: null })),
    'sd-models': () => models.map(({ id }) => ({ title: id, model_name: id, hash: null, sha256: null, filename: id })),
    options: () => ({ sd_model_checkpoint: models[0].id }),
    progress: () => ({
      ...{ progress: 0, eta_relative: 0, current_image: null, textinfo: null },
      state: { job_count: options.queue.state.running, queued: options.queue.state.waiting },
    }),
  };
  for (const [name, value] of Object.entries(lists)) {
    app.get(`/${name}`, (c) => answer(c, 200, value()));
    app.all(`/${name}`, (c) => notAllowed(c, 'GET'));
  }
  return app;
}

async function draw(
  options: A1111Options,
  c: Context,
  pictures: (body: Body) => Uploads | undefined,
): Promise<Response> {
  const json = await readJson(c);
  if (json instanceof Response) return json;
  const body = objectIn(json);
  const refused = Object.keys(REFUSED).find((name) => !isNothing(body[name]));
  if (refused) {
    return refuse(c, 422, `Expected ${REFUSED[refused]} for ${refused}, which is not made here, but received one`);
  }
  const asked = readBody(body);
  const uploads = pictures(body);
  const read = readSettings(options.settings, asked.settings);
  if ('error' in read) return refuse(c, 400, read.error);
  const served = modelOf(options.models, asked.model);
  if (!served) return refuse(c, 404, noModel(options.models));
  const job = {
    ...{ settings: read.settings, coding: { format: 'png', quality: 100 } as const, previews: 0 },
    ...(uploads ? { uploads } : {}),
  };
  const followed = await follow(options, c, served.engine, job, (event) =>
    isNews(event) ? JSON.stringify(event.data) : undefined,
  );
  if (followed instanceof Response) return followed;
  const last = await lastOf(c, followed);
  if (last?.event !== 'done') return failed(c, last);
  const { images, seeds, width, height, guidance, nfe } = JSON.parse(last.data) as Done;
  const info = {
    ...{ prompt: read.settings.prompt, all_prompts: seeds.map(() => read.settings.prompt) },
    ...{ negative_prompt: read.settings.negativePrompt ?? '', seed: seeds[0], all_seeds: seeds, width, height },
    ...{ cfg_scale: guidance, steps: read.settings.steps, nfe, sd_model_name: served.id },
    ignored: ignoredIn(body, uploads !== undefined),
  };
  const { init_images: _, mask: __, ...parameters } = body;
  const sent = body.send_images === false ? [] : images;
  return answer(c, 200, { images: sent, parameters, info: JSON.stringify(info) });
}

/** None, false, or empty. */
function isNothing(value: unknown): boolean {
  return (
    value == null || value === false || value === '' || (typeof value === 'object' && Object.keys(value).length === 0)
  );
}

/** Fields that would have made another picture, had they been heeded. */
function ignoredIn(body: Body, fromPicture: boolean): string[] {
  const names = Object.keys(body).filter((name) => {
    return !HONOURED.has(name) && !IDLE.test(name) && !isNothing(body[name]) && !NEUTRAL[name]?.includes(body[name]);
  });
  const { sd_model_checkpoint: _, ...others } = { ...(body.override_settings as Body | null) };
  const pictures = fromPicture ? [] : ['init_images', 'mask'].filter((name) => !isNothing(body[name]));
  return [...names, ...pictures, ...Object.keys(others).map((name) => `override_settings.${name}`)].map((name) =>
    name.slice(0, 100),
  );
}

/** What tools send is a long list of things that most servers do not have: what is not known is passed over, and told. */
function readBody(body: Body): { settings: Body; model: string | undefined } {
  const number = (name: string): number | undefined => {
    const value = body[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number') throw new Wrong(`Expected a number for ${name} but received something else`);
    return value;
  };
  const pick = (name: string, from: Record<string, unknown>): unknown => {
    const value = body[name];
    if (value === undefined || value === null || value === '') return undefined;
    const found = Object.keys(from).find((key) => key.toLowerCase() === String(value).toLowerCase());
    if (found === undefined) {
      throw new Wrong(`Expected one of ${Object.keys(from).join(', ')} for ${name} but received another`);
    }
    return from[found];
  };
  const seed = number('seed');
  const count = (number('batch_size') ?? 1) * (number('n_iter') ?? 1);
  const sampler = pick(body.sampler_name === undefined ? 'sampler_index' : 'sampler_name', samplers) as object;
  const skipType = pick('scheduler', schedules);
  const settings: Body = {
    ...{ prompt: body.prompt ?? '', count, ...sampler },
    ...(skipType === undefined ? {} : { skipType }),
    ...(body.negative_prompt ? { negativePrompt: body.negative_prompt } : {}),
    // -1 is any.
    ...(seed === undefined || seed === -1 ? {} : { seed }),
  };
  for (const [name, ours] of [
    ['steps', 'steps'],
    ['cfg_scale', 'guidance'],
    ['width', 'width'],
    ['height', 'height'],
  ] as const) {
    const value = number(name);
    if (value !== undefined) settings[ours] = value;
  }
  const overridden = (body.override_settings as Body | undefined)?.sd_model_checkpoint;
  return { settings, model: typeof overridden === 'string' ? overridden : undefined };
}

function readPictures(body: Body, { side, area, pixels }: Limits): Uploads {
  const images = body.init_images;
  if (!Array.isArray(images) || images.length !== 1) {
    throw new Wrong('Expected one picture for init_images but received another number of them');
  }
  const strength = body.denoising_strength ?? 0.75;
  if (typeof strength !== 'number' || !(strength > 0 && strength <= 1)) {
    throw new Wrong('Expected a number above 0 and up to 1 for denoising_strength but received something else');
  }
  return {
    image: fromBase64(images[0], 'init_images'),
    ...(body.mask == null ? {} : { mask: fromBase64(body.mask, 'mask') }),
    ...(body.inpainting_mask_invert ? { inverted: true } : {}),
    strength,
    most: { side, area, pixels },
  };
}
