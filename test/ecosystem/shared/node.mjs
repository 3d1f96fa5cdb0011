import { report } from './main.mjs';

report().then((result) => console.log(JSON.stringify(result)));
