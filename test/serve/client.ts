// What the tests of the server share: a client that reads events, and waiting for what must come.
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';

// biome-ignore lint/suspicious/noExplicitAny: events have different data
export type Event = { event: string; data: any };

/** Posts settings as the page does. */
export function post(url: string, settings: unknown, init: RequestInit = {}): Promise<Response> {
  return fetch(new URL('/api/runs', url), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: typeof settings === 'string' ? settings : JSON.stringify(settings),
    ...init,
  });
}

/** The events of an answer, one by one. */
export async function* events(response: Response): AsyncGenerator<Event> {
  assert.is(response.status, 200, response.status === 200 ? '' : await response.clone().text());
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
  let rest = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + chunk).split('\n\n');
    rest = parts.pop() as string;
    for (const part of parts) {
      const match = /^event: (\w+)\ndata: (.*)$/.exec(part);
      if (match) yield { event: match[1], data: JSON.parse(match[2]) };
    }
  }
}

export async function all(response: Response): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of events(response)) found.push(event);
  return found;
}

/** Reads on until an event of this name. */
export async function until(stream: AsyncGenerator<Event>, name: string): Promise<Event> {
  for (;;) {
    const { value, done } = await stream.next();
    assert.not.ok(done, `the stream ended without the event ${name}`);
    if (value.event === name) return value;
  }
}

/** How busy a server is; what it says of each model apart. */
export async function status(url: string): Promise<{ ready: boolean; running: number; waiting: number }> {
  const { models: _, ...busy } = await json(await fetch(new URL('/api/status', url)));
  return busy;
}

/** Waits until `what` holds; how long that may take depends on the machine, so the limit is generous. */
export async function eventually(what: () => Promise<boolean> | boolean, message: string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await what()) return;
    await sleep(50);
  }
  assert.unreachable(message);
}

export const idle = (url: string): Promise<void> =>
  eventually(async () => {
    const { ready, running, waiting } = await status(url);
    return ready && running === 0 && waiting === 0;
  }, 'the server never became idle');

// biome-ignore lint/suspicious/noExplicitAny: answers have different data
export const json = (response: Response): Promise<any> => response.json();
