export interface Platform {
  /** What a program imports: dpm-solver/<name>. */
  name: string;
  platform: string;
  arch: string;
  libc?: 'glibc' | 'musl';
  /** The addon's file in the package. */
  file: string;
}
export declare const PLATFORMS: Platform[];
