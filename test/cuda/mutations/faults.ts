// Faults to plant in the kernels' sources, one at a time: each replaces a text that occurs once. `equivalent` says why
// nothing can notice.
export interface Fault {
  name: string;
  file: 'body.h' | 'step.h' | 'threshold.h';
  find: string;
  replace: string;
  equivalent?: string;
}

export const faults: Fault[] = [
  // ---- barriers ----------------------------------------------------------------------------------------------------
  {
    name: 'no barrier after a row was resolved',
    file: 'body.h',
    find: '    if (t == 0) resolved[kResolvedMask] = mask;\n  }\n  BlockSync();',
    replace: '    if (t == 0) resolved[kResolvedMask] = mask;\n  }',
  },
  {
    name: 'no barrier between the rows of two samples',
    file: 'step.h',
    find: 'if (sample + GridY() < a.batch) BlockSync();',
    replace: '',
  },
  {
    name: 'no barrier before the warps’ sums are read',
    file: 'threshold.h',
    find: 'scan[ThreadIndex() / 32] = suffix;\n    BlockSync();',
    replace: 'scan[ThreadIndex() / 32] = suffix;',
  },
  {
    name: 'no barrier before the bin is read',
    file: 'threshold.h',
    find: '    BlockSync();\n    Found result{0, 0, total};',
    replace: '    Found result{0, 0, total};',
  },
  {
    name: 'no team barrier before the first level is read',
    file: 'threshold.h',
    find: '    team.Sync();\n    uint32_t counts[4];',
    replace: '    uint32_t counts[4];',
  },
  {
    name: 'no team barrier before a later level is read',
    file: 'threshold.h',
    find: '        team.Publish(level);\n        team.Sync();',
    replace: '        team.Publish(level);',
  },
  {
    name: 'no team barrier before the neighbours are read',
    file: 'threshold.h',
    find: '      team.PublishNeighbours();\n      team.Sync();',
    replace: '      team.PublishNeighbours();',
  },
  {
    name: 'a block barrier where the team has to meet',
    file: 'threshold.h',
    find: '        team.Publish(level);\n        team.Sync();',
    replace: '        team.Publish(level);\n        BlockSync();',
  },
  {
    name: 'clusters end without waiting',
    file: 'threshold.h',
    find: 'DPM_DEVICE void Leave(bool, bool) const { ClusterSync(); }',
    replace: 'DPM_DEVICE void Leave(bool, bool) const {}',
  },
  {
    name: 'teams clear the workspace without waiting',
    file: 'threshold.h',
    find: '    Sync();\n    const uint32_t stride',
    replace: '    const uint32_t stride',
  },
  {
    name: 'teams begin the next sample beside the clearing',
    file: 'threshold.h',
    find: '    if (more) Sync();',
    replace: '',
  },
  {
    name: 'no barrier between samples without a selection',
    file: 'threshold.h',
    find: '      if (more) BlockSync();\n',
    replace: '',
  },
  {
    name: 'one block per team goes from sample to sample without a barrier',
    file: 'threshold.h',
    find: '    if (size == 1) {\n      BlockSync();\n      return;\n    }\n    if (!selected)',
    replace: '    if (size == 1) {\n      return;\n    }\n    if (!selected)',
  },
  {
    name: 'counts are published before they are complete',
    file: 'threshold.h',
    find: '    if (size == 1) return;\n    BlockSync();\n    const Shared<uint32_t> mine',
    replace: '    if (size == 1) return;\n    const Shared<uint32_t> mine',
  },
  {
    name: 'neighbours are published before they are complete',
    file: 'threshold.h',
    find: '    if (size == 1) return;\n    BlockSync();\n    if (ThreadIndex() < 2)',
    replace: '    if (size == 1) return;\n    if (ThreadIndex() < 2)',
  },
  {
    name: 'a barrier that only some threads reach',
    file: 'threshold.h',
    find: '    if (rank > above && rank <= above + sum) {',
    replace: '    if (rank > above && rank <= above + sum) {\n      BlockSync();',
  },
  // ---- plain accesses where several threads meet -------------------------------------------------------------------
  {
    name: 'a plain increment in the first level',
    file: 'threshold.h',
    find: 'AtomicAdd(level, offset >> shift, 1);',
    replace: 'level[offset >> shift] += 1;',
  },
  {
    name: 'a plain increment in a later level',
    file: 'threshold.h',
    find: 'if (offset < range) AtomicAdd(bins, offset >> shift, 1);',
    replace: 'if (offset < range) bins[offset >> shift] += 1;',
  },
  {
    name: 'a plain sum of the warps’ counts',
    file: 'threshold.h',
    find: 'if (ThreadIndex() % 32 == 0 && of_warp != 0) AtomicAdd(level, kCapped, of_warp);',
    replace: 'if (ThreadIndex() % 32 == 0 && of_warp != 0) level[kCapped] += of_warp;',
  },
  {
    name: 'a plain maximum of the neighbours',
    file: 'threshold.h',
    find: 'AtomicMax(shared, kSharedNeighbours, above_all);',
    replace: 'if (above_all > shared[kSharedNeighbours]) shared[kSharedNeighbours] = above_all;',
  },
  {
    name: 'plain sums in the workspace',
    file: 'threshold.h',
    find: 'if (count != 0) AtomicAdd(all + i, count);',
    replace: 'if (count != 0) StoreWord(all + i, LoadWord(all + i) + count);',
  },
  {
    name: 'a plain flag',
    file: 'threshold.h',
    find: 'AtomicOr(a.flags + sample, kNotFinite);',
    replace: 'StoreWord(a.flags + sample, kNotFinite);',
  },
  // ---- bins, ranks, keys -------------------------------------------------------------------------------------------
  {
    name: 'keys at the floor are counted',
    file: 'threshold.h',
    find: 'const uint32_t offset = key - w.low - 1;',
    replace: 'const uint32_t offset = key - w.low;',
  },
  {
    name: 'keys at the cap are lost',
    file: 'threshold.h',
    find: '      } else if (key > w.low) {\n        ++capped;',
    replace: '      } else if (key > w.high) {\n        ++capped;',
  },
  {
    name: 'the range is one key too long',
    file: 'threshold.h',
    find: 'w.high > w.low ? w.high - w.low - 1 : 0;',
    replace: 'w.high > w.low ? w.high - w.low : 0;',
    equivalent: 'a key at the cap in a bin gives the cap as well',
  },
  {
    name: 'the rank inside the bin is off by one',
    file: 'threshold.h',
    find: 'found[1] = rank - above;',
    replace: 'found[1] = rank - above + 1;',
  },
  {
    name: 'the neighbouring bin',
    file: 'threshold.h',
    find: 'found[0] = first + k - 4 + b;',
    replace: 'found[0] = first + k - 3 + b;',
  },
  {
    name: 'bins are searched from the bottom of each four',
    file: 'threshold.h',
    find: 'for (int b = 3; b >= 0; --b) {',
    replace: 'for (int b = 0; b < 4; ++b) {',
  },
  {
    name: 'ties at the edge of a bin go to the next',
    file: 'threshold.h',
    find: 'if (open && rank <= above + four[b]) {',
    replace: 'if (open && rank < above + four[b]) {',
  },
  {
    name: 'the warp’s own sum is taken twice',
    file: 'threshold.h',
    find: 'if (warp > ThreadIndex() / 32) above += of_warp;',
    replace: 'if (warp >= ThreadIndex() / 32) above += of_warp;',
  },
  {
    name: 'the base of the next level forgets the bin',
    file: 'threshold.h',
    find: '        rank = found.rank;\n        base += found.bin << shift;',
    replace: '        rank = found.rank;\n        base += found.bin;',
  },
  {
    name: 'the lower neighbour is the largest below, not at',
    file: 'threshold.h',
    find: '        if (key > pivot) {',
    replace: '        if (key >= pivot) {',
  },
  {
    name: 'always another key above',
    file: 'threshold.h',
    find: 'neighbours = rank == 1;',
    replace: 'neighbours = true;',
  },
  {
    name: 'never another key above',
    file: 'threshold.h',
    find: 'neighbours = rank == 1;',
    replace: 'neighbours = false;',
  },
  {
    name: 'one key too few above the floor goes unnoticed',
    file: 'threshold.h',
    find: 'if (above_floor + 1 < keep) return',
    replace: 'if (above_floor < keep) return',
  },
  {
    name: 'the sign is part of the key',
    file: 'threshold.h',
    find: 'const uint32_t key = FloatToWord(p) & 0x7fffffffu;',
    replace: 'const uint32_t key = FloatToWord(p);',
  },
  {
    name: 'NaN is infinity',
    file: 'threshold.h',
    find: 'if (key > 0x7f800000u) AtomicAdd',
    replace: 'if (key > 0x7fffffffu) AtomicAdd',
  },
  {
    name: 'interpolation in single precision',
    file: 'threshold.h',
    find: 'value = below + weight * (static_cast<double>(WordToFloat(next)) - below);',
    replace:
      'value = static_cast<float>(below) + static_cast<float>(weight) * (WordToFloat(next) - static_cast<float>(below));',
  },
  {
    name: 'the rank is rounded in single precision',
    file: 'threshold.h',
    find: 'uint64_t k = static_cast<uint64_t>(position);',
    replace: 'uint64_t k = static_cast<uint64_t>(static_cast<float>(position));',
  },
  // ---- shares of the work ------------------------------------------------------------------------------------------
  {
    name: 'the element after the vectors is forgotten',
    file: 'threshold.h',
    find: 's.edge = at < s.count && (at < s.head || at >= tail);',
    replace: 's.edge = at + 1 < s.count && (at < s.head || at >= tail);',
  },
  {
    name: 'slices overlap by one',
    file: 'threshold.h',
    find: 's.count = a.n - s.first < t.slice ? a.n - s.first : t.slice;',
    replace: 's.count = a.n - s.first < t.slice + 1 ? a.n - s.first : t.slice + 1;',
  },
  {
    name: 'one vector more is kept than there is room for',
    file: 'threshold.h',
    find: 's.resident = t.resident / V;',
    replace: 's.resident = t.resident / V + 1;',
  },
  {
    name: 'predictions are read one vector further',
    file: 'threshold.h',
    find: 'Load4(s.predictions, j * V + k, p.v + k);',
    replace: 'Load4(s.predictions, (j + 1) * V + k, p.v + k);',
  },
  {
    name: 'the levels are not cleared to the end',
    file: 'threshold.h',
    find: 'i < kSharedScan; i += BlockThreads()) shared[i] = 0;',
    replace: 'i < kSharedNeighbours; i += BlockThreads()) shared[i] = 0;',
  },
  {
    name: 'the workspace is not cleared to the end',
    file: 'threshold.h',
    find: 'i < kWorkspaceWords; i += stride) {',
    replace: 'i < kTeamNeighbours; i += stride) {',
  },
  {
    name: 'the last vector of a step is forgotten',
    file: 'step.h',
    find: 'ThreadIndex(); j < vectors; j += stride) {',
    replace: 'ThreadIndex(); j + 1 < vectors; j += stride) {',
  },
  {
    name: 'every block does the elements at the edge',
    file: 'step.h',
    find: 'if (BlockX() == 0 && edge < a.n',
    replace: 'if (edge < a.n',
  },
  {
    name: 'the head is counted from the sample’s start only',
    file: 'body.h',
    find: 'a.noise && !a.z ? first : first + sample * a.n;',
    replace: 'first;',
    equivalent: 'addresses that do not fit are read one by one',
  },
  // ---- the element ------------------------------------------------------------------------------------------------
  {
    name: 'sums begin with zero',
    file: 'body.h',
    find: 'sum.v[k] = has_terms ? -0.0f : 0.0f;',
    replace: 'sum.v[k] = 0.0f;',
  },
  {
    name: 'the history’s two coefficients are not joined',
    file: 'body.h',
    find: 'if (term == kBp && d0_is_p) value = value + LoadDouble(sum + kB0);',
    replace: '',
  },
  {
    name: 'coefficients are tested after they are rounded',
    file: 'body.h',
    find: 'WarpBallot(present && value != 0)',
    replace: 'WarpBallot(present && static_cast<float>(value) != 0)',
  },
  {
    name: 'the finite check comes after the transform',
    file: 'body.h',
    find: '    const bool finite = Finite(p);\n    Finish(a, r, sample, i, o, p);',
    replace: '    Finish(a, r, sample, i, o, p);\n    Transformed(r, p);\n    const bool finite = Finite(p);',
  },
  {
    name: 'out is written before d2 is read',
    file: 'body.h',
    find: '    LoadUpdate(a, sample, i, mask, given, o);',
    replace:
      '    if (a.out) Store<NetType::f32, !kGeneral, V>(a.out + sample * a.n + i, p.v);\n    LoadUpdate(a, sample, i, mask, given, o);',
  },
  {
    name: 'the network’s samples are as long as the state’s',
    file: 'body.h',
    find: 'network = sample * a.m_stride + i;',
    replace: 'network = sample * a.n + i;',
  },
  {
    name: 'wide accesses at half their alignment',
    file: 'body.h',
    find: 'if (kAligned || Aligned(from, 16)) {',
    replace: 'if (kAligned || Aligned(from, 8)) {',
  },
  {
    name: 'the second half of a word first',
    file: 'body.h',
    find: 'words[k / 2] >> (16 * (k % 2))',
    replace: 'words[k / 2] >> (16 * (1 - k % 2))',
  },
  {
    name: 'noise begins anew in every vector',
    file: 'body.h',
    find: 'noise::PhiloxNormal4(seed, i / 4 + k / 4, step, stream, to + k);',
    replace: 'noise::PhiloxNormal4(seed, i / 4, step, stream, to + k);',
    equivalent: 'vectors of the variants that make noise have four elements',
  },
  {
    name: 'the division is a multiplication',
    file: 'body.h',
    find: 'p.v[k] = p.v[k] / r.s;',
    replace: 'p.v[k] = p.v[k] * (1 / r.s);',
  },
  {
    name: 'the second copy of the input is not written',
    file: 'body.h',
    find: 'if (a.next[1]) StoreNext',
    replace: 'if (a.next[1] && i != 0) StoreNext',
  },
];
