// The cache beside huggingface_hub's own: what it makes of ours, what we make of its, and what it makes of the small hub that
// the other tests ask. DPM_SOLVER_PYTHON names a Python that has the package; without it nothing is done here.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pull } from '../../lib/hub/index.js';
import { folder as exportedFolder, madeAt } from '../pipelines/exports.js';
import { Hub } from './hub-server.js';

const python = process.env.DPM_SOLVER_PYTHON;
if (python === undefined) console.log('skipped: DPM_SOLVER_PYTHON names no Python with huggingface_hub');
const tests = suite('the cache of huggingface_hub');
const test = python === undefined ? tests.skip : tests;

/** Below a folder: of a link where it leads, of a file what it holds. */
function contents(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(folder.length + 1).replaceAll('\\', '/');
    if (entry.isSymbolicLink()) found[name] = `-> ${readlinkSync(path)}`;
    else if (entry.isFile()) found[name] = readFileSync(path).toString('latin1');
  }
  return found;
}

let hub: Hub;
let place: string;
const store = (cache: string) => join(place, cache, 'models--tiny--sd1');

tests.before(async () => {
  if (python === undefined) return;
  place = mkdtempSync(join(tmpdir(), 'dpm-solver-hub-'));
  hub = await Hub.start();
  const others = { 'unet/diffusion_pytorch_model.safetensors': Buffer.alloc(30_000, 2) };
  hub.add('tiny/sd1', exportedFolder('sd1-converter'), others);
  process.env.HF_ENDPOINT = hub.endpoint;
});

tests.after(async () => {
  if (python === undefined) return;
  await hub.stop();
  rmSync(place, { recursive: true });
  rmSync(madeAt() as string, { recursive: true });
});

/** What a script prints, as JSON. */
const ask = async (script: string, ...args: string[]): Promise<unknown> => {
  const env = {
    ...process.env,
    HF_HUB_DISABLE_TELEMETRY: '1',
    HF_HUB_DISABLE_XET: '1',
    HF_HOME: join(place, 'home'),
  };
  const head = 'import json, sys\nfrom huggingface_hub import *\n';
  const { stdout } = await promisify(execFile)(python as string, ['-c', head + script, ...args], { env });
  return JSON.parse(stdout);
};

test('has what huggingface_hub would have fetched, file by file', async () => {
  const ours = await pull('tiny/sd1', { cacheDir: join(place, 'ours') });
  const script = `
print(json.dumps(snapshot_download("tiny/sd1", cache_dir=sys.argv[1], ignore_patterns=["*.safetensors"])))`;
  const its = (await ask(script, join(place, 'its'))) as string;
  assert.is(its, join(store('its'), 'snapshots', hub.commit('tiny/sd1')));
  const [own, other] = [contents(store('ours')), contents(store('its'))];
  // Its list of all that the repository has.
  for (const name of Object.keys(other)) if (name.startsWith('trees/')) delete other[name];
  assert.equal(own, other);
  // And the other way around: it is not fetched again.
  hub.asked.length = 0;
  assert.is(await pull('tiny/sd1', { cacheDir: join(place, 'its') }), its);
  assert.is(await pull('tiny/sd1', { cacheDir: join(place, 'its'), localFilesOnly: true }), its);
  assert.is(hub.asked.filter(({ url }) => !url.startsWith('/api/')).length, 0);
  assert.is(ours.replace('ours', 'its'), its);
});

test('is read by huggingface_hub offline, which finds nothing wrong with it', async () => {
  const cacheDir = join(place, 'read');
  const folder = await pull('tiny/sd1', { cacheDir });
  hub.asked.length = 0;
  const script = `
cache = sys.argv[1]
info = scan_cache_dir(cache)
[repo] = info.repos
[revision] = repo.revisions
print(json.dumps({
  "folder": snapshot_download("tiny/sd1", cache_dir=cache, local_files_only=True),
  "file": hf_hub_download("tiny/sd1", "unet/weights.pb", cache_dir=cache, local_files_only=True),
  "warnings": [str(one) for one in info.warnings],
  "incomplete": len(info.incomplete_files),
  "repo": [repo.repo_id, repo.repo_type, repo.nb_files, repo.size_on_disk],
  "revision": [revision.commit_hash, sorted(revision.refs), len(revision.files)],
}))`;
  const blobs = readdirSync(join(store('read'), 'blobs'));
  const size = blobs.reduce((sum, name) => sum + statSync(join(store('read'), 'blobs', name)).size, 0);
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(folder, name)).isFile(),
  );
  assert.equal(await ask(script, cacheDir), {
    ...{ folder, file: join(folder, 'unet/weights.pb'), warnings: [], incomplete: 0 },
    repo: ['tiny/sd1', 'model', blobs.length, size],
    revision: [hub.commit('tiny/sd1'), ['main'], files.length],
  });
  assert.is(hub.asked.filter(({ url }) => url.includes('tiny/sd1')).length, 0);
});

test('gets from the small hub the answers that it knows', async () => {
  const script = `
from huggingface_hub.errors import *
def name(call):
  try:
      call()
  except Exception as error:
      return type(error).__name__
cache = sys.argv[1]
print(json.dumps([
  name(lambda: hf_hub_download("tiny/none", "model_index.json", cache_dir=cache)),
  name(lambda: hf_hub_download("tiny/sd1", "none.json", cache_dir=cache)),
  name(lambda: snapshot_download("tiny/sd1", revision="v2", cache_dir=cache)),
]))`;
  assert.equal(await ask(script, join(place, 'wrong')), [
    ...['RepositoryNotFoundError', 'RemoteEntryNotFoundError', 'RevisionNotFoundError'],
  ]);
});

tests.run();
