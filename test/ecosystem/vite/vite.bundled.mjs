export default { ssr: { noExternal: ['dpm-solver'] } };
