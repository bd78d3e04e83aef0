// A shape that grows: its seed, which cells live, and how like the target it is.
const Grow = (() => {
  "use strict";
  const OPACITY = 3, THERE = 0.5; // channels are red, green, blue, opacity, and the hidden ones

  function task(numbers, [X, Y, Z], C) {
    const N = X * Y * Z, seed = Rule.unpack(numbers.seed), alive = numbers.alive;
    const target = Rule.unpack(numbers.target), lives = new Uint8Array(N);
    let strongest = 0;
    for (let i = 0; i < N; i++) {
      if (seed[i * C + OPACITY] > seed[strongest * C + OPACITY]) strongest = i;
    }
    const life = seed.slice(strongest * C, strongest * C + C);

    /** Clear the cells that are dead: no cell among it and its neighbours is more than `alive`. */
    function write(cells) {
      if (!(alive > 0)) return;
      for (let x = 0; x < X; x++) for (let y = 0; y < Y; y++) for (let z = 0; z < Z; z++) {
        let most = -Infinity;
        for (let a = Math.max(0, x - 1); a <= Math.min(X - 1, x + 1); a++) {
          for (let b = Math.max(0, y - 1); b <= Math.min(Y - 1, y + 1); b++) {
            for (let c = Math.max(0, z - 1); c <= Math.min(Z - 1, z + 1); c++) {
              most = Math.max(most, cells[((a * Y + b) * Z + c) * C + OPACITY]);
            }
          }
        }
        lives[(x * Y + y) * Z + z] = most > alive ? 1 : 0;
      }
      for (let i = 0; i < N; i++) if (!lives[i]) cells.fill(0, i * C, i * C + C);
    }

    /** Cells that are there in both, of those that are there in either. */
    function likeness(cells) {
      let both = 0, either = 0;
      for (let i = 0; i < N; i++) {
        const here = cells[i * C + OPACITY] > THERE, wanted = target[i * 4 + OPACITY] > THERE;
        both += here && wanted;
        either += here || wanted;
      }
      return either ? both / either : 1;
    }

    return { seed, life, write, likeness };
  }

  return { task, OPACITY };
})();
