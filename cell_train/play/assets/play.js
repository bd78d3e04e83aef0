// The page: a lattice that goes on by itself, what a mouse does to it, and what it says.
(() => {
  "use strict";
  const numbers = JSON.parse(document.getElementById("numbers").textContent);
  const world = World.make(numbers), { lattice, kind } = world, { N } = lattice;
  const find = (selector) => document.querySelector(selector);
  const canvas = find("canvas.lattice"), chart = find("canvas.chart");
  const view = View.make(canvas, lattice.dimensions, kind);
  const T = numbers.ticks, RATES = [1, 2, 4, 8, 15, 30, 60, Infinity], KEPT = 400;
  const CHART = 120, FRAME = 24, LONG = 45; // milliseconds: of a frame's ticks, a fast one's
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const talks = kind === "text";
  const names = talks ? [[-.5, "in"], [lattice.dimensions[2] - .5, "out"]] : [];
  const looks = Look.make(world, view);
  let running = !calm, asked = false, owed = 0, last = 0, dirty = true, shown = 0, gap = 16;
  let heard = null, mute = 0, drawn = 0; // what came out last, when words and curves are due
  let history = [], events = [], hovered = null, measured = { ticks: 0, since: 0, rate: 0 };
  let ticker = null, busy = false, waiting = []; // what computes elsewhere, and what waits for it

  const chosen = (name) => find(`[name=${name}]:checked`).value;
  const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const rate = () => RATES[Number(find("[name=rate]").value)];

  function look() { // how every cell is to look from now on
    looks.take(chosen("by"), rgb(paint("--quiet")));
    shown = performance.now();
    dirty = true;
  }

  /** Draw a way between the tick before and this one; whether that goes on. */
  function mix(now) {
    const period = running ? 1000 / rate() : 120;
    const smooth = !calm && period > 3 * gap; // else every frame shows the tick that it computed
    const elapsed = Math.max(0, now - shown); // a frame's time may be one before the tick's
    const share = smooth ? Math.min(1, elapsed / Math.min(period, 250)) : 1;
    looks.mix(share, hovered, rgb(paint("--warm")));
    return share < 1;
  }

  // ---- time -------------------------------------------------------------------------------------

  function step() {
    world.step();
    note();
  }

  function note() { // what a tick has come to
    measured.ticks++;
    heard = talks ? world.read() : null;
    history.push({ score: world.score(heard), alike: world.alike() });
    if (history.length > KEPT) history.shift();
    if (talks && world.ticks === T) say(find(".arrived"), world.words(heard), world.cosine(heard));
  }

  function stepElsewhere() {
    busy = true;
    world.stepOn(ticker).then(note, () => { ticker = null; }).then(() => {
      busy = false;
      for (const deed of waiting.splice(0)) deed();
      look();
      tell(performance.now());
      later();
    });
  }

  /** Do it now, or when the tick that is under way elsewhere is over. */
  function safely(deed) { if (busy) waiting.push(deed); else deed(); }

  function frame(now) {
    asked = false;
    gap += 0.2 * (Math.min(now - last, 250) - gap);
    if (running) {
      owed = Math.min(owed + Math.min(now - last, 250) * rate() / 1000, rate() === Infinity ? 1e9 : 8);
      const until = performance.now() + (rate() > 15 ? LONG : FRAME);
      let stepped = false;
      while (owed >= 1 && !busy && (!stepped || performance.now() < until)) {
        owed--;
        if (ticker) { stepElsewhere(); break; }
        step();
        stepped = true;
      }
      if (stepped) { look(); tell(now); }
    }
    last = now;
    const moving = (dirty || looks.moved() > 1e-5) && mix(now);
    if (dirty || moving) {
      view.draw(rgb(paint("--wash")), paint("--soft"), paint("--ink"), names);
      dirty = moving || hovered !== null;
    }
    if (running || moving) later();
  }

  function later() {
    if (!asked) { asked = true; requestAnimationFrame(frame); }
  }

  function redraw() { dirty = true; later(); }

  // ---- what is said of it -----------------------------------------------------------------------

  function tell(now) {
    if (now - measured.since > 500) {
      measured.rate = measured.ticks * 1000 / (now - measured.since);
      Object.assign(measured, { ticks: 0, since: now });
    }
    find(".clock").textContent = `tick ${world.ticks}`
      + (running ? ` · ${measured.rate.toFixed(measured.rate < 10 ? 1 : 0)} a second` : "");
    if (!running || now - drawn > CHART) draw();
    if (!heard || (running && now < mute)) return;
    const began = performance.now();
    say(find(".now"), world.words(heard), world.cosine(heard));
    mute = now + 9 * (performance.now() - began); // a tenth of the time may go into words
  }

  /** Words, those that are not in place of the sentence sent set apart. */
  function say(line, words, cosine) {
    const sent = world.sent || [];
    line.querySelector(".words").replaceChildren(...words.flatMap((word, i) => {
      const one = document.createElement("span");
      one.textContent = word;
      if (numbers.echo && sent[i] !== word) one.className = "off";
      return [one, " "];
    }));
    line.querySelector(".cosine").textContent = cosine === null ? "" : cosine.toFixed(2);
  }

  function draw() {
    drawn = performance.now();
    Chart.draw(chart, { history, events, ticks: world.ticks, paint });
  }

  // ---- what is done to it -----------------------------------------------------------------------

  function happened(name) {
    const before = events[events.length - 1];
    if (!before || before.name !== name || world.ticks - before.tick > 12) {
      events.push({ tick: world.ticks, name });
    }
    if (events.length > 40) events.shift();
    look();
    draw();
    later();
  }

  const DEEDS = { cut: "cut", silence: "silenced", wake: "woken", paint: "painted" };
  function act(deed, which) {
    safely(() => { world[deed](which); happened(DEEDS[deed]); });
  }

  function anew() { safely(begin); }

  function begin() {
    world.start();
    [history, events] = [[], []];
    looks.forget();
    if (talks) for (const line of [".now", ".arrived"]) say(find(line), [], null);
    [heard, mute] = [null, 0];
    find(".clock").textContent = "tick 0";
    // who does not want to see it move sees it arrived
    if (calm && talks) { for (let t = 0; t < T; t++) step(); tell(performance.now()); }
    look();
    draw();
    later();
  }

  function send(text) {
    const heard = world.task.understood(text);
    world.sent = heard.words;
    world.send(text);
    const remarks = [];
    if (heard.unknown.length) remarks.push(`not in its vocabulary: ${heard.unknown.join(", ")}`);
    if (heard.cut) remarks.push(`too long: its last ${heard.cut} words are not read`);
    find(".remark").textContent = remarks.join("; ");
    anew();
  }

  function sendRandom() {
    world.sent = [];
    world.sendRandom();
    anew();
  }

  function run(on) {
    running = on;
    if (!on) tell(performance.now());
    find("[name=run]").textContent = on ? "Pause" : "Run";
    last = performance.now();
    measured = { ticks: 0, since: last, rate: rate() === Infinity ? 0 : rate() };
    redraw();
  }

  // ---- the mouse --------------------------------------------------------------------------------

  let held = null; // {id, x, y, tool}: what the pointer that is down does
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.x, event.clientY - box.y];
  };
  const brush = (cell) => world.around(cell, Number(find("[name=brush]").value) - 0.5);

  canvas.addEventListener("pointerdown", (event) => {
    const tool = chosen("tool"), cell = tool === "turn" || event.button ? -1 : view.pick(...point(event));
    held = { id: event.pointerId, x: event.clientX, y: event.clientY,
      tool: cell < 0 ? "turn" : tool };
    canvas.setPointerCapture(event.pointerId);
    if (cell >= 0) act(tool, brush(cell));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held && event.pointerId === held.id && held.tool === "turn") {
      view.turn((event.clientX - held.x) / 120, (event.clientY - held.y) / 120);
      Object.assign(held, { x: event.clientX, y: event.clientY });
      redraw();
      return;
    }
    const cell = chosen("tool") === "turn" ? -1 : view.pick(...point(event));
    if (held && cell >= 0) act(held.tool, brush(cell));
    hovered = cell >= 0 && event.pointerType === "mouse" ? brush(cell) : null;
    redraw();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => { held = null; });
  }
  canvas.addEventListener("pointerleave", () => { hovered = null; redraw(); });
  canvas.addEventListener("dblclick", () => {
    if (chosen("tool") === "turn") { view.back(); redraw(); }
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: [-.15, 0], ArrowRight: [.15, 0], ArrowUp: [0, -.15],
      ArrowDown: [0, .15] }[event.key];
    const zoom = { "+": 1.15, "=": 1.15, "-": 1 / 1.15 }[event.key];
    if (by) view.turn(...by);
    else if (zoom) view.zoom(zoom);
    else if (event.key === " ") run(!running);
    else return;
    event.preventDefault();
    redraw();
  });

  const press = (name, deed) => find(`[name=${name}]`)?.addEventListener("click", deed);
  press("run", () => run(!running));
  press("tick", () => safely(() => {
    run(false);
    step();
    look();
    tell(performance.now());
    later();
  }));
  press("anew", anew);
  press("half", () => act("cut", world.half()));
  press("ball", () => act("cut", world.ball(0.2)));
  press("some", () => act("cut", world.some(0.3)));
  press("all", () => act("wake", Array.from({ length: N }, (_, i) => i)));
  press("code", sendRandom);
  find("form.say")?.addEventListener("submit", (event) => {
    event.preventDefault();
    send(find("[name=text]").value);
  });
  find(".bench").addEventListener("change", (event) => {
    canvas.dataset.tool = chosen("tool");
    if (event.target.name === "by") look();
    redraw();
  });
  find("[name=rate]").addEventListener("input", () => {
    find(".rate").textContent = rate() === Infinity ? "as fast as it can" : `${rate()} a second`;
  });
  const slider = find("[name=layers]");
  slider.max = view.depth - 1;
  slider.addEventListener("input", () => { view.hide(Number(slider.value)); redraw(); });
  find("[name=brush]").max = Math.max(2, Math.ceil(Math.min(...lattice.dimensions) / 2));
  new ResizeObserver(() => { draw(); redraw(); }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    look();
    draw();
  });

  // ---- beginning --------------------------------------------------------------------------------

  // so that a crossing takes about three seconds
  const wish = RATES.findIndex((one) => one >= T / 3);
  find("[name=rate]").value = wish < 0 ? 5 : Math.min(wish, 5);
  find("[name=rate]").dispatchEvent(new Event("input"));
  const found = N >= Gpu.LARGE && Gpu.there() ? Gpu.make(numbers, lattice) : Promise.resolve(null);
  found.catch(() => null).then((one) => {
    ticker = one;
    if (talks && world.task.types) send(find("[name=text]").value);
    else if (talks) sendRandom();
    else anew();
    run(running);
  });
  globalThis.celltrain = world; // for whoever opens the console
})();
