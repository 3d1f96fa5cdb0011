// Server-sent events in the answer to a POST, which EventSource cannot read.

/** What a server refuses, in its own sentence. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Starts a run and gives its events one by one, as [name, data].
 *
 * @throws Refusal for what the server does not take; TypeError where it cannot be reached
 */
export async function* run(settings, signal) {
  const response = await fetch('/api/runs', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(settings),
    signal,
  });
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({}));
    throw new Refusal(response.status, error ?? `The server answered ${response.status}`);
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
