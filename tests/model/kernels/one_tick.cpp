// One tick, forward and backward, of a closed lattice of 4 x 3 x 3 cells with all connections and
// 8 samples, to be counted. Includes the step as STEP.
#include STEP

void GOMP_parallel(void (*work)(void*), void* data, unsigned, unsigned) { work(data); }

namespace {

std::vector<float> numbers(size_t count) {  // in [-0.5, 0.5), always the same
  std::vector<float> made(count);
  uint32_t seed = 1;
  for (float& one : made) one = ((seed = seed * 1664525u + 1013904223u) >> 8) / 16777216.f - 0.5f;
  return made;
}

}  // namespace

int main() {
  Lattice lattice{4, 3, 3, 0, nullptr, nullptr, nullptr};
  std::vector<int32_t> mask(lattice.cells());
  std::vector<int64_t> start(lattice.cells());
  int64_t count = 0;
  for (int64_t i = 0; i < lattice.cells(); ++i) {
    start[i] = count;
    for (int o = 0; o < NEIGHBOURS; ++o)
      if (lattice.neighbour(i, o, 1) >= 0) mask[i] |= 1 << o, ++count;
  }
  const auto strength = numbers(count), kernel = numbers(K * NEIGHBOURS), w1 = numbers(IN * H);
  const auto b1 = numbers(H), w2 = numbers(H * OUT), b2 = numbers(OUT);
  lattice.mask = mask.data(), lattice.start = start.data(), lattice.strength = strength.data();
  const Rule rule{kernel.data(), w1.data(), b1.data(), w2.data(), b2.data(), 0.01f};
  const auto state = numbers(lattice.cells() * 8 * C), d_next = state;
  std::vector<float> next(state.size()), activity(lattice.cells() * 8), d_state(state.size());
  std::vector<float> d_perceived(K * state.size()), total(gradients_size());
  step_forward(&lattice, &rule, 8, state.data(), next.data(), activity.data(), 8);
  step_backward(&lattice, &rule, 8, state.data(), d_next.data(), d_state.data(),
                d_perceived.data(), total.data());
}
