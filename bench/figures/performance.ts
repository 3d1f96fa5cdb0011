// What a step takes: bench/results/step-*.json and diffusers-js.json.
import { type Rendered, results, table } from './data.js';

interface Row {
  shape: string;
  guidance: boolean;
  inPlace: boolean;
  threads: number;
  cold: boolean;
  microseconds: { step: number; thresholded: number; typescript?: number; typescriptThresholded?: number };
  ratios: {
    ofLimit: number;
    typescript?: number;
    typescriptThresholded?: number;
    ofTwoPasses?: number;
    typescriptTwoPasses?: number;
  };
}
interface Steps {
  date: string;
  machine: { cpu: string; threads: number };
  versions: { node: string; simd: string };
  targets: { name: string; worst: number; where: string; target: number; met: boolean }[];
  call: { step: number; empty: number };
  results: Row[];
}
interface DiffusersJs {
  results: { picture: number; ms: { operators: number; swapped: number; accelerated: number } }[];
}

const WHAT: Record<string, string> = {
  '1x4x64x64': 'Stable Diffusion, 512²',
  '4x4x128x128': 'XL, 1024², four pictures',
  '1x16x128x128': 'Stable Diffusion 3, 1024²',
  '1x3x256x256': 'pixels',
  '16x3x256x256': 'pixels, 16 pictures',
};

const figure = (value: number) => (value < 10 ? value.toFixed(1) : value.toFixed(0));
const milliseconds = (value: number) => (value < 1 ? value.toFixed(2) : value.toFixed(1));
const range = (values: readonly number[], f: (value: number) => string) =>
  `${f(Math.min(...values))} to ${f(Math.max(...values))}`;

export function render(): Rendered {
  const steps = results<Steps>('step-amd-epyc');
  const pipelines = results<DiffusersJs>('diffusers-js');
  const plain = steps.results.filter((row) => row.threads === 1 && !row.cold && !row.inPlace);
  const shapes = [...new Set(plain.map(({ shape }) => shape))];
  const of = (shape: string, guidance: boolean) =>
    plain.find((row) => row.shape === shape && row.guidance === guidance)!.microseconds;
  const percent = (value: number) => `${(100 * value).toFixed(0)}%`;
  const times = (value: number) => figure(value);
  const compared = plain.filter(({ ratios }) => ratios.typescript !== undefined);
  const [small] = pipelines.results;
  const twice = plain.filter(({ ratios }) => ratios.ofTwoPasses !== undefined);
  const sd = of('1x4x64x64', false);
  return {
    svgs: {},
    tables: {
      'step-machine': `${steps.machine.cpu}, ${steps.machine.threads} cores, ${steps.versions.simd}, Node ${steps.versions.node}, ${steps.date.slice(0, 10)}.`,
      step: table(
        ['tensor', '', 'step', 'with guidance', 'thresholded', 'TypeScript', 'TypeScript, thresholded'],
        shapes.map((shape) => {
          const one = of(shape, false);
          const numbers = [
            one.step,
            of(shape, true).step,
            one.thresholded,
            one.typescript!,
            one.typescriptThresholded!,
          ];
          return [shape, WHAT[shape] ?? '', ...numbers.map(figure)];
        }),
      ),
      'step-compared': [
        `- Of the speed of the limit: ${range(
          steps.results.filter(({ cold }) => !cold).map(({ ratios }) => ratios.ofLimit),
          percent,
        )} with warm caches, ${range(
          steps.results.filter(({ cold }) => cold).map(({ ratios }) => ratios.ofLimit),
          percent,
        )} with cold ones.`,
        `- Times as fast as the loop in TypeScript: ${range(
          compared.map(({ ratios }) => ratios.typescript!),
          times,
        )}; with thresholding ${range(
          compared.map(({ ratios }) => ratios.typescriptThresholded!),
          times,
        )}.`,
        `- With thresholding, of the speed of two passes of the limit: ${range(
          twice.map(({ ratios }) => ratios.ofTwoPasses!),
          percent,
        )}. Those two passes would be ${range(
          twice.map(({ ratios }) => ratios.typescriptTwoPasses!),
          times,
        )} times as fast as the loop in TypeScript.`,
        `- An empty call from JavaScript takes ${(1000 * steps.call.empty).toFixed(0)} ns, a step of one element ${(1000 * steps.call.step).toFixed(0)} ns.`,
      ].join('\n'),
      'step-targets': table(
        ['target', 'wanted', 'the worst case', 'where', ''],
        steps.targets.map(({ name, worst, where, target, met }) => [
          name,
          target,
          Number(worst.toPrecision(3)),
          where,
          met ? 'met' : '**missed**',
        ]),
      ),
      'diffusers-js': table(
        ['picture', 'guidance and PLMS update by operators', 'scheduler swapped', '`accelerate`'],
        pipelines.results.map(({ picture, ms }) => [
          `${picture}²`,
          ...[ms.operators, ms.swapped, ms.accelerated].map(milliseconds),
        ]),
      ),
      readme: table(
        ['one step for a 512² picture of Stable Diffusion', 'takes'],
        [
          ['this package, one core', `${figure(sd.step)} µs`],
          ['the same arithmetic in a TypeScript loop', `${figure(sd.typescript!)} µs`],
          ["with guidance, through diffusers.js' tensor operators", `${milliseconds(small.ms.operators)} ms`],
          ['the same pipeline after `accelerate`', `${milliseconds(small.ms.accelerated)} ms`],
        ],
      ),
    },
  };
}
