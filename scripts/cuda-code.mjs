// What the compiler has made of the fast kernels, read from the machine code (cuobjdump -sass) or, where there is no
// cuobjdump, from PTX: wide accesses, loads that all come before the atomics of their round, and nothing slow in the loops
// that go over a sample's elements. Used by build-cuda.mjs --check.

/** What a line of code is, in either language. */
const SASS = {
  begin: /Function : (\S+)/,
  line: /^\s+\/\*([0-9a-f]{4,})\*\/\s+(.*?);/,
  back: /\bBRA(?:\.\S+)?\s+(?:!?U?P\w+,\s*)?(0x[0-9a-f]+)/,
  wideLoad: /\bLDG\.E\.128\b/,
  halfLoad: /\bLDG\.E\.64\b/,
  wideStore: /\bSTG\.E\.128\b/,
  atomic: /\bATOMS\.\S+ RZ\b/,
  slow: /\b(F2I|S2UR|S2R|LDL|STL)\b/,
};
const PTX = {
  begin: /\.entry (\S+?)\(/,
  wideLoad: /\bld\.global(\.[\w:]+)*\.v4\.f32\b/,
  halfLoad: /\bld\.global(\.[\w:]+)*\.v2\.u32\b/,
  wideStore: /\bst\.global(\.[\w:]+)*\.v4\.f32\b/,
  atomic: /\bred\.shared\b/,
  slow: /\b(cvt\.r[zn]i\.|(ld|st)\.local)/,
};

/** Functions by name, as lists of {at, text}; `at` counts addresses or lines. */
function fromSass(text) {
  const found = new Map();
  let code;
  for (const line of text.split('\n')) {
    const begin = SASS.begin.exec(line);
    if (begin) {
      code = { lines: [], loops: [] };
      found.set(begin[1], code);
    }
    const match = code && SASS.line.exec(line);
    if (!match) continue;
    const [at, instruction] = [Number.parseInt(match[1], 16), match[2]];
    code.lines.push({ at, text: instruction });
    const back = SASS.back.exec(instruction);
    if (back && Number(back[1]) < at) code.loops.push({ from: Number(back[1]), to: at });
  }
  return found;
}

function fromPtx(text) {
  const found = new Map();
  let code;
  let labels;
  for (const [at, line] of text.split('\n').entries()) {
    const begin = PTX.begin.exec(line);
    if (begin) {
      code = { lines: [], loops: [] };
      found.set(begin[1], code);
      labels = new Map();
    }
    if (!code) continue;
    const label = /^(\$\w+):/.exec(line);
    if (label) labels.set(label[1], at);
    code.lines.push({ at, text: line.replace(/\/\/.*/, '') });
    const back = /\bbra(?:\.uni)?\s+(\$\w+)/.exec(line);
    if (back && labels.has(back[1])) code.loops.push({ from: labels.get(back[1]), to: at });
  }
  return found;
}

/** Loops in which there is no other one. */
function innermost(loops) {
  return loops.filter(
    (loop) =>
      !loops.some(
        (other) => other !== loop && other.from >= loop.from && other.to <= loop.to && other.to !== other.from,
      ),
  );
}

/**
 * What is wrong with the fast kernels, and a line for each of them.
 * @param {string} text what cuobjdump -sass printed, or PTX
 * @param {'sass' | 'ptx'} language
 */
export function inspect(text, language) {
  const is = language === 'sass' ? SASS : PTX;
  const functions = language === 'sass' ? fromSass(text) : fromPtx(text);
  const problems = [];
  const lines = [];
  for (const [mangled, { lines: code, loops }] of functions) {
    const match = /(Step|ThresholdCluster|ThresholdTeam)IL\w+?NetTypeE(\d)ELb0E/.exec(mangled);
    if (!match) continue;
    const [, kernel, type] = match;
    const name = `${kernel}<${type}, false>`;
    const count = (pattern, of = code) => of.filter((line) => pattern.test(line.text)).length;
    const counted = {
      'loads of 16 bytes': count(is.wideLoad),
      'of 8': count(is.halfLoad),
      'stores of 16 bytes': count(is.wideStore),
    };
    lines.push(
      `${name}: ${Object.entries(counted)
        .map(([what, n]) => `${n} ${what}`)
        .join(', ')}`,
    );
    // x, d1, base, d2 and z are float32 whatever the network's outputs are, which come in 16 or 8 bytes.
    if (counted['loads of 16 bytes'] < 10)
      problems.push(`${name}: only ${counted['loads of 16 bytes']} loads of 16 bytes`);
    if (type !== '1' && counted['of 8'] < 4) problems.push(`${name}: only ${counted['of 8']} loads of 8 bytes`);
    if (counted['stores of 16 bytes'] < 4)
      problems.push(`${name}: only ${counted['stores of 16 bytes']} stores of 16 bytes`);
    let counting = 0;
    let streaming = 0;
    for (const loop of kernel === 'Step' ? loops : innermost(loops)) {
      const body = code.filter(({ at }) => at >= loop.from && at <= loop.to);
      const [loads, atomics, stores] = [is.wideLoad, is.atomic, is.wideStore].map((pattern) => count(pattern, body));
      const counts = loads > 0 && atomics >= 8;
      const streams = loads > 0 && stores > 0;
      if (!counts && !streams) continue;
      const slow = body.find((line) => is.slow.test(line.text));
      if (slow) problems.push(`${name}: ${slow.text.trim()} in the loop at ${loop.from.toString(16)}`);
      streaming += streams ? 1 : 0;
      if (!counts) continue;
      ++counting;
      // An atomic is a wall: what is loaded after one is not in flight with what was loaded before.
      const first = body.findIndex((line) => is.atomic.test(line.text));
      const late = body.slice(first).find((line) => is.wideLoad.test(line.text) || is.halfLoad.test(line.text));
      if (late)
        problems.push(`${name}: ${late.text.trim()} after the first atomic of the loop at ${loop.from.toString(16)}`);
    }
    if (streaming === 0) problems.push(`${name}: no loop that loads and stores 16 bytes`);
    if (kernel !== 'Step' && counting === 0) problems.push(`${name}: no loop that loads and counts`);
  }
  if (lines.length !== 9) problems.push(`${lines.length} of the 9 fast kernels in the ${language.toUpperCase()}`);
  return { problems, lines };
}
