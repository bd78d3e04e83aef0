"""A third factor beside the activities of both ends: what the loss has to say.

    credit_ij = kernel(i <- j) sum_t,b < e_i(t + 1, b), s_j(t, b) >,    e_i = -dLoss/dstate_i
    dw_ij     = rate credit_ij / rms(credit)

s_j is what the source shows its neighbours, e_i the direction in which the receiving cell's state
would have to move for the loss to fall: a connection strengthens as far as its messages pointed
there, so that the loss improves, to first order, by what it carried. Local apart from e_i, which
every cell gets out of the backward pass that trains the shared rule; a gradient of the loss in the
strength it is not, since what the rule makes of a message (MLP, gate, normalisation) is left out.

Three-factor rules: Frémaux and Gerstner, Frontiers in Neural Circuits 9:85 (2016); a learning
signal for each cell in the place of one reward: e-prop, Bellec et al., Nature Communications 11
(2020). The form here is our own. The root mean square over the connections makes `rate` the size
of a step's change whatever the loss is and however it is scaled.
"""

from torch import Tensor


def three_factor(credit: Tensor, rate: float) -> Tensor:
    """The change [E] of the strengths after a step's `credit` [E]; none where nobody has any."""
    size = credit.square().mean().sqrt()
    return rate * credit / size.clamp_min(1e-30)
