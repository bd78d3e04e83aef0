// One tick of the lattice and its backward, fused: gather, shared rule, gated update.
//
// Compiled once per rule width with -DCHANNELS -DHIDDEN -DKERNELS, so that every inner loop has a
// constant length and vectorises. Layouts, all float32 and contiguous:
//   state [N][B][C]   weights w1 [IN][H], w2 [H][2C]   kernel [K][26]   strength [E]
// Work is cut into chunks by the number of cells alone and partial sums are added in chunk order:
// the same bits come out whatever the number of threads.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

// The entry to torch's own OpenMP runtime, declared here so that any compiler will do: its headers
// and pragmas are those of the compiler that torch was built with.
extern "C" void GOMP_parallel(void (*)(void*), void*, unsigned threads, unsigned flags);

namespace {

constexpr int C = CHANNELS, H = HIDDEN, K = KERNELS;
constexpr int IN = (1 + K) * C, OUT = 2 * C;
constexpr int NEIGHBOURS = 26;
constexpr int RULE = IN * H + H + H * OUT + OUT;  // numbers of w1, b1, w2, b2; the kernel follows

// Registers of the processor compiled for: their number and the floats each holds. Vectors wider
// than a register must not be asked for: gcc moves them through memory.
#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif

template <int L>
struct Vectors {
  typedef float type __attribute__((vector_size(L * sizeof(float)), aligned(sizeof(float))));
};
template <>
struct Vectors<1> {
  typedef float type;
};
template <int L>
using Vector = typename Vectors<L>::type;

template <int L = LANES>
Vector<L> load(const float* from) {
  return *reinterpret_cast<const Vector<L>*>(from);
}
template <int L = LANES>
void store(float* to, Vector<L> value) {
  *reinterpret_cast<Vector<L>*>(to) = value;
}

// Rows of weights are padded with zeros to whole vectors, so that no width is slow.
constexpr int vectors(int n) { return (n + LANES - 1) / LANES; }
constexpr int whole(int n) { return vectors(n) * LANES; }

// Of one sample's channels as many as divide them go into a vector.
constexpr int lanes(int n) {
  int most = LANES;
  while (n % most) most /= 2;
  return most;
}
constexpr int E = lanes(C);

template <class V>
V size(V value) {  // absolute
  return value < 0.f ? -value : value;
}

template <int N>
float sum(const float (&values)[N]) {
  float total = 0;
  for (float value : values) total += value;
  return total;
}

// Rows of samples lie an odd number of cache lines apart: an even one would make the rows that are
// read together compete for the same part of the first-level cache.
constexpr int spaced(int n) { return ((n + 15) / 16 | 1) * 16; }

// The rule's weights as the products below read them, and its gradients as they write them.
struct alignas(64) Weights {
  float w1[IN][whole(H)], b1[1][whole(H)], w2[H][whole(OUT)], b2[1][whole(OUT)];
};
struct alignas(64) Transposed {
  float w1[H][whole(IN)], w2[OUT][whole(H)];
};

// sum[r][v] = start(r, v) + the sum over n < N of x[r * XR + n * XN] * w[n * WS + v], v in vectors,
// goes to finish(r, v, sum) for R rows and V vectors from (r0, v0): as many as registers hold.
template <int R, int V, int N, int XR, int XN, int WS, class Start, class Finish>
void tile(int r0, int v0, const float* x, const float* w, const Start& start,
          const Finish& finish) {
  Vector<LANES> sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sum[r][v] = start(r0 + r, (v0 + v) * LANES);
  x += r0 * XR;
  w += v0 * LANES;
#pragma GCC unroll 2  // unrolled whole, the sums would no longer stay in registers
  for (int n = 0; n < N; ++n) {
    Vector<LANES> row[V];
    for (int v = 0; v < V; ++v) row[v] = load(w + n * WS + v * LANES);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] += x[r * XR + n * XN] * row[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) finish(r0 + r, (v0 + v) * LANES, sum[r][v]);
}

// The same for all of ROWS rows and M columns.
template <int ROWS, int N, int M, int XR, int XN, int WS, class Start, class Finish>
void product(const float* x, const float* w, const Start& start, const Finish& finish) {
  constexpr int V = vectors(M) % 2 == 0 ? 2 : vectors(M) % 3 == 0 ? 3 : 1;
  constexpr int R = std::min(ROWS, REGISTERS == 32 || V == 1 ? 8 : 4);
  for (int v = 0; v < vectors(M); v += V) {
    for (int r = 0; r + R <= ROWS; r += R) tile<R, V, N, XR, XN, WS>(r, v, x, w, start, finish);
    if constexpr (ROWS % R)
      tile<ROWS % R, V, N, XR, XN, WS>(ROWS / R * R, v, x, w, start, finish);
  }
}

// sum [N][M] += x^T d over R rows: the gradient of a weight.
template <int N, int M, int R, int XS, int DS>
void add_outer(const float (&x)[R][XS], const float (&d)[R][DS], float (&sum)[N][whole(M)]) {
  product<N, R, M, 1, XS, DS>(
      x[0], d[0], [&](int n, int m) { return load(sum[n] + m); },
      [&](int n, int m, Vector<LANES> value) { store(sum[n] + m, value); });
}

// Offsets run through 3 x 3 x 3 without the centre.
struct Offsets {
  int8_t d[NEIGHBOURS];
  constexpr Offsets(int step) : d{} {
    for (int o = 0; o < NEIGHBOURS; ++o) d[o] = (o < 13 ? o : o + 1) / step % 3 - 1;
  }
  constexpr int64_t operator[](int o) const { return d[o]; }
};
constexpr Offsets DX(9), DY(3), DZ(1);

struct Lattice {
  int64_t x, y, z;
  int periodic;
  const int32_t* mask;
  const int64_t* start;
  const float* strength;

  int64_t cells() const { return x * y * z; }

  bool has(int64_t i, int o) const { return static_cast<uint32_t>(mask[i]) >> o & 1u; }

  float strength_of(int64_t i, int o) const {
    const uint32_t before = static_cast<uint32_t>(mask[i]) & ((1u << o) - 1u);
    return strength[start[i] + __builtin_popcount(before)];
  }

  // Whether cell i has all its neighbours inside the borders.
  bool inner(int64_t i) const {
    const int64_t cz = i % z, cy = i / z % y, cx = i / (z * y);
    return cx > 0 && cx < x - 1 && cy > 0 && cy < y - 1 && cz > 0 && cz < z - 1;
  }

  // The cell `sign` times offset `o` away, or -1 outside closed borders.
  int64_t neighbour(int64_t i, int o, int sign) const {
    int64_t cz = i % z, cy = i / z % y, cx = i / (z * y);
    cx += sign * DX[o];
    cy += sign * DY[o];
    cz += sign * DZ[o];
    if (periodic) {
      cx = (cx + x) % x;
      cy = (cy + y) % y;
    } else if (cx < 0 || cx >= x || cy < 0 || cy >= y) {
      return -1;
    }
    if (cz < 0 || cz >= z) return -1;
    return (cx * y + cy) * z + cz;
  }
};

// The lattice with what its shape alone says.
struct Wiring : Lattice {
  int64_t far[NEIGHBOURS];  // how much further than a cell its neighbours lie

  explicit Wiring(const Lattice& lattice) : Lattice(lattice) {
    for (int o = 0; o < NEIGHBOURS; ++o) far[o] = (DX[o] * y + DY[o]) * z + DZ[o];
  }

  // Whether what cell i reads lies `far` from it. Where borders are closed, always: a connection
  // across them does not exist.
  bool reads_near(int64_t i) const { return !periodic || inner(i); }

  // Whether all cells that may read cell j are cells that lie `far` from it. Where borders are
  // closed, a cell on the wrong side of one has no connection of that offset.
  bool is_read_near(int64_t j) const {
    const int64_t most = far[NEIGHBOURS - 1];
    return periodic ? inner(j) : j >= most && j < cells() - most;
  }
};

// As the caller has it; the rule's weights without padding.
struct Rule {
  const float *kernel, *w1, *b1, *w2, *b2;
  float epsilon;
};

int64_t chunks_of(int64_t cells) { return std::clamp<int64_t>(cells / 16, 1, 64); }

// Calls body(chunk, first cell, end) for all chunks; each thread takes the next when it is free.
template <class Body>
void over_chunks(int64_t cells, const Body& body) {
  const int64_t chunks = chunks_of(cells);
  std::atomic<int64_t> next{0};
  auto work = [&] {
    for (int64_t c; (c = next++) < chunks;) body(c, cells * c / chunks, cells * (c + 1) / chunks);
  };
  if (chunks == 1) return work();
  GOMP_parallel([](void* all) { (*static_cast<decltype(work)*>(all))(); }, &work, 0, 0);
}

// The connections into a cell (or, transposed, out of it), found once and used for every block
// of its numbers.
struct Ends {
  int count = 0;
  int64_t at[NEIGHBOURS];
  int offset[NEIGHBOURS];
  float strength[NEIGHBOURS], weight[NEIGHBOURS][K];

  void set(int n, const Rule& rule, int64_t cell, int o, float s) {
    at[n] = cell;
    offset[n] = o;
    strength[n] = s;
    for (int k = 0; k < K; ++k) weight[n][k] = rule.kernel[k * NEIGHBOURS + o] * s;
  }

  void add(const Rule& rule, int64_t cell, int o, float s) { set(count++, rule, cell, o, s); }
};

Ends incoming(const Wiring& l, const Rule& rule, int64_t i) {
  Ends ends;
  const float* strength = l.strength + l.start[i];
  const bool near = l.reads_near(i);
  if (near && l.mask[i] == (1 << NEIGHBOURS) - 1) {  // of constant length: it vectorises
    for (int o = 0; o < NEIGHBOURS; ++o) ends.set(o, rule, i + l.far[o], o, strength[o]);
    ends.count = NEIGHBOURS;
    return ends;
  }
  for (uint32_t bits = l.mask[i]; bits; bits &= bits - 1, ++strength) {
    const int o = __builtin_ctz(bits);
    ends.add(rule, near ? i + l.far[o] : l.neighbour(i, o, 1), o, *strength);
  }
  return ends;
}

Ends outgoing(const Wiring& l, const Rule& rule, int64_t j) {
  Ends ends;
  if (l.is_read_near(j)) {
    for (int o = 0; o < NEIGHBOURS; ++o) {  // counts rather than branches: pruning is random
      const int64_t i = j - l.far[o];
      const bool reads = l.has(i, o);
      ends.set(ends.count, rule, i, o, reads ? l.strength_of(i, o) : 0.f);
      ends.count += reads;
    }
    return ends;
  }
  for (int o = 0; o < NEIGHBOURS; ++o) {
    const int64_t i = l.neighbour(j, o, -1);
    if (i >= 0 && l.has(i, o)) ends.add(rule, i, o, l.strength_of(i, o));
  }
  return ends;
}

// Calls body<L, V>(first) for consecutive blocks of V vectors of L numbers that cover [0, f).
template <int V, class Body>
void over_blocks(int64_t f, const Body& body) {
  int64_t v = 0;
  for (; v + LANES * V <= f; v += LANES * V) body.template operator()<LANES, V>(v);
  for (; v + LANES <= f; v += LANES) body.template operator()<LANES, 1>(v);
  if constexpr (LANES > 4)
    for (; v + 4 <= f; v += 4) body.template operator()<4, 1>(v);
  for (; v < f; ++v) body.template operator()<1, 1>(v);
}

// perceived [K][F]: what the K kernels see of cell i's neighbours, F = B * C.
void gather(const Wiring& l, const Rule& rule, const float* state, int64_t i, int64_t f,
            float* perceived) {
  constexpr int BLOCK = std::max(1, std::min(8, REGISTERS / 2 / K));  // half the registers for sums
  const Ends ends = incoming(l, rule, i);
  over_blocks<BLOCK>(f, [&]<int L, int V>(int64_t first) {
    Vector<L> sum[K][V] = {};
    for (int n = 0; n < ends.count; ++n) {
      const float* from = state + ends.at[n] * f + first;
      for (int v = 0; v < V; ++v) {
        const auto seen = load<L>(from + v * L);
        for (int k = 0; k < K; ++k) sum[k][v] += ends.weight[n][k] * seen;
      }
    }
    for (int k = 0; k < K; ++k)
      for (int v = 0; v < V; ++v) store<L>(perceived + k * f + first + v * L, sum[k][v]);
  });
}

// d_state [F] of cell j gains what comes back from the cells that read it, and the kernels'
// gradient, summed per lane in along [K][26][LANES], what j's state meant to them.
void gather_back(const Wiring& l, const Rule& rule, const float* state, const float* d_perceived,
                 int64_t j, int64_t f, float* d_state, float* along) {
  const Ends ends = outgoing(l, rule, j);
  over_blocks<REGISTERS / 4>(f, [&]<int L, int V>(int64_t first) {
    Vector<L> sum[V], own[V];
    for (int v = 0; v < V; ++v) {
      sum[v] = load<L>(d_state + first + v * L);
      own[v] = load<L>(state + first + v * L);
    }
    for (int n = 0; n < ends.count; ++n)
      for (int k = 0; k < K; ++k) {
        const float* from = d_perceived + (ends.at[n] * K + k) * f + first;
        Vector<L> meant = {};
        for (int v = 0; v < V; ++v) {
          const auto d = load<L>(from + v * L);
          sum[v] += ends.weight[n][k] * d;
          meant += d * own[v];
        }
        float* total = along + (k * NEIGHBOURS + ends.offset[n]) * LANES;
        store<L>(total, load<L>(total) + ends.strength[n] * meant);
      }
    for (int v = 0; v < V; ++v) store<L>(d_state + first + v * L, sum[v]);
  });
}

// The transpose of the gather is a gather too: each cell collects from the cells that read it, so
// that no two threads write to one place. Adds to d_state [N][F] and d_kernel [K][26].
void transpose(const Wiring& l, const Rule& rule, int64_t f, const float* state,
               const float* d_perceived, float* d_state, float* d_kernel) {
  constexpr int SUMS = K * NEIGHBOURS;
  std::vector<float> partial(chunks_of(l.cells()) * SUMS, 0.f);
  over_chunks(l.cells(), [&](int64_t chunk, int64_t begin, int64_t end) {
    std::vector<float> along(SUMS * LANES, 0.f);
    for (int64_t j = begin; j < end; ++j)
      gather_back(l, rule, state + j * f, d_perceived, j, f, d_state + j * f, along.data());
    for (int n = 0; n < SUMS; ++n)
      for (int lane = 0; lane < LANES; ++lane)
        partial[chunk * SUMS + n] += along[n * LANES + lane];
  });
  for (size_t n = 0; n < partial.size(); ++n) d_kernel[n % SUMS] += partial[n];
}

template <int N, int M, int S>
void pad(const float* from, float (&to)[N][S]) {
  for (int n = 0; n < N; ++n) std::memcpy(to[n], from + n * M, sizeof(float) * M);
}

template <int N, int M, int S>
void flip(const float* from, float (&to)[M][S]) {
  for (int n = 0; n < N; ++n)
    for (int m = 0; m < M; ++m) to[m][n] = from[n * M + m];
}

// `to` gains `from` without its padding; returns where the next weight lies.
template <int N, int M, int S>
float* add(const float (&from)[N][S], float* to) {
  for (int n = 0; n < N; ++n)
    for (int m = 0; m < M; ++m) to[n * M + m] += from[n][m];
  return to + N * M;
}

// The rule's weights as the products read them: packed once a call, which costs microseconds.
struct Packed : Weights {
  Transposed transposed;

  explicit Packed(const Rule& rule) : Weights{}, transposed{} {
    pad<IN, H>(rule.w1, w1);
    pad<1, H>(rule.b1, b1);
    pad<H, OUT>(rule.w2, w2);
    pad<1, OUT>(rule.b2, b2);
    flip<IN, H>(rule.w1, transposed.w1);
    flip<H, OUT>(rule.w2, transposed.w2);
  }
};

// Rows that go through the rule together: the gradients of its weights are fetched once for all of
// them. (With 16 registers twice as many take as long.)
constexpr int GROUP = REGISTERS == 32 ? 16 : 8;

// What the threads share during a call.
struct Call {
  const Wiring& lattice;
  const Rule& rule;
  const Packed& weights;
  int64_t batch;

  int64_t row() const { return batch * C; }
};

// All the rule computes for R rows, a row being one sample of a cell; kept on the stack for the
// backward. Rows follow one another in a state; what a cell perceives is [K][B][C].
template <int R>
struct Rows {
  alignas(64) float in[R][spaced(IN)], hidden[R][spaced(H)], out[R][spaced(OUT)];
  alignas(64) float unit[R][C], gate[R][C], share[R], inverse[R];  // candidate = share * unit
  int64_t cell[R], sample[R];

  Rows(int64_t first, int64_t batch) {
    cell[0] = first / batch;
    sample[0] = first % batch;
    for (int r = 1; r < R; ++r) {
      const bool ends = sample[r - 1] + 1 == batch;
      cell[r] = cell[r - 1] + ends;
      sample[r] = ends ? 0 : sample[r - 1] + 1;
    }
  }

  int64_t perceived_at(const Call& call, int r) const {
    return cell[r] * K * call.row() + sample[r] * C;
  }

  void forward(const Call& call, const float* state, const float* perceived) {
    for (int r = 0; r < R; ++r) {
      std::memcpy(in[r], state + r * C, sizeof(float) * C);
      for (int k = 0; k < K; ++k)
        std::memcpy(in[r] + (1 + k) * C, perceived + perceived_at(call, r) + k * call.row(),
                    sizeof(float) * C);
    }
    const Packed& w = call.weights;
    product<R, IN, H, spaced(IN), 1, whole(H)>(
        in[0], w.w1[0], [&](int, int h) { return load(w.b1[0] + h); },
        [&](int r, int h, Vector<LANES> sum) { store(hidden[r] + h, sum > 0.f ? sum : Vector<LANES>{}); });
    product<R, H, OUT, spaced(H), 1, whole(OUT)>(
        hidden[0], w.w2[0], [&](int, int o) { return load(w.b2[0] + o); },
        [&](int r, int o, Vector<LANES> sum) { store(out[r] + o, sum); });
    float power[R][E];
    for (int r = 0; r < R; ++r) {
      Vector<E> squares = {};
      for (int c = 0; c < C; c += E) {
        const auto candidate = load<E>(in[r] + C + c) + load<E>(out[r] + c);
        squares += candidate * candidate;
        store<E>(unit[r] + c, candidate);
      }
      store<E>(power[r], squares);
    }
    for (int r = 0; r < R; ++r) share[r] = sum(power[r]) / C;
    for (int r = 0; r < R; ++r) {
      inverse[r] = 1.f / std::sqrt(share[r] + call.rule.epsilon);
      share[r] *= inverse[r] * inverse[r];
    }
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; c += E) {
        store<E>(unit[r] + c, inverse[r] * load<E>(unit[r] + c));
        const auto g = load<E>(out[r] + C + c);
        store<E>(gate[r] + c, 0.5f + 0.5f * g / (1.f + size(g)));
      }
  }

  void update(float* next, float* activity, int64_t stride) const {
    float change[R][E];
    for (int r = 0; r < R; ++r) {
      Vector<E> all = {};
      for (int c = 0; c < C; c += E) {
        const auto from = load<E>(in[r] + c);
        const auto step = load<E>(gate[r] + c) * (share[r] * load<E>(unit[r] + c) - from);
        store<E>(next + r * C + c, from + step);
        all += size(step);
      }
      store<E>(change[r], all);
    }
    for (int r = 0; r < R; ++r) activity[cell[r] * stride + sample[r]] = sum(change[r]) / C;
  }

  // Adds the rule's gradients to `total`; d_state [R][C] and d_perceived [K][B][C] are set.
  void backward(const Call& call, const float* d_next, Weights& total, float* d_state,
                float* d_perceived) const {
    alignas(64) float d_out[R][spaced(OUT)], d_hidden[R][spaced(H)], d_in[R][spaced(IN)] = {};
    float products[R][E], along[R];
    for (int r = 0; r < R; ++r) {
      Vector<E> all = {};
      for (int c = 0; c < C; c += E)
        all += load<E>(d_next + r * C + c) * load<E>(gate[r] + c) * load<E>(unit[r] + c);
      store<E>(products[r], all);
    }
    for (int r = 0; r < R; ++r)
      along[r] = sum(products[r]) * (2.f - 3.f * share[r]) * inverse[r] / C;
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; c += E) {
        const auto d = load<E>(d_next + r * C + c), open = load<E>(gate[r] + c);
        const auto towards = load<E>(unit[r] + c), fall = 1.f + size(load<E>(out[r] + C + c));
        const auto d_candidate = inverse[r] * share[r] * (d * open) + along[r] * towards;
        store<E>(d_out[r] + c, d_candidate);
        store<E>(d_out[r] + C + c,
                 0.5f * d * (share[r] * towards - load<E>(in[r] + c)) / (fall * fall));
        store<E>(d_in[r] + c, d - d * open);
        store<E>(d_in[r] + C + c, d_candidate);
      }
    product<R, OUT, H, spaced(OUT), 1, whole(H)>(
        d_out[0], call.weights.transposed.w2[0], [&](int, int) { return Vector<LANES>{}; },
        [&](int r, int h, Vector<LANES> d) {
          store(d_hidden[r] + h, load(hidden[r] + h) > 0.f ? d : Vector<LANES>{});
        });
    product<R, H, IN, spaced(H), 1, whole(IN)>(
        d_hidden[0], call.weights.transposed.w1[0], [&](int r, int n) { return load(d_in[r] + n); },
        [&](int r, int n, Vector<LANES> d) { store(d_in[r] + n, d); });
    add_outer<IN, H>(in, d_hidden, total.w1);
    add_outer<H, OUT>(hidden, d_out, total.w2);
    for (int r = 0; r < R; ++r) {
      for (int h = 0; h < H; ++h) total.b1[0][h] += d_hidden[r][h];
      for (int o = 0; o < OUT; ++o) total.b2[0][o] += d_out[r][o];
      std::memcpy(d_state + r * C, d_in[r], sizeof(float) * C);
      for (int k = 0; k < K; ++k)
        std::memcpy(d_perceived + perceived_at(call, r) + k * call.row(), d_in[r] + (1 + k) * C,
                    sizeof(float) * C);
    }
  }
};

// Calls body(rows, first cell, place in a state) for groups of rows, gone forward, that cover the
// cells of a chunk. Of small or odd batches several cells are taken together, so that groups are
// full.
template <class Body>
void over_rows(const Call& call, const float* state, int64_t begin, int64_t end,
               const Body& body) {
  const int64_t together = GROUP / std::gcd<int64_t>(GROUP, call.batch), wide = K * call.row();
  std::vector<float> perceived(together * wide);
  for (int64_t i = begin; i < end; i += together) {
    const int64_t cells = std::min(together, end - i), rows = cells * call.batch;
    for (int64_t n = 0; n < cells; ++n)
      gather(call.lattice, call.rule, state, i + n, call.row(), perceived.data() + n * wide);
    const auto group = [&]<int R>(int64_t first) {
      Rows<R> group(first, call.batch);
      const int64_t at = (i * call.batch + first) * C;
      group.forward(call, state + at, perceived.data());
      body(group, i, at);
    };
    int64_t first = 0;
    for (; first + GROUP <= rows; first += GROUP) group.template operator()<GROUP>(first);
    if constexpr (GROUP > 8)
      for (; first + 8 <= rows; first += 8) group.template operator()<8>(first);
    for (; first + 4 <= rows; first += 4) group.template operator()<4>(first);
    for (; first < rows; ++first) group.template operator()<1>(first);
  }
}

float dot(const float* __restrict a, const float* __restrict b, int64_t n) {
  float total = 0;
  for (int64_t v = 0; v < n; ++v) total += a[v] * b[v];
  return total;
}

}  // namespace

extern "C" {

int64_t gradients_size() { return RULE + K * NEIGHBOURS; }

// next [N][B][C] and activity (cell i, sample b at i * stride + b) from state [N][B][C].
void step_forward(const Lattice* lattice, const Rule* rule, int64_t batch, const float* state,
                  float* next, float* activity, int64_t stride) {
  const Wiring l(*lattice);
  const auto weights = std::make_unique<Packed>(*rule);
  const Call call{l, *rule, *weights, batch};
  over_chunks(l.cells(), [&](int64_t, int64_t begin, int64_t end) {
    over_rows(call, state, begin, end, [&](const auto& rows, int64_t i, int64_t at) {
      rows.update(next + at, activity + i * stride, stride);
    });
  });
}

// d_state [N][B][C] from d_next; the rule's gradients are added to total [gradients_size()].
// d_perceived [N][K][B][C] is scratch.
void step_backward(const Lattice* lattice, const Rule* rule, int64_t batch, const float* state,
                   const float* d_next, float* d_state, float* d_perceived, float* total) {
  const Wiring l(*lattice);
  const auto weights = std::make_unique<Packed>(*rule);
  const Call call{l, *rule, *weights, batch};
  const int64_t cells = l.cells();
  std::vector<Weights> partial(chunks_of(cells));
  over_chunks(cells, [&](int64_t chunk, int64_t begin, int64_t end) {
    over_rows(call, state, begin, end, [&](const auto& rows, int64_t i, int64_t at) {
      rows.backward(call, d_next + at, partial[chunk], d_state + at,
                    d_perceived + i * K * call.row());
    });
  });
  for (const Weights& part : partial) {
    float* to = add<IN, H>(part.w1, total);
    to = add<1, H>(part.b1, to);
    to = add<H, OUT>(part.w2, to);
    add<1, OUT>(part.b2, to);
  }
  transpose(l, *rule, call.row(), state, d_perceived, d_state, total + RULE);
}

// sums [N][K][F]: the aggregation alone, F = B * C.
void gather_forward(const Lattice* lattice, const Rule* rule, int64_t f, const float* state,
                    float* sums) {
  const Wiring l(*lattice);
  over_chunks(l.cells(), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) gather(l, *rule, state, i, f, sums + i * K * f);
  });
}

// d_state [N][F], zero at first, and d_kernel [K][26] from d_sums [N][K][F].
void gather_backward(const Lattice* lattice, const Rule* rule, int64_t f, const float* state,
                     const float* d_sums, float* d_state, float* d_kernel) {
  const Wiring l(*lattice);
  transpose(l, *rule, f, state, d_sums, d_state, d_kernel);
}

// product [E]: for each connection the inner product of a [N][L] at its cell and b [N][L] at its
// source.
void connection_dot(const Lattice* lattice, int64_t length, const float* a, const float* b,
                    float* product) {
  const Wiring l(*lattice);
  over_chunks(l.cells(), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* into = product + l.start[i];
      for (uint32_t bits = l.mask[i]; bits; bits &= bits - 1)
        *into++ = dot(a + i * length, b + l.neighbour(i, __builtin_ctz(bits), 1) * length, length);
    }
  });
}
}
