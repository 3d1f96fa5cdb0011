import 'dpm-solver/linux-x64';
import './node.mjs';
