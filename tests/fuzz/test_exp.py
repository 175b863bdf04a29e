"""The contract of numpy's float32 exp, on which the bounds rest: |fl(exp z) - e^z| <= EXP_REL e^z + EXP_ABS."""

import numpy as np

from llama2_ref.bounded import EXP_ABS, EXP_REL


def test_exp_keeps_its_contract():
    """One in 61 of all float32 numbers from -104.5 to 88.7, by their bits."""
    positive = np.arange(0, np.float32(88.7).view(np.int32), 61, dtype=np.int32).view(np.float32)
    negative = -np.arange(0, np.float32(104.5).view(np.int32), 61, dtype=np.int32).view(np.float32)
    for z in (positive, negative):
        exact = np.exp(z.astype(np.float64))
        off = np.abs(np.exp(z).astype(np.float64) - exact)
        assert np.all(off <= EXP_REL * exact + EXP_ABS)
    assert np.exp(np.float32(0)) == 1
