// What a cell looks like: its size tells how strong its state is, its colour what is asked for.
const Look = (() => {
  "use strict";
  const SILENT = 0.02; // strength below which a cell has no colour
  const EMPTY = 0.1; // opacity below which a shape's cell is not drawn

  function make(world, view) {
    const { N, C, awake } = world.lattice, grows = world.kind === "grow";
    const state = new Float32Array(N * C), previous = new Float32Array(N * C);
    const sizes = [new Float32Array(N), new Float32Array(N)]; // before, and from now on
    const colours = [new Uint8Array(3 * N), new Uint8Array(3 * N)];
    // two directions among the channels: where a state lies between them is its hue
    const axes = [0, 1].map((n) => Array.from({ length: C }, (_, c) => Math.sin(1.7 * c + 2.4 * n)));
    let most = 1; // the largest change of a cell at the last tick

    const opacity = (i) => Math.max(0, Math.min(1, state[i * C + Grow.OPACITY]));
    const shape = (i) => [0, 1, 2].map((c) => // colours are multiplied by opacity
      255 * Math.max(0, Math.min(1, state[i * C + c] / Math.max(opacity(i), EMPTY))));

    function size(i, strength) {
      if (!awake[i]) return 0.2;
      if (grows) return opacity(i) < EMPTY ? 0 : 0.3 + 0.66 * opacity(i);
      return 0.14 + 0.72 * Math.min(1, strength);
    }

    /** From the cells as they are, by `state`, `strength`, `change` or `shape`. */
    function take(by, quiet) {
      sizes[0].set(view.size);
      colours[0].set(view.colour);
      world.written(state);
      most = 0;
      for (let i = 0; i < N; i++) {
        let power = 0, changed = 0, a = 0, b = 0;
        for (let c = 0, p = i * C; c < C; c++, p++) {
          const v = state[p];
          power += v * v;
          changed += (v - previous[p]) ** 2;
          a += v * axes[0][c];
          b += v * axes[1][c];
        }
        const strength = Math.sqrt(power / C), change = Math.sqrt(changed / C);
        if (change > most) most = change;
        sizes[1][i] = size(i, strength);
        const colour = !awake[i] || strength < SILENT ? quiet : by === "shape" ? shape(i)
          : by === "state" ? view.hues[Math.floor((Math.atan2(b, a) / 2 / Math.PI + 1) * 256) % 256]
            : view.ramp(by === "strength" ? strength / 1.2 : Math.min(1, change * 2));
        for (let c = 0; c < 3; c++) colours[1][3 * i + c] = colour[c];
      }
      previous.set(state);
    }

    /** A `share` of the way from how the cells looked before; `marked` ones stand out. */
    function mix(share, marked, warm) {
      for (let i = 0; i < N; i++) view.size[i] = sizes[0][i] + (sizes[1][i] - sizes[0][i]) * share;
      for (let i = 0; i < 3 * N; i++) {
        view.colour[i] = colours[0][i] + (colours[1][i] - colours[0][i]) * share;
      }
      for (const i of marked || []) {
        for (let c = 0; c < 3; c++) view.colour[3 * i + c] = warm[c];
        view.size[i] = Math.max(view.size[i], 0.3);
      }
    }

    /** So that a new beginning counts as no change. */
    function forget() { world.written(previous); }

    return { take, mix, forget, moved: () => most };
  }

  return { make };
})();
