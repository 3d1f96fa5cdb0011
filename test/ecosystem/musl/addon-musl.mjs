import 'dpm-solver/linuxmusl-x64';
import './node.mjs';
