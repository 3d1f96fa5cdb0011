// The interface beneath the page: runs, refusals, and limits.
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode } from 'fast-png';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { classicTable } from '../../lib/index.js';
import { readScheduler } from '../../lib/schedulers/network.js';
import { defaultLimits } from '../../lib/serve/limits.js';
import { type Serving, startServer } from '../../lib/serve/server.js';
import { changed, constant, layout, removeCopies } from '../pipelines/models.js';
import { all, type Event, events, eventually, idle, json, post, status, until } from './client.js';

const test = suite('server');
let server: Serving;
let url: string;
/** Enough evaluations for much longer than a test, so that no run of these ends by itself. */
// By a solver whose plan for so many steps is soon made.
const endless = { prompt: 'red', solver: 'deis', steps: 20_000, guidance: 1, seed: 1 };

test.before(async () => {
  server = await startServer({
    folder: constant,
    port: 0,
    limits: { steps: 20_000, waiting: 2, perClient: 3, together: 1, headSeconds: 1 },
  });
  url = server.url;
});
test.after(() => server.close());
test.after(removeCopies);
test.after.each(() => idle(url));

const names = (found: readonly Event[]) => found.map(({ event }) => event);
const get = (path: string, init?: RequestInit) => fetch(new URL(path, url), init);
const pixel = (png: string) => Array.from(decode(Buffer.from(png, 'base64')).data.slice(0, 3));

test('serves the page under a strict policy, and nothing else', async () => {
  for (const [path, type] of [
    ['/', 'text/html'],
    ['/page.js', 'text/javascript'],
    ['/base.css', 'text/css'],
    ['/icon.svg', 'image/svg+xml'],
  ]) {
    const response = await get(path);
    assert.is(response.status, 200, path);
    assert.ok(response.headers.get('content-type')?.startsWith(type), path);
    const policy = response.headers.get('content-security-policy') ?? '';
    assert.match(policy, "default-src 'none'");
    assert.match(policy, "script-src 'self'");
    assert.not.match(policy, 'unsafe');
    assert.is(response.headers.get('x-content-type-options'), 'nosniff');
    assert.is(response.headers.get('x-frame-options'), 'DENY');
  }
  const html = await (await get('/')).text();
  assert.not.match(html, /<script(?! type="module" src=)/, 'no script in the page itself');
  assert.not.match(html, / (?:on\w+|style)=/, 'no handlers or styles in attributes');
});

test('lets no path reach the file system', async () => {
  const paths = [
    ...['/../package.json', '/..%2f..%2fpackage.json', '/%2e%2e/package.json', '/page/index.html', '/page.ts'],
    ...['/index.html', '//etc/passwd', '/etc/passwd', '/page.js/', '/page.js%00', '/.git/config', '/lib/serve/app.ts'],
    ...['/__proto__', '/constructor', '/api/runs/../../page.ts', '/api/', '/api', '\\..\\package.json'],
  ];
  for (const path of paths) {
    const answer = await raw(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 (404|400|405) /, path);
    assert.match(answer, /\{"error":"[^"]+"\}$/, path);
  }
});

test('makes pictures, and shows the prediction of every step', async () => {
  const settings = { prompt: 'red', steps: 5, count: 10, seed: 7, guidance: 1 };
  const found = await all(await post(url, settings));
  // Ten pictures are made as eight and two.
  assert.equal(names(found), ['queued', 'started', ...Array(10).fill('step'), 'done']);
  const [{ data: queued }, { data: started }] = found;
  assert.match(queued.id, /^[0-9a-f]{32}$/);
  assert.is(queued.ahead, 0);
  assert.equal(started.seeds, [7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
  assert.is(started.settings.solver, undefined, "the model's own");
  const steps = found.filter(({ event }) => event === 'step').map(({ data }) => data);
  assert.equal(
    steps.map(({ step, steps, nfe, batch, batches, first, images }) => [
      ...[step, steps, nfe, batch, batches, first],
      images.length,
    ]),
    [1, 2, 3, 4, 5].map((i) => [i, 5, i, 0, 2, 0, 8]).concat([1, 2, 3, 4, 5].map((i) => [i, 5, i, 1, 2, 8, 2])),
  );
  // This network takes everything to be a picture of one colour, (0.5, 0, 0), from the first step on.
  const red = [191, 128, 128];
  for (const { images } of steps) for (const image of images) assert.equal(pixel(image), red);
  const { images, width, height, nfe, seeds, guidance, timings } = found[found.length - 1].data;
  assert.equal([images.length, nfe, guidance, seeds], [10, 5, 1, started.seeds]);
  assert.ok(timings.networkMs > 0 && timings.stepMs > 0 && timings.networkCalls === 10);
  for (const image of images) {
    const png = decode(Buffer.from(image, 'base64'));
    assert.equal([png.width, png.height], [width, height]);
    // The last step ends at a time where a hundredth of the noise is left.
    pixel(image).forEach((value, i) => {
      assert.ok(Math.abs(value - red[i]) < 8, `${pixel(image)}`);
    });
  }
});

test('stores the settings in the picture', async () => {
  const found = await all(await post(url, { prompt: 'red', steps: 1, seed: 3, solver: 'unipc' }));
  const { images } = found[found.length - 1].data;
  const text = decode(Buffer.from(images[0], 'base64')).text;
  const { model, prompt, steps, seed, solver } = JSON.parse(text['dpm-solver']);
  assert.equal([model, prompt, steps, seed, solver], ['constant', 'red', 1, 3, 'unipc']);
});

test('draws with every solver, kind of step and grid that the page offers', async () => {
  const html = await (await get('/')).text();
  const schema = await json(await get('/api/schema'));
  const { properties } = schema.components.schemas.Settings;
  const offered = (name: string) => {
    const [select] = new RegExp(`<select [^>]*name="${name}">.*?</select>`, 's').exec(html) as RegExpExecArray;
    return Array.from(select.matchAll(/<option value="([^"]+)"/g), ([, value]) => value);
  };
  const [solvers, methods, grids] = ['solver', 'method', 'skipType'].map(offered);
  for (const [list, name] of [
    [solvers, 'solver'],
    [methods, 'method'],
    [grids, 'skipType'],
  ] as const) {
    assert.equal(list.toSorted(), properties[name].enum.toSorted(), name);
  }
  const runs = [
    ...solvers.map((solver) => ({ solver })),
    ...methods.map((method) => ({ method })),
    ...grids.map((skipType) => ({ skipType })),
    { thresholding: true, denoiseToZero: true, order: 3, negativePrompt: 'blue', guidance: 2.5, width: 32, height: 16 },
  ];
  // A network that predicts noise, as the schedulers want it.
  const own = await startServer({ folder: layout('sd'), port: 0 });
  try {
    for (const run of runs) {
      const found = await all(await post(own.url, { prompt: 'green', steps: 6, guidance: 1, seed: 0, ...run }));
      assert.is(found[found.length - 1].event, 'done', JSON.stringify([run, found[found.length - 1].data.error]));
    }
  } finally {
    await own.close();
  }
});

test("draws by the model's own solver and its tables where nobody says more, and says so", async () => {
  const config = JSON.parse(readFileSync(join(layout('sd'), 'scheduler/scheduler_config.json'), 'utf8'));
  const { schedule } = readScheduler(config, 'scheduler_config.json').training;
  const classic = classicTable(schedule, { steps: 2, skipType: 'karras' });
  const table = { ...classic, name: 'of the folder', guidance: { scale: 3 } };
  const folder = changed((copy) => {
    writeFileSync(join(copy, 'scheduler/solver_tables.json'), JSON.stringify([table]));
  }, layout('sd'));
  const own = await startServer({ folder, port: 0 });
  try {
    const draw = async (settings: object) => {
      const found = await all(await post(own.url, { prompt: 'green', steps: 2, guidance: 3, seed: 0, ...settings }));
      const { event, data } = found[found.length - 1];
      assert.is(event, 'done', JSON.stringify(data.error));
      return data;
    };
    const byTable = await draw({});
    assert.is(byTable.table, 'of the folder');
    assert.equal(byTable.solver, { name: 'of the folder', grid: 'table' });
    assert.is(JSON.parse(decode(Buffer.from(byTable.images[0], 'base64')).text['dpm-solver']).table, 'of the folder');
    for (const settings of [{ solver: 'dpmsolver++' }, { order: 1 }, { steps: 3 }, { guidance: 2 }]) {
      const made = await draw(settings);
      assert.is(made.table, undefined, JSON.stringify(settings));
      assert.is(made.solver.name, 'dpmsolver++', JSON.stringify(settings));
    }
    // Outside of the interval half the price; and other pictures for other kinds.
    const half = await draw({ guidanceInterval: [0, 1e-6] });
    assert.is(half.nfe, 1);
    const pictures = new Set([byTable.images[0], half.images[0]]);
    for (const more of [{ guidanceVariant: 'cfg-zero' }, { guidanceVariant: 'apg', guidanceMomentum: 0.5 }]) {
      pictures.add((await draw(more)).images[0]);
    }
    pictures.add((await draw({ guidanceRescale: 1 })).images[0]);
    assert.is(pictures.size, 5);
  } finally {
    await own.close();
  }
});

test('tells of the model, its limits and how busy it is', async () => {
  const { model, limits, version } = await json(await get('/api/model'));
  assert.is(model.name, 'constant');
  assert.equal(model.words, ['a', 'on', 'background', 'circle', 'square', 'red', 'green', 'blue']);
  assert.equal([limits.steps, limits.waiting, limits.count], [20_000, 2, defaultLimits.count]);
  assert.match(version, /^\d+\.\d+\.\d+/);
  assert.equal(await status(url), { ready: true, running: 0, waiting: 0 });
  const schema = await json(await get('/api/schema'));
  assert.is(schema.openapi, '3.1.0');
  assert.is(schema.components.schemas.Settings.properties.steps.maximum, 20_000);
  assert.equal(schema.components.schemas.Settings.required, ['prompt']);
});

const refusals: [what: string, body: unknown, message: RegExp][] = [
  ['nothing', '', /^Expected JSON in the body/],
  ['no JSON', '{"prompt":', /^Expected JSON in the body/],
  ['null', null, /^Expected an object of settings but received null$/],
  ['an array', [], /^Expected /],
  ['a number', 3, /^Expected an object of settings but received 3$/],
  ['arrays deep within', `{"prompt":${'['.repeat(8000)}${']'.repeat(8000)}}`, /^Expected JSON in the body/],
  ['brackets in a prompt', { prompt: '[{'.repeat(20) }, /does not know the word/],
  ['no prompt', {}, /^Expected a string for prompt but received nothing$/],
  ['a prompt of numbers', { prompt: 5 }, /^Expected a string of at most 1000 characters for prompt but received 5$/],
  ['a long prompt', { prompt: 'a'.repeat(1001) }, /received a string of 1001 characters$/],
  ['an unknown setting', { prompt: 'a', stesp: 3 }, /^There is no setting 'stesp'; did you mean 'steps'\?$/],
  ['__proto__', '{"prompt":"a","__proto__":{"steps":1}}', /^There is no setting '__proto__'$/],
  ['no steps', { prompt: 'a', steps: 0 }, /^Expected a whole number from 1 to 20000 for steps but received 0$/],
  ['steps in words', { prompt: 'a', steps: 'ten' }, /for steps but received 'ten'$/],
  ['half a step', { prompt: 'a', steps: 1.5 }, /for steps but received 1\.5$/],
  ['too many pictures', { prompt: 'a', count: 17 }, /^Expected a whole number from 1 to 16 for count/],
  ['a large picture', { prompt: 'a', width: 2049 }, /^Expected a whole number from 1 to 2048 for width/],
  [
    'a large area',
    { prompt: 'a', width: 2048, height: 513 },
    /^Expected at most 1048576 pixels in a picture but received 2048 x 513$/,
  ],
  ['many pixels', { prompt: 'a', width: 1024, height: 1024, count: 5 }, /^Expected at most 4194304 pixels .* x 5$/],
  ['endless guidance', '{"prompt":"a","guidance":1e999}', /^Expected a number from -100 to 100 for guidance/],
  ['an unknown solver', { prompt: 'a', solver: 'dpmsolver+' }, /did you mean 'dpmsolver'\?$/],
  ['order 4', { prompt: 'a', order: 4 }, /^Expected 1, 2 or 3 for order but received 4$/],
  ['an order for PNDM', { prompt: 'a', solver: 'pndm', order: 2 }, /^Expected no order for the solver pndm/],
  ['an interval of one end', { prompt: 'a', guidanceInterval: [1] }, /^Expected two numbers .* for guidanceInterval/],
  ['an interval backwards', { prompt: 'a', guidanceInterval: [5, 1] }, /lower one first, for guidanceInterval but/],
  ['an unknown variant', { prompt: 'a', guidanceVariant: 'cfg-zer' }, /for guidanceVariant .*'cfg-zero'\?$/],
  [
    'a share of the deviation',
    { prompt: 'a', guidanceRescale: 2 },
    /^Expected a number from 0 to 1 for guidanceRescale/,
  ],
  ['a field of another variant', { prompt: 'a', guidanceEta: 1 }, /^Expected no guidanceEta without variant 'apg'/],
  [
    'a kind of guidance for UniPC',
    { prompt: 'a', solver: 'unipc', guidanceInterval: [0, 1] },
    /^Expected no kind of guidance with a scheduler object/,
  ],
  ['a negative seed', { prompt: 'a', seed: -1 }, /^Expected a whole number from 0 to 4294967295 for seed/],
  ['markup', { prompt: 'a', solver: '<img src=x onerror=alert(1)>' }, /^Expected 'ddim'/],
  // What only the model can say.
  ['an unknown word', { prompt: 'a pink elephant' }, /does not know the words 'pink' and 'elephant'/],
  ['a prompt of many words', { prompt: 'a '.repeat(9) }, /^Expected a prompt of at most 8 tokens/],
  ['steps below the order', { prompt: 'a', steps: 2, order: 3 }, /^Expected at least 3, the order .* for steps/],
  ['noise forms with thresholding', { prompt: 'a', solver: 'dpmsolver', thresholding: true }, /^Expected .*threshold/],
  ['an adaptive SDE', { prompt: 'a', solver: 'sde-dpmsolver', method: 'adaptive' }, /adaptive/],
];
for (const [what, body, message] of refusals) {
  test(`refuses ${what} with 400 and one sentence`, async () => {
    const response = await post(url, body);
    const text = await response.text();
    assert.is(response.status, 400, text);
    const { error, ...rest } = JSON.parse(text);
    assert.match(error, message);
    assert.equal(rest, {});
    assert.not.match(error, '\n');
    assert.not.match(text, /[<>&]/, 'no markup comes back');
    assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
  });
}

test('refuses other methods, types and sizes', async () => {
  for (const [path, init, code] of [
    ['/api/runs', { method: 'GET' }, 405],
    ['/api/model', { method: 'POST', body: '{}' }, 405],
    ['/', { method: 'PUT', body: 'x' }, 405],
    ['/api/runs/0', { method: 'DELETE' }, 404],
    ['/api/runs', { method: 'POST', body: '{}', headers: { 'Content-Type': 'text/plain' } }, 415],
    ['/api/runs', { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/jsonx' } }, 415],
    ['/nowhere?q=<script>alert(1)</script>', {}, 404],
  ] as const) {
    const response = await get(path, init as RequestInit);
    const text = await response.text();
    assert.is(response.status, code, `${path}: ${text}`);
    assert.equal(Object.keys(JSON.parse(text)), ['error']);
    assert.not.match(text, /script/);
  }
  const large = JSON.stringify({ prompt: 'a', negativePrompt: 'b'.repeat(defaultLimits.body) });
  const response = await post(url, large);
  assert.is(response.status, 413);
  assert.match((await json(response)).error, /^Expected a body of at most 16384 bytes/);
  // Sent in chunks, its length is not known in advance.
  const chunked = await raw(
    `POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n` +
      `5000\r\n${'x'.repeat(0x5000)}\r\n`,
  );
  assert.match(chunked, /^HTTP\/1\.1 413 /);
});

test('answers only to its own names, and only its own page', async () => {
  const ask = (host: string, more = '') =>
    raw(`GET /api/status HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`);
  for (const host of ['localhost', 'localhost:8321', '127.0.0.1', '[::1]:80', '192.168.1.4:8321', 'dpm.localhost']) {
    assert.match(await ask(host), /^HTTP\/1\.1 200 /, host);
  }
  for (const host of [
    'example.com',
    'localhost.example.com',
    '127.0.0.1.example.com',
    'localhost@example.com',
    'a b',
  ]) {
    assert.match(await ask(host), /^HTTP\/1\.1 (403|400) /, host);
  }
  assert.match(await ask('localhost', 'Origin: http://example.com\r\n'), /^HTTP\/1\.1 403 /);
  assert.match(await ask('localhost', 'Origin: null\r\n'), /^HTTP\/1\.1 403 /);
  assert.match(await ask('localhost:1', 'Origin: http://localhost:1\r\n'), /^HTTP\/1\.1 200 /);
});

test('lets no page elsewhere start, end or ask about a run', async () => {
  const stream = events(await post(url, endless));
  const { data } = await until(stream, 'started');
  const json = 'Content-Type: application/json\r\nContent-Length: 16\r\n';
  for (const origin of ['http://example.com', 'null', 'http://localhost.example.com', 'http://localhost:1', '']) {
    for (const [line, head, body] of [
      ['POST /api/runs', json, '{"prompt":"red"}'],
      // What a form of another page could send without being asked first.
      ['POST /api/runs', json.replace('application/json', 'text/plain'), '{"prompt":"red"}'],
      [`DELETE /api/runs/${data.id}`, '', ''],
      ['OPTIONS /api/runs', 'Access-Control-Request-Method: POST\r\n', ''],
      ['GET /api/status', '', ''],
    ]) {
      const answer = await raw(
        `${line} HTTP/1.1\r\nHost: localhost\r\nOrigin: ${origin}\r\n${head}Connection: close\r\n\r\n${body}`,
      );
      assert.match(answer, /^HTTP\/1\.1 403 /, `${line} from ${origin}`);
      assert.not.match(answer, /access-control-allow/i);
      // Not even as a picture or a script: nothing of it reaches the page that asked.
      assert.match(answer, /cross-origin-resource-policy: same-origin/i);
    }
  }
  await until(stream, 'step');
  assert.equal(await status(url), { ready: true, running: 1, waiting: 0 });
  assert.is((await get(`/api/runs/${data.id}`, { method: 'DELETE' })).status, 204);
});

test('is not led astray by other spellings of a host', async () => {
  const ask = (line: string, ...hosts: string[]) =>
    raw(`${line} HTTP/1.1\r\n${hosts.map((host) => `Host: ${host}\r\n`).join('')}Connection: close\r\n\r\n`);
  for (const answer of [
    await ask('GET http://example.com/api/status', 'example.com'),
    await ask('GET /api/status', 'localhost', 'example.com'),
    await ask('GET /api/status', 'example.com', 'localhost'),
    await ask('GET /api/status', 'localhost:99999999'),
    await ask('GET /api/status', 'localhost.'),
    await ask('GET /api/status', '127.0.0.1.'),
    await ask('GET /api/status', '0x7f.1'),
    await ask('GET /api/status', '[::1].example.com'),
    await ask('GET /api/status', 'example.com:80#localhost'),
    await ask('GET /api/status', ''),
    await ask('OPTIONS *', 'localhost'),
  ]) {
    assert.match(answer, /^HTTP\/1\.1 40[03] .*\{"error":"Expected [^"]+"\}$/s);
  }
  // A tunnel is not made, and a protocol not changed.
  assert.is(await raw('CONNECT example.com:80 HTTP/1.1\r\nHost: localhost\r\n\r\n'), '');
  const same = 'Connection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n';
  assert.match(await raw(`GET /api/status HTTP/1.1\r\nHost: localhost\r\n${same}`), /^HTTP\/1\.1 200 /);
});

test('takes any characters in a prompt, and gives none back that could do anything', async () => {
  // A tokenizer that knows every byte.
  const own = await startServer({ folder: layout('sd'), port: 0 });
  try {
    for (const prompt of [
      ...[
        '\u0000\u0001\u001b[2J\u007f\u0085\u009b',
        'data: x\n\nevent: done\ndata: {}\n\n',
        '\r\nSet-Cookie: a=b\r\n\r\n',
      ],
      ...[
        '</script><img src=x onerror=alert(1)>&lt;',
        '\u2028\u2029\u202e\ufeff',
        '\ud800',
        '\udc00\ud800 x',
        '😀 é 漢',
      ],
    ]) {
      const response = await post(own.url, { prompt, steps: 1, guidance: 1, seed: 1 });
      const text = await response.text();
      // One line of data for every event, whatever is in it.
      if (response.status === 200) {
        const blocks = text.split('\n\n').filter(Boolean);
        assert.ok(blocks.length >= 3);
        for (const block of blocks) assert.match(block, /^event: \w+\ndata: [\x20-\u2027\u202a-\uffff]*$/);
        const last = blocks[blocks.length - 1].split('\n');
        assert.is(last[0], 'event: done', text);
        const png = decode(Buffer.from(JSON.parse(last[1].slice(6)).images[0], 'base64'));
        assert.match(png.text['dpm-solver'], /^[\x20-\x7e]+$/);
        assert.is(JSON.parse(png.text['dpm-solver']).prompt, prompt);
      } else {
        assert.is(response.status, 400, text);
        assert.match(text, /^\{"error":"(?:[^"\\\n]|\\.)+"\}$/);
      }
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      assert.not.match(text, /[<>&\u2028\u2029\x00-\x09\x0b-\x1f\x7f-\x9f]/, JSON.stringify(prompt));
    }
    for (const id of ['%00', '%0d%0aX:1', '%E0%A4%A', '..%2f..', '<b>', '%F0']) {
      const answer = await raw(`DELETE /api/runs/${id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 40[04] .*\{"error":"[^"<>\n]+"\}$/s, id);
    }
  } finally {
    await own.close();
  }
});

test('cancels a run that goes on, within a step', async () => {
  const stream = events(await post(url, endless));
  const { data } = await until(stream, 'started');
  await until(stream, 'step');
  // It still answers while it draws.
  assert.equal(await status(url), { ready: true, running: 1, waiting: 0 });
  assert.is((await get(`/api/runs/${data.id}`, { method: 'DELETE' })).status, 204);
  const rest: Event[] = [];
  for await (const event of stream) rest.push(event);
  assert.is(rest[rest.length - 1].event, 'cancelled');
  await idle(url);
  assert.is((await get(`/api/runs/${data.id}`, { method: 'DELETE' })).status, 404);
});

test('frees the place of a client that goes away', async () => {
  const leave = new AbortController();
  const stream = events(await post(url, endless, { signal: leave.signal }));
  await until(stream, 'step');
  leave.abort();
  await idle(url);
});

test('frees the place of a client that closes its half of the connection', async () => {
  const body = JSON.stringify(endless);
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.write(
    `POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await eventually(() => text.includes('event: step'), 'no step came');
  socket.end();
  await idle(url);
  socket.destroy();
});

test('queues runs in their order, refuses more than it has places for, and tells when to come back', async () => {
  const first = events(await post(url, endless));
  const { data: one } = await until(first, 'started');
  const second = events(await post(url, endless));
  const third = events(await post(url, { ...endless, seed: 2 }));
  const { data: two } = await until(second, 'queued');
  const { data: three } = await until(third, 'queued');
  assert.equal([two.ahead, three.ahead], [1, 2]);
  assert.equal(await status(url), { ready: true, running: 1, waiting: 2 });
  const fourth = await post(url, endless);
  assert.is(fourth.status, 429);
  assert.match(fourth.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
  assert.match((await json(fourth)).error, /^Expected a place in the queue but all 2 are taken; try again in \d+ s$/);
  // One that waits leaves; the next moves up.
  await get(`/api/runs/${two.id}`, { method: 'DELETE' });
  assert.equal((await all2(second)).at(-1), { event: 'cancelled', data: { ms: 0 } });
  assert.is((await until(third, 'queued')).data.ahead, 1);
  await get(`/api/runs/${one.id}`, { method: 'DELETE' });
  await until(third, 'started');
  await get(`/api/runs/${three.id}`, { method: 'DELETE' });
  await until(first, 'cancelled');
  await until(third, 'cancelled');
});

test('goes on when the process that draws is ended in the middle of a run', async () => {
  const stream = events(await post(url, endless));
  await until(stream, 'step');
  server.engine.kill();
  assert.match((await until(stream, 'failed')).data.error, /ended unexpectedly/);
  await idle(url);
  const found = await all(await post(url, { prompt: 'red', steps: 2 }));
  assert.is(found[found.length - 1].event, 'done');
});

test('cuts off those who begin a request and do not go on', async () => {
  const started = performance.now();
  const answer = await raw('GET / HTTP/1.1\r\nHost: loc');
  assert.match(answer, /^HTTP\/1\.1 408 .*\{"error":"Expected the whole request sooner"\}$/s);
  assert.ok(performance.now() - started < 10_000);
});

test('cuts off those who go on byte by byte, in the head or in the body', async () => {
  const own = await startServer({ folder: constant, port: 0, limits: { headSeconds: 1, requestSeconds: 2 } });
  try {
    const drip = async (start: string, byte: string) => {
      const socket = connect(Number(new URL(own.url).port), '127.0.0.1');
      let [answer, ended, sent] = ['', false, 0];
      socket.on('data', (chunk) => {
        answer += chunk;
      });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        ended = true;
      });
      socket.write(start);
      for (; !ended && sent < 300; sent++) {
        await sleep(50);
        if (!socket.destroyed) socket.write(byte);
      }
      socket.destroy();
      assert.ok(ended, 'it was never cut off');
      assert.ok(sent > 5, 'a byte now and then is no reason to be cut off at once');
      return answer;
    };
    const answers = await Promise.all([
      drip('GET / HTTP/1.1\r\nHost: localhost\r\nX: ', 'x'),
      drip(
        'POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{',
        ' ',
      ),
    ]);
    for (const answer of answers) assert.match(answer, /^(HTTP\/1\.1 408 .*sooner"\})?$/s);
  } finally {
    await own.close();
  }
});

test('makes room for others where many begin and do not go on, but not at the cost of a run', async () => {
  // Nothing but the number of connections can end one here.
  const seconds = { headSeconds: 600, requestSeconds: 600, idleSeconds: 600 };
  const own = await startServer({ folder: constant, port: 0, limits: { steps: 20_000, connections: 8, ...seconds } });
  const sockets: Socket[] = [];
  try {
    const run = events(await post(own.url, endless));
    await until(run, 'step');
    let closed = 0;
    for (let i = 0; i < 24; i++) {
      const socket = connect(Number(new URL(own.url).port), '127.0.0.1');
      sockets.push(socket.resume());
      socket.on('error', () => undefined);
      socket.on('close', () => closed++);
      socket.write('GET / HTTP/1.1\r\nHost: ');
    }
    await eventually(() => closed >= 16, 'the connections were all kept');
    assert.is((await fetch(new URL('/api/status', own.url))).status, 200);
    await until(run, 'step');
  } finally {
    for (const socket of sockets) socket.destroy();
    await own.close();
  }
});

test('ends a connection that asks for more before it is answered, and the run on it', async () => {
  const body = JSON.stringify(endless);
  const run = `POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  // Of those behind the first answer, Node does not tell that their client has gone.
  assert.is(await raw(run.repeat(3)), '');
  await idle(url);
  // One after the other is another matter.
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  try {
    for (let i = 0; i < 20; i++) {
      socket.write('GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n');
      let answer = '';
      while (!answer.endsWith('}')) answer += (await once(socket, 'data'))[0];
      assert.match(answer, /^HTTP\/1\.1 200 /);
    }
  } finally {
    socket.destroy();
  }
});

test('answers what is no HTTP with 400 and one sentence', async () => {
  for (const text of [
    '\0\0\0\0',
    'GET\r\n\r\n',
    'GET / HTTP/9.9\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    '\x16\x03\x01\x02\x00',
  ]) {
    const answer = await raw(text);
    assert.match(answer, /^HTTP\/1\.1 400 /, JSON.stringify(text));
    assert.match(answer, /\{"error":"[^"]+"\}$/);
  }
  const heads = await raw(`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`);
  assert.match(heads, /^HTTP\/1\.1 431 /);
});

test('stops a run whose time is up, and ends one process for one run only', async () => {
  const own = await startServer({ folder: constant, port: 0, limits: { steps: 20_000, seconds: 1 } });
  try {
    const found = await all(await post(own.url, endless));
    assert.equal(found[found.length - 1], {
      event: 'failed',
      data: { error: 'The run took longer than the 1 s that it may' },
    });
    await idle(own.url);
  } finally {
    await own.close();
  }
});

test('tells those who wait that it is shutting down, and leaves nothing behind', async () => {
  const own = await startServer({ folder: constant, port: 0, limits: { steps: 20_000 } });
  const streams = [events(await post(own.url, endless)), events(await post(own.url, endless))];
  await until(streams[0], 'step');
  const ends = streams.map((stream) => until(stream, 'failed'));
  await own.close();
  for (const { data } of await Promise.all(ends)) assert.is(data.error, 'The server is shutting down');
  let refused = false;
  await fetch(own.url).catch(() => {
    refused = true;
  });
  assert.ok(refused);
});

test('previews latents too', async () => {
  const own = await startServer({ folder: layout('sd'), port: 0 });
  try {
    const { model } = await json(await fetch(new URL('/api/model', own.url)));
    assert.is(model.words, null);
    const found = await all(await post(own.url, { prompt: 'red', steps: 2, count: 2, width: 32, height: 16, seed: 0 }));
    const step = found.find(({ event }) => event === 'step') as Event;
    const preview = decode(Buffer.from(step.data.images[0], 'base64'));
    // A pixel a latent.
    assert.equal([preview.width, preview.height, step.data.images.length], [4, 2, 2]);
    const { width, height } = found[found.length - 1].data;
    assert.equal([width, height], [32, 16]);
    const odd = await post(own.url, { prompt: 'red', width: 20 });
    assert.is(odd.status, 400);
    assert.match((await json(odd)).error, /^Expected a multiple of 8/);
  } finally {
    await own.close();
  }
});

test('refuses a model or a port that cannot be had in one sentence', async () => {
  const fails = async (options: Parameters<typeof startServer>[0], message: RegExp) => {
    let error: Error | undefined;
    await startServer(options).catch((reason: Error) => {
      error = reason;
    });
    assert.match(error?.message ?? 'nothing was thrown', message);
  };
  await fails({ folder: 'none', port: 0 }, /^Expected model_index\.json in none but there is no such folder$/);
  const port = Number(new URL(url).port);
  await fails({ folder: constant, port }, /^The port \d+ of 127\.0\.0\.1 cannot be had: another program listens there/);
});

async function all2(stream: AsyncGenerator<Event>): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of stream) found.push(event);
  return found;
}

/** What comes back for these bytes, up to the end of the connection, or where nothing more comes for a while. */
async function raw(text: string): Promise<string> {
  const socket: Socket = connect(Number(new URL(url).port), '127.0.0.1');
  let answer = '';
  let ended = false;
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  socket.on('close', () => {
    ended = true;
  });
  socket.on('error', () => undefined);
  socket.write(text);
  await eventually(() => ended || /\}$/.test(answer), `no answer to ${JSON.stringify(text.slice(0, 60))}`);
  socket.destroy();
  await sleep(0);
  return answer;
}

test.run();
