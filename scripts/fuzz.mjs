// npm run fuzz [-- native|napi] [SECONDS]: fuzzing for so many seconds each, 600 if not said.
//
// native  the fused step, the quantile, reductions and conversions under libFuzzer, AddressSanitizer and
//         UndefinedBehaviorSanitizer (test/fuzz/step.cpp; needs clang with its run-time libraries, on Debian clang-14
//         and libclang-rt-14-dev). What is found lands in build/fuzz/; copied to test/fuzz/corpus/ it becomes a test.
// napi    any value in any place of the addon's functions under fast-check (test/fuzz/napi.ts)
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { baseFlags, compile, root, run, sources } from './native-objects.mjs';

const words = process.argv.slice(2);
const seconds = Number(words.find((word) => /^\d+$/.test(word)) ?? 600);
const which = words.filter((word) => !/^\d+$/.test(word));
if (which.some((word) => word !== 'native' && word !== 'napi')) {
  console.error(`Expected native or napi for what to fuzz but received ${which.join(' ')}`);
  process.exit(2);
}
const wanted = (name) => which.length === 0 || which.includes(name);
const out = join(root, 'build', 'fuzz');

if (wanted('native')) {
  const version = ['', '-19', '-18', '-17', '-16', '-15', '-14'].find(
    (suffix) => spawnSync(`clang++${suffix}`, ['--version']).status === 0,
  );
  if (version === undefined) {
    console.error('Expected clang++ for libFuzzer but found none: apt-get install clang-14 libclang-rt-14-dev');
    process.exit(1);
  }
  const clang = `clang++${version}`;
  const sanitize = 'address,undefined';
  const flags = [
    ...[...baseFlags(), '-O2', '-Wno-pass-failed', '-DDPM_SMALL_SIZES'],
    ...[`-fsanitize=fuzzer-no-link,${sanitize}`, '-fno-sanitize-recover=undefined'],
  ];
  const native = sources(['cpu']).filter((file) => !file.endsWith('dispatch.cpp'));
  const objects = await compile(clang, flags, [...native, 'test/fuzz/step.cpp'], join(out, 'objects'));
  const target = join(out, 'step');
  await run(clang, [
    ...[`-fsanitize=fuzzer,${sanitize}`, '-pthread', '-Wl,--wrap=malloc', '-Wl,--wrap=pthread_create'],
    ...[...objects, '-o', target],
  ]);
  const corpus = join(out, 'corpus');
  mkdirSync(corpus, { recursive: true });
  const known = join(root, 'test/fuzz/corpus');
  await run(
    target,
    [
      ...[
        corpus,
        ...(existsSync(known) ? [known] : []),
        '-max_len=600',
        '-len_control=0',
        `-max_total_time=${seconds}`,
      ],
      ...['-print_final_stats=1', `-artifact_prefix=${out}/`],
    ],
    { env: { ...process.env, ASAN_OPTIONS: 'allocator_may_return_null=1:detect_leaks=0' } },
  );
}
if (wanted('napi')) {
  await run(process.execPath, ['--import', 'tsx', 'test/fuzz/napi-main.ts', String(seconds)]);
}
