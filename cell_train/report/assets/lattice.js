"use strict";
// The lattice, drawn cell by cell on a plain canvas: drag, touch or arrow keys turn it.
(() => {
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  const viewer = document.querySelector(".viewer");
  if (!viewer) return;
  const stages = JSON.parse(document.getElementById("cells").textContent);
  const canvas = viewer.querySelector("canvas.lattice");
  const context = canvas.getContext("2d");
  const slider = viewer.querySelector("[name=layers]");
  const key = viewer.querySelector(".key");
  // Okabe & Ito's colours, which people of every colour vision tell apart; then they repeat.
  const CLUSTERS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
  const RAMP = [[0, 48, 102], [86, 110, 122], [163, 158, 112], [254, 232, 92]]; // after cividis
  const MANY = 6000; // cells
  const FROM = { yaw: 0.62, pitch: 0.42 };
  const view = { ...FROM };
  let cells, asked = false;

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const chosen = (name) => viewer.querySelector(`[name=${name}]:checked`).value;
  const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const cluster = (label) => [...CLUSTERS, paint("--ink")][label % (CLUSTERS.length + 1)];
  const ramp = (share) => {
    const at = Math.min(share * (RAMP.length - 1), RAMP.length - 1.001), low = Math.floor(at);
    const mixed = RAMP[low].map((c, i) => Math.round(c + (RAMP[low + 1][i] - c) * (at - low)));
    return `rgb(${mixed.join(",")})`;
  };

  function take() { // the chosen stage, unpacked, and the key to its colours
    const stage = stages[Number(chosen("stage"))];
    const grouped = viewer.querySelector("[name=by][value=cluster]");
    grouped.disabled = !stage.cluster;
    if (grouped.checked && grouped.disabled) {
      viewer.querySelector("[name=by][value=strength]").checked = true;
    }
    const by = chosen("by");
    const field = by === "cluster" ? null : stage[by];
    cells = { size: stage.dimensions, values: bytes(field ? field.data : stage.cluster), by };
    const depth = stage.dimensions[2];
    if (Number(slider.max) !== depth) { slider.max = depth; slider.value = depth; }
    key.replaceChildren(...(field ? scaleKey(field) : clusterKey()));
    draw();
  }

  function item(...parts) {
    const line = document.createElement("li");
    line.append(...parts);
    return line;
  }

  function clusterKey() {
    const counts = new Map();
    for (const label of cells.values) counts.set(label, (counts.get(label) || 0) + 1);
    return [...counts].sort((a, b) => a[0] - b[0]).map(([label, count]) => {
      const spot = document.createElement("i");
      spot.style.background = label === 255 ? paint("--soft") : cluster(label);
      const name = label === 255 ? "in none (small)" : `cluster ${label}`;
      return item(spot, `${name}: ${count} cell${count === 1 ? "" : "s"}`);
    });
  }

  function scaleKey(field) {
    const bar = document.createElement("canvas");
    bar.width = 64; bar.height = 1;
    const pen = bar.getContext("2d");
    for (let i = 0; i < 64; i++) { pen.fillStyle = ramp(i / 63); pen.fillRect(i, 0, 1, 1); }
    return [item(field.low, bar, field.high, ` ${field.label}`)];
  }

  const sprites = new Map();
  function sprite(colour, radius) { // a ball, lit from above left; drawn once, copied often
    const name = `${colour}/${radius}`;
    if (sprites.has(name)) return sprites.get(name);
    const ball = document.createElement("canvas");
    ball.width = ball.height = 2 * radius + 2;
    const pen = ball.getContext("2d"), middle = radius + 1;
    pen.beginPath();
    pen.arc(middle, middle, radius, 0, 7);
    pen.fillStyle = colour;
    pen.fill();
    const light = pen.createRadialGradient(middle - radius / 3, middle - radius / 2.5, radius / 8,
      middle, middle, radius);
    light.addColorStop(0, "rgba(255,255,255,.5)");
    light.addColorStop(.4, "rgba(255,255,255,0)");
    light.addColorStop(1, "rgba(0,0,0,.35)");
    pen.fillStyle = light;
    pen.fill();
    sprites.set(name, ball);
    return ball;
  }

  function draw() {
    asked = false;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width; canvas.height = height; sprites.clear();
    }
    context.clearRect(0, 0, width, height);
    // z runs from left to right, as the signal does; x into the picture, y down
    const [X, Y, Z] = cells.size, shown = Number(slider.value);
    const reach = Math.hypot(X, Y, Z), scale = 0.86 * Math.min(width, height * 1.15) / reach;
    const sin = [Math.sin(view.yaw), Math.sin(view.pitch)];
    const cos = [Math.cos(view.yaw), Math.cos(view.pitch)];
    const place = (x, y, z) => {
      const a = z - (Z - 1) / 2, b = y - (Y - 1) / 2, c = x - (X - 1) / 2;
      const right = a * cos[0] + c * sin[0], back = c * cos[0] - a * sin[0];
      const down = b * cos[1] - back * sin[1], far = back * cos[1] + b * sin[1];
      const near = scale * 2.6 * reach / (2.6 * reach + far);
      return [width / 2 + right * near, height / 2 + down * near, far, near];
    };
    edges(place, X, Y, Z, ratio);
    const order = [];
    for (let x = 0; x < X; x++) for (let y = 0; y < Y; y++) for (let z = 0; z < shown; z++) {
      order.push([...place(x, y, z), cells.values[(x * Y + y) * Z + z]]);
    }
    order.sort((a, b) => b[2] - a[2]);
    const colours = Array.from({ length: 256 }, (_, value) => cells.by !== "cluster"
      ? ramp((value >> 3) / 31) : value === 255 ? paint("--soft") : cluster(value));
    for (const [across, down, , near, value] of order) {
      const unassigned = cells.by === "cluster" && value === 255;
      const radius = Math.max(1, Math.round(near * (unassigned ? .09 : .36)));
      context.globalAlpha = unassigned ? .5 : 1;
      if (order.length > MANY) { // squares are several times as quick as balls
        context.fillStyle = colours[value];
        context.fillRect(across - radius, down - radius, 2 * radius, 2 * radius);
      } else {
        context.drawImage(sprite(colours[value], radius), across - radius - 1, down - radius - 1);
      }
    }
    context.globalAlpha = 1;
    faces(place, X, Z, ratio);
  }

  function edges(place, X, Y, Z, ratio) {
    context.strokeStyle = paint("--soft");
    context.lineWidth = ratio / 2;
    const ends = [[-.5, X - .5], [-.5, Y - .5], [-.5, Z - .5]];
    const corner = (i) => place(ends[0][i & 1], ends[1][i >> 1 & 1], ends[2][i >> 2]);
    context.beginPath();
    for (let i = 0; i < 8; i++) for (const bit of [1, 2, 4]) {
      if (i & bit) continue;
      context.moveTo(...corner(i).slice(0, 2));
      context.lineTo(...corner(i | bit).slice(0, 2));
    }
    context.stroke();
  }

  function faces(place, X, Z, ratio) { // which is which
    context.fillStyle = paint("--ink");
    context.strokeStyle = paint("--paper");
    context.lineWidth = 3 * ratio;
    context.font = `${12 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    for (const [z, name] of [[-.5, "in"], [Z - .5, "out"]]) {
      const [across, down] = place((X - 1) / 2, -.5, z);
      context.strokeText(name, across, down - 8 * ratio);
      context.fillText(name, across, down - 8 * ratio);
    }
  }

  function later() {
    if (!asked) { asked = true; requestAnimationFrame(draw); }
  }

  function turn(yaw, pitch) {
    view.yaw += yaw;
    view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + pitch));
    later();
  }

  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    last = event;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last || event.pointerId !== last.pointerId) return;
    turn((event.clientX - last.clientX) / 120, (event.clientY - last.clientY) / 120);
    last = event;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => { last = null; });
  }
  canvas.addEventListener("dblclick", () => { Object.assign(view, FROM); later(); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-.15, 0], ArrowRight: [.15, 0], ArrowUp: [0, -.15],
      ArrowDown: [0, .15] }[event.key];
    if (step) { event.preventDefault(); turn(...step); }
  });
  viewer.addEventListener("change", take);
  slider.addEventListener("input", later);
  new ResizeObserver(later).observe(canvas);
  for (const media of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(media).addEventListener("change", () => { sprites.clear(); take(); });
  }
  take();
})();
