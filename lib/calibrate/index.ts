// The public module `dpm-solver/calibrate`.
export { calibrate } from './calibrate.js';
export type { CalibratedModel } from './network.js';
export type { CalibratedGuidance, CalibrateOptions, CalibrateProgress } from './options.js';
export type { Calibration, CalibrationReport } from './report.js';
export { calibrationSvg } from './svg.js';
