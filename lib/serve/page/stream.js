// Server-sent events in the answer to a POST, which EventSource cannot read.

/** What a server refuses, in its own sentence. */
export class Refusal extends Error {
  /** @param after seconds to wait before trying again, where the server says so */
  constructor(status, message, after) {
    super(message);
    this.status = status;
    this.after = after;
  }
}

/** A request of a run: a form where it starts from a picture. */
function requestOf(settings, start) {
  const json = JSON.stringify(settings);
  if (!start) return { headers: { 'Content-Type': 'application/json' }, body: json };
  const body = new FormData();
  body.set('settings', json);
  body.set('strength', String(start.strength));
  if (start.source !== undefined) body.set('source', start.source);
  body.set('image', start.image, 'image.png');
  if (start.mask) body.set('mask', start.mask, 'mask.png');
  return { body };
}

/**
 * Starts a run and gives its events one by one, as [name, data].
 *
 * @param start what it starts from, where that is a picture: see Start of start.js
 * @throws Refusal for what the server does not take; TypeError where it cannot be reached
 */
export async function* run(settings, start, signal) {
  const response = await fetch('/api/runs', { method: 'POST', ...requestOf(settings, start), signal });
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({}));
    const after = Number(response.headers.get('Retry-After')) || undefined;
    throw new Refusal(response.status, error ?? `The server answered ${response.status}`, after);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      const fields = new Map(
        part.split('\n').map((line) => [line.split(':', 1)[0], line.slice(line.indexOf(':') + 2)]),
      );
      if (fields.has('data')) yield [fields.get('event'), JSON.parse(fields.get('data'))];
    }
  }
}

/** Ends a run; false where there is none any more. */
export async function cancel(id) {
  return (await fetch(`/api/runs/${encodeURIComponent(id)}`, { method: 'DELETE' })).ok;
}

/** What the server says at an address, or null where it does not answer. */
export async function ask(path) {
  try {
    const response = await fetch(path, { signal: AbortSignal.timeout(5000) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
