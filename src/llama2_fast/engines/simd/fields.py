"""Where things are in the tables of integers that compiled code reads: byte offsets of 64-bit numbers.

A job describes one pass of the model: sizes, addresses of buffers, and for each row of the batch its token, position
and cache. A matrix is described by MATRIX_SIZE bytes. Letters are those of llama2_ref.transformer; a row of a buffer is
padded with zeros to whole vectors.
"""

FLOAT32, FLOAT16, BFLOAT16, INT8, INT4, INT4_OFFSET = range(6)  # kinds of matrices: floats, then integers
LANES = 16  # numbers in a vector, rows in a block of a packed matrix, positions in a block of keys


class _Fields:
    """Hands out offsets."""

    def __init__(self) -> None:
        self.size = 0

    def take(self) -> int:
        self.size += 8
        return self.size - 8

    def take_line(self) -> int:
        """For a number that threads write: it has a line of the cache for itself."""
        self.size += 64
        return self.size - 64


_matrix = _Fields()
KIND = _matrix.take()
ROWS = _matrix.take()
COLS = _matrix.take()  # padded to whole vectors
WEIGHTS = _matrix.take()
SCALES = _matrix.take()
GROUPS = _matrix.take()  # in a row
GROUP = _matrix.take()  # numbers in a group
STEPS = _matrix.take()  # dot4 in a group
MATRIX_SIZE = _matrix.size

_job = _Fields()
ARRIVED = _job.take_line()  # threads that have come to a barrier so far
ABORTED = _job.take_line()  # not 0: nobody is waited for any more
CLAIMED = _job.take_line()  # parts of the classifier that threads have taken so far
TEAM = _job.take()  # number of threads
COUNT = _job.take()  # rows of the batch
WANTED = _job.take()  # rows whose logits are wanted
DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_SIZE = (_job.take() for _ in range(6))
EPS = _job.take()  # float64
SCORE_SCALE = _job.take()  # float64: 1 / sqrt(E)
FREQUENCIES = _job.take()  # (E/2) float64
MATRICES = _job.take()  # descriptions: embedding, then wq wk wv wo w1 w2 w3 of each layer, then wcls
NORMS = _job.take()  # (2 L + 1, D): rms_att and rms_ffn of each layer, then rms_final
TOKENS, POSITIONS, KEYS, VALUES, CAPACITIES = (_job.take() for _ in range(5))  # (COUNT) integers each
WANTED_ROWS = _job.take()  # (WANTED) integers
ERRORS = _job.take()  # (COUNT) integers: 1 + index of a number that can't be quantized, its bits above that
TAPS = _job.take()  # addresses of taps, (2 + L * 9) of them, or 0

# Buffers: address, then bytes between two rows.
X, H, Q, K, V, ATT, Y, GATE, UP, LOGITS, QUANTS, QUANT_SCALES, QUANT_SUMS, SCORES, TURNS = (
    _job.take() for _ in range(15)
)
STRIDE_D, STRIDE_Q, STRIDE_KV, STRIDE_F, STRIDE_LOGITS = (_job.take() for _ in range(5))
STRIDE_QUANTS, STRIDE_GROUPS, STRIDE_SCORES, STRIDE_TURNS = (_job.take() for _ in range(4))
JOB_SIZE = _job.size

ENTRIES = {"run_step": 2, "run_exp": 3, "run_cos_sin": 3, "run_read": 3}  # functions, and their 64-bit integers

LAYER_MATRICES = 7
LAYER_TAPS = ("att_norm", "q", "k", "v", "att", "x1", "ffn_norm", "gate", "out")  # then final_norm and logits
TAPS_IN_LAYER = len(LAYER_TAPS)


def padded(n: int) -> int:
    """Numbers in whole vectors."""
    return -(-n // LANES) * LANES
