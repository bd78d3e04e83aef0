// A lattice with its task: how it starts, what is written on it, and what can be done to it.
const World = (() => {
  "use strict";

  function random(seed) { // numbers in [0, 1), the same for the same seed (mulberry32)
    let state = seed | 0;
    return () => {
      state = state + 0x6D2B79F5 | 0;
      let t = Math.imul(state ^ state >>> 15, 1 | state);
      t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
      return ((t ^ t >>> 14) >>> 0) / 4294967296;
    };
  }

  function make(numbers, seed = 1) {
    const lattice = Rule.lattice(numbers);
    const { dimensions, N, C, cells, awake } = lattice;
    const [X, Y, Z] = dimensions, kind = numbers.task.kind;
    const task = kind === "text" ? Text.task(numbers.task, dimensions, C)
      : kind === "grow" ? Grow.task(numbers.task, dimensions, C) : null;
    const luck = lattice.probability < 1 ? random(seed + 1) : null;
    const draw = random(seed), part = new Uint32Array(N);
    let face = null, code = null, before = null;

    const normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());

    /** What the input face shows from now on: a text's code, or null: nothing. */
    function send(text) {
      code = text === null ? null : task.encode(text);
      face = code && task.drive(code);
    }

    /** A code that is no text's. */
    function sendRandom() {
      code = Float64Array.from({ length: task.D }, normal);
      face = task.drive(code);
    }

    // What text comes out of the output face: as numbers, their cosine with what was sent, words.
    const read = () => task.read(cells);
    const cosine = (y) => code ? task.cosine(y, code) : null;
    const words = (y) => task.decode(y);

    /** How well the task goes, 0 to 1; null where that means nothing. */
    function score(y) { // of what was read, where that was
      return kind === "text" ? cosine(y) : kind === "grow" ? task.likeness(cells) : null;
    }

    const world = { lattice, task, kind, ticks: 0, start, step, stepOn, written, send, sendRandom, cut, silence,
      wake, paint, around, half, ball, some, alike, read, cosine, words, score };

    /** The cells before the first tick: a seed, silence to be written on, or else random. */
    function start() {
      if (kind === "grow") cells.set(task.seed);
      else if (kind === "text") cells.fill(0);
      else for (let i = 0; i < cells.length; i++) cells[i] = normal();
      lattice.silence();
      world.ticks = 0;
      before = null;
    }

    /** What a tick begins with: the input face is written, what is dead is cleared. */
    function write(on) {
      if (face) task.write(on, face);
      if (kind === "grow") task.write(on);
    }

    /** `to` as the cells are once that is done. */
    function written(to) {
      to.set(cells);
      write(to);
      for (let i = 0; i < N; i++) if (!awake[i]) to.fill(0, i * C, i * C + C);
    }

    function step() {
      write(cells);
      lattice.tick(luck);
      world.ticks++;
    }

    /** The same on a graphics processor, by what Gpu.make gave; nothing may be done meanwhile. */
    async function stepOn(ticker) {
      write(cells);
      lattice.silence();
      for (let i = 0; i < N; i++) {
        part[i] = awake[i] && (!luck || luck() < lattice.probability) ? 1 : 0;
      }
      await ticker(part);
      world.ticks++;
    }

    function remember() { // how the cells were before anything was done to them
      if (!before) before = cells.slice();
    }

    /** How far the cells are as they were before the damage: 1 wholly, 0 no nearer than silence. */
    function alike() {
      if (!before) return null;
      let apart = 0, norm = 0;
      for (let i = 0; i < cells.length; i++) {
        apart += (cells[i] - before[i]) ** 2;
        norm += before[i] ** 2;
      }
      return Math.max(0, 1 - Math.sqrt(apart / Math.max(norm, 1e-12)));
    }

    const clear = (i) => cells.fill(0, i * C, i * C + C);

    /** Take the state of these cells away, once. */
    function cut(which) { remember(); which.forEach(clear); }

    /** Hold these cells at zero, until they are woken. */
    function silence(which) {
      remember();
      for (const i of which) { awake[i] = 0; clear(i); }
    }

    function wake(which) { for (const i of which) awake[i] = 1; }

    /** Put a state on these cells: life, where a shape grows, else a random one. */
    function paint(which) {
      remember();
      for (const i of which) {
        if (!awake[i]) continue;
        for (let c = 0; c < C; c++) cells[i * C + c] = kind === "grow" ? task.life[c] : normal();
      }
    }

    const place = (i) => [Math.floor(i / (Y * Z)), Math.floor(i / Z) % Y, i % Z];
    const all = () => Array.from({ length: N }, (_, i) => i);

    function around(cell, radius) { // the ball of cells about one
      const [x, y, z] = place(cell), found = [], r = Math.ceil(radius);
      for (let a = Math.max(0, x - r); a <= Math.min(X - 1, x + r); a++) {
        for (let b = Math.max(0, y - r); b <= Math.min(Y - 1, y + r); b++) {
          for (let c = Math.max(0, z - r); c <= Math.min(Z - 1, z + r); c++) {
            if ((a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2 <= radius * radius) {
              found.push((a * Y + b) * Z + c);
            }
          }
        }
      }
      return found;
    }

    /** The half of the cells that lies beyond the middle of the x axis. */
    function half() { return all().filter((i) => place(i)[0] >= X / 2); }

    /** The ball about the middle that is a share of the cells. */
    function ball(share) {
      const far = (i) => place(i).reduce((sum, at, d) => sum + (at - (dimensions[d] - 1) / 2) ** 2, 0);
      return all().sort((a, b) => far(a) - far(b)).slice(0, Math.round(share * N));
    }

    /** A random share of the cells. */
    function some(share) { return all().filter(() => draw() < share); }

    start();
    return world;
  }

  return { make };
})();
