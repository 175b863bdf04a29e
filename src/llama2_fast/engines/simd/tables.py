"""What Python writes and compiled code reads: tables of numbers, each described once.

A job describes one pass of the model: sizes, addresses of buffers, and for each row of the batch its token, position
and cache. A matrix has a table of its own. `Record` says where each field lies; `job` and `packing` write them, and
`kernels.records` lets compiled code read `job.dim` with the type that stands here. Letters are those of
llama2_ref.transformer; a row of a buffer is padded with zeros to whole vectors.
"""

from typing import NamedTuple

LANES = 16  # numbers in a vector, rows in a block of a packed matrix, positions in a block of keys
FLOAT_BYTES, HALF_BYTES, WORD_BYTES = 4, 2, 8  # a float32, float16 or bfloat16, int64 or float64 number
VECTOR_BYTES = LANES * FLOAT_BYTES
LINE_BYTES = 64  # a line of the processor's cache

FLOAT32, FLOAT16, BFLOAT16, INT8, INT4, INT4_OFFSET = range(6)  # layouts of matrices: floats, then integers

ENTRIES = {"run_step": 2, "run_exp": 3, "run_cos_sin": 3, "run_read": 3}  # functions, and their 64-bit integers

INT, FLOAT, ADDRESS = "int64", "float64", "address"
COUNTER = "counter"  # an int64 that several threads write: it has a line of the cache for itself


class Field(NamedTuple):
    """The type of a number, and where it lies, in bytes from the beginning of its table."""

    type: str
    offset: int


class Record:
    """A table whose fields are given as name=type, in their order. Counters must come first."""

    def __init__(self, name: str, **types: str) -> None:
        self.name, self.size = name, 0
        self.fields: dict[str, Field] = {}
        for field, type_ in types.items():
            self.fields[field] = Field(type_, self.size)
            self.size += LINE_BYTES if type_ == COUNTER else WORD_BYTES

    def row(self, **values: int) -> tuple[int, ...]:
        """All numbers of a table of integers, in the order of its fields."""
        if values.keys() != self.fields.keys():
            raise TypeError(f"{self.name} has the fields {', '.join(self.fields)} (got {', '.join(values)})")
        return tuple(values[name] for name in self.fields)


MATRIX = Record(
    "Matrix",
    layout=INT,
    rows=INT,
    cols=INT,  # padded to whole vectors
    weights=ADDRESS,
    scales=ADDRESS,
    groups=INT,  # in a row
    group_size=INT,  # numbers in a group
    steps=INT,  # in a group: see `packed_layout`
)

JOB = Record(
    "Job",
    arrived=COUNTER,  # threads that have come to a barrier so far
    aborted=COUNTER,  # not 0: the pass is aborted, and barriers no longer wait
    claimed=COUNTER,  # parts of the classifier that threads have taken so far
    threads=INT,
    count=INT,  # rows of the batch
    wanted=INT,  # rows whose logits are wanted
    dim=INT,
    hidden_dim=INT,
    layers=INT,
    heads=INT,
    kv_heads=INT,
    head_size=INT,
    eps=FLOAT,
    score_scale=FLOAT,  # 1 / sqrt(E)
    frequencies=ADDRESS,  # (E/2) float64
    matrices=ADDRESS,  # tables: embedding, then LAYER_MATRICES of each layer, then wcls
    norms=ADDRESS,  # (2 L + 1, D): rms_att and rms_ffn of each layer, then rms_final
    # For each row of the batch an integer:
    tokens=ADDRESS,
    positions=ADDRESS,
    keys=ADDRESS,
    values=ADDRESS,
    capacities=ADDRESS,  # positions for which its cache has room
    errors=ADDRESS,  # 1 + index of a number that can't be quantized, its bits in the upper half
    wanted_rows=ADDRESS,  # (wanted) integers
    taps=ADDRESS,  # addresses of taps, (2 + L * TAPS_IN_LAYER) of them, or 0
    # Buffers, and the bytes from one row to the next:
    x=ADDRESS,
    h=ADDRESS,
    y=ADDRESS,
    dim_stride=INT,  # of x, h and y
    q=ADDRESS,
    att=ADDRESS,
    q_stride=INT,  # of q and att
    k=ADDRESS,
    v=ADDRESS,
    kv_stride=INT,  # of k and v
    gate=ADDRESS,
    up=ADDRESS,
    hidden_stride=INT,  # of gate and up
    logits=ADDRESS,
    logits_stride=INT,
    quants=ADDRESS,
    quants_stride=INT,
    quant_scales=ADDRESS,
    quant_sums=ADDRESS,
    groups_stride=INT,  # of quant_scales and quant_sums
    scores=ADDRESS,  # a row for each thread
    scores_stride=INT,
    rope_table=ADDRESS,  # cosine and sine of each of E/2 angles
    rope_stride=INT,
)

LAYER_MATRICES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")
WQ, WK, WV, WO, W1, W2, W3 = range(len(LAYER_MATRICES))
MATRICES_IN_LAYER = len(LAYER_MATRICES)

LAYER_TAPS = ("att_norm", "q", "k", "v", "att", "x1", "ffn_norm", "gate", "out")
TAP_ATT_NORM, TAP_Q, TAP_K, TAP_V, TAP_ATT, TAP_X1, TAP_FFN_NORM, TAP_GATE, TAP_OUT = range(len(LAYER_TAPS))
TAPS_IN_LAYER = len(LAYER_TAPS)
TAP_FINAL_NORM, TAP_LOGITS = range(2)  # behind those of the last layer


def padded(n: int) -> int:
    """Numbers in whole vectors."""
    return -(-n // LANES) * LANES
