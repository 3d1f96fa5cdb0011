// What machines ask: is it there, does it take runs, and how much has it done?
import { answer, type App, notAllowed, refuse } from './answers.js';
import type { Metrics } from './metrics.js';
import type { Served } from './models.js';
import { Missing } from '../base/optional.js';
import type { Runs } from './runs.js';

/** Asked by whatever name machines know this one, and nothing is told. */
export function healthRoutes(app: App, models: readonly Served[], queue: Runs): void {
  app.get('/healthz', (c) => answer(c, 200, { ok: true }));
  app.all('/healthz', (c) => notAllowed(c, 'GET'));
  app.get('/readyz', (c) => {
    const ready = queue.open && models.every((one) => one.engine.about !== undefined);
    return answer(c, ready ? 200 : 503, { ready });
  });
  app.all('/readyz', (c) => notAllowed(c, 'GET'));
}

/** Figures for Prometheus, or why there are none. */
export function metricsRoute(app: App, metrics: Metrics | Missing | undefined): void {
  app.get('/metrics', async (c) => {
    if (!metrics || metrics instanceof Missing) return refuse(c, 501, metrics?.message ?? 'There are no figures');
    return c.body(await metrics.text(), 200, { 'Content-Type': metrics.type });
  });
  app.all('/metrics', (c) => notAllowed(c, 'GET'));
}
