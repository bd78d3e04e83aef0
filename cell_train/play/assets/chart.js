// The curves: how well the task goes at each tick, and how far damage has healed.
const Chart = (() => {
  "use strict";
  const CURVES = [["score", "--accent"], ["alike", "--warm"]];
  const SHORTEST = 60; // ticks across

  /** `history` [{score, alike}] up to `ticks`, with the `events` [{tick, name}] among it. */
  function draw(chart, { history, events, ticks, paint }) {
    const ratio = Math.min(devicePixelRatio || 1, 2), pen = chart.getContext("2d");
    const width = chart.width = Math.round(chart.clientWidth * ratio);
    const height = chart.height = Math.round(chart.clientHeight * ratio);
    const left = 26 * ratio, top = 14 * ratio, bottom = height - 6 * ratio;
    const first = ticks - history.length;
    const at = (tick) => left + (tick - first) / Math.max(SHORTEST, history.length) * (width - left - 4);
    const level = (v) => bottom - Math.max(0, Math.min(1, v)) * (bottom - top);
    pen.font = `${11 * ratio}px system-ui, sans-serif`;
    pen.lineWidth = ratio;
    pen.textBaseline = "middle";
    for (const v of [0, .5, 1]) {
      pen.strokeStyle = paint("--faint");
      pen.beginPath(); pen.moveTo(left, level(v)); pen.lineTo(width, level(v)); pen.stroke();
      pen.fillStyle = paint("--soft");
      pen.textAlign = "right";
      pen.fillText(String(v), left - 5 * ratio, level(v));
    }
    pen.textAlign = "left";
    for (const { tick, name } of events) {
      if (tick < first) continue;
      pen.strokeStyle = pen.fillStyle = paint("--soft");
      pen.setLineDash([2 * ratio, 3 * ratio]);
      pen.beginPath(); pen.moveTo(at(tick), top); pen.lineTo(at(tick), bottom); pen.stroke();
      pen.setLineDash([]);
      pen.fillText(name, Math.min(at(tick) + 3 * ratio, width - 60 * ratio), top - 6 * ratio);
    }
    for (const [field, colour] of CURVES) {
      pen.strokeStyle = paint(colour);
      pen.lineWidth = 2 * ratio;
      pen.beginPath();
      let open = false;
      history.forEach((point, i) => {
        if (point[field] === null) { open = false; return; }
        pen[open ? "lineTo" : "moveTo"](at(first + i + 1), level(point[field]));
        open = true;
      });
      pen.stroke();
    }
  }

  return { draw };
})();
