// Every other module that needs neither Node's types nor onnxruntime's.
import { calibrate } from 'dpm-solver/calibrate';
import { accelerate } from 'dpm-solver/diffusers-js';
import { info, step } from 'dpm-solver/native';
import { DiffusionPipeline } from 'dpm-solver/pipelines';
import * as wasm from 'dpm-solver/wasm';
import { is } from './check.js';

is<Promise<DiffusionPipeline>>()(DiffusionPipeline.fromPretrained('shapes'), true);
const data: Float32Array = wasm.randn([2], { seed: 3 }).data;
export { accelerate, calibrate, data, info, step };
