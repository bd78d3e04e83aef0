// The rule all cells share and the lattice it runs on: cell_train/model/cell_rule.py, in plain
// JavaScript on typed arrays. Needs neither page nor browser.
const Rule = (() => {
  "use strict";
  const NEIGHBOURS = 26, EPSILON = 0.01, TOGETHER = 4; // TOGETHER: cells a pass of the network takes
  const OFFSETS = [];
  for (const dx of [-1, 0, 1]) for (const dy of [-1, 0, 1]) for (const dz of [-1, 0, 1]) {
    if (dx || dy || dz) OFFSETS.push([dx, dy, dz]);
  }

  const TYPES = { f4: Float32Array, i4: Int32Array, u2: Uint16Array, u1: Uint8Array };

  /** The numbers of a page: {type, data} with `data` in base64, little-endian, as a typed array. */
  function unpack({ type, data }) {
    const letters = atob(data), bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
    return new TYPES[type](bytes.buffer);
  }

  /**
   * Connections as lists: cell i's are start[i] to start[i + 1]; `source` is the cell one comes
   * from, `weight` [E, K] its strength times each kernel's number for that direction.
   */
  function connect([X, Y, Z], periodic, mask, strength, kernel, K) {
    const N = X * Y * Z, E = strength.length;
    const start = new Int32Array(N + 1), source = new Int32Array(E);
    const weight = new Float64Array(E * K);
    let e = 0;
    for (let i = 0; i < N; i++) {
      const x = Math.floor(i / (Y * Z)), y = Math.floor(i / Z) % Y, z = i % Z;
      for (let o = 0; o < NEIGHBOURS; o++) {
        if (!(mask[i] >> o & 1)) continue;
        let a = x + OFFSETS[o][0], b = y + OFFSETS[o][1];
        const c = z + OFFSETS[o][2];
        if (periodic) { a = (a + X) % X; b = (b + Y) % Y; }
        source[e] = (a * Y + b) * Z + c;
        for (let k = 0; k < K; k++) weight[e * K + k] = kernel[k * NEIGHBOURS + o] * strength[e];
        e++;
      }
      start[i + 1] = e;
    }
    return { start, source, weight };
  }

  /** [rows, columns] turned over, with empty rows so that their number is even. */
  function transposed(matrix, rows, columns) {
    const even = columns + columns % 2, turned = new Float64Array(even * rows);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
      turned[j * rows + i] = matrix[i * columns + j];
    }
    return turned;
  }

  function padded(vector) {
    const even = new Float64Array(vector.length + vector.length % 2);
    even.set(vector);
    return even;
  }

  /** A lattice of a page's numbers: `cells` [N, C] and what takes them a tick further. */
  function lattice(numbers) {
    const { dimensions, channels: C, hidden: H, kernels: K, periodic } = numbers;
    const [X, Y, Z] = dimensions, N = X * Y * Z, I = (1 + K) * C;
    const read = (name) => unpack(numbers[name]);
    const { start, source, weight } = connect(
      dimensions, periodic, read("mask"), read("strength"), read("kernel"), K);
    const w1 = transposed(read("w1"), I, H), b1 = padded(read("b1"));
    const evenH = b1.length;
    // the second layer reads the padded hidden numbers too: its rows for them are empty
    const wide = new Float32Array(evenH * 2 * C);
    wide.set(read("w2"));
    const w2 = transposed(wide, evenH, 2 * C), b2 = padded(read("b2"));
    const cells = new Float32Array(N * C);
    const awake = new Uint8Array(N).fill(1), part = new Int32Array(N); // cells that take part
    const probability = numbers.update_probability ?? 1;
    const seen = new Float64Array(N * C); // doubles: nothing is converted in the loops
    const input = new Float64Array(I * TOGETHER), hidden = new Float64Array(evenH * TOGETHER);
    const out = new Float64Array(2 * C * TOGETHER);

    /** The K sums over the neighbours of cell `i`, and its own state, as column `at` of `input`. */
    function perceive(i, at) {
      const first = start[i], last = start[i + 1];
      for (let c = 0; c < C; c++) input[c * TOGETHER + at] = seen[i * C + c];
      for (let k = 0; k < K; k++) {
        let c = 0;
        for (; c + 4 <= C; c += 4) {
          let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
          for (let e = first; e < last; e++) {
            const w = weight[e * K + k], p = source[e] * C + c;
            s0 += w * seen[p]; s1 += w * seen[p + 1]; s2 += w * seen[p + 2]; s3 += w * seen[p + 3];
          }
          const q = ((1 + k) * C + c) * TOGETHER + at;
          input[q] = s0; input[q + TOGETHER] = s1;
          input[q + 2 * TOGETHER] = s2; input[q + 3 * TOGETHER] = s3;
        }
        for (; c < C; c++) {
          let s = 0;
          for (let e = first; e < last; e++) s += weight[e * K + k] * seen[source[e] * C + c];
          input[((1 + k) * C + c) * TOGETHER + at] = s;
        }
      }
    }

    /** out [outputs, 4] = matrix [outputs, inputs] from [inputs, 4] + bias, four cells at once. */
    function layer(from, inputs, matrix, bias, outputs, to, rectified) {
      for (let j = 0; j < outputs; j += 2) {
        let a0 = bias[j], a1 = a0, a2 = a0, a3 = a0;
        let b0 = bias[j + 1], b1 = b0, b2 = b0, b3 = b0;
        let r = j * inputs, p = 0;
        for (let i = 0; i < inputs; i++, r++, p += 4) {
          const v = matrix[r], w = matrix[r + inputs];
          const x0 = from[p], x1 = from[p + 1], x2 = from[p + 2], x3 = from[p + 3];
          a0 += v * x0; a1 += v * x1; a2 += v * x2; a3 += v * x3;
          b0 += w * x0; b1 += w * x1; b2 += w * x2; b3 += w * x3;
        }
        const q = j * 4;
        to[q] = a0; to[q + 1] = a1; to[q + 2] = a2; to[q + 3] = a3;
        to[q + 4] = b0; to[q + 5] = b1; to[q + 6] = b2; to[q + 7] = b3;
        if (rectified) for (let t = q; t < q + 8; t++) if (to[t] < 0) to[t] = 0;
      }
    }

    /** The gated residual update of cell `i`, whose numbers are column `at`. */
    function update(i, at) {
      let power = 0;
      for (let c = 0; c < C; c++) {
        const v = input[(C + c) * TOGETHER + at] + out[c * TOGETHER + at];
        out[c * TOGETHER + at] = v;
        power += v * v;
      }
      power /= C;
      const share = power / Math.pow(power + EPSILON, 1.5);
      for (let c = 0; c < C; c++) {
        const g = out[(C + c) * TOGETHER + at], was = seen[i * C + c];
        const gate = 0.5 * (1 + g / (1 + Math.abs(g)));
        cells[i * C + c] = was + gate * (out[c * TOGETHER + at] * share - was);
      }
    }

    function silence() {
      for (let i = 0; i < N; i++) if (!awake[i]) cells.fill(0, i * C, i * C + C);
    }

    /**
     * One tick; what is to be written on the cells has been. `luck`, where not every cell takes
     * part, draws a number in [0, 1) for each; one that does not stays as it is.
     */
    function tick(luck = null) {
      silence();
      seen.set(cells);
      let count = 0;
      for (let i = 0; i < N; i++) if (awake[i] && (!luck || luck() < probability)) part[count++] = i;
      for (let n = 0; n < count; n += TOGETHER) {
        const last = Math.min(TOGETHER, count - n);
        for (let at = 0; at < last; at++) perceive(part[n + at], at);
        layer(input, I, w1, b1, evenH, hidden, true);
        layer(hidden, evenH, w2, b2, 2 * C, out, false);
        for (let at = 0; at < last; at++) update(part[n + at], at);
      }
    }

    return { dimensions, N, C, H, K, cells, awake, tick, silence, probability };
  }

  return { lattice, unpack, OFFSETS, EPSILON };
})();
