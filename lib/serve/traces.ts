// Spans of OpenTelemetry, where the program that the server runs in has registered somebody who takes them.
import type * as Api from '@opentelemetry/api';
import { Missing, optional } from '../base/optional.js';
import { version } from '../base/version.js';
import type { Observer } from './observe.js';

/** Requests that are known for as long as runs of theirs may go on; the oldest give way. */
const KNOWN = 4096;
// Of the package's enumerations, which its default export leaves out.
const SERVER = 1 as Api.SpanKind.SERVER;
const ERROR = 2 as Api.SpanStatusCode.ERROR;
/** What asks again and again and draws nothing. */
const QUIET = new Set(['/healthz', '/readyz', '/metrics']);

/**
 * A span of each request, below what `traceparent` says, and below it one of its run: how long it waited, and what it took
 * in all for prompts, network calls, steps, and from pixels to latents and back. These come one after the other, as their sums.
 *
 * @returns none where nobody takes spans, so that they cost nothing
 */
export async function openTraces(): Promise<Observer[]> {
  let api: typeof Api;
  try {
    api = await optional<typeof Api>('@opentelemetry/api', 'Tracing');
  } catch (error) {
    if (error instanceof Missing) return [];
    throw error;
  }
  const { trace, propagation, context } = api;
  const tracer = trace.getTracer('dpm-solver', version);
  if (!tracer.startSpan('first').isRecording()) return [];
  const open = new Map<string, Api.Span>();
  const known = new Map<string, Api.Context>();
  const know = (id: string, found: Api.Context): void => {
    known.set(id, found);
    const [oldest] = known.keys();
    if (known.size > KNOWN) known.delete(oldest);
  };
  const traces: Observer = {
    carrier: (request) => {
      const found = known.get(request);
      if (!found) return undefined;
      const carrier: Record<string, string> = {};
      propagation.inject(found, carrier);
      return carrier;
    },
    carried: (request, carrier) => know(request, propagation.extract(context.active(), carrier)),
    asked: ({ id, method, path, headers }) => {
      if (QUIET.has(path)) return;
      const active = context.active();
      // Who traces the server's own modules has a span of the request already.
      const parent = trace.getSpan(active) ? active : propagation.extract(active, headers());
      const span = tracer.startSpan(
        `${method} ${path.replace(/\/[\da-f]{32}$/, '/{id}')}`,
        {
          kind: SERVER,
          attributes: { 'http.request.method': method, 'url.path': path, 'dpm_solver.request': id },
        },
        parent,
      );
      open.set(id, span);
      know(id, trace.setSpan(parent, span));
    },
    request: ({ id, status }) => {
      const span = open.get(id);
      if (!span) return;
      open.delete(id);
      span.setAttribute('http.response.status_code', status);
      if (status >= 500) span.setStatus({ code: ERROR });
      span.end();
    },
    ended: ({ id, model, request, waited, seconds, outcome, error, done }) => {
      const over = Date.now();
      const begun = over - seconds * 1000;
      const came = begun - waited * 1000;
      const parent = known.get(request ?? '') ?? context.active();
      known.delete(request ?? '');
      const attributes: Api.Attributes = { 'dpm_solver.run': id, 'dpm_solver.model': model };
      if (done) attributes['dpm_solver.nfe'] = done.nfe;
      if (done) attributes['dpm_solver.pictures'] = done.images.length;
      const run = tracer.startSpan(`run ${outcome}`, { startTime: came, attributes }, parent);
      if (outcome === 'failed') run.setStatus({ code: ERROR, message: error });
      const below = trace.setSpan(parent, run);
      const part = (name: string, from: number, to: number, own: Api.Attributes = {}): number => {
        tracer.startSpan(name, { startTime: from, attributes: own }, below).end(to);
        return to;
      };
      part('queue', came, begun);
      if (done) {
        const { encodeMs, networkTotalMs, networkCalls, stepTotalMs, vaeMs } = done.timings;
        let at = part('encode', begun, begun + encodeMs);
        at = part('network', at, at + networkTotalMs, { 'dpm_solver.calls': networkCalls });
        at = part('step', at, at + stepTotalMs);
        if (vaeMs !== undefined) part('vae', at, at + vaeMs);
      }
      run.end(over);
    },
  };
  return [traces];
}
