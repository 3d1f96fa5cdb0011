// The server's figures, as Prometheus reads them.
import type * as Prometheus from 'prom-client';
import type { Served } from './models.js';
import type { Observer } from './observe.js';
import { Missing, optional } from '../base/optional.js';
import type { Runs } from './runs.js';

export interface Metrics extends Observer {
  readonly type: string;
  text(): Promise<string>;
}

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const SAMPLES = [1, 2, 4, 6, 8, 12, 16, 24, 32, 64];

/** A queue that many machines share. */
export interface SharedFigures {
  readonly connected: boolean;
  /** Runs that were begun anew. */
  readonly again: number;
  readonly models: readonly { name: string; waiting: number; active: number; workers: readonly unknown[] }[];
}

/**
 * Figures from now on.
 *
 * @returns what is missing, where prom-client is not there
 */
export async function openMetrics(
  models: readonly Served[],
  queue: Runs,
  shared?: SharedFigures,
): Promise<Metrics | Missing> {
  let client: typeof Prometheus;
  try {
    client = await optional<typeof Prometheus>('prom-client', 'The address /metrics');
  } catch (error) {
    if (error instanceof Missing) return error;
    throw error;
  }
  const register = new client.Registry();
  const registers = [register];
  client.collectDefaultMetrics({ register });
  const histogram = (name: string, help: string, labelNames: string[], buckets = SECONDS) =>
    new client.Histogram({ name: `dpm_solver_${name}`, help, labelNames, buckets, registers });
  const counter = (name: string, help: string, labelNames: string[]) =>
    new client.Counter({ name: `dpm_solver_${name}`, help, labelNames, registers });
  const gauge = (name: string, help: string, labelNames: string[], collect: (own: Prometheus.Gauge) => void) =>
    new client.Gauge({
      ...{ name: `dpm_solver_${name}`, help, labelNames, registers },
      collect() {
        collect(this as Prometheus.Gauge);
      },
    });

  const requests = counter('http_requests_total', 'Requests that were answered', ['method', 'status']);
  const runs = counter('runs_total', 'Runs that are over', ['model', 'outcome']);
  const pictures = counter('pictures_total', 'Pictures that were made', ['model']);
  const evaluations = counter('evaluations_total', 'Network evaluations of pictures', ['model']);
  const lost = counter('processes_lost_total', 'Processes that draw and ended by themselves', ['model']);
  const loads = counter('model_loads_total', 'Loads of models', ['model']);
  const releases = counter('model_releases_total', 'Models that gave way to others', ['model']);
  const queued = histogram('queue_seconds', 'How long runs waited', ['model']);
  const made = histogram('run_seconds', 'How long runs took from their start', ['model']);
  const called = histogram('network_call_seconds', 'How long network calls took', ['model']);
  const samples = histogram('network_call_samples', 'Samples of network calls', ['model'], SAMPLES);
  const steps = histogram(
    'step_seconds',
    'The median solver step of runs',
    ['model'],
    [...[0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1]],
  );
  gauge('runs_running', 'Runs that are being made', [], (own) => own.set(queue.state.running));
  gauge('runs_waiting', 'Runs that wait', [], (own) => own.set(queue.state.waiting));
  gauge('model_ready', 'Is the model loaded?', ['model'], (own) => {
    for (const { id, engine } of models) own.set({ model: id }, engine.model ? 1 : 0);
  });
  gauge('model_bytes', 'Memory of the process that draws with the model', ['model'], (own) => {
    for (const { id, engine } of models) own.set({ model: id }, engine.memory.bytes);
  });
  gauge('network_call_most', 'Samples that a network call may have now', ['model'], (own) => {
    for (const { id, engine } of models) own.set({ model: id }, engine.batch);
  });
  if (shared) {
    const each = (name: string, help: string, of: (model: SharedFigures['models'][number]) => number) =>
      gauge(name, help, ['model'], (own) => {
        for (const model of shared.models) own.set({ model: model.name }, of(model));
      });
    gauge('queue_connected', 'Is the queue there?', [], (own) => own.set(shared.connected ? 1 : 0));
    each('queue_waiting', 'Runs of all front ends that wait', ({ waiting }) => waiting);
    each('queue_active', 'Runs of all front ends that are being made', ({ active }) => active);
    each('workers', 'Workers that draw with the model', ({ workers }) => workers.length);
    gauge('runs_begun_again', 'Runs of this front end that were begun anew', [], (own) => own.set(shared.again));
  }
  return {
    type: register.contentType,
    text: () => register.metrics(),
    request: ({ method, status }) => requests.inc({ method, status }),
    started: ({ model, waited }) => queued.observe({ model }, waited),
    ended: ({ model, outcome, seconds, done }) => {
      runs.inc({ model, outcome });
      if (!done) return;
      made.observe({ model }, seconds);
      pictures.inc({ model }, done.images.length);
      evaluations.inc({ model }, done.nfe * done.images.length);
      steps.observe({ model }, done.timings.stepMs / 1000);
    },
    called: (call) => {
      called.observe({ model: call.model }, call.seconds);
      samples.observe({ model: call.model }, call.samples);
    },
    lost: ({ model }) => lost.inc({ model }),
    loaded: ({ model }) => loads.inc({ model }),
    // One that never was loaded has nothing to give back.
    released: ({ model, room }) => room !== undefined && releases.inc({ model }),
  };
}
