// The lattice in three dimensions, ball by ball, into the pixels of a plain canvas: no GPU is asked
// for, so it looks and costs the same wherever it is opened.
const View = (() => {
  "use strict";
  const LEVELS = 24; // of light on a ball
  const CLOSE = 0.7; // cells' distances: what is no farther from a cell is meant for it
  const PIXELS = 1.1e6; // of a frame, at most; beyond, the canvas is stretched
  const RAMP = [[0, 48, 102], [86, 110, 122], [163, 158, 112], [254, 232, 92]]; // after cividis
  const HUES = Array.from({ length: 256 }, (_, i) => hue(2 * Math.PI * i / 256));

  /** A colour of the wheel in OKLCH, lightness and chroma fixed (Ottosson 2020), in sRGB. */
  function hue(angle) {
    const L = 0.7, a = 0.13 * Math.cos(angle), b = 0.13 * Math.sin(angle);
    const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
    const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
    const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
    return [4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
      -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
      -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s].map((v) => {
      const light = Math.max(0, Math.min(1, v));
      return Math.round(255 * (light <= 0.0031308 ? 12.92 * light
        : 1.055 * light ** (1 / 2.4) - 0.055));
    });
  }

  function ramp(share) {
    const at = Math.max(0, Math.min(share * (RAMP.length - 1), RAMP.length - 1.001));
    const low = Math.floor(at);
    return RAMP[low].map((c, i) => Math.round(c + (RAMP[low + 1][i] - c) * (at - low)));
  }

  const balls = new Map();
  /** A ball of a radius in half pixels: its pixels' light, 0 to LEVELS - 1, and coverage. */
  function ball(halves) {
    if (balls.has(halves)) return balls.get(halves);
    const radius = halves / 2, reach = Math.ceil(radius) + 1, side = 2 * reach + 1;
    const light = new Uint8Array(side * side), cover = new Uint8Array(side * side);
    for (let v = -reach; v <= reach; v++) for (let u = -reach; u <= reach; u++) {
      const far = Math.hypot(u, v), at = (v + reach) * side + u + reach;
      cover[at] = Math.round(255 * Math.max(0, Math.min(1, radius + 0.5 - far)));
      const a = Math.min(1, far / radius) / (far || 1), nx = u * a, ny = v * a;
      const nz = Math.sqrt(Math.max(0, 1 - nx * nx - ny * ny));
      const lit = Math.max(0, -0.42 * nx - 0.58 * ny + 0.7 * nz);
      light[at] = Math.min(LEVELS - 1, Math.round(lit * (LEVELS - 1)));
    }
    const made = { reach, side, light, cover };
    balls.set(halves, made);
    return made;
  }

  // which axis, and whether forwards, runs to the right, down, and away, and how it is turned
  const CROSSING = { axes: [[2, 1], [1, 1], [0, 1]], yaw: 0.62, pitch: 0.42 }; // a signal, along z
  const STANDING = { axes: [[0, 1], [2, -1], [1, 1]], yaw: 0.6, pitch: 0.35 }; // z is up
  const FLAT = { axes: [[1, 1], [0, 1], [2, 1]], yaw: 0, pitch: 0 }; // an image, rows along x

  function make(canvas, dimensions, kind) {
    const [X, Y, Z] = dimensions, N = X * Y * Z;
    const context = canvas.getContext("2d");
    const { axes, ...from } = Z === 1 ? FLAT : kind === "grow" ? STANDING : CROSSING;
    const away = axes[2][0], layer = new Uint16Array(N); // how deep a cell lies
    for (let i = 0; i < N; i++) {
      layer[i] = [Math.floor(i / (Y * Z)), Math.floor(i / Z) % Y, i % Z][away];
    }
    const turned = { ...from, zoom: 1 };
    const size = new Float32Array(N), colour = new Uint8Array(3 * N); // what the caller fills in
    const across = new Float32Array(N), down = new Float32Array(N), near = new Float32Array(N);
    const depth = new Float32Array(N), order = new Uint32Array(N), shade = new Uint32Array(LEVELS);
    let image = null, pixels = null, placed = "", hidden = 0, reachOf = 1;

    /** (right, down, far) of a point in cells, turned, in pixels. */
    function project(x, y, z) {
      const centred = [x - (X - 1) / 2, y - (Y - 1) / 2, z - (Z - 1) / 2];
      const [a, b, c] = axes.map(([axis, sign]) => sign * centred[axis]);
      const { yaw, pitch, zoom } = turned, reach = Math.hypot(X, Y, Z);
      const scale = 0.9 * zoom * Math.min(canvas.width, canvas.height * 1.15) / reach;
      const right = a * Math.cos(yaw) + c * Math.sin(yaw);
      const back = c * Math.cos(yaw) - a * Math.sin(yaw);
      const low = b * Math.cos(pitch) - back * Math.sin(pitch);
      const far = back * Math.cos(pitch) + b * Math.sin(pitch);
      const close = scale * 2.6 * reach / (2.6 * reach + far);
      return [canvas.width / 2 + right * close, canvas.height * 0.51 + low * close, far, close];
    }

    function fit() { // the canvas's pixels, few enough to fill in time
      const wide = canvas.clientWidth || 1, high = canvas.clientHeight || 1;
      const ratio = Math.min(devicePixelRatio || 1, 2, Math.sqrt(PIXELS / (wide * high)));
      const [width, height] = [Math.round(wide * ratio), Math.round(high * ratio)];
      if (image && canvas.width === width && canvas.height === height) return;
      canvas.width = width;
      canvas.height = height;
      image = context.createImageData(width, height);
      pixels = new Uint32Array(image.data.buffer);
    }

    /** Where every cell lies, and their order from the back; again only where the view changed. */
    function place() {
      const now = `${turned.yaw} ${turned.pitch} ${turned.zoom} ${canvas.width} ${canvas.height}`;
      if (now === placed) return;
      placed = now;
      let low = Infinity, high = -Infinity;
      for (let i = 0; i < N; i++) {
        const at = project(Math.floor(i / (Y * Z)), Math.floor(i / Z) % Y, i % Z);
        [across[i], down[i], depth[i], near[i]] = at;
        if (at[2] < low) low = at[2];
        if (at[2] > high) high = at[2];
      }
      reachOf = Math.max(high - low, 1e-6);
      const bins = 4096, count = new Uint32Array(bins + 1), bin = new Uint16Array(N);
      for (let i = 0; i < N; i++) {
        depth[i] = (depth[i] - low) / reachOf; // 0 nearest, 1 farthest
        bin[i] = Math.min(bins - 1, (1 - depth[i]) * bins);
        count[bin[i] + 1]++;
      }
      for (let b = 0; b < bins; b++) count[b + 1] += count[b];
      for (let i = 0; i < N; i++) order[count[bin[i]]++] = i;
    }

    /** Everything, with `size` [N] (0 to 1: touching) and `colour` [N, 3] as they stand. */
    function draw(paper, soft, ink, names) {
      fit();
      place();
      pixels.fill(0);
      for (let n = 0; n < N; n++) if (shown(order[n]) && size[order[n]] > 0) one(order[n], paper);
      context.putImageData(image, 0, 0);
      context.globalCompositeOperation = "destination-over"; // what follows lies behind the balls
      edges(soft);
      context.globalCompositeOperation = "source-over";
      for (const [z, name] of names) label(z, name, ink, paper);
    }

    function one(i, paper) {
      const halves = Math.max(2, Math.round(size[i] * near[i]));
      const { reach, side, light, cover } = ball(halves);
      const fog = 0.42 * depth[i] * depth[i];
      for (let l = 0; l < LEVELS; l++) {
        const share = l / (LEVELS - 1), dim = 0.52 + 0.55 * share;
        const glint = 0.6 * Math.max(0, share - 0.86) / 0.14;
        let packed = 0xff000000;
        for (let c = 0; c < 3; c++) {
          let v = colour[3 * i + c] * dim;
          v += (255 - v) * glint;
          v += (paper[c] - v) * fog;
          packed |= Math.min(255, v) << 8 * c;
        }
        shade[l] = packed;
      }
      const { width, height } = canvas;
      const left = Math.round(across[i]) - reach, top = Math.round(down[i]) - reach;
      const first = Math.max(0, -left), last = Math.min(side, width - left);
      for (let v = Math.max(0, -top); v < side && top + v < height; v++) {
        let p = (top + v) * width + left + first;
        for (let at = v * side + first, end = v * side + last; at < end; at++, p++) {
          const covered = cover[at];
          if (!covered) continue;
          const top = shade[light[at]];
          pixels[p] = covered === 255 ? top : blend(pixels[p], top, covered);
        }
      }
    }

    function blend(under, over, covered) {
      if (!(under >>> 24)) return (over & 0xffffff) | covered << 24;
      const rest = 255 - covered;
      const rb = ((over & 0xff00ff) * covered + (under & 0xff00ff) * rest >>> 8) & 0xff00ff;
      const g = ((over & 0xff00) * covered + (under & 0xff00) * rest >>> 8) & 0xff00;
      return rb | g | 0xff000000;
    }

    function edges(soft) {
      context.strokeStyle = soft;
      context.lineWidth = canvas.width / Math.max(canvas.clientWidth, 1) / 2;
      const ends = [[-.5, X - .5], [-.5, Y - .5], [-.5, Z - .5]];
      const corner = (i) => project(ends[0][i & 1], ends[1][i >> 1 & 1], ends[2][i >> 2]);
      context.beginPath();
      for (let i = 0; i < 8; i++) for (const bit of [1, 2, 4]) {
        if (i & bit) continue;
        context.moveTo(...corner(i).slice(0, 2));
        context.lineTo(...corner(i | bit).slice(0, 2));
      }
      context.stroke();
    }

    function label(z, name, ink, paper) {
      const ratio = canvas.width / Math.max(canvas.clientWidth, 1);
      context.fillStyle = ink;
      context.strokeStyle = `rgb(${paper.join(",")})`;
      context.lineWidth = 4 * ratio;
      context.lineJoin = "round";
      context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
      context.textAlign = "center";
      const [right, low] = project((X - 1) / 2, -.5, z);
      context.strokeText(name, right, low - 9 * ratio);
      context.fillText(name, right, low - 9 * ratio);
    }

    /** Cells whose layer is taken away to look inside are not shown. */
    const shown = (i) => layer[i] >= hidden;

    /** The foremost cell at a point of the canvas in CSS pixels, else one close by, else -1. */
    function pick(x, y) {
      const ratio = canvas.width / Math.max(canvas.clientWidth, 1);
      let closest = -1, least = Infinity;
      for (let n = N - 1; n >= 0; n--) {
        const i = order[n];
        if (!shown(i)) continue;
        const apart = Math.hypot(across[i] - x * ratio, down[i] - y * ratio) / near[i];
        if (apart <= size[i] / 2) return i;
        if (apart < least) [closest, least] = [i, apart];
      }
      return least < CLOSE ? closest : -1;
    }

    function turn(yaw, pitch) {
      turned.yaw += yaw;
      turned.pitch = Math.max(-1.5, Math.min(1.5, turned.pitch + pitch));
    }

    return { size, colour, draw, pick, turn, hues: HUES, ramp,
      zoom(by) { turned.zoom = Math.max(0.6, Math.min(4, turned.zoom * by)); },
      back() { Object.assign(turned, from, { zoom: 1 }); },
      hide(layers) { hidden = layers; }, depth: dimensions[away] };
  }

  return { make };
})();
