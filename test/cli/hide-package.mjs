// Hides a package that servers may do without, as if it were not installed: sharp, or what DPM_SOLVER_TEST_HIDDEN names.
import { register } from 'node:module';

const hidden = process.env.DPM_SOLVER_TEST_HIDDEN ?? 'sharp';
const source = `export async function resolve(name, context, next) {
  if (name !== '${hidden}') return next(name, context);
  throw Object.assign(new Error("Cannot find package '${hidden}'"), { code: 'ERR_MODULE_NOT_FOUND' });
}`;
register(`data:text/javascript,${encodeURIComponent(source)}`);
