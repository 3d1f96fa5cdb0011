import { report } from './main.mjs';

globalThis.result = report();
