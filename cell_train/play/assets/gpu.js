// The same tick on a graphics processor, by WebGPU, for lattices that keep a processor too long.
const Gpu = (() => {
  "use strict";
  const LARGE = 12000; // cells from which it is worth the way there and back
  const GROUP = 64, AGREES = 1e-4;
  const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;

  // One thread a cell. `rule` holds kernel, w1, b1, w2 and b2 behind one another; `wiring` each
  // cell's 26 bits and where its strengths begin.
  const shader = ([X, Y, Z], periodic, C, H, K) => {
    const I = (1 + K) * C, W1 = K * 26, B1 = W1 + I * H, W2 = B1 + H, B2 = W2 + H * 2 * C;
    return `
@group(0) @binding(0) var<storage, read> cells: array<f32>;
@group(0) @binding(1) var<storage, read> wiring: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> strength: array<f32>;
@group(0) @binding(3) var<storage, read> rule: array<f32>;
@group(0) @binding(4) var<storage, read> takes_part: array<u32>;
@group(0) @binding(5) var<storage, read_write> next: array<f32>;

@compute @workgroup_size(${GROUP})
fn tick(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i >= ${X * Y * Z}u) { return; }
  if (takes_part[i] == 0u) {
    for (var c = 0u; c < ${C}u; c++) { next[i * ${C}u + c] = cells[i * ${C}u + c]; }
    return;
  }
  var given: array<f32, ${I}>;
  for (var c = 0u; c < ${C}u; c++) { given[c] = cells[i * ${C}u + c]; }
  let x = i32(i / ${Y * Z}u);
  let y = i32(i / ${Z}u % ${Y}u);
  let z = i32(i % ${Z}u);
  let bits = wiring[i].x;
  var e = wiring[i].y;
  for (var o = 0u; o < 26u; o++) {
    if (((bits >> o) & 1u) == 0u) { continue; }
    let n = i32(select(o, o + 1u, o >= 13u)); // the cell itself, 13 of 27, is no neighbour
    var a = x + n / 9 - 1;
    var b = y + n / 3 % 3 - 1;
    ${periodic ? `a = (a + ${X}) % ${X}; b = (b + ${Y}) % ${Y};` : ""}
    let source = u32((a * ${Y} + b) * ${Z} + z + n % 3 - 1) * ${C}u;
    for (var k = 0u; k < ${K}u; k++) {
      let w = rule[k * 26u + o] * strength[e];
      for (var c = 0u; c < ${C}u; c++) { given[(1u + k) * ${C}u + c] += w * cells[source + c]; }
    }
    e++;
  }
  var out: array<f32, ${2 * C}>;
  for (var j = 0u; j < ${2 * C}u; j++) { out[j] = rule[${B2}u + j]; }
  for (var h = 0u; h < ${H}u; h++) {
    var sum = rule[${B1}u + h];
    for (var n = 0u; n < ${I}u; n++) { sum += given[n] * rule[${W1}u + n * ${H}u + h]; }
    sum = max(sum, 0.0);
    for (var j = 0u; j < ${2 * C}u; j++) { out[j] += sum * rule[${W2}u + h * ${2 * C}u + j]; }
  }
  var power = 0.0;
  for (var c = 0u; c < ${C}u; c++) {
    out[c] += given[${C}u + c];
    power += out[c] * out[c];
  }
  power /= ${C}.0;
  let share = power * inverseSqrt(power + ${Rule.EPSILON}) / (power + ${Rule.EPSILON});
  for (var c = 0u; c < ${C}u; c++) {
    let g = out[${C}u + c];
    let gate = 0.5 * (1.0 + g / (1.0 + abs(g)));
    next[i * ${C}u + c] = given[c] + gate * (out[c] * share - given[c]);
  }
}`;
  };

  /** Whether one is there; found out through WebGL, which says so without a word on the console. */
  function there() {
    const context = navigator.gpu && document.createElement("canvas").getContext("webgl2");
    if (!context) return false;
    let name = context.getParameter(context.RENDERER);
    if (/^webkit/i.test(name)) { // what Chromium says of every one
      const unmasked = context.getExtension("WEBGL_debug_renderer_info");
      name = unmasked ? context.getParameter(unmasked.UNMASKED_RENDERER_WEBGL) : name;
    }
    return !SOFTWARE.test(name);
  }

  /**
   * What takes a lattice's cells a tick further, `await ticker(part)`, cells with part 0 excepted;
   * null where there is no graphics processor, or it does not give what the processor gives.
   */
  async function make(numbers, lattice) {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return null;
    const device = await adapter.requestDevice();
    const { dimensions, N, C, H, K, cells } = lattice;
    const mask = Rule.unpack(numbers.mask), wiring = new Uint32Array(2 * N);
    for (let i = 0, e = 0; i < N; i++) {
      wiring[2 * i] = mask[i];
      wiring[2 * i + 1] = e;
      for (let bits = mask[i]; bits; bits &= bits - 1) e++;
    }
    const rule = ["kernel", "w1", "b1", "w2", "b2"].flatMap((name) =>
      Array.from(Rule.unpack(numbers[name])));
    const buffer = (size, usage) => device.createBuffer({ size: Math.max(size, 16), usage });
    const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const filled = (data) => {
      const made = buffer(data.byteLength, STORAGE | COPY_DST);
      device.queue.writeBuffer(made, 0, data);
      return made;
    };
    const now = filled(cells), takesPart = filled(new Uint32Array(N));
    const next = buffer(cells.byteLength, STORAGE | COPY_SRC);
    const back = buffer(cells.byteLength, MAP_READ | COPY_DST);
    const module = device.createShaderModule({
      code: shader(dimensions, numbers.periodic, C, H, K) });
    const pipeline = await device.createComputePipelineAsync({
      layout: "auto", compute: { module, entryPoint: "tick" } });
    const buffers = [now, filled(wiring), filled(Rule.unpack(numbers.strength)),
      filled(Float32Array.from(rule)), takesPart, next];
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((one, binding) => ({ binding, resource: { buffer: one } })) });

    async function ticker(part) {
      device.queue.writeBuffer(now, 0, cells);
      device.queue.writeBuffer(takesPart, 0, part);
      const commands = device.createCommandEncoder(), pass = commands.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.ceil(N / GROUP));
      pass.end();
      commands.copyBufferToBuffer(next, 0, back, 0, cells.byteLength);
      device.queue.submit([commands.finish()]);
      await back.mapAsync(GPUMapMode.READ);
      cells.set(new Float32Array(back.getMappedRange()));
      back.unmap();
    }

    return await agrees(lattice, ticker) ? ticker : null;
  }

  async function agrees({ cells, N, tick }, ticker) { // on one tick from where the lattice stands
    const before = cells.slice();
    tick();
    const expected = cells.slice();
    cells.set(before);
    await ticker(new Uint32Array(N).fill(1));
    const same = expected.every((v, i) => Math.abs(v - cells[i]) <= AGREES);
    cells.set(before);
    return same;
  }

  return { make, there, LARGE };
})();
