export default {
  // Left in node_modules, with their addons. onnxruntime-node is on Next's own list.
  serverExternalPackages: ['dpm-solver'],
};
