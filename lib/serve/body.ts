// Bodies of requests.
import { isDeeper } from '../folder/json.js';

/** What requests have is flat; JSON that nests deep takes many times as long to read as it does to send. */
const DEEPEST = 8;

/**
 * What a body in JSON holds.
 *
 * @throws Error for one that is none, or that nests deep
 */
export function parseBody(text: string): unknown {
  if (isDeeper(text, DEEPEST)) throw new SyntaxError('Expected JSON that nests less deep');
  return JSON.parse(text);
}
