// One fit on its way: iterations of refine, each a unit of the journal, so that it can rest between them while others go on.
import type { Candidate } from './candidates.js';
import { mean } from './compare.js';
import { type Bench, runAll } from './equations.js';
import type { Journal } from './journal.js';
import { derivativeCost, type Free, parametersOf } from './parameters.js';
import { count, type Path } from './path.js';
import { type Fit, firstFit, refine } from './refine.js';
import type { Student } from './student.js';
import { plain, revived } from './student-json.js';

const FREE: Free = { times: true, rows: true, shifts: false };

/** Evaluations of one iteration, all samples together. */
export function iterationCost(student: Student, samples: number): number {
  return (derivativeCost(student, FREE) + student.corrections.length) * samples;
}

/** Numbers that an iteration moves. */
export function freeNumbers(student: Student): number {
  return parametersOf(student, FREE).length;
}

export class Ascent {
  readonly name: string;
  readonly #bench: Bench;
  readonly #journal: Journal;
  readonly #key: string;
  readonly #origin: Student;
  readonly #samples: number;
  #fit: Fit | undefined;
  /** Where the student goes, as long as that is known. */
  #paths: readonly Path[] | undefined;
  #iteration = 0;

  constructor(bench: Bench, journal: Journal, steps: number, { name, student }: Candidate) {
    this.name = `fit from ${name}`;
    this.#bench = bench;
    this.#journal = journal;
    this.#key = `${steps} ${this.name}`;
    this.#origin = student;
    this.#samples = count(bench.batches);
  }

  /** What has been found; null where there was no iteration. */
  get found(): Candidate | null {
    return this.#iteration === 0 ? null : { name: this.name, student: this.#fit!.student };
  }

  /** The mean error on the samples that are fitted to. */
  get train(): number {
    return this.#fit ? mean(this.#fit.errors) : Number.POSITIVE_INFINITY;
  }

  get #run(): number {
    return this.#origin.corrections.length * this.#samples;
  }

  /** May it go on, with so many evaluations left? At first with what the start itself takes. */
  affordable(left: number): boolean {
    return left >= (this.#fit ? 0 : this.#run) + iterationCost(this.#origin, this.#samples);
  }

  /** Goes on until so many iterations have been made, or no more help, or nothing is left. */
  async advance(iterations: number, left: () => number): Promise<void> {
    const bench = this.#bench;
    this.#fit ??= await this.#begin();
    while (this.#iteration < iterations && !this.#fit.done && this.affordable(left())) {
      this.#iteration++;
      const before: Fit = this.#fit;
      let made: readonly Path[] | undefined;
      const next = await this.#journal.once(`${this.#key} ${this.#iteration}`, async () => {
        const paths = this.#paths ?? (await this.#again(before.student));
        const result = await refine(bench, before, FREE, paths, () => left() >= this.#run);
        made = result.paths;
        const { damping, stalled, errors, done } = result.fit;
        return { student: plain(result.fit.student), damping, stalled, errors, done };
      });
      // A unit that was done before leaves no paths: where they are needed again, they are made again.
      this.#paths = made;
      this.#fit = { ...next, student: revived(next.student), origin: this.#origin };
    }
    if (this.#fit.done) this.#paths = undefined;
  }

  async #begin(): Promise<Fit> {
    const errors = await this.#journal.once(`${this.#key} 0`, async () => {
      const first = await runAll(this.#bench, this.#origin);
      this.#paths = first.paths;
      return first.errors;
    });
    return firstFit(this.#origin, errors);
  }

  /** Made once more after a calibration was stopped, which does not count. */
  async #again(student: Student): Promise<readonly Path[]> {
    const { network } = this.#bench;
    const before = network.evaluations;
    const { paths } = await runAll(this.#bench, student);
    network.evaluations = before;
    return paths;
  }
}
