// Text in and out, as cell_train/data/tokenizer.py and cell_train/tasks/text do it.
const Text = (() => {
  "use strict";
  const PAD = 0, END = 1, UNKNOWN = 2;
  const UNSPACED = ["Han", "Hiragana", "Katakana", "Bopomofo", "Thai", "Lao", "Khmer", "Myanmar"]
    .map((script) => `\\p{scx=${script}}`).join("");
  const LETTER = `[[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d]--[${UNSPACED}]]`;
  const WORD = new RegExp(`[${UNSPACED}]\\p{M}*|${LETTER}+(?:['’]${LETTER}+)*`, "vy");
  const SPACE = /[\p{White_Space}\x1c-\x1f]/uy;
  const WITHOUT_SPACES = new RegExp(`^[${UNSPACED}]`, "v");
  const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

  /** The words of a text. */
  function tokens(text) {
    const lower = text.toLowerCase();
    if (/^[\x00-\x7f]*$/.test(lower)) {
      return lower.match(/\w+(?:'\w+)*|[^\w\s\x1c-\x1f]/g) || [];
    }
    const whole = lower.normalize("NFC"), found = [];
    for (let at = 0; at < whole.length;) {
      WORD.lastIndex = SPACE.lastIndex = at;
      const word = WORD.exec(whole);
      if (!word && SPACE.test(whole)) { at++; continue; }
      const taken = word ? word[0]
        : graphemes.segment(whole.slice(at))[Symbol.iterator]().next().value.segment;
      found.push(taken);
      at += taken.length;
    }
    return found;
  }

  /** Words as a text: a space between them, none inside a script written without. */
  function join(words) {
    return words.map((word, i) => i && !(WITHOUT_SPACES.test(words[i - 1])
      && WITHOUT_SPACES.test(word)) ? ` ${word}` : word).join("");
  }

  function scaled(vector) { // to the length sqrt(D)
    let power = 0;
    for (const v of vector) power += v * v;
    const factor = Math.sqrt(vector.length) / Math.max(Math.sqrt(power), 1e-12);
    return vector.map((v) => v * factor);
  }

  function cosine(a, b) {
    let product = 0, aa = 0, bb = 0;
    for (let i = 0; i < a.length; i++) {
      product += a[i] * b[i]; aa += a[i] * a[i]; bb += b[i] * b[i];
    }
    return product / Math.max(Math.sqrt(aa * bb), 1e-12);
  }

  /** The task of a page's numbers: text to a code, a code onto a face, a face to a code, to text. */
  function task(numbers, [X, Y, Z], C) {
    const { vocabulary, max_words: most, beam, width: D } = numbers;
    const index = new Map(vocabulary.map((word, i) => [word, i])), V = vocabulary.length;
    const places = Rule.unpack(numbers.places), L = most + 1, FACE = X * Y * C;
    const enter = Rule.unpack(numbers.enter), leave = Rule.unpack(numbers.leave);
    const vectors = table();
    const decoder = Object.fromEntries(Object.entries(numbers.decoder)
      .map(([name, part]) => [name, Rule.unpack(part)]));
    const undo = new Uint16Array(L * D);
    for (let l = 0; l < L; l++) for (let d = 0; d < D; d++) undo[l * D + places[l * D + d]] = d;

    function table() { // [V, D], or null where no text can be encoded
      if (numbers.encoder === "given") return null;
      if (numbers.encoder === "learned") return Rule.unpack(numbers.vectors);
      const signs = Rule.unpack(numbers.signs), row = Math.ceil(D / 8), size = 1 / Math.sqrt(D);
      const made = new Float32Array(V * D);
      for (let v = 1; v < V; v++) for (let d = 0; d < D; d++) { // row 0, padding, stays zero
        made[v * D + d] = signs[v * row + (d >> 3)] >> (7 - (d & 7)) & 1 ? size : -size;
      }
      return made;
    }

    /** What is read of a text: its words, those unknown, how many are beyond what is read. */
    function understood(text) {
      const words = tokens(text), read = words.slice(0, most);
      const unknown = [...new Set(read)].filter((word) => !index.has(word));
      return { words: read, unknown, cut: words.length - read.length };
    }

    /** [D], a text's code. */
    function encode(text) {
      const ids = understood(text).words.map((word) => index.get(word) ?? UNKNOWN);
      const sum = new Float64Array(D);
      [...ids, END].forEach((id, l) => {
        for (let d = 0; d < D; d++) sum[d] += vectors[id * D + places[l * D + d]];
      });
      return scaled(sum);
    }

    /** [X, Y, C], what a code puts on the input face. */
    function drive(code) {
      const face = new Float64Array(FACE);
      for (let d = 0; d < D; d++) {
        const row = d * FACE, v = code[d];
        for (let i = 0; i < FACE; i++) face[i] += v * enter[row + i];
      }
      return Float32Array.from(face);
    }

    function write(cells, face) { // on the plane z = 0
      for (let p = 0; p < X * Y; p++) {
        for (let c = 0; c < C; c++) cells[p * Z * C + c] = face[p * C + c];
      }
    }

    /** [D], what the plane z = Z - 1 says. */
    function read(cells) {
      const y = new Float64Array(D);
      for (let p = 0; p < X * Y; p++) for (let c = 0; c < C; c++) {
        const v = cells[(p * Z + Z - 1) * C + c], row = (p * C + c) * D;
        for (let d = 0; d < D; d++) y[d] += v * leave[row + d];
      }
      return y;
    }

    const sigmoid = (v) => 1 / (1 + Math.exp(-v));

    function times(matrix, from, rows, bias) { // [rows, columns] @ [columns] + bias
      const columns = from.length, whole = columns - columns % 4, to = new Float64Array(rows);
      for (let r = 0; r < rows; r++) {
        const m = r * columns;
        let s0 = bias[r], s1 = 0, s2 = 0, s3 = 0, i = 0;
        for (; i < whole; i += 4) { // four sums, none of which waits for another
          s0 += matrix[m + i] * from[i]; s1 += matrix[m + i + 1] * from[i + 1];
          s2 += matrix[m + i + 2] * from[i + 2]; s3 += matrix[m + i + 3] * from[i + 3];
        }
        for (; i < columns; i++) s0 += matrix[m + i] * from[i];
        to[r] = s0 + s1 + s2 + s3;
      }
      return to;
    }

    /** The gated recurrent unit's next state (Cho et al. 2014, as torch.nn.GRU has it). */
    function recur(input, state) {
      const h = state.length;
      const a = times(decoder["recurrent.weight_ih_l0"], input, 3 * h,
        decoder["recurrent.bias_ih_l0"]);
      const b = times(decoder["recurrent.weight_hh_l0"], state, 3 * h,
        decoder["recurrent.bias_hh_l0"]);
      return state.map((was, i) => {
        const reset = sigmoid(a[i] + b[i]), keep = sigmoid(a[h + i] + b[h + i]);
        return (1 - keep) * Math.tanh(a[2 * h + i] + reset * b[2 * h + i]) + keep * was;
      });
    }

    function logProbabilities(view, state) { // of every word but padding
      const sought = times(decoder["project.weight"], state, D, decoder["project.bias"]);
      for (let d = 0; d < D; d++) sought[d] += decoder.scale[0] * view[d];
      const logits = times(decoder.words, sought, V, decoder.bias);
      logits[PAD] = -Infinity;
      let most = -Infinity, sum = 0;
      for (const v of logits) if (v > most) most = v;
      for (const v of logits) sum += Math.exp(v - most);
      const less = most + Math.log(sum);
      return logits.map((v) => v - less);
    }

    /** The words that `beam` search finds most probable a word in y [D]. */
    function decode(y) {
      const code = scaled(y), hidden = decoder["recurrent.weight_hh_l0"].length;
      const h = Math.round(Math.sqrt(hidden / 3)), input = new Float64Array(2 * D);
      let beams = [{ score: 0, ids: [], length: 0, ended: false, state: new Float64Array(h) }];
      for (let l = 0; l < L && !beams.every((one) => one.ended); l++) {
        const view = code.map((_, d) => code[undo[l * D + d]]), grown = [];
        for (const one of beams) {
          if (one.ended) { grown.push({ ...one }); continue; }
          const last = one.ids.length ? one.ids[one.ids.length - 1] : END;
          input.set(view);
          for (let d = 0; d < D; d++) input[D + d] = decoder.words[last * D + d];
          const state = recur(input, one.state), gain = logProbabilities(view, state);
          for (const id of best(gain, beam)) {
            grown.push({ score: one.score + gain[id], ids: [...one.ids, id],
              length: one.length + 1, ended: id === END, state });
          }
        }
        beams = grown.sort((a, b) => b.score - a.score).slice(0, beam);
      }
      const said = beams.reduce((a, b) => b.score / b.length > a.score / a.length ? b : a).ids;
      return said.filter((id) => id !== END).map((id) => vocabulary[id]);
    }

    function best(values, count) { // indices of the largest, the largest first
      const found = [];
      for (let i = 0; i < values.length; i++) {
        if (found.length === count && !(values[i] > values[found[count - 1]])) continue;
        let at = found.length;
        while (at > 0 && values[i] > values[found[at - 1]]) at--;
        found.splice(at, 0, i);
        if (found.length > count) found.pop();
      }
      return found;
    }

    return { encode, drive, write, read, decode, understood, cosine, types: vectors !== null, D };
  }

  return { task, tokens, join };
})();
