// Each line has one mistake, and what TypeScript says of it names that and nothing else: in the comment, a part of it.
import { DPMSolver, NoiseSchedule, randn, type Tensor } from 'dpm-solver';
const schedule = NoiseSchedule.linear();
const noise = randn([1, 4], { seed: 7 });
declare const model: (x: Tensor) => Tensor;
const solver = new DPMSolver(model, schedule);

new DPMSolver(model, schedule, { modelType: 'epsilon' }); // Type '"epsilon"' is not assignable to type
new DPMSolver(model, schedule, { steps: 20 }); // 'steps' does not exist in type 'SolverOptionsOn<"cpu", Tensor>'
new DPMSolver((x) => ({ out: x }), schedule); // Type '{ out: Tensor; }' is not assignable to type
new DPMSolver((x) => ({ out: x }), schedule, { modelType: 'v' }); // Type '{ out: Tensor; }' is not assignable to type
new DPMSolver(async () => undefined, schedule, { threads: 2 }); // Type 'undefined' is not assignable to type 'Tensor'
new DPMSolver(model, {}, { modelType: 'v' }); // type 'NoiseSchedule'
new DPMSolver(model, schedule, { guidance: 7.5 }); // Type 'number' is not assignable to type 'GuidanceOption<Tensor>
new DPMSolver(model, schedule, { guidance: { type: 'classifier-free' } }); // Property 'scale' is missing
solver.sample(noise, { numInferenceSteps: 20 }); // 'numInferenceSteps' does not exist in type 'SampleOptions<
solver.sample(noise, { steps: '20' }); // Type 'string' is not assignable to type 'number
solver.sample(noise, { skipType: 'karas' }); // Type '"karas"' is not assignable to type
solver.start(noise).advance(Promise.resolve(noise)); // missing the following properties from type 'Tensor': data, dims
randn([1, 4]); // Expected 2 arguments, but got 1
randn([1, 4], { seed: '7' }); // Type 'string' is not assignable to type 'number'
