// What a program has on the host before it goes to a card.
import { randn } from 'dpm-solver';
import { ROW } from 'dpm-solver/native';

export const hostNoise: Float32Array = randn([1, 4, 8, 8], { seed: 0 }).data as Float32Array;
export const hostRows: Float64Array = new Float64Array(ROW.length);

/** A network of another addon, which takes addresses on the card. */
export const unetOnCard = { enqueue(_x: bigint, _t: bigint, _out: bigint, _stream: bigint): void {} };
