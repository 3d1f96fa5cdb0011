// Runs on a card: eager ones, and those that have been captured into a CUDA graph.
import { wrongType } from '../../base/check.js';
import { allocate, makeTensor, readTensor, type Tensor } from '../../base/tensor.js';
import { checkDevice, type Graph, Stream } from '../../cuda/stream.js';
import { DeviceTensor, type HostArray } from '../../cuda/tensor.js';
import { AdaptiveRun } from '../../solver/adaptive.js';
import { drive, type Sampling } from '../../solver/drive.js';
import type { EngineMaker } from '../../solver/engine.js';
import type { Model, Sampler, Solver } from '../../solver/options.js';
import type { Plan } from '../../solver/plan.js';
import { fixedPlan } from '../../solver/planner.js';
import { FixedRun, type InternalRun } from '../../solver/run.js';
import { CudaEngine } from './engine.js';
import type { CardSolver, DeviceModel } from './options.js';

type AnyTensor = Tensor | DeviceTensor;
type Gradient = NonNullable<Extract<Solver['guidance'], { type: 'classifier' }>['gradient']>;

/** Is the run to be one graph, and what may end it? */
interface Recording {
  readonly graph: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Graphs that a solver keeps: each has its own tensors on the card. */
const MOST_GRAPHS = 4;

/** What a solver needs on cards, made when it is first needed. @internal */
export class CardRuns {
  readonly #solver: CardSolver;
  readonly #streams = new Map<number, Stream>();
  readonly #graphs = new Map<string, Promise<CapturedRun>>();

  constructor(solver: CardSolver) {
    this.#solver = solver;
  }

  #stream(xT: AnyTensor): Stream {
    const { stream } = this.#solver;
    if (stream) return stream;
    const device = xT instanceof DeviceTensor ? xT.device : checkDevice(undefined, 'a run');
    let own = this.#streams.get(device);
    if (!own) {
      own = new Stream({ device });
      this.#streams.set(device, own);
    }
    return own;
  }

  build(sampler: Sampler, xT: AnyTensor): InternalRun {
    const solver = this.#solver;
    if (!solver.onCard) {
      for (const name of ['correctX0', 'correctXt'] as const) {
        if (solver[name]) {
          throw new RangeError(
            `Expected no function for ${name} with a run on a card and modelDevice 'cpu' but received one`,
          );
        }
      }
    }
    const stream = this.#stream(xT);
    const make: EngineMaker = (_, o, x, sizes) => new CudaEngine(stream, solver, o, x, sizes);
    const start = xT as Tensor;
    return sampler.method === 'adaptive'
      ? AdaptiveRun.build(solver, sampler, start, make)
      : FixedRun.build(solver, sampler, start, make);
  }

  async sample(model: Model | DeviceModel, sampler: Sampler, options: Recording, xT: AnyTensor): Promise<Sampling> {
    const gradientOf = gradientFor(this.#solver);
    if (options.graph) return this.#launch(model as DeviceModel, gradientOf, sampler, options, xT);
    const run = this.build(sampler, xT);
    const engine = run.engine as CudaEngine;
    try {
      const { signal } = options;
      const queued = (f: unknown) => caller(f as DeviceModel, engine, run, this.#stream(xT), signal);
      const { onCard } = this.#solver;
      const evaluate = onCard ? queued(model) : () => (model as Model)(run.x, run.t, signal);
      const gradient = gradientOf && (onCard ? queued(gradientOf) : () => gradientOf(run.x, run.t));
      const sampling = await drive(run, signal, evaluate, gradient);
      return { ...sampling, transfers: { ...engine.transfers } };
    } finally {
      engine.dispose();
    }
  }

  async #launch(
    model: DeviceModel,
    gradientOf: Gradient | undefined,
    sampler: Sampler,
    { signal }: Recording,
    xT: AnyTensor,
  ): Promise<Sampling> {
    signal?.throwIfAborted();
    const solver = this.#solver;
    const plan = fixedPlan(solver, sampler);
    const stream = this.#stream(xT);
    const key = shapeOf(plan, sampler, xT, stream);
    let entry = this.#graphs.get(key);
    if (!entry) {
      entry = CapturedRun.capture({ solver, sampler, plan, stream, model, gradientOf, xT });
      const made = entry;
      entry.catch(() => {
        if (this.#graphs.get(key) === made) this.#graphs.delete(key);
      });
    }
    // The latest goes to the end; the first makes room.
    this.#graphs.delete(key);
    this.#graphs.set(key, entry);
    if (this.#graphs.size > MOST_GRAPHS) {
      const [[oldest, dropped]] = this.#graphs;
      this.#graphs.delete(oldest);
      dispose(dropped);
    }
    const captured = await entry;
    try {
      return await captured.sample(plan, sampler, xT);
    } finally {
      // The next call begins anew.
      if (captured.failed && this.#graphs.get(key) === entry) {
        this.#graphs.delete(key);
        dispose(entry);
      }
    }
  }

  dispose(): void {
    for (const entry of this.#graphs.values()) dispose(entry);
    this.#graphs.clear();
    for (const stream of this.#streams.values()) stream.dispose();
    this.#streams.clear();
  }
}

function dispose(entry: Promise<CapturedRun>): void {
  entry.then(
    (run) => run.dispose(),
    () => {},
  );
}

function gradientFor({ guidance }: Solver): Gradient | undefined {
  return guidance.type === 'classifier' && guidance.scale !== 0 ? guidance.gradient : undefined;
}

/** What calls a network on a card for a run's next evaluation. */
function caller(f: DeviceModel, engine: CudaEngine, run: InternalRun, stream: Stream, signal?: AbortSignal) {
  const context = signal ? { stream, signal } : { stream };
  return () => {
    const x = run.x as unknown as DeviceTensor;
    return f(x, engine.deviceTime(run.evaluations, run.t, x.dims[0]!), context) as unknown as Tensor | Promise<Tensor>;
  };
}

/** What a graph cannot change: shapes, types, and which buffers each evaluation reads and writes. */
function shapeOf(plan: Plan, { noise }: Sampler, xT: AnyTensor, stream: Stream): string {
  const { dims, type } = xT instanceof DeviceTensor ? xT : readTensor(xT, 'xT');
  const evaluations = plan.evaluations.map((one) => [
    one.seen,
    one.base,
    one.out,
    one.keep,
    one.history,
    one.noisy,
    one.predictsData,
    one.out2,
    one.more,
    one.doubled,
    one.guide && [one.guide.parameters[0], one.guide.parameters[4] !== 0, one.guide.keep?.index],
  ]);
  const { stateSlots, historySlots, begin } = plan;
  return JSON.stringify([stream.device, dims, type, noise, stateSlots, historySlots, begin, evaluations]);
}

interface Capture {
  solver: CardSolver;
  sampler: Sampler;
  plan: Plan;
  stream: Stream;
  model: DeviceModel;
  gradientOf: Gradient | undefined;
  xT: AnyTensor;
}

/** A run that is launched as one. */
class CapturedRun {
  readonly #stream: Stream;
  readonly #engine: CudaEngine;
  readonly #graph: Graph;
  readonly #result: DeviceTensor;
  #running = 0;
  #dropped = false;

  private constructor(stream: Stream, engine: CudaEngine, graph: Graph, result: DeviceTensor) {
    this.#stream = stream;
    this.#engine = engine;
    this.#graph = graph;
    this.#result = result;
  }

  static async capture({ solver, sampler, plan, stream, model, gradientOf, xT }: Capture): Promise<CapturedRun> {
    let engine: CudaEngine | null = null;
    try {
      const run = new FixedRun(solver, sampler, xT as Tensor, plan, (_, o, x, sizes) => {
        engine = new CudaEngine(stream, solver, o, x, sizes, true);
        return engine;
      });
      const tensors = engine! as CudaEngine;
      const result = tensors.prepareFinish();
      tensors.load(plan, sampler, xT);
      tensors.begin();
      const evaluate = caller(model, tensors, run, stream);
      const gradient = gradientOf && caller(gradientOf as unknown as DeviceModel, tensors, run, stream);
      // Once for it to make what it needs, of each size: a capture allows no allocation.
      for (const doubled of new Set(plan.evaluations.map((one) => one.doubled))) {
        const x = tensors.input(plan.evaluations[0]!.seen, doubled) as unknown as DeviceTensor;
        await model(x, tensors.deviceTime(0, run.t, x.dims[0]!), { stream });
      }
      await gradient?.();
      await tensors.settled();
      await stream.done();
      let last = result;
      const graph = stream.capture(() => {
        tensors.begin();
        run.begin();
        while (!run.done) run.advance(atOnce(evaluate()), gradient && atOnce(gradient()));
        last = tensors.finish(run.finalSlot, result);
      });
      return new CapturedRun(stream, tensors, graph, last!);
    } catch (error) {
      (engine as CudaEngine | null)?.dispose();
      throw error;
    }
  }

  /** Everything is queued before the first wait, so that calls may overlap: the stream keeps their order. */
  async sample(plan: Plan, sampler: Sampler, xT: AnyTensor): Promise<Sampling> {
    this.#running++;
    try {
      const engine = this.#engine;
      const before = { ...engine.transfers };
      const seed = engine.load(plan, sampler, xT);
      this.#graph.launch(this.#stream);
      const { sample, done } = this.#take(xT);
      const flags = engine.flagsOfLaunch();
      const [found] = await Promise.all([flags, done, engine.settled()]);
      if (found) throw notFinite(plan, found);
      const times = [plan.start, ...plan.evaluations.flatMap(({ reached }) => reached ?? [])];
      const transfers = {
        uploaded: engine.transfers.uploaded - before.uploaded,
        downloaded: xT instanceof DeviceTensor ? 0 : this.#result.bytes,
        milliseconds: 0,
      };
      const sampling: Sampling = { sample, nfe: priceOf(plan, this.#engine.doubles), times, transfers };
      if (seed !== undefined) sampling.seed = typeof seed === 'number' ? seed : [...seed];
      return sampling;
    } finally {
      this.#running--;
      if (this.#dropped) this.dispose();
    }
  }

  get failed(): boolean {
    return this.#engine.failed;
  }

  #take(xT: AnyTensor): { sample: Tensor; done: Promise<unknown> } {
    const stream = this.#stream;
    if (xT instanceof DeviceTensor) {
      const own = DeviceTensor.alloc(xT.dims, xT.type, { device: stream.device });
      own.copy(this.#result, stream);
      return { sample: own as unknown as Tensor, done: stream.done() };
    }
    const { type, length, data, source, dims } = readTensor(xT, 'xT');
    const own = allocate(type, length, data);
    return { sample: makeTensor(source, type, own, dims), done: this.#result.copyTo(own as HostArray, stream) };
  }

  dispose(): void {
    this.#dropped = true;
    if (this.#running > 0) return;
    this.#graph.dispose();
    this.#engine.dispose();
  }
}

/** As a run counts: halves where half of the batch is left out. */
function priceOf({ evaluations }: Plan, doubles: boolean): number {
  return evaluations.reduce((sum, { doubled }) => sum + (doubled || !doubles ? 1 : 0.5), 0);
}

/** A capture cannot wait. */
function atOnce(output: Tensor | Promise<Tensor>): Tensor {
  if (output instanceof DeviceTensor) return output as unknown as Tensor;
  throw wrongType(
    'a DeviceTensor, at once, from a network that is captured into a graph',
    'the network output',
    output,
  );
}

function notFinite(plan: Plan, { sample, apply }: { sample: number; apply: number }): Error {
  const { evaluations } = plan;
  const step = 1 + evaluations.slice(0, apply).filter(({ reached }) => reached !== undefined).length;
  return new Error(
    `Expected finite numbers for the network output but received NaN or Infinity for sample ${sample} at evaluation ${apply + 1} (step ${step}, time ${evaluations[apply]!.time})`,
  );
}
