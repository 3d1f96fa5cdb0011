/** The floors of lib: the table of docs/architecture.md, and its rooms with the arrows between them, from the imports. */
import { fileURLToPath } from 'node:url';
import { nameOf, ROOMS, type Room } from '../../test/house/floors.js';
import { readImports, roomOf } from '../../test/house/imports.js';
import { type Rendered, table } from './data.js';
import { page, px, text, widthOf } from './plot.js';

const WIDTH = 860;
const FLOOR = 62;
const [BOX, ROOM_GAP, LANE_GAP] = [30, 26, 14];

export function render(): Rendered {
  const rows = floors().map(([floor, rooms]) =>
    rooms.map((room, i) => [i === 0 ? floor : '', `\`${nameOf(room)}\``, room.knows]),
  );
  return {
    svgs: { house: picture(arrows()) },
    tables: { floors: table(['floor', 'room', 'what it knows'], rows.flat()) },
  };
}

/** Floors from the top, each with its rooms. */
function floors(): [number, Room[]][] {
  const numbers = [...new Set(ROOMS.map(({ floor }) => floor))].sort((a, b) => b - a);
  return numbers.map((floor) => [floor, ROOMS.filter((room) => room.floor === floor)]);
}

/** Which rooms import from which; what follows from other arrows is left out. */
function arrows(): [Room, Room][] {
  const targets = new Map<Room, Set<Room>>(ROOMS.map((room) => [room, new Set()]));
  for (const [file, imported] of readImports(fileURLToPath(new URL('../../lib', import.meta.url)))) {
    const from = roomOf(file, ROOMS)!;
    for (const target of imported) targets.get(from)!.add(roomOf(target, ROOMS)!);
    targets.get(from)!.delete(from);
  }
  const leads = (from: Room, to: Room): boolean =>
    [...targets.get(from)!].some((next) => next === to || leads(next, to));
  return ROOMS.flatMap((from) =>
    [...targets.get(from)!]
      .filter((to) => ![...targets.get(from)!].some((other) => other !== to && leads(other, to)))
      .map((to): [Room, Room] => [from, to]),
  );
}

/** A room on its floor, or the lane in which an arrow passes by it. */
interface Place {
  readonly room?: Room;
  readonly width: number;
  x: number;
  readonly above: Place[];
  readonly below: Place[];
}

/** Rooms and lanes, floor by floor, ordered so that few arrows cross, each near to what it is tied to (Sugiyama 1981). */
function layOut(edges: readonly (readonly [Room, Room])[]): { layers: Place[][]; ways: Place[][] } {
  const order = floors();
  const place = (room?: Room): Place => ({
    room,
    width: room ? widthOf(nameOf(room)) + 22 : 0,
    x: WIDTH / 2,
    above: [],
    below: [],
  });
  const layers = order.map(([, rooms]) => rooms.map(place));
  const at = new Map(layers.flatMap((layer, level) => layer.map((one) => [one.room!, { one, level }] as const)));
  const ways = edges.map(([from, to]) => {
    const [start, end] = [at.get(from)!, at.get(to)!];
    const way = [start.one];
    for (let level = start.level + 1; level < end.level; level++) {
      way.push(place());
      layers[level].push(way.at(-1)!);
    }
    way.push(end.one);
    for (let i = 0; i + 1 < way.length; i++) {
      way[i].below.push(way[i + 1]);
      way[i + 1].above.push(way[i]);
    }
    return way;
  });
  for (let sweep = 0; sweep < 24; sweep++) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      const wanted = new Map(
        layer.map((one) => {
          // In the end both sides count.
          const ties = sweep < 16 ? (down ? one.above : one.below) : [...one.above, ...one.below];
          return [one, ties.length > 0 ? ties.reduce((sum, tie) => sum + tie.x, 0) / ties.length : one.x];
        }),
      );
      layer.sort((a, b) => wanted.get(a)! - wanted.get(b)!);
      spread(layer, wanted);
    }
  }
  fill(layers.flat());
  return { layers, ways };
}

/** Stretches what has been laid out to the width of the picture. */
function fill(places: readonly Place[]): void {
  const left = Math.min(...places.map(({ x, width }) => x - width / 2));
  const right = Math.max(...places.map(({ x, width }) => x + width / 2));
  const [low, high] = [60, WIDTH - 24];
  for (const one of places) one.x = low + ((one.x - left) * (high - low)) / (right - left);
  // Boxes keep their width: those at the ends move in.
  for (const one of places) one.x = Math.min(Math.max(one.x, low + one.width / 2), high - one.width / 2);
}

/** Puts the places of a layer where they want to be, in their order and apart from each other. */
function spread(layer: readonly Place[], wanted: ReadonlyMap<Place, number>): void {
  const apart = (a: Place, b: Place) => (a.width + b.width) / 2 + (a.room && b.room ? ROOM_GAP : LANE_GAP);
  const [low, high] = [60, WIDTH - 16];
  for (const [i, one] of layer.entries()) {
    const before = layer[i - 1];
    one.x = Math.max(wanted.get(one)!, before ? before.x + apart(before, one) : low + one.width / 2);
  }
  for (let i = layer.length - 1; i >= 0; i--) {
    const [one, after] = [layer[i], layer[i + 1]];
    one.x = Math.min(one.x, after ? after.x - apart(one, after) : high - one.width / 2);
  }
}

function picture(edges: readonly (readonly [Room, Room])[]): string {
  const { layers, ways } = layOut(edges);
  const order = floors();
  return page(
    {
      title: 'The rooms of lib, and what imports from what',
      description: `Floors ${order[0][0]} to ${order.at(-1)![0]}: ${edges.map(([from, to]) => `${nameOf(from)} imports from ${nameOf(to)}`).join('; ')}.`,
      note: 'Arrows lead down only. Those that follow from others are left out: what imports from a room may import from all that is below it.',
      width: WIDTH,
    },
    [],
    (top) => {
      const y = (level: number) => top + 8 + level * FLOOR;
      const lines = ways.map((way) => {
        const first = layers.findIndex((layer) => layer.includes(way[0]));
        const points = way.map((one, i) => ({ x: one.x, y: y(first + i) }));
        return wayOf(points);
      });
      const bands = order.map(
        ([floor], level) =>
          (level === 0 ? '' : `<path class="grid" d="M44 ${px(y(level) - (FLOOR - BOX) / 2)}H${WIDTH - 16}"/>`) +
          text(16, y(level) + BOX / 2 + 4, String(floor), { style: 's m' }),
      );
      const rooms = layers.flatMap((layer, level) =>
        layer.flatMap(({ room, width, x }) =>
          room
            ? [
                `<rect class="page" x="${px(x - width / 2)}" y="${px(y(level))}" width="${px(width)}" height="${BOX}" rx="5"/>`,
                `<g class="ink"><rect class="e" x="${px(x - width / 2)}" y="${px(y(level))}" width="${px(width)}" height="${BOX}" rx="5"/></g>`,
                text(x, y(level) + BOX / 2 + 4, nameOf(room), { anchor: 'middle' }),
              ]
            : [],
        ),
      );
      const svg = [
        ...bands,
        `<g class="c0"><path class="l" stroke-width="1.3" d="${lines.join('')}"/></g>`,
        ...rooms,
      ].join('\n');
      return { svg, height: order.length * FLOOR - (FLOOR - BOX) + 20 };
    },
  );
}

/** From below a room to the top of another, by the lanes between, with an arrow head. */
function wayOf(points: readonly { x: number; y: number }[]): string {
  const parts: string[] = [];
  for (let i = 0; i + 1 < points.length; i++) {
    const [from, to] = [points[i], points[i + 1]];
    const [startY, endY] = [from.y + BOX, to.y];
    const middle = (startY + endY) / 2;
    if (i === 0) parts.push(`M${px(from.x)} ${px(startY)}`);
    else parts.push(`V${px(startY)}`);
    parts.push(`C${px(from.x)} ${px(middle)} ${px(to.x)} ${px(middle)} ${px(to.x)} ${px(endY)}`);
  }
  const { x, y } = points.at(-1)!;
  parts.push(`M${px(x - 3.5)} ${px(y - 6)}L${px(x)} ${px(y)}L${px(x + 3.5)} ${px(y - 6)}`);
  return parts.join('');
}
