// Pictures as files: their bytes, the clipboard, and all of them in one archive.

/** A PNG file, from base64. */
export function blobOf(base64) {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: 'image/png' });
}

/** The address of a PNG file that is there in base64. */
export const uri = (base64) => `data:image/png;base64,${base64}`;

/** Hands a file to the browser's downloads. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  Object.assign(link, { href: url, download: name });
  link.click();
  // The download has its own hold on the bytes once it has begun.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * Saves several files as one archive, and a single one as it is.
 *
 * @param files `{ name, blob }` each
 */
export async function saveAll(files, name) {
  if (files.length === 1) return save(files[0].blob, files[0].name);
  const { zipSync } = await import('/fflate.js');
  const entries = {};
  for (const file of files) entries[file.name] = new Uint8Array(await file.blob.arrayBuffer());
  // PNG files do not get smaller.
  save(new Blob([zipSync(entries, { level: 0 })], { type: 'application/zip' }), `${name}.zip`);
}

/**
 * Puts a PNG file on the clipboard.
 *
 * @throws Error in one sentence where the browser does not let a page do so
 */
export async function copy(blob) {
  if (!window.isSecureContext || !navigator.clipboard?.write) {
    throw new Error('Browsers let pages copy pictures only at localhost or over https; save it instead.');
  }
  try {
    await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
  } catch {
    throw new Error('The browser did not let this page copy; save the picture instead.');
  }
}
