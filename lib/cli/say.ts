// What the commands write to people and programs: whatever a file or a name holds, nothing that a terminal would obey.
import { printable } from '../base/text.js';

/** Says a result; `output` of `-`, standard output, is the picture's alone. */
export function say(text: string, output?: string): void {
  (output === '-' ? console.error : console.log)(printable(text));
}

/** Tells on stderr what is on the way to it. */
export function tell(text: string): void {
  console.error(printable(text));
}

/** Tells on stderr what went wrong, or on differently than asked for. */
export function warn(message: string): void {
  tell(`dpm-solver: ${message}`);
}
