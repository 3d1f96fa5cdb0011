// What a run is asked for with: one schema that checks, says what is wrong in a sentence, and documents itself.
import * as v from 'valibot';
import { list } from '../base/check.js';
import { nearest } from '../base/text.js';
import { isFixed, SOLVERS } from '../pipelines/solvers.js';
import { SKIP_TYPES } from '../schedule/grid.js';
import { GUIDANCE_VARIANTS } from '../solver/guidance.js';
import { METHODS } from '../solver/options.js';
import type { Limits } from './limits.js';

/** What solvers with an order and a grid of their own have themselves. */
const fixedWithout = ['order', 'method', 'skipType', 'thresholding', 'denoiseToZero'] as const;

type Issue = { readonly input: unknown };

/** A message in the manner of lib/check.ts. */
export const expected = (what: string, name: string) => (issue: Issue) =>
  `Expected ${what} for ${name} but received ${brief(issue.input)}`;

/** A value from outside as it stands in a message: short, whatever it is. */
export function brief(value: unknown): string {
  if (typeof value === 'string') return value.length > 40 ? `a string of ${value.length} characters` : `'${value}'`;
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  return value === undefined ? 'nothing' : String(value);
}

export function whole(name: string, least: number, most: number) {
  const message = expected(`a whole number from ${least} to ${most}`, name);
  return v.pipe(v.number(message), v.integer(message), v.minValue(least, message), v.maxValue(most, message));
}

export function real(name: string, least: number, most: number) {
  const message = expected(`a number from ${least} to ${most}`, name);
  return v.pipe(v.number(message), v.finite(message), v.minValue(least, message), v.maxValue(most, message));
}

/** How much of a picture is made anew. */
export function strengthSchema() {
  return v.pipe(
    real('strength', 0, 1),
    v.check((value) => value > 0, expected('a number above 0 and up to 1', 'strength')),
  );
}

export function text(name: string, most: number) {
  const message = expected(`a string of at most ${most} characters`, name);
  return v.pipe(v.string(message), v.maxLength(most, message));
}

export function one<const T extends readonly (string | number)[]>(name: string, choices: T) {
  const words = choices.map((choice) => (typeof choice === 'string' ? `'${choice}'` : String(choice)));
  return v.picklist(choices, (issue) => {
    const strings = choices.filter((choice) => typeof choice === 'string');
    const word = issue.input as unknown;
    const meant = typeof word === 'string' && word.length <= 40 ? nearest(word, strings) : undefined;
    const hint = meant ? `; did you mean '${meant}'?` : '';
    return `${expected(list(words, 'or'), name)(issue)}${hint}`;
  });
}

/** Two numbers of at least 0, the lower one first. */
function span(name: string) {
  const message = expected('two numbers of at least 0, the lower one first,', name);
  const end = v.pipe(v.number(message), v.finite(message), v.minValue(0, message));
  return v.pipe(
    v.array(end, message),
    v.length(2, message),
    v.check(([low, high]) => low <= high, message),
    v.transform(([low, high]): readonly [number, number] => [low, high]),
  );
}

export function flag(name: string) {
  return v.boolean(expected('true or false', name));
}

/** The schema of a run's settings, under the server's limits. */
export function settingsSchema(limits: Limits) {
  const { prompt, steps, count, side } = limits;
  const entries = {
    prompt: v.pipe(text('prompt', prompt), v.description('What to draw.')),
    negativePrompt: v.optional(v.pipe(text('negativePrompt', prompt), v.description('What guidance leads away from.'))),
    solver: v.optional(
      v.pipe(
        one('solver', SOLVERS),
        v.description(
          "The solver; the model's own, its tables included. ddim, pndm, deis and unipc take no order, method, skipType, thresholding or denoiseToZero.",
        ),
      ),
    ),
    order: v.optional(
      v.pipe(one('order', [1, 2, 3]), v.description("The order of the solver; the model's own, of a named one 2.")),
    ),
    steps: v.optional(
      v.pipe(whole('steps', 1, steps), v.description('Network evaluations for a picture.')),
      Math.min(10, steps),
    ),
    method: v.optional(v.pipe(one('method', METHODS), v.description('The kind of step; multistep.'))),
    skipType: v.optional(v.pipe(one('skipType', SKIP_TYPES), v.description("The step grid; the model's own."))),
    guidance: v.optional(
      v.pipe(
        real('guidance', -100, 100),
        v.description("The classifier-free guidance scale; the model's own. 1 is none."),
      ),
    ),
    guidanceInterval: v.optional(
      v.pipe(
        span('guidanceInterval'),
        v.description('sigma / alpha between which there is guidance, the lower one first; outside half of the work.'),
      ),
    ),
    guidanceVariant: v.optional(
      v.pipe(
        one('guidanceVariant', GUIDANCE_VARIANTS),
        v.description('How the two predictions of guidance become one; cfg.'),
      ),
    ),
    guidanceEta: v.optional(
      v.pipe(
        real('guidanceEta', -100, 100),
        v.description('Of apg: how much of what is parallel to the conditional prediction stays; 0.'),
      ),
    ),
    guidanceNorm: v.optional(
      v.pipe(
        real('guidanceNorm', 0, 1e6),
        v.description('Of apg: the greatest length of the difference of the two, 0 for any; 5.'),
      ),
    ),
    guidanceMomentum: v.optional(
      v.pipe(real('guidanceMomentum', -1, 1), v.description('Of apg: how much of the last difference goes on; 0.')),
    ),
    guidanceRescale: v.optional(
      v.pipe(
        real('guidanceRescale', 0, 1),
        v.description('The share to which guided predictions get the deviation of the conditional ones; 0.'),
      ),
    ),
    thresholding: v.optional(
      v.pipe(flag('thresholding'), v.description('Dynamic thresholding of the predicted picture.')),
    ),
    denoiseToZero: v.optional(
      v.pipe(flag('denoiseToZero'), v.description('One more evaluation at the end, without noise.')),
    ),
    seed: v.optional(
      v.pipe(
        whole('seed', 0, 2 ** 32 - 1),
        v.description('Picture i is drawn from the seed + i; chosen at random where absent.'),
      ),
    ),
    count: v.optional(v.pipe(whole('count', 1, count), v.description('Pictures.')), 1),
    width: v.optional(v.pipe(whole('width', 1, side), v.description("Pixels; the model's own."))),
    height: v.optional(v.pipe(whole('height', 1, side), v.description("Pixels; the model's own."))),
  };
  return v.pipe(
    v.strictObject(entries, (issue) => {
      const key = issue.path?.[0].key;
      if (key === undefined) return `Expected an object of settings but received ${brief(issue.input)}`;
      if (issue.expected !== 'never') return `Expected a string for ${key} but received nothing`;
      const meant = String(key).length <= 40 ? nearest(String(key), [...Object.keys(entries), 'model']) : undefined;
      return `There is no setting ${brief(key)}${meant ? `; did you mean '${meant}'?` : ''}`;
    }),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      const { solver } = dataset.value;
      if (!isFixed(solver)) return;
      for (const name of fixedWithout) {
        const value = dataset.value[name];
        // What is off is off for every solver.
        if (value === undefined || value === false) continue;
        addIssue({ message: `Expected no ${name} for the solver ${solver}, which has its own, but received ${value}` });
      }
    }),
  );
}

export type Settings = v.InferOutput<ReturnType<typeof settingsSchema>>;

/** The settings in a parsed request, or what is wrong with them in one sentence. */
export function readSettings(
  schema: ReturnType<typeof settingsSchema>,
  value: unknown,
): { settings: Settings } | { error: string } {
  const result = v.safeParse(schema, value, { abortEarly: true });
  return result.success ? { settings: result.output } : { error: result.issues[0].message };
}

/** The same with `model` beside the settings, by whose name one of those that are served is asked for. */
export function readRequest(
  schema: ReturnType<typeof settingsSchema>,
  value: unknown,
): { settings: Settings; model?: string } | { error: string } {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'model')) return readSettings(schema, value);
  const { model, ...settings } = value as { model: unknown };
  if (typeof model !== 'string') return { error: expected('the name of a model', 'model')({ input: model }) };
  const read = readSettings(schema, settings);
  return 'error' in read ? read : { ...read, model };
}
