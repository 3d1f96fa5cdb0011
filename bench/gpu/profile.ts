// A few launches of a plain or a thresholded step, for a profiler to count: profile.ts SHAPE [threshold]
import { Clock } from './timing.js';
import { measure, PREDICTION, SECOND_ORDER } from './steps.js';

const shape = (process.argv[2] ?? '1x4x64x64').split('x').map(Number);
const clock = new Clock(true);
const row = { ...PREDICTION, ...SECOND_ORDER };
const threshold = process.argv[3] === 'threshold';
await measure(clock, shape, { variant: 'profiled', row, threshold, also: ['d1'] }, () => {}, 'steps');
