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
constexpr int ROWS = 4;  // samples handled together, so that a weight row is loaded once for all

// Where the partial gradients of one chunk lie: w1 [IN][H], b1 [H], w2 [H][OUT], b2 [OUT], kernel.
constexpr int W1 = 0, B1 = W1 + IN * H, W2 = B1 + H, B2 = W2 + H * OUT, KERN = B2 + OUT;
constexpr int GRADIENTS = KERN + K * NEIGHBOURS;

struct Lattice {
  int64_t x, y, z;
  int periodic;
  const int32_t* mask;
  const int64_t* start;
  const float* strength;

  int64_t cells() const { return x * y * z; }

  // The cell `sign` times offset `o` away, or -1 outside closed borders.
  int64_t neighbour(int64_t i, int o, int sign) const {
    const int code = o < 13 ? o : o + 1;  // offsets run through 3 x 3 x 3 without the centre
    int64_t cz = i % z, cy = i / z % y, cx = i / (z * y);
    cx += sign * (code / 9 - 1);
    cy += sign * (code / 3 % 3 - 1);
    cz += sign * (code % 3 - 1);
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

// perceived [K][F]: what the K kernels see of cell i's neighbours, F = B * C.
void gather(const Lattice& l, const Rule& r, const float* state, int64_t i, int64_t f,
            float* __restrict perceived) {
  std::fill(perceived, perceived + K * f, 0.f);
  const float* strength = l.strength + l.start[i];
  for (uint32_t bits = l.mask[i]; bits; bits &= bits - 1, ++strength) {
    const int o = __builtin_ctz(bits);
    const float* __restrict from = state + l.neighbour(i, o, 1) * f;
    float weight[K];
    for (int k = 0; k < K; ++k) weight[k] = r.kernel[k * NEIGHBOURS + o] * *strength;
    for (int k = 0; k < K; ++k)
      for (int64_t v = 0; v < f; ++v) perceived[k * f + v] += weight[k] * from[v];
  }
}

// All the rule computes for R samples of a cell; kept on the stack for the backward.
template <int R>
struct Rows {
  float in[R][IN], hidden[R][H], out[R][OUT], candidate[R][C], gate[R][C], inverse[R];

  void forward(const Rule& rule, const float* state, const float* perceived, int64_t f) {
    for (int s = 0; s < R; ++s) {
      std::memcpy(in[s], state + s * C, sizeof(float) * C);
      for (int k = 0; k < K; ++k)
        std::memcpy(in[s] + (1 + k) * C, perceived + k * f + s * C, sizeof(float) * C);
    }
    for (int s = 0; s < R; ++s) std::memcpy(hidden[s], rule.b1, sizeof(hidden[s]));
    for (int c = 0; c < IN; ++c)
      for (int s = 0; s < R; ++s)
        for (int h = 0; h < H; ++h) hidden[s][h] += in[s][c] * rule.w1[c * H + h];
    for (int s = 0; s < R; ++s)
      for (int h = 0; h < H; ++h) hidden[s][h] = std::max(hidden[s][h], 0.f);
    for (int s = 0; s < R; ++s) std::memcpy(out[s], rule.b2, sizeof(out[s]));
    for (int h = 0; h < H; ++h)
      for (int s = 0; s < R; ++s)
        for (int o = 0; o < OUT; ++o) out[s][o] += hidden[s][h] * rule.w2[h * OUT + o];
    for (int s = 0; s < R; ++s) {
      float power = 0;
      for (int c = 0; c < C; ++c) {
        candidate[s][c] = in[s][C + c] + out[s][c];
        power += candidate[s][c] * candidate[s][c];
      }
      inverse[s] = 1.f / std::sqrt(power / C + rule.epsilon);
      for (int c = 0; c < C; ++c) {
        candidate[s][c] *= inverse[s];
        const float g = out[s][C + c];
        gate[s][c] = 0.5f + 0.5f * g / (1.f + std::fabs(g));
      }
    }
  }

  // Adds the rule's gradients to `sum`; d_state [R][C] and d_perceived [K][F] are set.
  void backward(const Rule& rule, const float* d_next, int64_t f, float* __restrict sum,
                float* d_state, float* d_perceived) {
    float d_out[R][OUT], d_hidden[R][H] = {}, d_in[R][IN] = {};
    for (int s = 0; s < R; ++s) {
      float along = 0;
      for (int c = 0; c < C; ++c) along += d_next[s * C + c] * gate[s][c] * candidate[s][c];
      along /= C;
      for (int c = 0; c < C; ++c) {
        const float d = d_next[s * C + c], fall = 1.f + std::fabs(out[s][C + c]);
        d_out[s][c] = inverse[s] * (d * gate[s][c] - candidate[s][c] * along);
        d_out[s][C + c] = d * (candidate[s][c] - in[s][c]) * 0.5f / (fall * fall);
        d_in[s][c] = d * (1.f - gate[s][c]);
        d_in[s][C + c] = d_out[s][c];
      }
    }
    for (int o = 0; o < OUT; ++o)
      for (int s = 0; s < R; ++s)
        for (int h = 0; h < H; ++h) d_hidden[s][h] += d_out[s][o] * rule.w2t[o * H + h];
    for (int s = 0; s < R; ++s)
      for (int h = 0; h < H; ++h) d_hidden[s][h] = hidden[s][h] > 0 ? d_hidden[s][h] : 0.f;
    for (int h = 0; h < H; ++h)
      for (int s = 0; s < R; ++s)
        for (int c = 0; c < IN; ++c) d_in[s][c] += d_hidden[s][h] * rule.w1t[h * IN + c];
    for (int h = 0; h < H; ++h)
      for (int s = 0; s < R; ++s)
        for (int o = 0; o < OUT; ++o) sum[W2 + h * OUT + o] += hidden[s][h] * d_out[s][o];
    for (int c = 0; c < IN; ++c)
      for (int s = 0; s < R; ++s)
        for (int h = 0; h < H; ++h) sum[W1 + c * H + h] += in[s][c] * d_hidden[s][h];
    for (int s = 0; s < R; ++s) {
      for (int h = 0; h < H; ++h) sum[B1 + h] += d_hidden[s][h];
      for (int o = 0; o < OUT; ++o) sum[B2 + o] += d_out[s][o];
      std::memcpy(d_state + s * C, d_in[s], sizeof(float) * C);
      for (int k = 0; k < K; ++k)
        std::memcpy(d_perceived + k * f + s * C, d_in[s] + (1 + k) * C, sizeof(float) * C);
    }
  }
};

template <int R>
void update(const Rule& rule, const float* state, const float* perceived, int64_t f, float* next,
            float* activity) {
  Rows<R> rows;
  rows.forward(rule, state, perceived, f);
  for (int s = 0; s < R; ++s) {
    float change = 0;
    for (int c = 0; c < C; ++c) {
      const float step = rows.gate[s][c] * (rows.candidate[s][c] - rows.in[s][c]);
      next[s * C + c] = rows.in[s][c] + step;
      change += std::fabs(step);
    }
    activity[s] = change / C;
  }
}

template <int R>
void update_backward(const Rule& rule, const float* state, const float* perceived, int64_t f,
                     const float* d_next, float* sum, float* d_state, float* d_perceived) {
  Rows<R> rows;
  rows.forward(rule, state, perceived, f);
  rows.backward(rule, d_next, f, sum, d_state, d_perceived);
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
void step_forward(const Lattice* l, const Rule* rule, int64_t batch, const float* state,
                  float* next, float* activity, int64_t stride) {
  const int64_t f = batch * C;
  over_chunks(l->cells(), [&](int64_t, int64_t begin, int64_t end) {
    std::vector<float> perceived(K * f);
    for (int64_t i = begin; i < end; ++i) {
      gather(*l, *rule, state, i, f, perceived.data());
      int64_t b = 0;
      for (; b + ROWS <= batch; b += ROWS)
        update<ROWS>(*rule, state + i * f + b * C, perceived.data() + b * C, f,
                     next + i * f + b * C, activity + i * stride + b);
      for (; b < batch; ++b)
        update<1>(*rule, state + i * f + b * C, perceived.data() + b * C, f, next + i * f + b * C,
                  activity + i * stride + b);
    }
  });
}

// d_state [N][B][C] from d_next; the rule's gradients are added to total [GRADIENTS].
// d_perceived [N][K][B][C] is scratch.
void step_backward(const Lattice* l, const Rule* rule, int64_t batch, const float* state,
                   const float* d_next, float* d_state, float* d_perceived, float* total) {
  const int64_t f = batch * C, cells = l->cells(), chunks = chunks_of(cells);
  std::vector<float> partial(chunks * GRADIENTS, 0.f);
  over_chunks(cells, [&](int64_t chunk, int64_t begin, int64_t end) {
    float* sum = partial.data() + chunk * GRADIENTS;
    std::vector<float> perceived(K * f);
    for (int64_t i = begin; i < end; ++i) {
      gather(*l, *rule, state, i, f, perceived.data());
      float* d_here = d_perceived + i * K * f;
      int64_t b = 0;
      for (; b + ROWS <= batch; b += ROWS)
        update_backward<ROWS>(*rule, state + i * f + b * C, perceived.data() + b * C, f,
                              d_next + i * f + b * C, sum, d_state + i * f + b * C,
                              d_here + b * C);
      for (; b < batch; ++b)
        update_backward<1>(*rule, state + i * f + b * C, perceived.data() + b * C, f,
                           d_next + i * f + b * C, sum, d_state + i * f + b * C, d_here + b * C);
    }
  });
  // The transpose of the gather, written as a gather too: cell j collects from the cells that
  // read it, so that no two threads write to one place.
  over_chunks(cells, [&](int64_t chunk, int64_t begin, int64_t end) {
    float* sum = partial.data() + chunk * GRADIENTS + KERN;
    for (int64_t j = begin; j < end; ++j) {
      float* __restrict into = d_state + j * f;
      for (int o = 0; o < NEIGHBOURS; ++o) {
        const int64_t i = l->neighbour(j, o, -1);
        if (i < 0 || !(static_cast<uint32_t>(l->mask[i]) >> o & 1u)) continue;
        const uint32_t before = static_cast<uint32_t>(l->mask[i]) & ((1u << o) - 1u);
        const float strength = l->strength[l->start[i] + __builtin_popcount(before)];
        for (int k = 0; k < K; ++k) {
          const float* __restrict from = d_perceived + (i * K + k) * f;
          const float weight = rule->kernel[k * NEIGHBOURS + o] * strength;
          for (int64_t v = 0; v < f; ++v) into[v] += weight * from[v];
          sum[k * NEIGHBOURS + o] += strength * dot(from, state + j * f, f);
        }
      }
    }
  });
  for (int64_t chunk = 0; chunk < chunks; ++chunk)
    for (int g = 0; g < GRADIENTS; ++g) total[g] += partial[chunk * GRADIENTS + g];
}

// product [E]: for each connection the inner product of a [N][L] at its cell and b [N][L] at its
// source.
void connection_dot(const Lattice* l, int64_t length, const float* a, const float* b,
                    float* product) {
  over_chunks(l->cells(), [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* into = product + l->start[i];
      for (uint32_t bits = l->mask[i]; bits; bits &= bits - 1)
        *into++ = dot(a + i * length, b + l->neighbour(i, __builtin_ctz(bits), 1) * length, length);
    }
  });
}
}
