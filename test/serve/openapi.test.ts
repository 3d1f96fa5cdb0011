// The interface's description is true: its addresses are those that are there, and what is answered is what it says.
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { encode } from 'fast-png';
import { constant } from '../pipelines/models.js';
import { all, json, post } from './client.js';

const test = suite('OpenAPI document');
let server: Serving;
// biome-ignore lint/suspicious/noExplicitAny: a document
let description: any;
let ajv: Ajv2020.default;

test.before(async () => {
  server = await startServer({ folder: constant, port: 0 });
  description = await json(await fetch(new URL('/api/schema', server.url)));
  ajv = new Ajv2020.default({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addSchema({ $id: 'document', ...description });
});
test.after(() => server.close());

/** Holds a value to a schema of the document. */
function check(pointer: string, value: unknown, what: string): void {
  const validate = ajv.getSchema(`document#${pointer}`) ?? ajv.compile({ $ref: `document#${pointer}` });
  assert.ok(validate(value), `${what}: ${JSON.stringify(validate.errors)} in ${JSON.stringify(value).slice(0, 300)}`);
}

const escaped = (key: string) =>
  key.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D');

/** Asks, and holds what is answered to what the document says of it. */
async function ask(path: string, method: string, init: RequestInit, template = path): Promise<number> {
  const response = await fetch(new URL(path, server.url), { method: method.toUpperCase(), ...init });
  const operation = description.paths[template][method];
  const told = operation.responses[response.status];
  assert.ok(told, `${method} ${path} answered ${response.status}: ${await response.clone().text()}`);
  const type = response.headers.get('content-type')?.split(';')[0];
  if (response.status === 204) return 204;
  assert.ok(told.content[type as string], `${method} ${path} answered ${type}`);
  if (type === 'application/json') {
    const pointer = `/paths/${escaped(template)}/${method}/responses/${response.status}/content/application~1json/schema`;
    check(pointer, await json(response), `${method} ${path}`);
  } else await response.text();
  return response.status;
}

const headers = { 'Content-Type': 'application/json' };
const body = (value: unknown): RequestInit => ({ body: JSON.stringify(value), headers });

function form(fields: Record<string, string>): RequestInit {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.set(name, value);
  const png = encode({ width: 4, height: 4, channels: 3, data: new Uint8Array(48).fill(90) });
  data.set('image', new Blob([png], { type: 'image/png' }), 'a.png');
  return { body: data };
}

const init_images = [
  Buffer.from(encode({ width: 4, height: 4, channels: 3, data: new Uint8Array(48) })).toString('base64'),
];

/** For each address, requests with the status that they get. */
const requests: Record<string, [init: RequestInit, status: number, path?: string][]> = {
  'post /api/runs': [
    [body({ prompt: 'red', steps: 1 }), 200],
    [body({ prompt: 'red', steps: 1, model: 'constant' }), 200],
    [body({}), 400],
    [body({ prompt: 'red', model: 'none' }), 404],
    [{ body: 'x' }, 415],
    [body({ prompt: 'a'.repeat(20_000) }), 413],
  ],
  'delete /api/runs/{id}': [[{}, 404, '/api/runs/none']],
  'get /api/model': [
    [{}, 200],
    [{}, 404, '/api/model?model=none'],
  ],
  'get /api/status': [[{}, 200]],
  'get /api/schema': [[{}, 200]],
  'get /healthz': [[{}, 200]],
  'get /readyz': [[{}, 200]],
  'get /metrics': [[{}, 200]],
  'get /v1/models': [[{}, 200]],
  'get /v1/models/{id}': [
    [{}, 200, '/v1/models/constant'],
    [{}, 404, '/v1/models/none'],
  ],
  'post /v1/images/generations': [
    [body({ prompt: 'red', steps: 1, n: 2 }), 200],
    [body({ prompt: 'red', steps: 1, response_format: 'url' }), 200],
    [body({ prompt: 'red', steps: 1, stream: true }), 200],
    [body({}), 400],
    [body({ prompt: 'red', model: 'none' }), 404],
    [{ body: 'x' }, 415],
    [body({ prompt: 'a'.repeat(20_000) }), 413],
  ],
  'post /v1/images/edits': [
    [form({ prompt: 'red', steps: '1' }), 200],
    [form({ prompt: 'red', steps: 'x' }), 400],
    [body({ prompt: 'red', steps: 1, images: [{ image_url: `data:image/png;base64,${init_images[0]}` }] }), 200],
    [body({}), 400],
    [{ body: 'x' }, 415],
  ],
  'post /v1/images/variations': [
    [form({ steps: '1' }), 200],
    [form({ steps: 'x' }), 400],
    [body({}), 415],
  ],
  'post /sdapi/v1/txt2img': [
    [body({ prompt: 'red', steps: 1 }), 200],
    [body({ prompt: 'red', sampler_name: 'none' }), 400],
    [{ body: 'x' }, 415],
  ],
  'post /sdapi/v1/img2img': [
    [body({ prompt: 'red', steps: 1, init_images }), 200],
    [body({ prompt: 'red' }), 400],
  ],
  'get /sdapi/v1/samplers': [[{}, 200]],
  'get /sdapi/v1/schedulers': [[{}, 200]],
  'get /sdapi/v1/sd-models': [[{}, 200]],
  'get /sdapi/v1/options': [[{}, 200]],
  'get /sdapi/v1/progress': [[{}, 200]],
};

test('every address of the document is asked here, and no other is there', async () => {
  const told = Object.entries<object>(description.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );
  assert.equal(told.toSorted(), Object.keys(requests).toSorted());
});

for (const [what, asked] of Object.entries(requests)) {
  test(`${what} answers as it says`, async () => {
    const [method, path] = what.split(' ');
    for (const [init, status, real] of asked) {
      assert.is(await ask(real ?? path, method, init, path), status, `${what} ${String(init.body).slice(0, 100)}`);
    }
  });
}

test('events are what it says, of runs and of streams', async () => {
  for (const { event, data } of await all(await post(server.url, { prompt: 'red', steps: 2, count: 2 }))) {
    check(`/components/schemas/Events/properties/${event}`, data, event);
  }
  for (const [path, init] of [
    ['/v1/images/generations', body({ prompt: 'red', steps: 3, stream: true, partial_images: 1 })],
    ['/v1/images/edits', form({ prompt: 'red', steps: '3', stream: 'true', partial_images: '1' })],
  ] as const) {
    const text = await (await fetch(new URL(path, server.url), { method: 'POST', ...init })).text();
    const found = text.split('\n\n').flatMap((part) => /^event: (.*)\ndata: (.*)$/.exec(part)?.slice(1) ?? []);
    assert.is(found.length, 4);
    for (let i = 0; i < found.length; i += 2) {
      check(`/components/schemas/ImageEvents/properties/${found[i]}`, JSON.parse(found[i + 1]), found[i]);
    }
  }
});

test('what its schemas of requests refuse, the server refuses', async () => {
  const request = { prompt: 'red', steps: 1 };
  const guided = [
    { guidanceInterval: [0, 5], guidanceVariant: 'apg', guidanceEta: 0.5, guidanceNorm: 2, guidanceMomentum: -0.5 },
    { guidanceInterval: [0, 5, 9] },
    { guidanceInterval: '0,5' },
    { guidanceVariant: 'none' },
    { guidanceMomentum: 2 },
    { guidanceRescale: 1.5 },
  ];
  for (const [name, path, fields] of [
    [
      'Settings',
      '/api/runs',
      [{}, { steps: 0 }, { steps: '3' }, { solver: 'x' }, { count: 17 }, { none: 1 }, { seed: -1 }, ...guided],
    ],
    [
      'ImageRequest',
      '/v1/images/generations',
      [
        {},
        { n: 0 },
        { n: null },
        { size: 5 },
        { output_format: 'gif' },
        { none: 1 },
        { skip_type: 'karras' },
        { order: 4 },
        { guidance_interval: [0.3, 5], guidance_variant: 'cfg-zero', guidance_rescale: 0.5 },
        { guidance_interval: [1] },
        { guidance_variant: 'cgf' },
        { guidance_norm: -1 },
      ],
    ],
  ] as const) {
    const validate = ajv.compile({ $ref: `document#/components/schemas/${name}` });
    for (const more of fields) {
      const value = { ...request, ...more };
      const response = await fetch(new URL(path, server.url), { method: 'POST', ...body(value) });
      await response.text();
      assert.is(response.status === 200, validate(value), `${name} ${JSON.stringify(more)}: ${response.status}`);
    }
  }
});

test.run();
