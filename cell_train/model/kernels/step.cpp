// One tick of the lattice and its backward, fused: gather, shared rule, gated update.
//
// Compiled once per rule width with -DCHANNELS -DHIDDEN -DKERNELS, so that every inner loop has a
// constant length and vectorises. Layouts, all float32 and contiguous:
//   state [N][B][C]   weights w1 [IN][H], w2 [H][2C]   kernel [K][26]   strength [E]
// Work is cut into chunks by the number of cells alone and partial sums are added in chunk order:
// the same bits come out whatever the number of threads.
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int C = CHANNELS, H = HIDDEN, K = KERNELS;
constexpr int IN = (1 + K) * C, OUT = 2 * C;
constexpr int NEIGHBOURS = 26;

// Where the partial gradients of one chunk lie: w1 [IN][H], b1 [H], w2 [H][OUT], b2 [OUT], kernel.
constexpr int W1 = 0, B1 = W1 + IN * H, W2 = B1 + H, B2 = W2 + H * OUT, KERN = B2 + OUT;
constexpr int GRADIENTS = KERN + K * NEIGHBOURS;

// Numbers a vector register holds, as many as divide n; the compiler splits what is too wide.
constexpr int lanes(int n) { return n % 16 == 0 ? 16 : n % 8 == 0 ? 8 : n % 4 == 0 ? 4 : 1; }

template <int L>
struct Vector {
  typedef float type __attribute__((vector_size(L * sizeof(float)), aligned(sizeof(float))));
};
template <>
struct Vector<1> {
  typedef float type;
};
template <int L>
typename Vector<L>::type load(const float* from) {
  return *reinterpret_cast<const typename Vector<L>::type*>(from);
}
template <int L>
void store(float* to, typename Vector<L>::type value) {
  *reinterpret_cast<typename Vector<L>::type*>(to) = value;
}

// Rows of samples lie an odd number of cache lines apart: an even one would make the rows that are
// read together compete for the same part of the first-level cache.
constexpr int padded(int n) { return ((n + 15) / 16 | 1) * 16; }

// out[r][:] += x[r][:] w for R rows, w [N][M]: each row of w is loaded once for all of them.
template <int N, int M, int R, int XS, int OS>
void multiply(const float (&x)[R][XS], const float* w, float (&out)[R][OS]) {
  constexpr int L = lanes(M), V = M / L;
  typename Vector<L>::type sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sum[r][v] = load<L>(out[r] + v * L);
#pragma GCC unroll 1  // unrolled whole, the sums would no longer stay in registers
  for (int n = 0; n < N; ++n)
    for (int v = 0; v < V; ++v) {
      const auto row = load<L>(w + n * M + v * L);
      for (int r = 0; r < R; ++r) sum[r][v] += x[r][n] * row;
    }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store<L>(out[r] + v * L, sum[r][v]);
}

// sum [N][M] += x^T d over R rows: the gradient of a weight.
template <int N, int M, int R, int XS, int DS>
void add_outer(const float (&x)[R][XS], const float (&d)[R][DS], float* sum) {
  constexpr int L = lanes(M), V = M / L;
  for (int n = 0; n < N; ++n)
    for (int v = 0; v < V; ++v) {
      auto row = load<L>(sum + n * M + v * L);
      for (int r = 0; r < R; ++r) row += x[r][n] * load<L>(d[r] + v * L);
      store<L>(sum + n * M + v * L, row);
    }
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
  int64_t far[NEIGHBOURS];  // how much further than an inner cell its neighbours lie

  explicit Wiring(const Lattice& lattice) : Lattice(lattice) {
    for (int o = 0; o < NEIGHBOURS; ++o) far[o] = (DX[o] * y + DY[o]) * z + DZ[o];
  }
};

struct Rule {
  const float *kernel, *w1, *b1, *w2, *b2, *w1t, *w2t;
  float epsilon;
};

int64_t chunks_of(int64_t cells) { return std::clamp<int64_t>(cells / 16, 1, 64); }

template <class Body>
void over_chunks(int64_t cells, const Body& body) {
  const int64_t chunks = chunks_of(cells);
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) body(c, cells * c / chunks, cells * (c + 1) / chunks);
  });
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
  const bool inner = l.inner(i);
  if (inner && l.mask[i] == (1 << NEIGHBOURS) - 1) {  // of constant length: it vectorises
    for (int o = 0; o < NEIGHBOURS; ++o) ends.set(o, rule, i + l.far[o], o, strength[o]);
    ends.count = NEIGHBOURS;
    return ends;
  }
  for (uint32_t bits = l.mask[i]; bits; bits &= bits - 1, ++strength) {
    const int o = __builtin_ctz(bits);
    ends.add(rule, inner ? i + l.far[o] : l.neighbour(i, o, 1), o, *strength);
  }
  return ends;
}

Ends outgoing(const Wiring& l, const Rule& rule, int64_t j) {
  Ends ends;
  if (l.inner(j)) {
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

constexpr int BLOCK = 4;  // vectors of 16 numbers gathered together, so that sums stay in registers

// Calls body<L, V>(first) for consecutive blocks of V vectors of L numbers that cover [0, f).
template <class Body>
void over_blocks(int64_t f, const Body& body) {
  int64_t v = 0;
  for (; v + 16 * BLOCK <= f; v += 16 * BLOCK) body.template operator()<16, BLOCK>(v);
  for (; v + 16 <= f; v += 16) body.template operator()<16, 1>(v);
  for (; v < f; ++v) body.template operator()<1, 1>(v);
}

// perceived [K][F]: what the K kernels see of cell i's neighbours, F = B * C.
void gather(const Wiring& l, const Rule& rule, const float* state, int64_t i, int64_t f,
            float* perceived) {
  const Ends ends = incoming(l, rule, i);
  over_blocks(f, [&]<int L, int V>(int64_t first) {
    typename Vector<L>::type sum[K][V] = {};
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
// gradient, summed per lane in along [K][26][16], what j's state meant to them.
void gather_back(const Wiring& l, const Rule& rule, const float* state, const float* d_perceived,
                 int64_t j, int64_t f, float* d_state, float* along) {
  const Ends ends = outgoing(l, rule, j);
  over_blocks(f, [&]<int L, int V>(int64_t first) {
    typename Vector<L>::type sum[V], own[V];
    for (int v = 0; v < V; ++v) {
      sum[v] = load<L>(d_state + first + v * L);
      own[v] = load<L>(state + first + v * L);
    }
    for (int n = 0; n < ends.count; ++n)
      for (int k = 0; k < K; ++k) {
        const float* from = d_perceived + (ends.at[n] * K + k) * f + first;
        typename Vector<L>::type meant = {};
        for (int v = 0; v < V; ++v) {
          const auto d = load<L>(from + v * L);
          sum[v] += ends.weight[n][k] * d;
          meant += d * own[v];
        }
        float* total = along + (k * NEIGHBOURS + ends.offset[n]) * 16;
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
    std::vector<float> along(SUMS * 16, 0.f);
    for (int64_t j = begin; j < end; ++j)
      gather_back(l, rule, state + j * f, d_perceived, j, f, d_state + j * f, along.data());
    for (int n = 0; n < SUMS; ++n)
      for (int lane = 0; lane < 16; ++lane) partial[chunk * SUMS + n] += along[n * 16 + lane];
  });
  for (size_t n = 0; n < partial.size(); ++n) d_kernel[n % SUMS] += partial[n];
}

// All the rule computes for R samples of a cell; kept on the stack for the backward.
template <int R>
struct Rows {
  float in[R][padded(IN)], hidden[R][padded(H)], out[R][padded(OUT)];
  float unit[R][C], share[R], inverse[R], gate[R][C];  // candidate = share * unit

  void forward(const Rule& rule, const float* state, const float* perceived, int64_t f) {
    for (int s = 0; s < R; ++s) {
      std::memcpy(in[s], state + s * C, sizeof(float) * C);
      for (int k = 0; k < K; ++k)
        std::memcpy(in[s] + (1 + k) * C, perceived + k * f + s * C, sizeof(float) * C);
      std::memcpy(hidden[s], rule.b1, sizeof(float) * H);
      std::memcpy(out[s], rule.b2, sizeof(float) * OUT);
    }
    multiply<IN, H>(in, rule.w1, hidden);
    for (int s = 0; s < R; ++s)
      for (int h = 0; h < H; ++h) hidden[s][h] = std::max(hidden[s][h], 0.f);
    multiply<H, OUT>(hidden, rule.w2, out);
    for (int s = 0; s < R; ++s) {
      float power = 0;
      for (int c = 0; c < C; ++c) {
        unit[s][c] = in[s][C + c] + out[s][c];
        power += unit[s][c] * unit[s][c];
      }
      inverse[s] = 1.f / std::sqrt(power / C + rule.epsilon);
      share[s] = power / C * inverse[s] * inverse[s];
      for (int c = 0; c < C; ++c) {
        unit[s][c] *= inverse[s];
        const float g = out[s][C + c];
        gate[s][c] = 0.5f + 0.5f * g / (1.f + std::fabs(g));
      }
    }
  }

  void update(float* next, float* activity) const {
    for (int s = 0; s < R; ++s) {
      float change = 0;
      for (int c = 0; c < C; ++c) {
        const float step = gate[s][c] * (share[s] * unit[s][c] - in[s][c]);
        next[s * C + c] = in[s][c] + step;
        change += std::fabs(step);
      }
      activity[s] = change / C;
    }
  }

  // Adds the rule's gradients to `sum`; d_state [R][C] and d_perceived [K][F] are set.
  void backward(const Rule& rule, const float* d_next, int64_t f, float* sum, float* d_state,
                float* d_perceived) const {
    float d_out[R][padded(OUT)], d_hidden[R][padded(H)] = {}, d_in[R][padded(IN)] = {};
    for (int s = 0; s < R; ++s) {
      float along = 0;
      for (int c = 0; c < C; ++c) along += d_next[s * C + c] * gate[s][c] * unit[s][c];
      along *= (2.f - 3.f * share[s]) / C;
      for (int c = 0; c < C; ++c) {
        const float d = d_next[s * C + c], fall = 1.f + std::fabs(out[s][C + c]);
        d_out[s][c] = inverse[s] * (d * gate[s][c] * share[s] + unit[s][c] * along);
        d_out[s][C + c] = d * (share[s] * unit[s][c] - in[s][c]) * 0.5f / (fall * fall);
        d_in[s][c] = d * (1.f - gate[s][c]);
        d_in[s][C + c] = d_out[s][c];
      }
    }
    multiply<OUT, H>(d_out, rule.w2t, d_hidden);
    for (int s = 0; s < R; ++s)
      for (int h = 0; h < H; ++h) d_hidden[s][h] = hidden[s][h] > 0 ? d_hidden[s][h] : 0.f;
    multiply<H, IN>(d_hidden, rule.w1t, d_in);
    add_outer<IN, H>(in, d_hidden, sum + W1);
    add_outer<H, OUT>(hidden, d_out, sum + W2);
    for (int s = 0; s < R; ++s) {
      for (int h = 0; h < H; ++h) sum[B1 + h] += d_hidden[s][h];
      for (int o = 0; o < OUT; ++o) sum[B2 + o] += d_out[s][o];
      std::memcpy(d_state + s * C, d_in[s], sizeof(float) * C);
      for (int k = 0; k < K; ++k)
        std::memcpy(d_perceived + k * f + s * C, d_in[s] + (1 + k) * C, sizeof(float) * C);
    }
  }
};

// Calls body<R>(first sample) for groups of R samples that cover the batch.
template <class Body>
void over_samples(int64_t batch, const Body& body) {
  int64_t b = 0;
  for (; b + 8 <= batch; b += 8) body.template operator()<8>(b);
  for (; b + 4 <= batch; b += 4) body.template operator()<4>(b);
  for (; b < batch; ++b) body.template operator()<1>(b);
}

float dot(const float* __restrict a, const float* __restrict b, int64_t n) {
  float total = 0;
  for (int64_t v = 0; v < n; ++v) total += a[v] * b[v];
  return total;
}

}  // namespace

extern "C" {

int64_t gradients_size() { return GRADIENTS; }

// next [N][B][C] and activity (cell i, sample b at i * stride + b) from state [N][B][C].
void step_forward(const Lattice* lattice, const Rule* rule, int64_t batch, const float* state,
                  float* next, float* activity, int64_t stride) {
  const Wiring l(*lattice);
  const int64_t f = batch * C;
  over_chunks(l.cells(), [&](int64_t, int64_t begin, int64_t end) {
    std::vector<float> perceived(K * f);
    for (int64_t i = begin; i < end; ++i) {
      gather(l, *rule, state, i, f, perceived.data());
      over_samples(batch, [&]<int R>(int64_t b) {
        const int64_t at = i * f + b * C;
        Rows<R> rows;
        rows.forward(*rule, state + at, perceived.data() + b * C, f);
        rows.update(next + at, activity + i * stride + b);
      });
    }
  });
}

// d_state [N][B][C] from d_next; the rule's gradients are added to total [GRADIENTS].
// d_perceived [N][K][B][C] is scratch.
void step_backward(const Lattice* lattice, const Rule* rule, int64_t batch, const float* state,
                   const float* d_next, float* d_state, float* d_perceived, float* total) {
  const Wiring l(*lattice);
  const int64_t f = batch * C, cells = l.cells(), chunks = chunks_of(cells);
  std::vector<float> partial(chunks * KERN, 0.f);
  over_chunks(cells, [&](int64_t chunk, int64_t begin, int64_t end) {
    std::vector<float> perceived(K * f);
    for (int64_t i = begin; i < end; ++i) {
      gather(l, *rule, state, i, f, perceived.data());
      over_samples(batch, [&]<int R>(int64_t b) {
        const int64_t at = i * f + b * C;
        Rows<R> rows;
        rows.forward(*rule, state + at, perceived.data() + b * C, f);
        rows.backward(*rule, d_next + at, f, partial.data() + chunk * KERN, d_state + at,
                      d_perceived + i * K * f + b * C);
      });
    }
  });
  for (int64_t chunk = 0; chunk < chunks; ++chunk)
    for (int g = 0; g < KERN; ++g) total[g] += partial[chunk * KERN + g];
  transpose(l, *rule, f, state, d_perceived, d_state, total + KERN);
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
