"""How much is done, held or looked at together, where a stage's memory depends on it.

What trains and what predicts its peak (planning/cost) go by the same number: each is here once.
"""

PROBE_NUMBERS = 256  # of a cell's activity profile, at most: ticks times probe samples
CLUSTERING_SAMPLE = 1500  # cells on which clustering chooses its threshold and number of clusters
LABELS_KEPT = 6  # clusterings whose labels are kept: the last, and those of 5 epochs before
FREE_TRIALS_TOGETHER = 2  # samples whose run without input is recorded together
TEXT_IDS_HELD = 1 << 17  # texts of a split up to which their ids stay in memory
REPLIES_RANKED = 2000  # held-out replies ranked against one another
TEXTS_DECODED_TOGETHER = 64  # held-out texts, also when each is compared with all training texts
PROJECTION_BLOCK = 4096  # cells whose strengths are projected at once
DEVICE_PROJECTION_BLOCK = 65536  # the same on a GPU, where what counts is how many steps it takes
FUSED_WIDTHS = (32, 64, 4)  # channels, hidden and kernels of a GPU's fused step, at most
GRADIENT_SLAB = 32 << 20  # bytes of what it makes the weights' gradients of at once
GRADIENT_PROGRAMS = 1024  # that each add some of them up, before they are added together
