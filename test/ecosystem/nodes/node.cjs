const { info } = require('dpm-solver/native');
const dpm = { ...require('dpm-solver'), ...require('dpm-solver/native'), ...require('dpm-solver/schedulers') };

import('./scenario.mjs').then(async ({ scenario }) => {
  console.log(JSON.stringify({ backend: info().backend, runs: await scenario(dpm) }));
});
