"""The arrays of each package, as formats are handed them."""

from types import ModuleType

import llama2_fast
import llama2_ref
from llama2_fast.matrices.arrays import ARRAYS as NUMPY
from llama2_ref.formats.arrays import Arrays
from llama2_ref.formats.lists import LISTS

ARRAYS: dict[ModuleType, Arrays] = {llama2_ref: LISTS, llama2_fast: NUMPY}
