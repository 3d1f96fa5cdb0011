// Spans of requests and runs, as OpenTelemetry's own exporter has them.
import { propagation, SpanKind, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startServer } from '../../lib/serve/server.js';
import { openTraces } from '../../lib/serve/traces.js';
import { constant } from '../pipelines/models.js';
import { all, eventually, post } from './client.js';

const test = suite('spans');

test('there are none where nobody takes them', async () => {
  assert.is(await openTraces(), undefined);
});

test('of a request below what it says, of its run, and of what that took', async () => {
  const exporter = new InMemorySpanExporter();
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  propagation.setGlobalPropagator({
    inject: () => undefined,
    extract(context, carrier, getter) {
      const [, traceId, spanId] = String(getter.get(carrier, 'traceparent') ?? '').split('-');
      return traceId ? trace.setSpanContext(context, { traceId, spanId, traceFlags: TraceFlags.SAMPLED }) : context;
    },
    fields: () => ['traceparent'],
  });
  const server = await startServer({ folder: constant, port: 0 });
  try {
    const [traceId, spanId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
    const headers = { 'Content-Type': 'application/json', traceparent: `00-${traceId}-${spanId}-01` };
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

test.run();
