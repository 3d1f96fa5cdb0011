// Names of the surroundings that the public types use. Node's and the browser's declarations have them; a project with
// neither still compiles.
declare global {
  /** Merged with what the project's own libraries say it is. */
  interface AbortSignal {}
}
export {};
