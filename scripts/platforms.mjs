// The prebuilt addons that a release has: node-gyp-build's folder names, and a name for those who import one.
export const PLATFORMS = [
  ['linux-x64', 'linux', 'x64', 'glibc'],
  ['linux-arm64', 'linux', 'arm64', 'glibc'],
  ['linuxmusl-x64', 'linux', 'x64', 'musl'],
  ['linuxmusl-arm64', 'linux', 'arm64', 'musl'],
  ['darwin-x64', 'darwin', 'x64'],
  ['darwin-arm64', 'darwin', 'arm64'],
  ['win32-x64', 'win32', 'x64'],
  ['win32-arm64', 'win32', 'arm64'],
].map(([name, platform, arch, libc]) => ({
  name,
  platform,
  arch,
  libc,
  file: `prebuilds/${platform}-${arch}/dpm-solver${libc ? `.${libc}` : ''}.node`,
}));
