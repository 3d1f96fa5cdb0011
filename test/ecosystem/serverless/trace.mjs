// What deployments to functions do: only the files that a program leads to are taken along.
import { cpSync } from 'node:fs';
import { nodeFileTrace } from '@vercel/nft';

const [program, out] = process.argv.slice(2);
const { fileList } = await nodeFileTrace([program], { base: process.cwd() });
for (const file of fileList) cpSync(file, `${out}/${file}`, { recursive: true });
