export const root: string;
export const ISA_FLAGS: Readonly<Record<string, readonly string[]>>;
export function sources(folders: readonly string[]): string[];
