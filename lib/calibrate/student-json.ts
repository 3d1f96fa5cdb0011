// Students as a journal keeps them.
import type { Order } from '../schedule/orders.js';
import type { Student } from './student.js';

/** A student as JSON. */
export interface PlainStudent {
  readonly places: number[];
  readonly shifts: number[];
  readonly orders: readonly Order[];
  readonly corrections: number[][];
}

export function plain({ places, shifts, orders, corrections }: Student): PlainStudent {
  return {
    places: Array.from(places),
    shifts: Array.from(shifts),
    orders,
    corrections: corrections.map((one) => Array.from(one)),
  };
}

export function revived({ places, shifts, orders, corrections }: PlainStudent): Student {
  return {
    places: Float64Array.from(places),
    shifts: Float64Array.from(shifts),
    orders,
    corrections: corrections.map((one) => Float64Array.from(one)),
  };
}
