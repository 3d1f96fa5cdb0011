// Spans of requests and runs, as OpenTelemetry's own exporter has them.
import { propagation, SpanKind, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startServer } from '../../lib/serve/server.js';
import { openTraces } from '../../lib/serve/traces.js';
import { startFront, startWorker } from '../../lib/serve/workers/start.js';
import { constant } from '../pipelines/models.js';
import { all, eventually, post } from './client.js';
import { hasRedis, TestRedis } from './redis.js';

const test = suite('spans');

test('there are none where nobody takes them', async () => {
  assert.equal(await openTraces(), []);
});

/** Spans go to the exporter, and contexts by `traceparent`. */
function traced(exporter: InMemorySpanExporter): void {
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  propagation.setGlobalPropagator({
    inject(context, carrier, setter) {
      const span = trace.getSpanContext(context);
      if (span) setter.set(carrier, 'traceparent', `00-${span.traceId}-${span.spanId}-01`);
    },
    extract(context, carrier, getter) {
      const [, trace_, span] = String(getter.get(carrier, 'traceparent') ?? '').split('-');
      const sent = { traceId: trace_, spanId: span, traceFlags: TraceFlags.SAMPLED };
      return trace_ ? trace.setSpanContext(context, sent) : context;
    },
    fields: () => ['traceparent'],
  });
}

const [traceId, spanId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
const traceparent = `00-${traceId}-${spanId}-01`;

test('of a request below what it says, of its run, and of what that took', async () => {
  const exporter = new InMemorySpanExporter();
  traced(exporter);
  const server = await startServer({ folder: constant, port: 0 });
  try {
    const headers = { 'Content-Type': 'application/json', traceparent };
    await all(await post(server.url, { prompt: 'red', steps: 3, guidance: 1, count: 2 }, { headers }));
    await (await fetch(new URL('/healthz', server.url))).text();
    await (await fetch(new URL('/api/runs/0123456789abcdef0123456789abcdef', server.url), { method: 'DELETE' })).text();
    await eventually(() => exporter.getFinishedSpans().some(({ name }) => name.startsWith('DELETE')), 'no spans came');
    const spans = exporter.getFinishedSpans();
    const named = (name: string) => spans.filter((span) => span.name === name);
    assert.equal(
      spans.map(({ name }) => name).sort(),
      ['DELETE /api/runs/{id}', 'POST /api/runs', 'encode', 'network', 'queue', 'run done', 'step'],
      'and none of whoever looks whether it is well',
    );
    const [[asked], [run]] = [named('POST /api/runs'), named('run done')];
    assert.is(asked.kind, SpanKind.SERVER);
    assert.is(asked.attributes['http.response.status_code'], 200);
    assert.is(asked.parentSpanContext?.spanId, spanId);
    assert.is(run.parentSpanContext?.spanId, asked.spanContext().spanId);
    assert.is(run.status.code, SpanStatusCode.UNSET);
    assert.equal(
      ['dpm_solver.model', 'dpm_solver.nfe', 'dpm_solver.pictures'].map((name) => run.attributes[name]),
      ['constant', 3, 2],
    );
    for (const name of ['queue', 'encode', 'network', 'step']) {
      const [part] = named(name);
      assert.is(part.parentSpanContext?.spanId, run.spanContext().spanId, name);
    }
    assert.is(named('network')[0].attributes['dpm_solver.calls'], 3);
    for (const span of [asked, run, ...named('queue')]) assert.is(span.spanContext().traceId, traceId, span.name);
    assert.is(named('DELETE /api/runs/{id}')[0].parentSpanContext, undefined);
  } finally {
    await server.close();
    trace.disable();
    propagation.disable();
  }
});

if (hasRedis) {
  test('of many machines: what a worker does is below the request that a front end was asked', async () => {
    const exporter = new InMemorySpanExporter();
    traced(exporter);
    const redis = await TestRedis.start();
    const worker = await startWorker({ url: redis.url, folder: constant });
    const front = await startFront({ url: redis.url, port: 0, models: ['constant'] });
    try {
      await eventually(async () => (await fetch(new URL('/readyz', front.url))).status === 200, 'no worker came');
      const headers = { 'Content-Type': 'application/json', traceparent };
      await all(await post(front.url, { prompt: 'red', steps: 3, guidance: 1 }, { headers }));
      const runs = () => exporter.getFinishedSpans().filter(({ name }) => name === 'run done');
      await eventually(() => runs().length === 2, 'no spans came');
      const [asked] = exporter.getFinishedSpans().filter(({ name }) => name === 'POST /api/runs');
      for (const run of runs()) {
        assert.is(run.spanContext().traceId, traceId);
        assert.is(run.parentSpanContext?.spanId, asked.spanContext().spanId);
      }
    } finally {
      await front.close();
      await worker.close();
      await redis.stop();
      trace.disable();
      propagation.disable();
    }
  });
}

test.run();
