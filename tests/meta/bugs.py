"""The planted bugs: mistakes that people make in such programs, each with the test that must notice it.

A bug is a place in the source where one text is replaced by another. `planting` does that, in a copy. To add one, write
a line below the module in which it lives: a name, the test, and {the right text: the wrong one}; the right text must
stand once in the file. It must change what the module does: what no test could ever notice is no bug.

Every module of llama2_fast that has logic of its own is here. What both packages share is planted in llama2_ref, where
no test that compares the two could notice: another judge must.
"""

from meta.planting import Bug

Row = tuple[str, str, dict[str, str]]  # name, test, {right text: wrong text}

KERNELS, QUANTIZE, SAMPLER = "fuzz/test_kernels.py::", "fuzz/test_quantize.py::", "fuzz/test_sampler.py::"
TOKENIZER, FILES, MODELS = "fuzz/test_tokenizer.py::", "fuzz/test_checkpoint.py::", "fuzz/test_transformer.py::"
BITS, ENGINE, UNIT = "fuzz/test_simd.py::", "unit/engines/test_simd.py::", "unit/test_transformer.py::"
PEERS, BENCH = "unit/test_peer_bugs.py::", "unit/tools/test_bench.py::"
DISPATCH = SCRIPT = "unit/cli/test_main.py::test_"
BAD, CHAT = "unit/cli/test_bad_input.py::", "unit/generation/test_chat.py::"
JUDGE, GENERATE = "meta/test_judge.py::", "unit/generation/test_stream.py::"
UNIT_TOKENIZER = "unit/test_tokenizer.py::"
OTHERS, TEMPLATE = "unit/tokenizers/test_read.py::", "unit/generation/test_chat_template.py::"
FOREIGN = "unit/generation/test_foreign_text.py::"

VERIFY = "unit/tools/test_verify.py::"
CHECKS, BIT_TEST = "unit/tools/test_checks.py::", "unit/conformance/test_bits.py::"
SUITE, REPRODUCE = "meta/test_conformance.py::", "meta/test_reproduce.py::"
STRATEGIES, BOUNDS = "meta/test_strategies.py::", "meta/test_bounds.py::"

EXACT_RMSNORM = KERNELS + "test_rmsnorm_sums_in_float64"
MANY_QUERIES = KERNELS + "test_attention_of_many_queries_is_causal"
INT8_BITS = QUANTIZE + "test_quantize_is_equal_bit_for_bit"
INT4_BITS = QUANTIZE + "test_quantize_int4_is_equal_bit_for_bit_and_errs_by_half_a_step"
GRID = SAMPLER + "test_tokens_are_equal_on_a_grid"
ENCODING = TOKENIZER + "test_encoding_is_equal"
BUFFERS = MODELS + "test_every_buffer_keeps_its_bound[numpy]"
SIMD_BUFFERS = MODELS + "test_every_buffer_keeps_its_bound[simd]"
NUMPY_INT8 = MODELS + "test_every_buffer_of_a_quantized_model_keeps_its_bound[numpy-int8]"
SIMD_INT8 = MODELS + "test_every_buffer_of_a_quantized_model_keeps_its_bound[simd-int8]"
SIMD_INT4 = MODELS + "test_every_buffer_of_a_quantized_model_keeps_its_bound[simd-int4]"
REAL_SIZES = MODELS + "test_every_buffer_keeps_its_bound_at_real_sizes"
FIXED_BITS = BITS + "test_every_machine_finds_these_bits[None]"
THREADS_AND_CUTS = BITS + "test_bits_depend_neither_on_threads_nor_on_how_a_prompt_is_cut"
BATCHES = BITS + "test_bits_do_not_depend_on_what_else_is_in_the_batch"
TILES = BITS + "test_bits_do_not_depend_on_tiles[None]"
SIMD_FILES = MODELS + "test_every_buffer_of_another_program_s_model_keeps_its_bound[simd-"
UNIT_DECODE = "unit/formats/test_dtypes.py::"
NUMPY_FILES = MODELS + "test_every_buffer_of_another_program_s_model_keeps_its_bound[numpy-"
WIDE_ROWS = BITS + "test_bits_do_not_depend_on_how_wide_rows_are_cut[None]"

WEIGHTS = "unit/test_weights.py::"

GUILTY = VERIFY + "test_a_wrong_kernel_is_named[rope-closed]"


def of(file: str, *rows: Row, needs: str = "") -> list[Bug]:
    """The bugs of one module."""
    return [Bug(name, file, tuple(edits.items()), test, needs) for name, test, edits in rows]


# ----------------------------------------------------------------------------------------------------------- arithmetic

ARITHMETIC = [
    *of(
        "llama2_fast/kernels.py",
        ("matmul drops the last column", KERNELS + "test_matmul_is_exact_on_a_grid",
         {"matrix @ vectors.reshape(-1)": "matrix[:, :-1] @ vectors.reshape(-1)[:-1]"}),
        ("matmul starts at column 1", KERNELS + "test_matmul",
         {"matrix @ vectors.reshape(-1)": "matrix[:, 1:] @ vectors.reshape(-1)[1:]"}),
        ("matmul rounds its inputs to half precision", KERNELS + "test_matmul",
         {"matrix @ vectors.reshape(-1)": "(matrix.astype(np.float16) @ vectors.reshape(-1)).astype(np.float32)"}),
        ("matmul is off by one part in a million", KERNELS + "test_matmul",
         {"matrix @ vectors.reshape(-1)": "matrix @ (vectors.reshape(-1) * np.float32(1 + 1e-6))"}),
        ("many vectors come out in reverse order", KERNELS + "test_matmul_of_many_vectors",
         {"many: Array = vectors @ matrix.T": "many: Array = vectors[::-1] @ matrix.T"}),
        ("add subtracts", KERNELS + "test_add", {"return a + b": "return a - b"}),
        ("rmsnorm without eps", EXACT_RMSNORM, {"/ wide.shape[-1] + eps) ** -0.5": "/ wide.shape[-1]) ** -0.5"}),
        ("rmsnorm with a fixed eps", EXACT_RMSNORM, {"wide.shape[-1] + eps)": "wide.shape[-1] + 1e-5)"}),
        ("rmsnorm adds eps to the root", KERNELS + "test_rmsnorm",
         {"(np.vecdot(wide, wide) / wide.shape[-1] + eps) ** -0.5":
          "1 / ((np.vecdot(wide, wide) / wide.shape[-1]) ** 0.5 + eps)"}),
        ("rmsnorm divides by n - 1", KERNELS + "test_rmsnorm",
         {"/ wide.shape[-1] + eps": "/ max(1, wide.shape[-1] - 1) + eps"}),
        ("rmsnorm without its weights", KERNELS + "test_rmsnorm", {"out *= weight": "out *= 1"}),
        ("rmsnorm sums in float32", EXACT_RMSNORM, {"vectors.astype(np.float64)": "vectors.astype(np.float32)"}),
        ("rope turns the other way", KERNELS + "test_rope",
         {"turn.real, turn.imag = c, s": "turn.real, turn.imag = c, -s"}),
        ("rope pairs the halves of a head", KERNELS + "test_rope",
         {"pairs = np.ascontiguousarray(vectors).view(np.complex64)":
          "halves = vectors.reshape(*vectors.shape[:-1], -1, 2, c.shape[-1])",
          "turned = pairs.reshape(*vectors.shape[:-1], -1, c.shape[-1]) * turn[..., None, :]":
          "turned = (halves[..., 0, :] + 1j * halves[..., 1, :]) * turn[..., None, :]",
          "out: Array = turned.view(np.float32)": "out: Array = np.stack((turned.real, turned.imag), -2)"}),
        ("rope counts positions from 1", KERNELS + "test_rope_table",
         {"np.asarray(position, np.float64)": "np.asarray(position, np.float64) + 1"}),
        ("rope makes its angles in float32", KERNELS + "test_rope_table",
         {"    frequencies = theta ** (-np.arange(0, head_size, 2) / head_size)":
          "    frequencies = np.float32(theta) ** (-np.arange(0, head_size, 2) / head_size).astype(np.float32)",
          "np.multiply.outer(np.asarray(position, np.float64)": "np.multiply.outer(np.asarray(position, np.float32)"}),
        ("rope's frequencies fall twice as fast", KERNELS + "test_rope_table",
         {"(-np.arange(0, head_size, 2) / head_size)": "(-np.arange(0, head_size, 2) / (head_size // 2))"}),
        ("softmax takes off no maximum", KERNELS + "test_softmax",
         {"logits - logits.max(-1, keepdims=True)": "logits.copy()"}),
        ("softmax takes off the first number", KERNELS + "test_softmax",
         {"logits - logits.max(-1, keepdims=True)": "logits - logits[..., :1]"}),
        ("query heads are dealt out in turn", KERNELS + "test_attention",
         {"query.reshape(count, -1, group, size).transpose(1, 2, 0, 3)":
          "query.reshape(count, group, -1, size).transpose(2, 1, 0, 3)"}),
        ("attention without scale", KERNELS + "test_attention", {"query * np.float32(size**-0.5)": "query * 1"}),
        ("attention scales by 1 / E", KERNELS + "test_attention", {"size**-0.5": "size**-1.0"}),
        ("attention scales by the root of D", KERNELS + "test_attention",
         {"np.float32(size**-0.5)": "np.float32(query.shape[-1] ** -0.5)"}),
        ("attention's scale is off by one part in a million",
         KERNELS + "test_attention_s_weights_are_those_of_exact_scores",
         {"np.float32(size**-0.5)": "np.float32(size**-0.5 * (1 + 1e-6))"}),
        ("a query sees the key behind its own", MANY_QUERIES, {"> own[:, None]": "> own[:, None] + 1"}),
        ("a query does not see its own key", MANY_QUERIES, {"> own[:, None]": ">= np.maximum(own, 1)[:, None]"}),
        ("the mask forgets what was in the cache", MANY_QUERIES,
         {"own = np.arange(length - count, length)": "own = np.arange(count)"}),
        ("silu takes exp of x, which overflows", KERNELS + "test_silu",
         {"e: Array = np.abs(gate)": "e: Array = -gate"}),
        ("swiglu takes its arguments in the other order", KERNELS + "test_swiglu",
         {"out = silu(a)": "out = silu(b)",
          "out *= b": "out *= a"}),
        ("argmax takes the last of equals", KERNELS + "test_argmax",
         {"int(np.argmax(x))": "len(x) - 1 - int(np.argmax(np.asarray(x)[::-1]))"}),
        ("argmax begins with 0", KERNELS + "test_argmax", {"np.argmax(x)": "np.argmax(np.maximum(x, 0))"}),
    ),
    *of(
        "llama2_fast/quantize.py",
        ("int8 truncates", INT8_BITS, {"q = np.rint(groups": "q = np.trunc(groups"}),
        ("int8 rounds half away from zero", INT8_BITS,
         {"q = np.rint(groups / divisor[..., None])":
          "q = np.copysign(np.floor(np.abs(groups / divisor[..., None]) + np.float32(0.5)), groups)"}),
        ("int8 multiplies by the reciprocal", INT8_BITS,
         {"q = np.rint(groups / divisor[..., None])": "q = np.rint(groups * (1 / divisor)[..., None])"}),
        ("int8 knows no smallest maximum", INT8_BITS,
         {"np.where(peak < SMALLEST_MAXIMUM, np.float32(0), peak / np.float32(Q_MAX))": "peak / np.float32(Q_MAX)"}),
        ("int8 divides by 128", INT8_BITS, {"peak / np.float32(Q_MAX)": "peak / np.float32(Q_MAX + 1)"}),
        ("int4 never takes -8", INT4_BITS, {"[..., None]), INT4_MIN, INT4_MAX)": "[..., None]), -INT4_MAX, INT4_MAX)"}),
        ("int4 lets 8 wrap", INT4_BITS, {"[..., None]), INT4_MIN, INT4_MAX)": "[..., None]), INT4_MIN, -INT4_MIN)"}),
        ("int4 scales have no sign", INT4_BITS,
         {"(peak / np.float32(INT4_MIN))": "(np.abs(peak) / np.float32(-INT4_MIN))"}),
        ("int4 scales stay float32", INT4_BITS, {".astype(np.float16).astype(np.float32)": ".astype(np.float32)"}),
        ("int4 takes the last of equal peaks", INT4_BITS,
         {"np.abs(groups).argmax(-1, keepdims=True)":
          "group_size - 1 - np.abs(groups[..., ::-1]).argmax(-1, keepdims=True)"}),
        ("int8 products take the scale of the next group", QUANTIZE + "test_matmul_int8",
         {"np.vecdot(sums * w_scale, x_scale[0])": "np.vecdot(sums * np.roll(w_scale, 1, -1), x_scale[0])"}),
        ("int8 products of many vectors forget the scale of x", QUANTIZE + "test_matmul_int8_of_many_vectors",
         {"    sums *= x_scale.T[:, :, None]\n": ""}),
        ("int8 sums wrap at 16 bits", QUANTIZE + "test_integer_sums_are_exact_in_large_groups[1-1033]",
         {"np.float32 if size <= LARGEST_FLOAT32_GROUP else np.float64": "np.int16"}),
        ("int8 sums go through float32 in large groups",
         QUANTIZE + "test_integer_sums_are_exact_in_large_groups[3-40001]",
         {"2**24 // (128 * Q_MAX)": "2**24 // Q_MAX"}),
        ("the last block of rows is left out", QUANTIZE + "test_blocks_of_rows_are_put_together",
         {"range(0, len(w_q), rows)": "range(0, len(w_q) - rows + 1, rows)"}),
        ("weights are quantized in one group a row", QUANTIZE + "test_weights_are_quantized_alike[int4]",
         {"matrix_group_size(cols, quantization)\n    q, scale": "cols\n    q, scale"}),
    ),
    *of(
        "llama2_fast/sampler.py",
        ("top-p keeps one token too few", GRID,
         {'kept = min(int(np.searchsorted(sums, topp, side="right")) + 1, len(sums))':
          'kept = max(1, int(np.searchsorted(sums, topp, side="right")))'}),
        ("top-p ends where the sum reaches p", GRID,
         {'np.searchsorted(sums, topp, side="right")': 'np.searchsorted(sums, topp, side="left")'}),
        ("top-p filters as llama2.c does", GRID,
         {"(wide.sum() - topp) / len(wide) * (1 - 1e-3)": "(1 - topp) / max(1, len(wide) - 1)"}),
        ("ties go to the higher index", GRID,
         {'candidates[np.argsort(-wide[candidates], kind="stable")]':
          'candidates[np.argsort(wide[candidates], kind="stable")[::-1]]'}),
        ("the coin is not scaled to what is kept", GRID, {"coin * sums[kept - 1]": "coin"}),
        ("a coin may equal the running sum", GRID,
         {'np.searchsorted(sums, coin, side="right")': 'np.searchsorted(sums, coin, side="left")'}),
        ("top-p of 1 still sorts", GRID,
         {"if not 0 < topp < 1:\n        return sample": "if not 0 < topp <= 1:\n        return sample"}),
        ("the temperature multiplies", SAMPLER + "test_samplers_draw_accepted_tokens",
         {"/ np.float64(self.temperature)": "* np.float64(self.temperature)"}),
        ("the temperature becomes float32", SAMPLER + "test_samplers_draw_accepted_tokens",
         {"/ np.float64(self.temperature)": "/ np.float32(self.temperature)"}),
        ("infinity passes for a logit", GENERATE + "test_bad_logits_are_named[llama2_fast-0.0]",
         {"np.isnan(logits) | np.isposinf(logits)": "np.isnan(logits)"}),
    ),
]  # fmt: skip

# ----------------------------------------------------------------------------------------------------------------- text

TEXT = [
    *of(
        "llama2_fast/tokenizer.py",
        ("the rightmost of equal pairs is joined", ENCODING,
         {"(-self.scores[joined], i, joined": "(-self.scores[joined], -i, joined",
          "_, i, joined, left, right = heappop(heap)":
          "_, i, joined, left, right = heappop(heap)\n            i = -i"}),
        ("the lowest score is joined first", ENCODING, {"(-self.scores[joined], i": "(self.scores[joined], i"}),
        ("the first pair is joined, whatever its score", ENCODING, {"(-self.scores[joined], i": "(0.0, i"}),
        ("a pair whose right half is gone is joined", ENCODING,
         {"if ids[i] != left or ids[j] != right:": "if ids[i] != left:"}),
        ("a join never meets its left neighbour", ENCODING,
         {"                self._push(heap, before[i], ids[before[i]], joined)": "                pass"}),
        ("the last token joins what is behind it", ENCODING,
         {"None if right == GONE else self._joined(left, right)": "self._joined(left, right)"}),
        ("special tokens are not those that are given", UNIT_TOKENIZER + "test_other_files_have_other_ids[llama2_fast]",
         {"super().__init__(tokens, scores, special_tokens)": "super().__init__(tokens, scores)"}),
        ("the list is not mended on its left", ENCODING, {"            before[after[i]] = i\n": ""}),
        ("texts are cut at every space", ENCODING,
         {"if text[i - 1 : i + 1] not in self._neighbours:": 'if text[i] == " ":'}),
        ("parts are remembered by how they begin", ENCODING,
         {"self._remembered.get(part)": "self._remembered.get(part[:1])",
          "self._remembered[part] = ids": "self._remembered[part[:1]] = ids"}),
    ),
    *of(
        "llama2_ref/tokenizer.py",
        ("bytes are 3 and up in any vocabulary",
         PEERS + "test_b12_bytes_beyond_the_vocabulary_are_unknown[llama2_fast]",
         {"self._token_of_byte.get(byte, self.special_tokens.unknown)": "FIRST_BYTE + byte"}),
        ("of equal tokens the last counts", PEERS + "test_of_equal_tokens_the_first_counts[llama2_fast]",
         {"reversed(list(enumerate(self.tokens)))": "enumerate(self.tokens)"}),
        ("bytes join", PEERS + "test_bytes_do_not_join_and_special_tokens_are_not_found_by_their_text[llama2_fast]",
         {"if left in self._apart or right in self._apart:": "if min(left, right) <= EOS:"}),
        ("no space is put in front of a text", TOKENIZER + "test_decoding_undoes_encoding",
         {'" " + text if self.special_tokens.space_prefix else text': "text"}),
        ("each byte becomes text by itself", TOKENIZER + "test_bytes_are_joined_before_they_become_text",
         {"yield utf8.decode(text[1:] if begins and text.startswith(b\" \") else text)":
          'yield (text[1:] if begins and text.startswith(b" ") else text).decode(errors="replace")'}),
        ("every token loses its leading space", TOKENIZER + "test_decoding_undoes_encoding",
         {"if begins and text.startswith": "if text.startswith"}),
        ("scores and lengths are swapped in a file", TOKENIZER + "test_files_are_read_as_they_were_written",
         {'score, length = struct.unpack_from("<fi", data, offset)':
          'length, score = struct.unpack_from("<if", data, offset)'}),
    ),
    *of(
        "llama2_ref/sampler.py",
        ("the generator is shifted by 26", SAMPLER + "test_coins_are_those_of_llama2_c",
         {"state >> 27": "state >> 26"}),
        ("a coin has 32 bits", SAMPLER + "test_coins_are_those_of_llama2_c", {">> 40) / 2**24": ">> 32) / 2**32"}),
    ),
    *of(
        "llama2_ref/generation/request.py",
        ("EOS is text like any other", GENERATE + "test_bos_and_eos_end_a_text[llama2_fast-2]",
         {"if token in self._end_tokens:": "if token == 1:"}),
        ("steps are counted without BOS", GENERATE + "test_steps_are_positions[llama2_fast-5-6]",
         {"elif len(self.tokens) > self.end:": "elif len(self.tokens) > self.end + 1:"}),
    ),
    *of(
        "llama2_ref/generation/chat.py",
        ("an answer does not end with EOS", CHAT + "test_the_format[llama2_fast]",
         {"tokenizer.encode(content, bos=False, eos=True)": "tokenizer.encode(content, bos=False)"}),
        ("no EOS stands between an answer and the next question",
         CHAT + "test_turns_are_stripped_and_the_system_message_is_said_once[llama2_fast]",
         {'self._last.tokens + self._tokenizer.encode("", bos=False, eos=True)': "self._last.tokens"}),
        ("names of special tokens are text in a rendered chat",
         CHAT + "test_a_model_s_own_template_is_used[llama2_fast]", {"tokenizer.encode_special(": "tokenizer.encode("}),
        ("a template sees the last question only",
         CHAT + "test_a_conversation_renders_all_turns_and_reads_what_is_new[llama2_fast]",
         {"messages = [*self._messages, *self._answered()] if self._last else []": "messages = []"}),
        ("a conversation keeps tokens that have changed",
         CHAT + "test_a_conversation_renders_all_turns_and_reads_what_is_new[llama2_fast]",
         {"self._cache.length = _agreeing(self._last.tokens[: self._cache.length], tokens[:-1])":
          "self._cache.length = min(self._cache.length, len(tokens) - 1)"}),
        ("an older answer goes on",
         CHAT + "test_an_older_answer_can_not_go_on_once_the_next_question_is_asked[llama2_fast]",
         {"            self._last.close()\n": ""}),
        ("a system message is dropped without a word",
         CHAT + "test_templates_that_can_not_be_used[llama2_fast-{{ messages[-1].content }}-be-PromptError-"
         "has no place for a system message]", {"if system not in text:": "if False:"}),
    ),
    *of(
        "llama2_fast/model.py",
        ("a model's own template is not used", FOREIGN + "test_a_folder_chats_by_its_own_template[llama2_fast]",
         {"Sampler, file.chat_template,": "Sampler, None,"}),
        ("the backend that is asked for is not passed on", UNIT + "test_load_passes_its_options_on",
         {"backend=backend, quantize=quantize": "quantize=quantize"}),
        ("the tokenizer that is named is not used", UNIT + "test_load_passes_its_options_on",
         {"read_tokenizer(file, tokenizer, Tokenizer)": "read_tokenizer(file, None, Tokenizer)"}),
    ),
    *of(
        "llama2_ref/model.py",
        ("a tokenizer may be of any size", BAD + "test_tokenizer_of_another_checkpoint[llama2_fast-299]",
         {"read_path(path, file.config.vocab_size, tokenizer)": "read_path(path, None, tokenizer)"}),
        ("GGUF files get the slow tokenizer", FOREIGN + "test_gguf_files_get_the_package_s_own_algorithm[llama2_fast]",
         {"file.tokenizer(tokenizer) if": "file.tokenizer(Tokenizer) if"}),
    ),
]  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------- files

CHECKPOINTS = [
    *of(
        "llama2_fast/matrices/arrays.py",
        ("scales are read from where the numbers begin", FILES + "test_round_trip",
         {"np.frombuffer(scale, np.float32)": "np.frombuffer(q, np.float32, len(scale) // 4)"}),
        ("groups that span rows are taken for others", FILES + "test_groups_that_span_rows_are_read_by_their_numbers",
         {"if cols % group_size:": "if len(q) % group_size:"}),
        ("scales are written among the numbers", FILES + "test_large_tensors_are_written_in_parts[2]",
         {"scales.append(scale.tobytes())\n            yield q.tobytes()":
          "yield q.tobytes()\n            yield scale.tobytes()"}),
        ("groups of another size are written as they are",
         FILES + "test_int8_weights_with_other_groups_are_grouped_anew[llama2_fast]",
         {"known.group_size == group_size and": "known.group_size and"}),
    ),
    *of(
        "llama2_ref/formats/llama2c_header.py",
        ("heads and key/value heads are swapped in a header", FILES + "test_round_trip",
         {"dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len = struct":
          "dim, hidden_dim, n_layers, n_kv_heads, n_heads, vocab_size, seq_len = struct"}),
        ("vocabulary and context are swapped, read and written",
         FILES + "test_tensors_come_in_llama2_c_s_order[llama2_fast-1]",
         {"c.n_kv_heads, c.vocab_size, c.seq_len]": "c.n_kv_heads, c.seq_len, c.vocab_size]",
          "header = Header(version, Config(*sizes), bool(shared), group_size)":
          "header = Header(version, Config(*sizes[:5], sizes[6], sizes[5]), bool(shared), group_size)"}),
        ("offsets wrap at 32 bits", FILES + "test_tensors_beyond_four_gigabytes_are_found[llama2_fast]",
         {"rows, cols, offset, self.quantized(name))": "rows, cols, offset & 0xFFFFFFFF, self.quantized(name))"}),
        ("a negative vocabulary size means shared",
         FILES + "test_version_0_is_read_number_by_number[llama2_fast-False]",
         {"shared_classifier=vocab_size > 0": "shared_classifier=vocab_size < 0",
          "1 if self.shared_classifier else -1": "-1 if self.shared_classifier else 1"}),
        ("the unused tables of version 0 are not skipped",
         FILES + "test_version_0_is_read_number_by_number[llama2_fast-False]",
         {"            shapes[ROPE_TABLES] = 2, c.seq_len, c.head_size // 2\n": "            pass\n"}),
        ("norms come first in version 0, too", FILES + "test_version_0_is_read_number_by_number[llama2_fast-False]",
         {"if self.version:  # norms first": "if self.version >= 0:  # norms first"}),
        ("the group size is read one byte early", FILES + "test_round_trip",
         {'struct.unpack_from("<i", start, 37)': 'struct.unpack_from("<i", start, 36)'}),
        ("what follows the last tensor is not looked at",
         BAD + "test_checkpoint_with_something_behind_it[llama2_fast-more1-1]",
         {"if header.file_bytes() != file_bytes:": "if header.file_bytes() > file_bytes:"}),
        ("the group size need not divide hidden_dim", FILES + "test_the_group_size_divides_rows",
         {"gcd(config.dim, config.hidden_dim)": "config.dim"}),
    ),
    *of(
        "llama2_ref/support/files.py",
        ("a file that is replaced becomes readable for all",
         FILES + "test_a_file_that_is_replaced_hands_on_its_permissions",
         {"                shutil.copymode(target, beside)": "                pass"}),
    ),
]  # fmt: skip

# ------------------------------------------------------------------------------------------------------ models on numpy

WHOLE_MODELS = [
    *of(
        "llama2_fast/engines/numpy_engine.py",
        ("w1 and w3 are swapped", BUFFERS, {"(w.w1[layer], w.w3[layer])": "(w.w3[layer], w.w1[layer])"}),
        ("wq is taken for wo", BUFFERS, {"(w.wo[layer],)": "(w.wq[layer],)"}),
        ("the norms of a layer are swapped", BUFFERS,
         {"w.rms_att_weight[layer]": "w.rms_ffn_weight[layer]",
          "w.rms_ffn_weight[layer]": "w.rms_att_weight[layer]"}),
        ("the residual is left out", BUFFERS, {'"x1", k.add(x, product)': '"x1", product'}),
        ("the classifier is always the embedding table", BUFFERS, {"(w.wcls,)": "(w.token_embedding_table,)"}),
        ("positions begin anew with every part of a prompt", BUFFERS,
         {"np.arange(cache.length, cache.length + len(tokens))": "np.arange(len(tokens))"}),
        ("the last token of each part leaves a stale row in the cache", BUFFERS,
         {"self._rows[1, layer, position:end] = key, value":
          "self._rows[1, layer, position:end - 1] = key, value[:-1]"}),
        ("the cache forgets what it holds when it grows", BUFFERS,
         {"            grown[:, :, : self._rows.shape[2]] = self._rows\n": ""}),
        ("a block of queries does not see what was in the cache",
         UNIT + "test_many_queries_see_what_was_in_the_cache[own]",
         {"seen = before + min(start": "seen = min(start",
          "out, before = np.empty_like(query), len(keys) - len(query)": "out = np.empty_like(query)"}),
        ("the last block of queries is left out", UNIT + "test_any_number_of_threads_keeps_the_bounds[0-1]",
         {"for start in range(0, len(query), QUERIES)]": "for start in range(0, len(query) - QUERIES, QUERIES)]"}),
        ("a prompt of whole chunks has no last one", UNIT + "test_a_prompt_may_be_a_whole_number_of_chunks[numpy]",
         {"start + CHUNK >= len(tokens)": "start + CHUNK > len(tokens)"}),
        ("the first weight that is not finite is looked for in q",
         BAD + "test_scale_that_is_not_finite_is_named[llama2_fast-wq-inf]",
         {"matrix_of(item).float_parts": "matrix_of(item).parts[:1]"}),
    ),
    *of(
        "llama2_ref/weights.py",
        ("scales of an int8 embedding are those of the first row", WEIGHTS + "test_rows",
         {"kernels.dequantize_int8(*(part[index] for part in self.parts))":
          "kernels.dequantize_int8(self.q[index], *(0 * part[index] + part[0] if hasattr(part, 'shape') else part[0] "
          "for part in self.parts[1:]))"}),
        ("a vector is quantized in groups of another size", WEIGHTS + "test_products",
         {"kernels.quantize_int8(x, self.group_size)": "kernels.quantize_int8(x, 2 * self.group_size)"}),
        ("offsets are left out of a product", WEIGHTS + "test_products",
         {"q, scale, *offset = self.parts": "q, scale, *offset = self.parts[:2]"}),
        ("offsets may be anything", WEIGHTS + "test_parts_that_may_be_other_than_finite",
         {"return self.offset, self.scale": "return (self.scale,)"}),
        ("some rows are those from the first on", WEIGHTS + "test_some_rows",
         {"type(self)(*(part[rows] for part in self.parts))":
          "type(self)(*(part[: rows.stop - rows.start] for part in self.parts))"}),
        ("int4 says that it is int8", WEIGHTS + "test_what_it_is", {'label = "int4"\n': 'label = "int8"\n'}),
    ),
    *of(
        "llama2_fast/transformer.py",
        ("taps keep what later steps overwrite", UNIT + "test_taps_keep_copies",
         {"value.copy() if earlier is None": "value if earlier is None"}),
        ("the number of threads is the one that is asked for", UNIT + "test_kernels_of_others_are_called_by_one_thread",
         {"self.engine.name, self.engine.threads": "self.engine.name, threads"}),
        ("every logit is asked for", MODELS + "test_only_the_last_logits_are_made_unless_every_one_is_asked_for",
         {"self.engine.forward(tokens, cache, every, taps)": "self.engine.forward(tokens, cache, True, taps)"}),
    ),
    *of(
        "llama2_fast/engines/rowwise.py",
        ("kernels of others see one key too few", UNIT + "test_many_queries_see_what_was_in_the_cache[others]",
         {"before = len(keys) - len(q) + 1": "before = max(1, len(keys) - len(q))"}),
        ("kernels of others get every row of scales", UNIT + "test_int8_kernels_can_be_exchanged",
         {"(self._kernels.dequantize_int8(*rows) for rows in zip(*parts, strict=True))":
          "(self._kernels.dequantize_int8(row, parts[1][0]) for row in parts[0])"}),
    ),
    *of(
        "llama2_fast/engines/threads.py",
        ("the last remainder of a split is dropped", UNIT + "test_small_parts_are_put_together",
         {"slice(length * i // parts, length * (i + 1) // parts)":
          "slice(length // parts * i, length // parts * (i + 1))"}),
        ("errors of other threads are lost", UNIT + "test_an_error_in_a_thread_comes_through",
         {"            future.result()": "            future.exception()"}),
        ("threads do not know of numpy's settings",
         UNIT + "test_overflow_in_threads_is_an_error_and_not_a_warning[numpy-0]",
         {"self._pool.submit(copy_context().run, task)": "self._pool.submit(task)"}),
        ("a forked process waits for threads of its parent", UNIT + "test_a_forked_process_has_threads_of_its_own",
         {"if self._pool is None or self._process != os.getpid():": "if self._pool is None:"}),
        ("the first task runs twice", UNIT + "test_an_error_in_a_thread_comes_through",
         {"for task in tasks[1:]]": "for task in tasks]"}),
    ),
]  # fmt: skip

ENGINES = of(
    "llama2_fast/engines/choose.py",
    ("the environment overrules the argument", ENGINE + "test_the_environment_chooses_where_nobody_else_does",
     {'asked or os.environ.get("LLAMA2_BACKEND")': 'os.environ.get("LLAMA2_BACKEND") or asked'}),
    ("group sizes may differ in what shares its vectors", ENGINE + "test_groups_of_several_sizes_run_in_numpy",
     {"{matrix_of(matrix).group_size for matrix": "{0 for matrix"}),
    ("only the first layer is looked at", ENGINE + "test_groups_of_several_sizes_run_in_numpy",
     {"for layer in range(len(weights.wq)):": "for layer in range(0):"}),
    ("kernels of others are not used", ENGINE + "test_other_kernels_run_in_numpy",
     {"if not own_kernels:": "if own_kernels is None:"}),
    needs="numba",
)  # fmt: skip

# --------------------------------------------------------------------------------------------------------- measurements

MEASUREMENTS = [
    *of(
        "llama2_fast/tools/bench.py",
        ("integers are quantized again", BENCH + "test_a_version_2_file_is_measured_as_it_is",
         {"if not model.has_integers:": "if True:"}),
        ("an engine that can't run is found while measuring", BENCH + "test_simd_needs_numba",
         {'    engine_works(required=args.backend == "simd")': '    engine_works(required=False)'}),
    ),
    *of(
        "llama2_fast/tools/bench_models.py",
        ("large shapes are written only to be quantized",
         BENCH + "test_a_large_shape_is_written_only_to_be_read[kinds1-0-files1]",
         {"(None in quantizations or model.is_small)": "True"}),
        ("disks have room", BENCH + "test_full_disk", {"    if free < size:": "    if False:"}),
    ),
    *of(
        "llama2_fast/tools/bench_peers.py",
        ("the first rate of a program counts", BENCH + "test_rates_are_found",
         {"rates[-1][0] or rates[-1][1]": "rates[0][0] or rates[0][1]"}),
        ("a program that fails has no rate", BENCH + "test_peers_that_do_not_work",
         {"    if done.returncode:\n": "    if False:\n"}),
    ),
    *of(
        "llama2_fast/tools/bench_rounds.py",
        ("the slowest round is the best", BENCH + "test_best_and_median_of_rounds",
         {"(min if name in": "(max if name in"}),
        ("more tokens than the context holds", BENCH + "test_no_more_tokens_than_the_context_holds",
         {"min(args.prompt, model.config.seq_len)": "max(args.prompt, model.config.seq_len)"}),
    ),
    *of(
        "llama2_fast/tools/bench_report.py",
        ("ratios are the other way round", BENCH + "test_best_and_median_of_rounds",
         {"{name: rate / other for name": "{name: other / rate for name"}),
    ),
    *of(
        "llama2_fast/tools/stored_weights.py",
        ("scales of int8 groups are counted as two bytes", BENCH + "test_bytes_per_token",
         {"float_bytes = 2 if half else 4": "float_bytes = 2"}),
        ("the classifier is not read", BENCH + "test_bytes_per_token_of_a_large_shape",
         {'spec.name == "token_embedding_table")': "not spec.per_layer)"}),
    ),
    *of(
        "llama2_fast/tools/outputs.py",
        ("files are looked at behind the work", BENCH + "test_files_must_have_a_place",
         {"    for path in (None if": "    for path in () and (None if"}),
        ("nothing is written", BENCH + "test_everything_is_measured",
         {'if args.json not in (None, "-"):': "if False:"}),
    ),
    *of(
        "llama2_fast/tools/machine.py",
        ("a machine has as many cores as it is asked for", BENCH + "test_the_machine_is_told",
         {'"cores": available_cores()': '"cores": 1'}),
    ),
    *of(
        "llama2_fast/tools/bench_worker.py",
        ("peak memory is told in kilobytes", BENCH + "test_peak_memory_is_this_process_s_own",
         {"int(line.split()[1]) * 1024": "int(line.split()[1])"}),
        ("matrices of one buffer stay in the cache", BENCH + "test_weights_in_memory_are_all_there[numpy-int8]",
         {'own_copies(weights) if backend == "numpy" else weights': "weights"}),
    ),
    *of(
        "llama2_fast/tools/random_models.py",
        ("BOS may be the likeliest token", BENCH + "test_random_weights", {"        numbers[ends] /= 100\n": ""}),
        ("large shapes share their classifier, too", BENCH + "test_shapes_have_the_sizes_of_their_names",
         {'name.startswith("stories")': 'name.startswith(("stories", "7B"))'}),
    ),
    *of(
        "llama2_fast/__main__.py",
        ("the exit code is lost", BAD + "test_missing_file_in_a_process_of_its_own[llama2_fast]",
         {'sys.exit(main("python -m llama2_fast"))': 'main("python -m llama2_fast")'}),
        ("the exit code of the script is lost", SCRIPT + "errors_of_the_script",
         {"        return run(llama2_fast, prog=prog)": "        run(llama2_fast, prog=prog)"}),
        ("the script calls itself by another name", SCRIPT + "errors_of_the_script",
         {'prog: str = "llama2"': 'prog: str = "python -m llama2_fast"'}),
        ("the script runs the reference", SCRIPT + "the_script_is_there",
         {"run(llama2_fast, prog=prog)": "run(__import__('llama2_ref'), prog=prog)"}),
    ),
]  # fmt: skip

# --------------------------------------------------------------------------------------------------------------- verify

VERIFIERS = [
    *of(
        "llama2_fast/tools/verify.py",
        ("what is wrong ends with 0, as what is right", GUILTY, {'return 0 if report["right"] else 1': "return 0"}),
    ),
    *of(
        "llama2_fast/tools/verify_json.py",
        ("infinity is written as JSON does not have it", VERIFY + "test_no_number_is_wrong",
         {"float(x) if isfinite(x) else None": "float(x)"}),
    ),
    *of(
        "llama2_fast/tools/verify_task.py",
        ("other bits are no reason to complain", VERIFY + "test_other_bits_are_found[3 threads]",
         {" and not any(identity.broken for identity in bits)": ""}),
        ("more tokens may be asked for than the context holds", VERIFY + "test_arguments",
         {"asked is not None and asked > room": "False"}),
    ),
    *of(
        "llama2_fast/tools/checks.py",
        ("every token goes in at once", VERIFY + "test_only_what_is_wrong_one_by_one", {"7 / 8": "1"}),
        ("sequences of a batch are compared with themselves",
         VERIFY + "test_other_bits_are_found[sequence 2 of a batch]",
         {"_logits(transformer, sequence, len(sequence))": "logits"}),
    ),
    *of(
        "llama2_fast/tools/peer_logits.py",
        ("ours are those of the first tokens", VERIFY + "test_the_last_position_alone",
         {"every = len(logits) != 1": "every = True"}),
    ),
    *of(
        "llama2_fast/conformance/buffers.py",
        ("numbers that break their bounds are not counted", GUILTY, {"self.wrong += comparison.wrong": "pass"}),
        ("products of Q4_1 are taken for floats", CHECKS + "test_the_kernels_are_those_of_the_matrices",
         {"matrix_of(matrix).product_kernel": '("matmul_int8" if matrix_of(matrix).label == "int8" else "matmul")'}),
    ),
    *of(
        "llama2_fast/conformance/bits.py",
        ("-0.0 is 0.0", BIT_TEST + "test_zeros_of_both_signs_differ",
         {".view(np.uint32) != np": " != np", "(expected).view(np.uint32)": "(expected)"}),
    ),
    *of(
        "llama2_fast/conformance/logits.py",
        ("twice the margin is explained", VERIFY + "test_the_rule[theirs1-2.1-False]",
         {"return 2 * max(": "return 4 * max("}),
        ("whatever comes first explains itself", VERIFY + "test_the_rule",
         {"coarseness if before else 0.0": "np.inf"}),
        ("log-probabilities are not recognized", VERIFY + "test_hints", {"np.ptp(off) *": "np.max(np.abs(off)) *"}),
    ),
    *of(
        "llama2_fast/tools/report.py",
        ("the last buffer is blamed, not the first", GUILTY,
         {'wrong = next((row for row in engine["rows"] if row["wrong"]), None)':
          'wrong = next((row for row in reversed(engine["rows"]) if row["wrong"]), None)'}),
        ("rows of many layers are the best ones", VERIFY + "test_many_layers_are_shown_by_the_worst",
         {"_ratio(row) > _ratio(best)": "_ratio(row) < _ratio(best)"}),
    ),
]  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------- judge

JUDGES = [
    *of(
        "llama2_ref/bounded.py",
        ("sums are charged no rounding", KERNELS + "test_matmul[llama2_ref.kernels]",
         {"error = self.terms + n * U / (1 - n * U) * self.magnitude": "error = self.terms"}),
        ("products forget the error of the other factor", MODELS + "test_closed_formulas_and_number_objects_agree",
         {"moved = abs(self.value) * other.error + (abs(other.value) + other.error) * error":
          "moved = abs(other.value) * error"}),
        ("a quotient by what may be 0 has a bound", JUDGE + "test_nothing_is_promised_where_a_divisor_may_be_zero",
         {"return Bounded(value, math.inf)\n        moved = (self.error":
          "smallest = abs(other.value)\n        moved = (self.error"}),
    ),
    *of(
        "llama2_fast/conformance/closed.py",
        ("closed bounds do not grow with the length", MODELS + "test_closed_formulas_and_number_objects_agree",
         {"gamma(len(x))\n        value, error": "gamma(1)\n        value, error"}),
        ("no number may overflow", JUDGE + "test_nothing_is_promised_where_float32_overflows",
         {"np.where(largest > FLOAT32_MAX, np.inf, error)": "error"}),
    ),
    *of(
        "llama2_fast/conformance/compare.py",
        ("NaN keeps every bound", JUDGE + "test_what_is_not_finite_is_right_only_where_float32_may_overflow",
         {"ratio[np.isnan(ratio)] = np.inf": "ratio[np.isnan(ratio)] = 0"}),
        ("a single number is compared with all", JUDGE + "test_shapes_must_be_equal",
         {"if got.shape != value.shape:": "if got.size > value.size:"}),
        ("one number in a vector may be wrong", JUDGE + "test_one_ulp_beyond_the_bound_is_wrong",
         {"return self.wrong == 0": "return self.wrong <= 1"}),
    ),
    *of(
        "llama2_fast/conformance/taps.py",
        ("errors of a model add up", NUMPY_INT8,
         {"return got if isinstance(value, Ball) else got.tolist()": "return value"}),
        ("a buffer too many is not noticed", JUDGE + "test_a_buffer_that_is_missing_or_too_many_is_told",
         {"if lengths != {key: len(rows) for key, rows in recorded.items()}:": "if not lengths:"}),
    ),
    *of(
        "llama2_fast/conformance/judge.py",
        ("what breaks its bound passes", JUDGE + "test_the_message_names_the_worst_place_and_its_ratio",
         {"if not comparison.within:": "if False:"}),
        ("an error stands for all numbers", JUDGE + "test_close_needs_an_error_for_every_number",
         {"if value.shape != error.shape:": "if value.size < error.size:"}),
        ("a missing buffer is no failure", JUDGE + "test_a_buffer_that_is_missing_or_too_many_is_told",
         {"(KeyError, IndexError, ValueError) as error": "KeyError as error"}),
    ),
    *of(
        "llama2_fast/conformance/topp.py",
        ("tokens behind the nucleus may be drawn",
         JUDGE + "test_every_token_of_some_order_of_summation_is_accepted_and_no_other_one",
         {"accepted: Array = accept & inside": "accepted: Array = accept"}),
        ("ties are broken on a grid", JUDGE + "test_on_a_grid_one_token_is_accepted_and_its_equals",
         {"(low <= r[0]) & (r[0] < high)": "(low <= r[0]) & (r[0] <= high)"}),
        ("errors of probabilities are forgotten", JUDGE + "test_errors_of_probabilities_widen_what_is_accepted",
         {"dp = np.broadcast_to(np.asarray(dp, np.float64), p.shape)": "dp = np.zeros_like(p)"}),
    ),
    *of(
        "llama2_fast/conformance/random_models.py",
        ("neighbours do not cancel", STRATEGIES + "test_weights_look_like_their_kind",
         {"w[:, 1::2] = -w": "w[:, 1::2] = w"}),
        ("the classifier is always the embedding table",
         STRATEGIES + "test_models_share_their_classifier_or_not_and_are_the_same_for_both_packages",
         {'fields["token_embedding_table"] if shared else': 'fields["token_embedding_table"] if True else'}),
    ),
    *of(
        "llama2_fast/conformance/strategies.py",
        ("sums do not overflow", STRATEGIES + "test_every_kind_of_numbers_comes_up",
         {', "largest": 2.0**125': ""}),
        ("no head is shared", STRATEGIES + "test_heads_are_alone_grouped_and_shared_by_all",
         {"return n_kv_heads * group, n_kv_heads, 2 * half": "return n_kv_heads, n_kv_heads, 2 * half"}),
        ("prompts do not fill the context", STRATEGIES + "test_prompts_fit_the_context_and_fill_it",
         {"least, most = 1, config.seq_len": "least, most = 1, config.seq_len - 1"}),
    ),
    *of(
        "llama2_fast/conformance/adversarial.py",
        ("terms are not lost", BOUNDS + "test_no_bound_is_broken_and_half_of_it_would_be[matmul-Bounded]",
         {"HALF = 2.0**-24": "HALF = 2.0**-20"}),
    ),
    *of(
        "llama2_fast/conformance/implementation.py",
        ("arguments may be changed", SUITE + "test_arguments_must_be_left_alone",
         {"before = [np.copy(arg) for arg in args]": "before = args"}),
        ("what a kernel refuses is not counted", SUITE + "test_what_a_kernel_refuses_is_not_tested_and_is_told",
         {"Refusal(reason)).count += 1": "Refusal(reason)).count += 0"}),
    ),
    *of(
        "llama2_fast/conformance/reproduce.py",
        ("numbers are shown by their shortest names", REPRODUCE + "test_literals_are_exact",
         {"np.array({value.reshape(-1).tolist()}": "np.array({value.reshape(-1).round(6).tolist()}"}),
        ("parts of a prompt go in as one", REPRODUCE + "test_bits",
         {"cache.length + size], cache": "cache.length + len(tokens)], cache"}),
    ),
    *of(
        "llama2_fast/conformance/plugin.py",
        ("a known deviation is a failure", SUITE + "test_a_known_deviation_is_expected_to_fail",
         {"if _matches(deviation, item):": "if False:"}),
        ("the script is that of the last example", SUITE + "test_the_script_shows_the_example_that_is_told",
         {"error.script_and_comparisons = ": "error.nothing = "}),
        ("tests of this project alone are run for kernels of others",
         SUITE + "test_what_is_there_is_tested_and_the_rest_is_told",
         {"if config.stash[FOREIGN]:\n        _keep(": "if False:\n        _keep("}),
    ),
]  # fmt: skip

# ------------------------------------------------------------------------------------------------------ compiled engine

COMPILED_KERNELS = [
    *of(
        "llama2_fast/engines/simd/kernels/vectors.py",
        ("one lane too many is kept", SIMD_BUFFERS, {'builder.icmp_signed("<", ir': 'builder.icmp_signed("<=", ir'}),
        ("a product and a sum are rounded apart", FIXED_BITS,
         {'return call_intrinsic(builder, f"llvm.fma.v{LANES}f32", F32.llvm, a, b, c)':
          "return builder.fadd(builder.fmul(a, b), c)"}),
        ("the halves of a vector are swapped", SIMD_BUFFERS,
         {"join(builder, [builder.fptrunc(low, half), builder.fptrunc(high, half)])":
          "join(builder, [builder.fptrunc(high, half), builder.fptrunc(low, half)])"}),
        ("the exponent's bias is 126", SIMD_BUFFERS, {"constant(I32.llvm, 127))": "constant(I32.llvm, 126))"}),
        ("the greatest lane is the smallest", SIMD_BUFFERS,
         {'builder.fcmp_ordered(">", x, y)': 'builder.fcmp_ordered("<", x, y)'}),
        ("bytes are loaded as unsigned numbers", SIMD_INT8,
         {"builder.sext(load_value(builder, address, BYTE, 1), INT64)":
          "builder.zext(load_value(builder, address, BYTE, 1), INT64)"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/instructions.py",
        ("sums of lanes take neighbours first", FIXED_BITS,
         {"combine(pick_lanes(builder, value, range(half)), pick_lanes(builder, value, range(half, 2 * half)))":
          "combine(pick_lanes(builder, value, range(0, 2 * half, 2)),"
          " pick_lanes(builder, value, range(1, 2 * half, 2)))"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/byte_dots.py",
        ("bytes of a word are not masked out of the upper nibbles", SIMD_INT4,
         {"return builder.and_(builder.bitcast(shifted, I8.llvm), constant(I8.llvm, 15))":
          "return builder.bitcast(shifted, I8.llvm)"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/byte_dots.py",
        ("pairs of int8 products saturate at 16 bits", SIMD_INT8,
         {'size = call_intrinsic(builder, "llvm.abs.v64i8", I8.llvm, w, ir.Constant(BIT, 0))':
          "moved = builder.xor(w, constant(I8.llvm, -128))",
          "_pairs(builder, size, _with_sign(builder, x, w))": "_pairs(builder, moved, x)",
          "    if _VNNI:\n        return broadcast(builder, builder.mul(x_total":
          "    if True:\n        return broadcast(builder, builder.mul(x_total"}),
        ("the sign of w is forgotten", SIMD_INT8,
         {"_pairs(builder, size, _with_sign(builder, x, w))": "_pairs(builder, size, x)"}),
        needs="avx2",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/elementary.py",
        ("two digits of a coefficient of exp are swapped", BITS + "test_exp_of_some_float32",
         {"0.00836889": "0.00863889"}),
        ("exp reduces by a tenth of ln 2's low part", BITS + "test_exp_of_some_float32",
         {"1.4286068203094172e-06": "1.4286068203094172e-07"}),
        ("sine has the wrong sign in the third quarter", SIMD_BUFFERS,
         {"return -cosine, -sine": "return -cosine, sine"}),
        ("the second part of pi / 2 is left out", BITS + "test_cos_and_sin",
         {"    r = fma_scalar(-quarter_turns, _PI_2[1], r)\n": "    r = fma_scalar(-quarter_turns, 0.0, r)\n"}),
        ("the polynomial ends one coefficient early", BITS + "test_cos_and_sin",
         {"range(6, -1, -1)": "range(6, 0, -1)"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/float_products.py",
        ("the first vector of four rows is left out", SIMD_BUFFERS,
         {"v = load(x + j)\n        a": "v = load(x + j) if j else zero()\n        a"}),
        ("rows left over by fours are left out", SIMD_BUFFERS,
         {"    while row < rows.last:": "    while row + TILE_ROWS - 1 < rows.last:"}),
        ("vectors left over by threes are left out", THREADS_AND_CUTS,
         {"    while t < end:": "    while t + TILE_VECTORS - 1 < end:"}),
        ("a stretch ends one vector early", WIDE_ROWS,
         {"end = start + _STRETCH if start + _STRETCH < w.vector_bytes else w.vector_bytes":
          "end = start + _STRETCH - VECTOR_BYTES if start + _STRETCH < w.vector_bytes else w.vector_bytes"}),
        ("vectors behind those in the cache take the first ones", WIDE_ROWS,
         {"_tile(w, Buffer(row_at(x, t), x.stride)": "_tile(w, Buffer(row_at(x, t - start), x.stride)"}),
        ("the second of three vectors is taken twice", THREADS_AND_CUTS,
         {"x.address + x.stride, x.address + 2 * x.stride\n": "x.address + x.stride, x.address + x.stride\n"}),
        ("the row of a small embedding is found by float32's size", SIMD_FILES + "F16]",
         {"m.weights + (first + i) * number_bytes(numbers)": "m.weights + (first + i) * FLOAT_BYTES"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/float_formats.py",
        ("bfloat16 is read as float16", SIMD_FILES + "BF16]",
         {'"bfloat16": load_bfloat16_value': '"bfloat16": load_float16_value'}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/operands.py",
        ("later vectors take the scales of the first ones", SIMD_INT8,
         {"scales, sums = x.scales + t * x.groups_stride, x.sums": "scales, sums = x.scales, x.sums"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/records.py",
        ("every token of a batch is the first one", SIMD_BUFFERS,
         {"return int_at(integers + i * WORD_BYTES)": "return int_at(integers)"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/int_products.py",
        ("int8 takes the scale of the first group", SIMD_INT8,
         {"scale = load(block.scales + g * _INT8_SCALES)\n        so_far":
          "scale = load(block.scales)\n        so_far"}),
        ("a tile takes the scale of another vector", SIMD_INT8,
         {"splat(float_at(k + 3 * x.groups_stride)), f3)": "splat(float_at(k + 2 * x.groups_stride)), f3)"}),
        ("nibbles are swapped", SIMD_INT4,
         {"low_nibbles(v), splat4(q))": "low_nibbles(v), splat4(q + COLUMNS))",
          "high_nibbles(v), splat4(q + COLUMNS))": "high_nibbles(v), splat4(q))"}),
        ("int4 forgets that its numbers are moved by 8", SIMD_INT4,
         {"exact = nibble_sums(n) - splat_int(int32_at(x_sum) * _BIAS)": "exact = nibble_sums(n)"}),
        ("int4 takes the steps of scales with offsets", SIMD_INT4,
         {"_int4_products(_add_biased, _INT4_SCALES)": "_int4_products(_add_biased, _OFFSET_SCALES)"}),
        ("offsets are left out", SIMD_FILES + "Q4_1]",
         {"return fma(to_float(splat_int(int32_at(x_sum))) * load_float16(scales + FLOAT16_SCALES), factor, so_far)":
          "return so_far"}),
        ("offsets are taken for scales", SIMD_FILES + "Q4_1]",
         {"to_float(nibble_sums(n)) * load_float16(scales)":
          "to_float(nibble_sums(n)) * load_float16(scales + FLOAT16_SCALES)"}),
        ("vectors left over by tiles are left out", SIMD_INT8,
         {"        while t < x.tokens:": "        while t + TILE - 1 < x.tokens:"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/packed_rows.py",
        ("nibbles of an embedding are swapped", SIMD_INT4,
         {"if step % 2 else pair & 15": "if step % 2 == 0 else pair & 15"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/rows.py",
        ("rmsnorm without eps", SIMD_BUFFERS, {"total_double(low + high) / n + eps": "total_double(low + high) / n"}),
        ("rmsnorm counts the padding", SIMD_BUFFERS,
         {"total_double(low + high) / n + eps": "total_double(low + high) / ((n + LANES - 1) // LANES * LANES) + eps"}),
        ("rope turns the other way", SIMD_BUFFERS,
         {"a * c - b * s": "a * c + b * s",
          "a * s + b * c": "b * c - a * s"}),
        ("rope's pairs run on into the next angle", SIMD_BUFFERS,
         {"(i // 2 % half) * _ANGLE": "((i // 2 + 1) % half) * _ANGLE"}),
        ("silu takes exp of x, which overflows", SIMD_BUFFERS, {"exp(zero() - absolute(g))": "exp(zero() - g)"}),
        ("a residual is left out", SIMD_BUFFERS, {"load(x + i) + load(y + i)": "load(y + i)"}),
        ("quantizing truncates", SIMD_INT8, {" / splat(scale) + splat(_ROUND) - splat(_ROUND))": " / splat(scale))"}),
        ("quantizing reads into the next group", SIMD_INT8,
         {"_first_numbers(start + i * FLOAT_BYTES, size - i)": "load(start + i * FLOAT_BYTES)"}),
        ("the sum of a group holds its last vector only", SIMD_INT4, {"sums = sums + q": "sums = q"}),
        ("a number that is not finite is told one place on",
         ENGINE + "test_the_place_of_a_number_that_is_not_finite_is_told",
         {"np.int32(i + 1)": "np.int32(i + 2)"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/attention.py",
        ("attention without scale", SIMD_BUFFERS,
         {"float_at(q + i * FLOAT_BYTES) * scale": "float_at(q + i * FLOAT_BYTES)"}),
        ("scores behind the last position are not masked", REAL_SIZES + "[simd-stories260K]",
         {"b = choose(first_lanes(length - start - LANES), b": "b = choose(first_lanes(length - start), b"}),
        ("softmax takes off the greatest of every other block", BITS + "test_large_scores_in_any_block",
         {"        a = choose(less(a, b), b, a)\n": "        a = choose(less(a, a), b, a)\n"}),
        ("the weighted sum misses the newest value", SIMD_BUFFERS,
         {"        a = zero()\n        for t in range(length):":
          "        a = zero()\n        for t in range(length - 1):"}),
        ("a head's fourth vector of values is the third one", WIDE_ROWS,
         {"d = fma(p, load(v + 3 * VECTOR_BYTES), d)": "d = fma(p, load(v + 2 * VECTOR_BYTES), d)"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/step.py",
        ("query heads are dealt out in turn", SIMD_BUFFERS, {"head // (heads // kv_heads)": "head % kv_heads"}),
        ("a later position is seen", SIMD_BUFFERS, {"values, position + 1)": "values, position + 2)"}),
        ("a query does not see its own key", SIMD_BUFFERS,
         {"values, position + 1)": "values, position if position else 1)"}),
        ("keys of a position go to the next lane", SIMD_BUFFERS,
         {"+ position % LANES * FLOAT_BYTES": "+ (position + 1) % LANES * FLOAT_BYTES"}),
        ("keys stay in the first block", REAL_SIZES + "[simd-stories260K]",
         {"(head * capacity + position // LANES * LANES)": "(head * capacity + position // LANES)"}),
        ("a value is stale until the next token comes", SIMD_BUFFERS,
         {"value_place = values + (head * capacity + position) * width":
          "value_place = values + (head * capacity + (position - 1 if position else 0)) * width"}),
        ("nobody waits for keys and values", TILES,
         {"    barriers_passed = _barrier(job, barriers_passed)\n    _tap(job, thread, layer, TAP_Q,":
          "    _tap(job, thread, layer, TAP_Q,"}),
        ("a barrier waits for one thread too few", TILES,
         {"goal = barriers_passed * job.threads": "goal = barriers_passed * job.threads - 1"}),
        ("logits are those of the first rows", BATCHES,
         {"row = item(job.wanted_rows, t) if wanted else t": "row = t"}),
        ("the classifier's second part begins late", REAL_SIZES + "[simd-stories15M]",
         {"        first = atomic_add(job.claimed, 1) * _PART":
          "        first = atomic_add(job.claimed, 1) * _PART + LANES"}),
        ("the norm before the classifier is the last layer's", SIMD_BUFFERS,
         {"_norm(job, thread, 2 * layers, wanted": "_norm(job, thread, 2 * layers - 1, wanted"}),
        ("w1 and w3 are swapped", SIMD_BUFFERS,
         {"_product(job, thread, w1, h, count, gate": "_product(job, thread, w3, h, count, gate",
          "_product(job, thread, w3, h, count, up": "_product(job, thread, w1, h, count, up"}),
        ("vectors are quantized if the first matrix holds integers", SIMD_FILES + "mixed]",
         {"return b if _holds_integers(b) else c": "return a"}),
        ("queries are as far apart as the rows of the residual stream", SIMD_FILES + "F32]",
         {"row = t * job.q_stride + head": "row = t * job.dim_stride + head"}),
        ("threads leave a block between their shares", SIMD_INT8,
         {"Rows(blocks * thread // threads * LANES, last":
          "Rows((blocks * thread + threads - 1) // threads * LANES, last"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/kernels/entries.py",
        ("cosine and sine come out swapped", BITS + "test_cos_and_sin",
         {"put_double(out + 2 * i * WORD_BYTES, c)": "put_double(out + 2 * i * WORD_BYTES, s)",
          "put_double(out + (2 * i + 1) * WORD_BYTES, s)": "put_double(out + (2 * i + 1) * WORD_BYTES, c)"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/packed_layout.py",
        ("groups of an odd number of steps", SIMD_INT4,
         {"return 2 * -(-group_size // (2 * COLUMNS))": "return -(-group_size // COLUMNS)"}),
        needs="numba",
    ),
    *of(
        "llama2_fast/engines/simd/tables.py",
        ("keys and values are swapped among the taps", SIMD_BUFFERS,
         {'"q", "k", "v", "att", "x1"': '"q", "v", "k", "att", "x1"'}),
        ("a counter of threads shares its place with a size", ENGINE + "test_no_two_fields_overlap",
         {"LINE_BYTES if type_ == COUNTER else WORD_BYTES": "WORD_BYTES"}),
        needs="numba",
    ),
]  # fmt: skip

AROUND_THE_KERNELS = of(
    "llama2_fast/matrices/arrays.py",
    ("halves of a block's bytes are swapped", NUMPY_FILES + "Q4_0]",
     {"15, out=out[:, :, 0]": "15, out=out[:, :, 1]", "4, out=out[:, :, 1]": "4, out=out[:, :, 0]"}),
    ("the minimum of a block is taken for its scale", NUMPY_FILES + "Q4_1]",
     {"return Int4OffsetMatrix(Blocks(blocks[:, :, 4:], _nibbles), scale, _halves(blocks, 2))":
      "return Int4OffsetMatrix(Blocks(blocks[:, :, 4:], _nibbles), _halves(blocks, 2), scale)"}),
    ("int4 is not moved by 8", NUMPY_FILES + "Q4_0]", {" - np.int8(8)": ""}),
) + of(
    "llama2_fast/weights.py",
    ("bfloat16 loses its sign", NUMPY_FILES + "BF16]", {"<< np.uint32(16)": "<< np.uint32(17)"}),
    ("one row is unpacked like several", UNIT_DECODE + "test_blocks_stay_in_their_file[Q4_0]",
     {"self._unpack(blocks[None])[0]": "self._unpack(blocks[None])"}),
) + of(
    "llama2_fast/engines/simd/packing.py",
    ("nibbles are packed in the other order", SIMD_INT4,
     {"(pairs[..., 0, :] & 15) | (pairs[..., 1, :] << 4)": "(pairs[..., 1, :] & 15) | (pairs[..., 0, :] << 4)"}),
    ("nibbles are packed without being moved", SIMD_INT4, {"(q.view(np.uint8) + np.uint8(bias))": "q.view(np.uint8)"}),
    ("any scale passes for float16", ENGINE + "test_int4_matrices_of_a_layer_may_differ_in_their_scales",
     {"return np.array_equal(np.asarray(scale).astype(np.float16), scale, equal_nan=True)": "return True"}),
    ("int4 groups may be of any size", ENGINE + "test_int4_groups_larger_than_16_bits_hold[64]",
     {"matrix.group_size <= LARGEST_INT4_GROUP and all": "all"}),
    ("scales go by group, then by row", SIMD_INT8,
     {"lanes.reshape(-1, LANES, *scale.shape[1:]).transpose(0, 2, 3, 1)":
      "lanes.reshape(-1, *scale.shape[1:], LANES)"}),
    ("rows that are no whole vectors are not padded", ENGINE + "test_matrices_are_padded_to_whole_vectors",
     {"if cols % LANES or not w": "if not w"}),
    ("the second slab is packed like the first", ENGINE + "test_slabs_are_put_together",
     {"some = slice(part.start * LANES, min(part.stop * LANES, rows))":
      "some = slice(0, min((part.stop - part.start) * LANES, rows))"}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/kv_cache.py",
    ("the cache forgets what it holds when it grows", THREADS_AND_CUTS,
     {"    new[:, :, : array.shape[2]] = array\n": ""}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/job.py",
    ("positions begin anew with every part of a prompt", THREADS_AND_CUTS,
     {"enumerate(tokens, cache.length):\n                all_tokens":
      "enumerate(tokens):\n                all_tokens"}),
    ("the norms of a layer are swapped", SIMD_BUFFERS,
     {"norms[0:-1:2, : config.dim] = np.asarray(weights.rms_att_weight)":
      "norms[0:-1:2, : config.dim] = np.asarray(weights.rms_ffn_weight)",
      "norms[1::2, : config.dim] = np.asarray(weights.rms_ffn_weight)":
      "norms[1::2, : config.dim] = np.asarray(weights.rms_att_weight)"}),
    ("attention scales by the root of D", SIMD_BUFFERS, {"1 / sqrt(c.head_size)": "1 / sqrt(c.dim)"}),
    ("attention's scale is off by one part in a million",
     MODELS + "test_a_scale_that_is_off_by_one_part_in_a_million_shows[simd]",
     {"1 / sqrt(c.head_size)": "(1 + 1e-6) / sqrt(c.head_size)"}),
    ("the wanted rows are the first of a piece", BATCHES,
     {"for wanted_row in range(row - wanted, row):":
      "for wanted_row in range(row - len(tokens), row - len(tokens) + wanted):"}),
    ("an error stays for the next pass", ENGINE + "test_an_error_does_not_stay_for_the_next_pass",
     {"all_tokens[row], positions[row], errors[row] = token, position, 0":
      "all_tokens[row], positions[row] = token, position"}),
    ("frequencies are rounded to float32", FIXED_BITS,
     {"float(Decimal(theta) ** Decimal(-i / size))": "float(np.float32(Decimal(theta) ** Decimal(-i / size)))"}),
    ("scores have room for the context at once", ENGINE + "test_a_long_context_takes_memory_only_as_it_is_used",
     {"self._positions = 2 * positions": "self._positions = min(2**24, self._config.seq_len)"}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/engine.py",
    ("every sequence gets the logits of the first", BATCHES,
     {"            end += wanted\n            self._check": "            self._check"}),
    ("only the last of several passes is kept", TILES,
     {"return [rows[0] if len(rows) == 1 else np.concatenate(rows) for rows in logits_of]":
      "return [rows[-1] for rows in logits_of]"}),
    ("a pass is as long as it likes", ENGINE + "test_a_pass_takes_no_more_than_a_chunk",
     {"            room -= len(some)\n": ""}),
    ("the cache keeps the token that went wrong",
     ENGINE + "test_a_number_that_is_not_finite_is_reported_as_the_reference_does[None]",
     {"            cache.length += t\n": "            cache.length += t + 1\n"}),
    ("a cache of any sizes will do", ENGINE + "test_a_cache_of_another_engine_or_model_is_refused",
     {" or cache.config != self.config": ""}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/thread_team.py",
    ("a thread too few is waited for", ENGINE + "test_a_team_waits_for_everyone",
     {"for lock in done:": "for lock in done[1:]:"}),
    ("a thread says that it is done before it is", ENGINE + "test_a_team_waits_for_everyone",
     {"        if work is not None:\n            work(number)\n        done.release()":
      "        done.release()\n        if work is not None:\n            work(number)"}),
    ("all threads but one are started", ENGINE + "test_a_team_runs_everyone",
     {"< self.threads - 1:": "< self.threads - 2:"}),
    ("a pass that is interrupted is not aborted", ENGINE + "test_an_interrupted_pass_is_aborted_and_the_next_one_runs",
     {"            abort()\n": ""}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/compiler/library.py",
    ("code of another processor is taken", ENGINE + "test_a_change_of_any_module_or_version_makes_new_code",
     {"facts = [*processor(), llvm": "facts = [llvm"}),
    ("code of an older source is taken", ENGINE + "test_a_change_of_any_module_or_version_makes_new_code",
     {'sorted(Path(__file__).parents[1].rglob("*.py"))]': 'sorted(Path(__file__).parents[1].rglob("[a-l]*.py"))]'}),
    ("damaged code is run", ENGINE + "test_beside_a_package_that_can_not_be_written_the_users_folder_is_used",
     {'if facts["sha256"] == hashlib.sha256(code).hexdigest() else None': 'if "sha256" in facts else None'}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/compiler/target.py",
    ("one feature of several is enough", ENGINE + "test_the_processor_is_the_one_that_is_named",
     {"return all(": "return any("}),
    ("a lesser processor has the features of this one", ENGINE + "test_the_processor_is_the_one_that_is_named",
     {'host[1] if name == host[0] else ""': "host[1]"}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/compiler/system.py",
    ("the system's function has another name", ENGINE + "test_the_system_s_functions_are_known",
     {'"llama2_twins_yield"': '"llama2_twins_yields"'}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/compiler/jit.py",
    ("what a function calls is not linked", ENGINE + "test_what_a_function_calls_is_linked_with_it",
     {"            waiting += library.called\n": ""}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/compiler/build.py",
    ("features of the processor are not used", ENGINE + "test_code_uses_the_features_that_are_named",
     {"cpu=name, features=features, opt=3": 'cpu=name, features="", opt=3'}),
    needs="avx2",
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------------- GGUF files

GGUF, GGUF_BYTES, GGUF_WRITER, CONVERT = (
    f"unit/formats/test_{name}.py::" for name in ("gguf_read", "gguf_container", "gguf_write", "convert")
)

GGUF_FILES = of(
    "llama2_fast/matrices/files.py",
    ("the type of the numbers is not handed on", CONVERT + "test_both_packages_write_the_same_gguf_file[q8_0]",
     {"WriteOptions(dtype, version, tokenizer)": "WriteOptions(None, version, tokenizer)"}),
    ("nobody is told how far it is", CONVERT + "test_the_library_converts_as_the_command_line[llama2_fast]",
     {"version, tokenizer), progress)": "version, tokenizer), None)"}),
) + of(
    "llama2_ref/formats/gguf_container.py",
    ("bytes that are not there are taken", GGUF_BYTES + "test_a_file_is_refused_wherever_it_is_cut",
     {"if size > len(self.file) - start:": "if size > len(self.file):"}),
    ("a count is believed", GGUF_BYTES + "test_a_header_that_lies",
     {"left = min(len(self.file), METADATA_MOST) - self.place": "left = least * count"}),
    ("dimensions are not turned round", GGUF_BYTES + "test_tensors_are_views_with_rows_first[32]",
     {"ggml_type, lengths[::-1], offset": "ggml_type, lengths, offset"}),
    ("tensors may overlap by a byte", GGUF_BYTES + "test_tensors_that_lie",
     {"if listed[one][2] + listed[one][3] > listed[next_one][2]:":
      "if listed[one][2] + listed[one][3] > listed[next_one][2] + 1:"}),
    ("the data begins behind the list, wherever that ends", GGUF_BYTES + "test_tensors_are_views_with_rows_first[4096]",
     {"min(-(-walk.place // alignment) * alignment, len(file))": "walk.place"}),
    ("an alignment may be 12", GGUF_BYTES + "test_an_alignment_that_is_no_power_of_two[12]",
     {"alignment & (alignment - 1)": "alignment % 4"}),
    ("a tensor may end behind the file", GGUF_BYTES + "test_tensors_that_lie",
     {"if offset + size > len(data):": "if offset > len(data):"}),
) + of(
    "llama2_ref/formats/gguf_read.py",
    ("norms of bfloat16 are taken for float16", GGUF + "test_mixed_kinds_and_floating_point_norms[llama2_ref]",
     {"float32_bytes(tensor.ggml_type, tensor.data)":
      'float32_bytes(tensor.ggml_type.replace("BF16", "F16"), tensor.data)'}),
    ("1e-5 stays what a file can say of it", GGUF + "test_numbers_are_those_that_were_meant[1e-05-10000.0]",
     {"return _shortest(value)": "return float(value)"}),
    ("another context has the same divisors", GGUF + "test_divisors_of_llama_3_are_recognized[8.0-4096]",
     {"rel_tol=FLOAT32_DIVISORS": "rel_tol=1.0"}),
) + of(
    "llama2_ref/formats/gguf_write.py",
) + of(
    "llama2_ref/formats/convert.py",
    ("a folder takes the place of a file", CONVERT + "test_floats_come_back_bit_for_bit[llama2_fast-1]",
     {"Path(output).suffix == known.suffix": "Path(output).suffix.replace('.bin', '') == known.suffix"}),
) + of(
    "llama2_ref/formats/lists.py",
    ("the last rows are left out", CONVERT + "test_both_packages_write_the_same_gguf_file[f32]",
     {"for row in float_rows(matrix):\n            bits": "for row in [*float_rows(matrix)][:32]:\n            bits"}),
)  # fmt: skip

HF, SAFETENSORS, META = (f"unit/formats/test_{name}.py::" for name in ("huggingface", "safetensors", "meta"))
HALVES = HF + "test_rounding_to_two_bytes"
FOLDER = HF + "test_a_folder_is_read"
BOTH_WRITE = HF + "test_both_packages_write_the_same_folder_and_read_it"

FOLDERS = [
    *of(
        "llama2_fast/matrices/arrays.py",
        ("bfloat16 is cut off", HALVES + "[BF16]",
         {"bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))": "bits"}),
        ("bfloat16 rounds ties up", HALVES + "[BF16]",
         {"np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))": "np.uint32(0x8000)"}),
        ("a NaN may become infinite", HALVES + "[BF16]",
         {"np.where(np.isnan(part), bits | np.uint32(0x400000), rounded)": "rounded"}),
        ("numbers may become infinite", HF + "test_numbers_that_are_too_large[llama2_fast-float16-65520.0]",
         {"np.isfinite(part) & (np.abs(part) >= LARGEST[dtype])": "np.isnan(part) & (np.abs(part) >= LARGEST[dtype])"}),
        ("the first number beyond float16 passes", HF + "test_numbers_that_are_too_large[llama2_fast-float16-65520.0]",
         {"(np.abs(part) >= LARGEST[dtype])": "(np.abs(part) > LARGEST[dtype])"}),
    ),
    *of(
        "llama2_ref/formats/tensor_table.py",
        ("heads stay half-split", FOLDER,
         {"for i in range(half) for part in (0, half)": "for part in (0, half) for i in range(half)"}),
        ("keys are taken for queries", FOLDER,
         {"rows // config.head_size": "config.n_heads"}),
        ("heads are written as they are read", HF + "test_rows_change_places",
         {"for part in (0, 1) for i in range(part, size, 2)":
          "for i in range(size // 2) for part in (i, i + size // 2)"}),
        ("gate and up are swapped", FOLDER,
         {'"mlp.gate_proj.weight"': '"mlp.up_proj.weight"', '"mlp.up_proj.weight"': '"mlp.gate_proj.weight"'}),
        ("norms of a layer are swapped", FOLDER,
         {'"input_layernorm.weight"': '"post_attention_layernorm.weight"',
          '"post_attention_layernorm.weight"': '"input_layernorm.weight"'}),
        ("tied embeddings may differ from the classifier", HF + "test_what_config_json_must_not_say",
         {"if self._tensors.pop(names[0], embeddings) != embeddings:":
          "if self._tensors.pop(names[0], None) == names:"}),
        ("tensors that are too many pass", HF + "test_tensors_that_are_not_those_of_the_config",
         {"    unclaimed.check_empty()\n": ""}),
        ("a turned matrix passes", HF + "test_tensors_that_are_not_those_of_the_config",
         {"if info.shape != shape:": "if sorted(info.shape) != sorted(shape):"}),
    ),
    *of(
        "llama2_ref/formats/safetensors.py",
        ("tensors may overlap", SAFETENSORS + "test_what_is_no_safetensors_file",
         {"if first != end:": "if first > end:"}),
        ("tensors may leave gaps", SAFETENSORS + "test_what_is_no_safetensors_file",
         {"if first != end:": "if first < end:"}),
        ("something may follow", SAFETENSORS + "test_what_is_no_safetensors_file",
         {"if end != data_bytes:": "if end > data_bytes:"}),
        ("a header may end behind the file", SAFETENSORS + "test_what_is_no_safetensors_file",
         {"if length > size - 8:": "if length > size:"}),
        ("a tensor may have another size", SAFETENSORS + "test_what_is_no_safetensors_file",
         {"if last - first != needed:": "if last < first:"}),
        ("the largest items come last", SAFETENSORS + "test_tensors_are_aligned_and_keep_their_order_otherwise",
         {"key=lambda tensor: -ITEM_BYTES": "key=lambda tensor: ITEM_BYTES"}),
        ("what is not aligned stays there", HF + "test_tensors_that_are_not_aligned_are_read[llama2_fast]",
         {" if (start + first) % ITEM_BYTES[dtype] else data": " if first < 0 else data"}),
    ),
    *of(
        "llama2_ref/support/strict_json.py",
        ("of two equal keys the last one counts", HF + "test_what_is_no_config_json",
         {"if len(by_key) < len(pairs):": "if not pairs and by_key:"}),
        ("true is a size", SAFETENSORS + "test_what_is_no_safetensors_file",
         {"isinstance(value, int) and not isinstance(value, bool) and 0": "isinstance(value, int) and 0"}),
    ),
    *of(
        "llama2_ref/formats/huggingface.py",
        ("theta inside the newer parameters is not seen", FOLDER,
         {"for place in (settings, fields) if": "for place in (settings,) if"}),
        ("biases are left out", HF + "test_what_config_json_must_not_say",
         {'in ("attention_bias", "mlp_bias")': 'in ("attention_bias",)'}),
        ("a shard may lie elsewhere", HF + "test_shards_never_lead_out_of_the_folder",
         {"not set(name) & set(": "not set(name) < set("}),
        ("a shard may hold what another one should", HF + "test_one_tensor_in_two_shards",
         {"if placed.get(name) != shard:": "if name not in placed:"}),
        ("the original context is lost", BOTH_WRITE,
         {'"original_max_position_embeddings": scaling.original_seq_len': '"original_max_position_embeddings": 8192'}),
        ("only queries are turned back", BOTH_WRITE,
         {"HUGGING_FACE.to_file_order(spec, config)":
          'HUGGING_FACE.to_file_order(spec, config) if spec.name == "wq" else None'}),
    ),
    *of(
        "llama2_ref/formats/lists.py",
        ("bfloat16 rounds ties down", HALVES + "[BF16]",
         {"bits + 0x7FFF + (bits >> 16 & 1) >> 16": "bits + 0x7FFF >> 16"}),
    ),
    *of(
        "llama2_ref/formats/meta.py",
        ("a pickle is run", META + "test_a_pickle_is_never_run",
         {"weights_only=True": "weights_only=False"}),
        ("parts of wo go one below the other", META + "test_several_files",
         {'(".wo.weight", ".w2.weight")': '(".w2.weight",)'}),
        ("older embeddings go one below the other", META + "test_several_files",
         {" or (name == META.name(EMBEDDING) and cols != dim)": ""}),
        ("what only the second file has is lost", META + "test_files_that_do_not_belong_together",
         {"dict.fromkeys(name for file in files for name in file)": "files[0]"}),
    ),
]  # fmt: skip

TOKENIZERS_OF_MODELS = of(
    "llama2_ref/tokenizers/external.py",
    ("names of special tokens are those tokens in any text", OTHERS + "test_a_text_comes_back_as_it_was[letters]",
     {"return self._encode_inner(text, special=False)": "return self._encode_inner(text, special=True)"}),
    ("letters of bytes begin elsewhere", OTHERS + "test_every_byte_has_a_letter",
     {"range(0xA1, 0xAD)": "range(0xA1, 0xAE)"}),
    ("byte tokens are text", OTHERS + "test_a_text_comes_back_as_it_was[pieces]",
     {'return name.replace(SPACE, " ").encode() if byte is None else bytes([byte])':
      'return name.replace(SPACE, " ").encode()'}),
    ("ids without a token are an error", FOREIGN + "test_ids_without_a_token_are_no_text[llama2_fast]",
     {'return b"" if token in self.special_tokens.control or token not in self._names else':
      'return b"" if token in self.special_tokens.control else'}),
    ("a leading space stays", OTHERS + "test_a_text_comes_back_as_it_was[json-pieces]",
     {'steps.get("Strip", {}).get("start", 0) > 0': "False"}),
    ("what follows a user-defined token gets a space", OTHERS + "test_tokens_behind_a_tokenizer_model",
     {"self._encode_bare(part) if i or bare else": "self._encode_bare(part) if bare else"}),
    ("each part of a chat gets a space", OTHERS + "test_legacy_decides_on_spaces_behind_special_tokens",
     {"bare=self._once and i > 0": "bare=False"}),
) + of(
    "llama2_ref/tokenizers/read.py",
    ("the config's EOS counts, too", OTHERS + "test_what_the_settings_say",
     {"return self._ids(self.generation,": "return self._ids(self.model, '', 'eos_token_id', vocab_size) + self._ids(\n"
      "                self.generation,"}),
    ("BOS is never added by a file's own rule", OTHERS + "test_bos_is_added_where_the_file_itself_adds_it",
     {'adds = bos is not None and inner.encode("a").ids[:1] == [bos]': "adds = False"}),
    ("texts are cut off as in training", OTHERS + "test_texts_are_neither_cut_off_nor_filled_up",
     {"inner.no_truncation(), inner.no_padding()": "inner.no_padding()"}),
    ("the other file is preferred", OTHERS + "test_tokenizer_json_is_preferred_where_it_can_be_read",
     {"read_path(readable[0]": "read_path(readable[-1]"}),
    ("a vocabulary may be too large", OTHERS + "test_a_vocabulary_must_fit_the_model",
     {"tokens > vocab_size:": "tokens > vocab_size + 1:"}),
    ("files of any size are read", OTHERS + "test_huge_files_are_refused_unread", {"if size > LARGEST:": "if False:"}),
    ("the first of several templates is taken", OTHERS + "test_templates_of_folders",
     {'named.get("default", "")': 'next(iter(named.values()), "")'}),
) + of(
    "llama2_ref/tokenizers/gguf.py",
    ("digits stay together", OTHERS + "test_texts_are_cut_as_the_file_says[smollm-a 1024-parts1]",
     {'"smollm": (r"\\p{N}", WORDS)': '"smollm": (WORDS,)'}),
    ("whole parts need merges", OTHERS + "test_a_part_may_be_a_token_without_merges",
     {"PATTERNS[KIND_OF[pre]], pre in WHOLE,": "PATTERNS[KIND_OF[pre]], False,"}),
    ("the end of a turn is no end", OTHERS + "test_ids_of_a_gguf_file[llama2_fast]",
     {'for name in ("eot", "eom")': 'for name in ("eot",)'}),
    ("control tokens end nothing by their names", OTHERS + "test_control_tokens_by_name_end_a_text",
     {"*(token for token in control if names[token] in ENDS)": ""}),
    ("user-defined tokens are text like any other", OTHERS + "test_sentencepiece_judges_our_own_algorithm",
     {"if token_types[token] == USER_DEFINED and names[token]": "if False"}),
    ("a space is put in front of any text", OTHERS + "test_ids_of_a_gguf_file[llama2_fast]",
     {'_flag(metadata, "add_space_prefix", True)': "True"}),
    ("merges may name anything", OTHERS + "test_damaged_metadata_of_letters[changes4-merge 0 is 'nobody knows']",
     {"if not {left, right, left + right} <= known:": "if not merge:"}),
) + of(
    "llama2_ref/generation/chat_template.py",
    ("JSON is escaped for HTML", TEMPLATE + "test_transformers_renders_alike[features-turns]",
     {'    environment.filters["tojson"] = _tojson\n': ""}),
    ("blocks leave their line ends", TEMPLATE + "test_transformers_renders_alike[zephyr-turns]",
     {"trim_blocks=True": "trim_blocks=False"}),
    ("a template does not know that an answer is to follow", TEMPLATE + "test_transformers_renders_alike[chatml-turns]",
     {'"add_generation_prompt": True': '"add_generation_prompt": False'}),
    ("a refusal is the template's fault", TEMPLATE + "test_transformers_renders_alike[gemma-system]",
     {'raise PromptError(f"the model': 'raise TokenizerError(f"the model'}),
    ("numbers may be written as widely as a template likes",
     TEMPLATE + "test_what_templates_must_not_do[{{ '%99999999d' % 3 }}-it formats numbers too widely]",
     {'re.search(r"\\d{7}|\\*", left)': "not left"}),
    ("steps are never given back", TEMPLATE + "test_one_rendering_s_steps_are_not_the_next_one_s",
     {"            self._budget.begin()\n": ""}),
)  # fmt: skip

STOP, SAMPLES = "fuzz/test_stop.py::", "unit/test_sampler.py::"
SESSION, PERPLEXITY = "unit/formats/test_session.py::", "unit/generation/test_perplexity.py::"
ANY_END = SAMPLES + "test_samples_end_in_any_order_and_round[{}]"
TURNS_OF = "unit/generation/test_turns.py::"
MIXTURE = "unit/generation/test_scheduler.py::"
MACHINE = MIXTURE + "test_texts_that_come_and_go_are_what_they_are_alone[{}]"
BUDGETS = MIXTURE + "test_prompts_are_read_within_the_budget[{}]"
ERRORS = MIXTURE + "test_an_error_belongs_to_one_text[{}]"
INTERRUPTS = MIXTURE + "test_an_interrupted_step_can_be_taken_again[{}]"
ANYWHERE = MIXTURE + "test_a_step_can_be_interrupted_anywhere"
CUTS = MIXTURE + "test_a_prompt_is_cut_at_the_same_places_whatever_runs_beside_it"
SHARED_CACHE = MIXTURE + "test_a_cache_has_one_text_at_a_time[llama2_fast]"
FLAGS = "unit/cli/test_flags.py::test_"
NEXT_TURN = TURNS_OF + "test_the_next_turn_finds_what_it_would_anew[{}]"
FILTERED = SAMPLER + "test_samplers_draw_accepted_tokens_whatever_is_filtered"
MINP_GRID = SAMPLER + "test_min_p_is_equal_on_a_grid"
TURNS = SAMPLER + "test_each_step_comes_in_its_turn[llama2_{}]"
HOSTILE = SESSION + "test_a_hostile_file[llama2_fast-{}]"
WINDOWS = PERPLEXITY + "test_it_is_what_the_definition_says[numpy-60-24-12]"

TEXTS_THAT_ARE_ASKED_FOR = of(
    "llama2_fast/sampler.py",
    ("a token is penalized as often as it was there", SAMPLER + "test_penalties_are_equal_bit_for_bit",
     {"        return logits\n    scores, seen = logits.astype(np.float64), seen_tokens(tokens, len(logits))":
      "        return logits\n    for token in list(tokens)[1:]:\n        logits = penalize(logits, [token], penalty)\n"
      "    scores, seen = logits.astype(np.float64), seen_tokens(tokens, len(logits))"}),
    ("negative logits are divided, too", SAMPLER + "test_penalties_are_equal_bit_for_bit",
     {"np.where(some > 0, some / penalty, some * penalty)": "some / penalty"}),
    ("penalties are rounded to float32", SAMPLER + "test_penalties_are_equal_bit_for_bit",
     {"logits.astype(np.float64), seen_tokens": "logits.astype(np.float32), seen_tokens"}),
    ("the penalty comes behind top-k", TURNS.format("fast"),
     {"candidates = top_k(scores, self.topk)": "candidates = top_k(np.asarray(logits, np.float32), self.topk)"}),
    ("top-k keeps all that are equal to the last", SAMPLER + "test_top_k_keeps_the_same_tokens",
     {"equal[: k - len(above)]": "equal"}),
    ("top-k keeps the last of equal ones", SAMPLER + "test_top_k_keeps_the_same_tokens",
     {"equal[: k - len(above)]": "equal[len(equal) - k + len(above) :]"}),
    ("min-p drops what is just large enough", MINP_GRID, {"wide >= minp * wide.max()": "wide > minp * wide.max()"}),
    ("min-p is a probability", MINP_GRID, {"wide >= minp * wide.max()": "wide >= min(minp, wide.max())"}),
    ("the coin is not scaled to what min-p keeps", MINP_GRID, {"coin * float(wide[likely].sum())": "coin"}),
    ("what min-p keeps is scaled before top-p", MINP_GRID,
     {"    kept = probabilities[likely]\n": "    kept = probabilities[likely] / wide[likely].sum()\n"}),
    ("logarithms are of float32 numbers", SAMPLER + "test_log_probabilities_keep_their_bound",
     {"shifted: Array = logits.astype(np.float64)": "shifted: Array = logits.astype(np.float32)"}),
    ("logarithms are of all vectors together", SAMPLER + "test_log_probabilities_of_many_vectors",
     {"np.exp(shifted).sum(-1, keepdims=True)": "np.exp(shifted).sum()"}),
) + of(
    "llama2_ref/sampler.py",
    ("min-p drops what is just large enough", MINP_GRID, {"if probability >= least]": "if probability > least]"}),
    ("the temperature comes behind min-p", TURNS.format("ref"),
     {"        probabilities = self.probabilities([scores[token] for token in candidates])":
      "        probabilities = kernels.softmax([float(scores[token]) for token in candidates])"}),
    ("of equal logarithms the lower token comes first", SAMPLER + "test_the_same_tokens_are_told",
     {"(-logits[other], other)": "(-logprobs[other], other)"}),
) + of(
    "llama2_ref/generation/stop.py",
    ("the string that is complete first counts", STOP + "test_a_text_ends_where_its_first_stop_string_begins",
     {"self.stopped = stop <= doubt and stop < len(held)": "self.stopped = stop < len(held)"}),
    ("nothing is held back", STOP + "test_a_text_ends_where_its_first_stop_string_begins",
     {"shown = stop if self.stopped else doubt": "shown = stop if self.stopped else len(held)"}),
    ("what is held back is lost at the end", STOP + "test_a_text_ends_where_its_first_stop_string_begins",
     {"self._held[: _first_stop(self._held, self._stops)]": '""'}),
    ("more is held back than may become a stop string",
     STOP + "test_no_more_is_held_back_than_may_become_a_stop_string",
     {"            return place\n    return len(text)": "            return place\n    return max(0, len(text) - 1)"}),
) + of(
    "llama2_ref/generation/request.py",
    ("the prompt may stop a text", SAMPLES + "test_a_text_ends_before_a_stop_string[llama2_fast-stops5-1+1abcd]",
     {"[self._decoder.feed(token) for token in self._shown]":
      "[self._stop_filter.feed(self._decoder.feed(token)) for token in self._shown]"}),
    ("only the prompt is penalized",
     SAMPLES + "test_what_is_repeated_is_penalized_in_prompt_and_text[llama2_fast]",
     {"self.sampler.sample(logits, self.tokens)": "self.sampler.sample(logits, self.tokens[: self.prompt_length])"}),
    ("an interrupted draw moves the random stream", INTERRUPTS.format("numpy-sampling"),
     {"vars(self.sampler).update(random_state)": "pass"}),
    ("an interrupted choice leaves the decoder as it is", ANYWHERE,
     {"            self.pieces.pop()\n        self._decode()\n": "            self.pieces.pop()\n"}),
    ("what was made before a sample ended is lost", ANY_END.format("numpy-the last first"),
     {"        self.finished = True\n\n\nMOVED_ON":
      "        self.finished = True\n        self.pieces.clear()\n\n\nMOVED_ON"}),
    ("an error is told to nobody", ERRORS.format("numpy-prompt"),
     {"        if self.error is not None:": "        if False:"}),
) + of(
    "llama2_ref/generation/scheduler.py",
    ("all samples share the prompt's cache", SAMPLES + "test_samples_are_what_their_seeds_give_alone[reference-None]",
     {"(self.cache.copy() for _ in self.requests[1:])": "(self.cache for _ in self.requests[1:])"}),
    ("a sample that is over is read on", SAMPLES + "test_a_sample_that_has_stopped_is_not_read_on[reference]",
     {"sequence.requests if request.active]": "sequence.requests if not request.cancelled]"}),
    ("each sample has a pass of its own", SAMPLES + "test_a_prompt_is_read_once_and_passes_are_shared[reference]",
     {"perf_counter(), self._next_chunks()": "perf_counter(), self._next_chunks()[:1]"}),
    ("logits go to the texts in reverse order", MACHINE.format("numpy"),
     {"zip(chunks, all_logits, strict=True)": "zip(chunks, reversed(all_logits), strict=True)"}),
    ("all end with the first", ANY_END.format("numpy-in turns"),
     {"            sequence.requests = [request for request in sequence.requests if request.active]\n":
      "            for request in sequence.requests:\n                request.finished = True\n"
      "            sequence.requests = []\n"}),
    ("a cancelled text goes on", MACHINE.format("numpy"),
     {"request.cancelled = not request.finished": "pass"}),
    ("cancelling one cancels those that share its prompt", MACHINE.format("numpy"),
     {"        request.cancelled = not request.finished\n":
      "        for sequence in self._sequences:\n            if request in sequence.requests:\n"
      "                for other in sequence.requests:\n                    other.cancelled = True\n"}),
    ("a finished text can be cancelled", MACHINE.format("numpy"),
     {"request.cancelled = not request.finished": "request.cancelled = True; request.finished = False"}),
    ("the budget is that of each prompt", BUDGETS.format("numpy"),
     {"room -= 0 if generating else len(tokens)": "room -= 0"}),
    ("the first prompt waits for ever", BUDGETS.format("numpy"),
     {"len(tokens) <= room:": "len(tokens) < room:"}),
    ("prompts are cut where others leave room", CUTS,
     {"sequence.next_tokens(self.budget)": "sequence.next_tokens(max(1, room))"}),
    ("tokens of texts take from the budget of prompts", BUDGETS.format("numpy"),
     {"room -= 0 if generating else len(tokens)": "room -= len(tokens)"}),
    ("logits in the middle of a prompt make a token", MACHINE.format("numpy"),
     {"self.logits is not None and self.cache.length == len(self.requests[0].tokens)": "self.logits is not None"}),
    ("an error spoils the whole batch", ERRORS.format("numpy-prompt"),
     {"                self._read_one_by_one(chunks)\n":
      "                for sequence, _, _ in chunks:\n                    sequence.fail(error)\n"}),
    ("a pass that went wrong is repeated behind itself", ERRORS.format("numpy-prompt"),
     {"            sequence.cache.length = sequence.held\n": ""}),
    ("an interrupted prompt is read anew from its end", INTERRUPTS.format("reference-in its midst"),
     {"self.held = self.cache.length = min(self.cache.length, len(tokens) - 1)":
      "self.held = self.cache.length = len(tokens) - 1"}),
    ("what an interrupted step has left is gone on with", ANYWHERE,
     {"        self._drop_ended()  # if the last step was interrupted before it did\n": ""}),
    ("what an interrupted step has read is another text's", ANYWHERE,
     {"sequence.unnoted = len(tokens)": "sequence.unnoted = 0"}),
    ("a cache that another text has taken is written on", SHARED_CACHE,
     {"if not 0 <= sequence.cache.length - sequence.held <= sequence.unnoted:": "if False:"}),
) + of(
    "llama2_fast/engines/numpy_engine.py",
    ("a copied cache is the same one", SAMPLES + "test_a_copied_cache_is_independent[numpy-15]",
     {"self._rows[:, :, : self.length].copy()": "self._rows"}),
) + of(
    "llama2_fast/matrices/arrays.py",
    ("keys are saved for values", SESSION + "test_what_is_read_is_what_was_written[numpy-7]",
     {"cache.store(layer, 0, key, value)": "cache.store(layer, 0, value, key)"}),
    ("float64 numbers are taken for float32", SESSION + "test_engines_read_each_other_s[reference-numpy-None]",
     {'"F64": np.float64': '"F64": np.float32'}),
    ("infinity is read", HOSTILE.format("infinity"), {"np.isfinite(numbers).all()": "np.isfinite(numbers).any()"}),
    ("a fingerprint does not see scales", SESSION + "test_every_kind_of_matrix_has_the_same_fingerprint[Q8_0]",
     {"for part in known.parts:": "for part in known.parts[:1]:"}),
) + of(
    "llama2_ref/formats/session.py",
    ("weights count as they are before they are quantized",
     SESSION + "test_every_engine_has_the_same_fingerprint[1-int8]",
     {"transformer.weights, self.arrays, transformer.quantize)": "transformer.weights, self.arrays, None)"}),
    needs="numba",
) + of(
    "llama2_ref/generation/chat.py",
    ("the last token of an answer counts as read", NEXT_TURN.format("llama2-numpy-a stop string"),
     {"_agreeing(self._last.tokens[: self._cache.length], tokens[:-1])": "_agreeing(self._last.tokens, tokens[:-1])"}),
    ("what is cached counts as what is asked", NEXT_TURN.format("template-numpy-a stop string"),
     {"_agreeing(self._last.tokens[: self._cache.length], tokens[:-1])":
      "min(self._cache.length, len(tokens) - 1)"}),
    ("a turn may have no token to read", TURNS_OF + "test_the_same_turn_again[llama2-numpy-1]",
     {"_agreeing(self._last.tokens[: self._cache.length], tokens[:-1])":
      "_agreeing(self._last.tokens[: self._cache.length], tokens)"}),
    ("each turn reads the conversation anew", NEXT_TURN.format("llama2-numpy-left after 3"),
     {"_agreeing(self._last.tokens[: self._cache.length], tokens[:-1])": "0"}),
) + of(
    "llama2_ref/model.py",
    ("a chat loses its session", SESSION + "test_samples_and_chats_use_a_session[numpy]",
     {"seed, session=session, **options).answer(tokens)": "seed, **options).answer(tokens)"}),
) + of(
    "llama2_fast/engines/simd/kv_cache.py",
    ("values of a session go to the wrong heads", SESSION + "test_what_is_read_is_what_was_written[simd-7]",
     {"np.reshape(value, heads).transpose(1, 0, 2)": "np.reshape(value, heads).transpose(1, 0, 2)[::-1]"}),
    ("a copied cache writes into the first one", SAMPLES + "test_a_copied_cache_is_independent[simd-40]",
     {"values[:, :, :room].copy())": "values[:, :, :room])"}),
    ("the last block of a cache is not copied", SAMPLES + "test_a_copied_cache_is_independent[simd-15]",
     {"room = self._arrays, padded(self.length)":
      "room = self._arrays, self.length // LANES * LANES"}),
    needs="numba",
) + of(
    "llama2_ref/formats/session.py",
    ("a text that is no longer than the saved one is not written",
     SESSION + "test_what_a_file_holds_after_another_text[numpy-shorter, with another end]",
     {"if known != self.tokens[: len(known)]:": "if len(known) > len(self.tokens):"}),
    ("a text that is as long as the saved one is not written",
     SESSION + "test_what_a_file_holds_after_another_text[numpy-as long, with another end]",
     {"if known != self.tokens[: len(known)]:": "if len(known) != len(self.tokens):"}),
    ("any other text is written", SESSION + "test_what_a_file_holds_after_another_text[numpy-a prefix]",
     {"if known != self.tokens[: len(known)]:": "if known != self.tokens:"}),
    ("tokens are saved that the model has not read",
     TURNS_OF + "test_the_next_text_of_a_session_finds_what_it_would_anew[numpy-a stop string-generate-False]",
     {"known = list(tokens[: self.cache.length])": "known = list(tokens)"}),
    ("what a text has written over is believed to be there",
     SESSION + "test_a_session_knows_what_a_text_has_written_over[numpy-other-not saved]",
     {"zip(self.tokens[: self._intact], prompt[:-1], strict=False)": "zip(self.tokens, prompt[:-1], strict=False)"}),
    ("what is saved again is believed to be whole",
     SESSION + "test_a_session_knows_what_a_text_has_written_over[reference-prefix-saved]",
     {"        self._intact = len(known)\n": "        self._intact = len(self.tokens)\n"}),
    ("another model's session is taken", SESSION + "test_another_model_s_session[llama2_fast]",
     {'if facts.get("model") != model:': 'if "model" not in facts:'}),
    ("damage is not noticed", SESSION + "test_every_byte_counts[llama2_fast]",
     {'facts.get("crc32") != checksum or not all': "not all"}),
    ("the whole prompt may be there", SESSION + "test_a_prompt_goes_on_where_it_parts_from_the_session[numpy-the same]",
     {"self._intact], prompt[:-1], strict=False)": "self._intact], prompt, strict=False)"}),
    ("the theta is not seen", SESSION + "test_what_a_fingerprint_sees",
     {"sha256(repr(config).encode())": "sha256(repr(config.dim).encode())"}),
    ("more tokens are taken than the context holds", SESSION + "test_more_tokens_than_the_context_holds[llama2_fast]",
     {"and 1 <= count <= config.seq_len)": "and 1 <= count)"}),
) + of(
    "llama2_fast/sampler.py",
    ("each token is scored by the logits behind it", WINDOWS,
     {"np.arange(len(following)), list(following)": "np.arange(len(following)) - 1, list(following)"}),
    ("the sum is of log-likelihoods", WINDOWS,
     {"[-float(x) for x in logprobs[": "[float(x) for x in logprobs["}),
) + of(
    "llama2_ref/generation/perplexity.py",
    ("a window scores what has been scored", PERPLEXITY + "test_windows_score_every_token_once",
     {"        first = end\n": "        first = begin + stride + 1\n"}),
    ("the last window is left out", PERPLEXITY + "test_windows_score_every_token_once",
     {"range(0, count, stride)": "range(0, count - context + 1, stride)"}),
    ("the standard error is the deviation", WINDOWS, {"sqrt(variance / count)": "sqrt(variance)"}),
    ("logits of the whole window are held", PERPLEXITY + "test_logits_are_not_all_held[numpy]",
     {"LOGITS // transformer.config.vocab_size": "LOGITS"}),
)  # fmt: skip

SPECIAL = "unit/tokenizers/test_special_ids.py::test_"
ID_0 = SPECIAL + "a_token_may_have_the_id_0[{}]"

TOKENS_THAT_ARE_0 = of(
    "llama2_ref/tokenizer.py",
    ("a BOS of 0 is none", ID_0.format("special_tokens, bos"),
     {"begin = [self.bos] if bos and self.bos is not None else []": "begin = [self.bos] if bos and self.bos else []"}),
    ("an EOS of 0 is none", ID_0.format("special_tokens, eos"),
     {"([self.eos] if eos and self.eos is not None else [])": "([self.eos] if eos and self.eos else [])"}),
    ("a space is kept behind a BOS of 0", ID_0.format("GGUF of pieces, bos"),
     {"begins = special_tokens.trims  #": "begins = False  #",
      "after_bos = token == special_tokens.bos and": "after_bos = token and token == special_tokens.bos and",
      "or (special_tokens.trims and begins and not text)": "or (begins and not text)"}),
) + of(
    "llama2_ref/tokenizers/external.py",
    ("a BOS of 0 is none", ID_0.format("tokenizer.json, bos by name"),
     {"begin = [self.bos] if bos and self.bos is not None else []": "begin = [self.bos] if bos and self.bos else []"}),
    ("an EOS of 0 is none", ID_0.format("tokenizer.json, eos by name"),
     {"([self.eos] if eos and self.eos is not None else [])": "([self.eos] if eos and self.eos else [])"}),
    ("no token of 0 is known", ID_0.format("GGUF of letters, eot"),
     {"for token in tokens if token is not None)": "for token in tokens if token)"}),
) + of(
    "llama2_ref/tokenizers/read.py",
    ("a named token of 0 is not found", ID_0.format("tokenizer.json, eos by name"),
     {"            if token is None:\n": "            if not token:\n"}),
    ("an id of 0 is no number in settings", ID_0.format("config.json, eos"),
     {"[] if given is None else [given]": "[given] if given else []"}),
    ("generation_config.json with 0 says nothing", ID_0.format("generation_config.json"),
     {'if self.generation.get("eos_token_id") is not None:': 'if self.generation.get("eos_token_id"):'}),
    ("SentencePiece's ids begin with 1", ID_0.format("tokenizer.model, bos"),
     {"named[name] is None and own[name] >= 0": "named[name] is None and own[name] > 0"}),
) + of(
    "llama2_ref/tokenizers/gguf.py",
    ("an id of 0 is the usual one", ID_0.format("GGUF of pieces, eos"),
     {"token = metadata.get(PREFIX + name, default)": "token = metadata.get(PREFIX + name) or default"}),
    ("the unknown token is never 0", ID_0.format("GGUF of pieces, unknown"),
     {"token_types.index(UNKNOWN) if UNKNOWN in token_types else 0) or 0":
      "0) or (token_types.index(UNKNOWN) if UNKNOWN in token_types else 0)"}),
) + of(
    "llama2_ref/generation/stream.py",
    ("no text begins from 0", SPECIAL + "texts_and_chats_with_a_token_0[llama2_fast-bos-template]",
     {"if tokens or tokenizer.start is not None:": "if tokens or tokenizer.start:"}),
) + of(
    "llama2_ref/formats/gguf_write.py",
    ("ids of 0 are not copied", SPECIAL + "ids_are_converted[llama2_fast-(1, 0)]",
     {'if value not in ("", [])}': "if value}"}),
) + of(
    "llama2_ref/formats/gguf_read.py",
    ("a folder has the ids of llama2.c", SPECIAL + "ids_are_converted[llama2_fast-(1, 0)]",
     {"        special_ids=_special_ids(container.metadata),\n": ""}),
    ("an id of 0 is not told to a folder", SPECIAL + "ids_are_converted[llama2_fast-(0, None)]",
     {"for name in names if type(metadata.get(PREFIX + name)) is int}":
      "for name in names if metadata.get(PREFIX + name)}"}),
) + of(
    "llama2_ref/formats/huggingface.py",
    ("the ids of config.json are lost beside a generation_config.json",
     SPECIAL + "a_generation_config_has_the_last_word",
     {"(given or {}) | read_json(generation)": "read_json(generation)"}),
)  # fmt: skip

ENTRIES = "unit/generation/test_entries.py::test_"

KEYWORDS = of(
    "llama2_ref/generation/params.py",
    ("of two spellings one is ignored", ENTRIES + "a_parameter_is_given_in_one_spelling[llama2_fast-generate-top_k]",
     {"if spelling in named and name in named:": "if False:"}),
    ("another spelling is ignored", ENTRIES + "what_makes_a_text[llama2_fast-generate-min_p]",
     {"named[name] = named.pop(spelling)": "named.pop(spelling)"}),
    ("a default that is given is none", ENTRIES + "a_parameter_is_given_in_one_spelling[llama2_fast-generate-top_p]",
     {"if not isinstance(topp, DefaultNumber):": "if topp != TOPP:"}),
    ("top-k and min-p change places", ENTRIES + "what_makes_a_text[llama2_fast-generate-top_k]",
     {'"top_k": "topk", "min_p": "minp"': '"top_k": "minp", "min_p": "topk"'}),
    ("the sampler's numbers are not looked at",
     ENTRIES + "parameters_are_checked_where_they_are_made[llama2_fast-{'seed': 18446744073709551616}-SamplerError]",
     {"        self.make_sampler(Sampler)  # which": "        # which"}),
) + of(
    "llama2_ref/model.py",
    ("a text loses its filters", ENTRIES + "what_makes_a_text[llama2_fast-generate-topk]",
     {"return GenerationParams.of(steps, temperature, topp, seed, options)":
      "return GenerationParams.of(steps, temperature, topp, seed, {})"}),
    ("samples take the temperature for top-p", ENTRIES + "what_makes_a_text[llama2_fast-samples-temperature]",
     {"        samplers = [params.make_sampler(self._sampler)]\n":
      "        params = replace(params, temperature=params.topp, topp=params.temperature)\n"
      "        samplers = [params.make_sampler(self._sampler)]\n"}),
    ("only the first sample is filtered", SAMPLES + "test_samples_are_what_their_seeds_give_alone[numpy-None]",
     {"samplers.append(replace(params, seed=(": "samplers.append(GenerationParams(seed=("}),
    ("samples lose their session", ENTRIES + "what_comes_with_a_text[llama2_fast-samples]",
     {"return self._streams(tokens, samplers, params, session)\n":
      "return self._streams(tokens, samplers, params, None)\n"}),
    ("samples lose their log-probabilities", ENTRIES + "what_comes_with_a_text[llama2_fast-samples]",
     {"return self._streams(tokens, samplers, params, session)\n":
      "return self._streams(tokens, samplers, replace(params, logprobs=None), session)\n"}),
    ("a chat loses its filters", ENTRIES + "what_makes_a_text[llama2_fast-chat-minp]",
     {"seed, session=session, **options).answer(tokens)": "seed, session=session).answer(tokens)"}),
    ("a chat loses its log-probabilities", ENTRIES + "what_comes_with_a_text[llama2_fast-chat]",
     {"session=session, **options).answer(tokens)":
      "session=session, **{**options, 'logprobs': None}).answer(tokens)"}),
    ("a conversation loses its stop strings", ENTRIES + "stop_strings[llama2_fast-conversation-one]",
     {"sampler, params, self.template, session)": "sampler, replace(params, stop=()), self.template, session)"}),
) + of(
    "llama2_ref/generation/chat.py",
    ("a system message is told with each question",
     CHAT + "test_a_template_is_told_the_system_message_once[llama2_fast]",
     {"if system and not messages:": "if system:"}),
    ("a template is told what the user has not seen",
     CHAT + "test_a_template_is_told_an_answer_up_to_its_stop_string[llama2_fast]",
     {'"".join(until_stop([text], self._params.stop))': "text"}),
    ("only the first answer has log-probabilities",
     ENTRIES + "all_turns_of_a_conversation_are_made_alike[llama2_fast]",
     {"        request = Request(self._tokenizer, tokens,":
      "        if self._last:\n            self._params = GenerationParams(self._params.steps)\n"
      "        request = Request(self._tokenizer, tokens,"}),
)  # fmt: skip

# ------------------------------------------------------------------------------------------- table, seam and registry

TABLE_OF, REGISTRY = "unit/formats/test_tensor_table.py::test_", "unit/formats/test_registry.py::test_"

WHAT_FORMATS_SHARE = of(
    "llama2_ref/formats/tensor_table.py",
    ("an optional tensor is never read", TABLE_OF + "meta_s_names[llama2_fast]",
     {"(spec.optional and not unclaimed.holds(spec))": "spec.optional"}),
    ("an optional tensor must be there", TABLE_OF + "a_file_may_be_without_it[llama2_fast-safetensors]",
     {"(spec.optional and not unclaimed.holds(spec))": "False"}),
    ("a vector keeps the file's order", TABLE_OF + "an_optional_tensor_is_written_and_read[llama2_fast-safetensors]",
     {"float32_bytes(dtype, self._in_order(spec, data))": "float32_bytes(dtype, data)"}),
    ("what has no place is left out", TABLE_OF + "llama2_c_has_no_place_for_it[llama2_ref]",
     {"if spec.name not in places:": "if not places:"}),
    ("w2 and w3 come in the other order", FILES + "test_tensors_come_in_llama2_c_s_order[llama2_fast-1]",
     {'_SPECS["w2"]': '_SPECS["w3"]', '_SPECS["w3"]': '_SPECS["w2"]'}),
    ("a shared classifier counts twice", TABLE_OF + "shapes_and_parameters_are_those_of_weights[True]",
     {"in specs_of(weights) if spec.name != CLASSIFIER or not weights.shared_classifier]": "in specs_of(weights)]"}),
    ("a shared classifier is written twice", GGUF_WRITER + "test_the_gguf_package_reads_equal_tensors[True-f32]",
     {"in specs if spec.name != CLASSIFIER or not weights.shared_classifier]": "in specs]"}),
    ("what a model lacks is written", TABLE_OF + "a_file_may_be_without_it[llama2_fast-gguf]",
     {"    own = [spec for spec in own if getattr(weights, spec.name) is not None]\n": ""}),
) + of(
    "llama2_ref/weights.py",
    ("queries have the shape of keys", TABLE_OF + "shapes_and_parameters_are_those_of_weights[True]",
     {'TensorSpec("wq", ("q_dim", "dim")': 'TensorSpec("wq", ("kv_dim", "dim")'}),
) + of(
    "llama2_ref/formats/gguf_read.py",
    ("an optional tensor must be there", TABLE_OF + "a_file_may_be_without_it[llama2_ref-gguf]",
     {"return spec.optional or spec.name == CLASSIFIER": "return spec.name == CLASSIFIER"}),
) + of(
    "llama2_ref/formats/registry.py",
    ("params.json has the first word", REGISTRY + "folders",
     {"in FORMATS:": "in FORMATS[::-1]:"}),
    ("a file is opened twice", REGISTRY + "a_file_is_mapped_once[llama2_fast-gguf]",
     {"return detect(source).read(source, arrays)": "return detect(open_source(path)).read(source, arrays)"}),
) + of(
    "llama2_ref/formats/llama2c.py",
    ("a checkpoint is mapped again for its weights", REGISTRY + "a_file_is_mapped_once[llama2_ref-llama2c]",
     {"collect_weights(header, source.data, arrays),": "read_with(arrays, path)[1],"}),
) + of(
    "llama2_ref/formats/model_file.py",
    ("only files have a size", REGISTRY + "each_format_is_detected_and_read[llama2_fast-safetensors]",
     {"files = path.iterdir() if path.is_dir() else [path]": "files = [path]"}),
) + of(
    "llama2_ref/tokenizers/read.py",
    ("a folder gets the slow tokenizer",
     REGISTRY + "llama2_c_s_tokenizer_is_of_the_package_s_class[llama2_fast-safetensors]",
     {"return read_path(readable[0], vocab_size, tokenizer)": "return read_path(readable[0], vocab_size)"}),
) + of(
    "llama2_ref/support/files.py",
    ("a message does not say which file", REGISTRY + "one_message_for_what_is_no_regular_file[mkdir]",
     {'raise error(f"{path}: {refused}") from None': "raise refused"}),
) + of(
    "llama2_ref/formats/lists.py",
    ("a whole cache is written", REGISTRY + "caches_are_written_as_far_as_they_are_asked_for",
     {"chain.from_iterable(layer[:count])": "chain.from_iterable(layer)"}),
    ("groups of another size are written as they are",
     FILES + "test_int8_weights_with_other_groups_are_grouped_anew[llama2_ref]",
     {"known.group_size == group_size and": "known.group_size and"}),
) + of(
    "llama2_ref/formats/arrays.py",
    ("only the first row is seen", SESSION + "test_what_a_fingerprint_sees",
     {"return sorted({0, count // 3, 2 * count // 3, count - 1})": "return [0]"}),
) + of(
    "llama2_fast/matrices/files.py",
    ("sessions of numpy are handled as lists", SESSION + "test_what_is_read_is_what_was_written[numpy-7]",
     {"    arrays = ARRAYS\n": "    arrays = session.LISTS\n"}),
)  # fmt: skip

FLAGS_AT_ODD_VALUES = of(
    "llama2_ref/cli/generate.py",
    ("no steps are the default of a text", FLAGS + "steps_of_a_text[llama2_fast-['-n', 0]-300-False]",
     {"steps = STEPS if args.steps is None else args.steps": "steps = args.steps or STEPS"}),
    ("the last sample is kept", FLAGS + "samples_keep_the_first[llama2_fast]",
     {"save_session(session, streams[0])": "save_session(session, streams[-1])"}),
) + of(
    "llama2_ref/cli/chat.py",
    ("a chat has the steps of a text", FLAGS + "steps_of_a_chat[llama2_fast-['-n', 0]]",
     {"model.conversation(args.steps or 0,": "model.conversation(args.steps or 256,"}),
    ("an empty question is asked for again", FLAGS + "a_chat_needs_a_question[llama2_fast]",
     {'    if first == "":\n': "    if False:\n"}),
    ("a chat that has no room keeps nothing", FLAGS + "a_chat_that_has_no_room_keeps_what_was_read[llama2_fast]",
     {"            say_rates(stream)\n    finally:\n        save_session(session, stream)":
      "            say_rates(stream)\n    except PromptError:\n        session = None\n        raise\n"
      "    finally:\n        save_session(session, stream)"}),
) + of(
    "llama2_ref/cli/output.py",
    ("the note tells of any steps beyond the default", FLAGS + "steps_of_a_text[llama2_fast-['-n', 257]-257-False]",
     {"if steps is not None and steps > seq_len:": "if steps is not None and steps > 256:"}),
) + of(
    "llama2_ref/cli/input.py",
    ("an explicit empty prompt is refused", FLAGS + "an_empty_prompt_begins_from_nothing[llama2_fast]",
     {'if not text and args.prompt == "-":': "if not text:"}),
) + of(
    "llama2_ref/cli/tokenize.py",
    ("an empty text can't be cut", FLAGS + "an_empty_text_is_cut_into_bos[llama2_fast]",
     {"    if prompt is None:\n": "    if not prompt:\n"}),
) + of(
    "llama2_ref/cli/arguments.py",
    ("seed 0 is no seed", FLAGS + "seeds[llama2_fast]", {'"seed": args.seed,': '"seed": args.seed or None,'}),
    ("no alternatives are no log-probabilities", FLAGS + "log_probabilities[llama2_fast-0]",
     {'("topk", "minp", "repetition_penalty", "logprobs")}':
      '("topk", "minp", "repetition_penalty", "logprobs")}\n    named["logprobs"] = named["logprobs"] or None'}),
    ("the last stop string counts", FLAGS + "stop_strings_add_up[llama2_fast]",
     {"for stop in args.stop]": "for stop in args.stop[-1:]]"}),
    ("an empty name of a tokenizer is none", FLAGS + "what_has_no_meaning[llama2_fast--z -generate]",
     {"paths[1] if tokenizer is None else tokenizer": "tokenizer or paths[1]"}),
    ("an empty name of a session is none", FLAGS + "what_has_no_meaning[llama2_fast---session -generate]",
     {"return None if args.session is None else": "return None if not args.session else"}),
    ("an empty name is that of the bundled model", FLAGS + "an_empty_name_is_no_model[llama2_fast]",
     {"args.model) if name is not None]": "args.model) if name]"}),
    ("notes of a model are not told", FLAGS + "what_is_told_of_a_model[llama2_fast]",
     {"    for note in model.notes:\n": "    for note in ():\n"}),
    ("what is made of a model's numbers is not told", FLAGS + "what_is_told_of_a_model[llama2_fast]",
     {'say(f"{model.description}, as {args.quantize}" if args.quantize else model.description)':
      "say(model.description)"}),
    ("0 threads are the default", FLAGS + "what_has_no_meaning[llama2_fast---threads 0-generate]",
     {"in engine.items() if value is not None}": "in engine.items() if value}"}),
    ("a flag loses an alias", DISPATCH + "every_spelling_of_a_flag[llama2_fast---minp]",
     {'"--min-p", "--minp", dest': '"--min-p", dest'}),
) + of(
    "llama2_ref/cli/main.py",
    ("a verb is not run", DISPATCH + "a_verb_is_one_module[llama2_fast]",
     {"    return int((import_module(modules[mode]) if mode else verb).run(llama2, args) or 0)": "    return 0"}),
    ("the exit code of a verb is lost", DISPATCH + "the_exit_code_of_a_verb_is_that_of_the_program[llama2_fast-1-1]",
     {".run(llama2, args) or 0)": ".run(llama2, args) and 0 or 0)"}),
    ("verbs of a package have no help", DISPATCH + "the_help_has_every_verb[llama2_fast]",
     {"for name, module in modules.items()}": "for name, module in VERBS.items()}"}),
    ("every verb is imported", DISPATCH + "a_verb_imports_no_other[llama2_fast-generate]",
     {"    name, arguments = (first":
      "    [import_module(module) for module in modules.values()]\n    name, arguments = (first"}),
    ("the verb of llama2.c's -m is not heeded", "unit/cli/test_chat.py::test_mode_chat_is_the_verb",
     {'mode = getattr(args, "mode", None)': "mode = None"}),
    ("tools are not there", DISPATCH + "the_help_has_every_verb[llama2_fast]", {"if find_spec(tools)": "if False"}),
    ("a flag that is none is ignored", BAD + "test_flags_that_are_none", {"    if unknown:\n": "    if False:\n"}),
) + of(
    "llama2_ref/generation/request.py",
    ("a text makes one token more than it has steps", FLAGS + "steps_of_a_text[llama2_fast-['-n', 1]-1-False]",
     {"elif len(self.tokens) > self.end:": "elif len(self.tokens) > self.end + 1:"}),
) + of(
    "llama2_ref/generation/perplexity.py",
    ("a context of 0 is the model's", FLAGS + "what_perplexity_refuses[llama2_fast---context 0--]",
     {"context = seq_len if context is None else context": "context = context or seq_len"}),
    ("a stride of 0 is half the context",
     FLAGS + "what_perplexity_refuses[llama2_fast---stride 0--]",
     {"stride = context // 2 if stride is None else stride": "stride = stride or context // 2"}),
) + of(
    "llama2_ref/formats/convert.py",
    ("a model is written into the current folder",
     FLAGS + "what_convert_refuses[llama2_fast---]",
     {"    if not os.fspath(output):": "    if False:"}),
    ("an empty type is none",
     FLAGS + "what_convert_refuses[llama2_fast-x.gguf --type --]",
     {"if options.dtype is not None and": "if options.dtype and"}),
) + of(
    "llama2_ref/formats/llama2c.py",
    ("version 0 is the default", FLAGS + "versions_of_llama2_c[llama2_fast]",
     {"1 if options.version is None else options.version": "options.version or 1"}),
) + of(
    "llama2_ref/support/files.py",
    ("an empty name is the current folder", FLAGS + "what_has_no_meaning[llama2_fast--z -generate]",
     {"return bool(os.fspath(path)) and Path(path).is_dir()": "return Path(path).is_dir()"}),
) + of(
    "llama2_fast/sampler.py",
    ("a tiny temperature makes numpy complain",
     FLAGS + "sampling[llama2_fast-['-t', 1e-300, '-p', 1]-all]",
     {'with np.errstate(over="ignore"):': "with np.errstate():"}),
)  # fmt: skip

# --------------------------------------------------------------------------------------------------- inside the engines

SIZES = "unit/engines/test_buffers.py::"
WHERE = "unit/engines/test_not_finite.py::"
INDEX = WHERE + "test_the_index_of_a_number_in_its_vector_is_told"
SAME_WEIGHT = WHERE + "test_engines_say_the_same_of_a_weight_that_is_not_finite"
LAYOUTS = "unit/engines/test_layouts.py::"
LAYOUT = LAYOUTS + "test_compiled_code_reads_any_layout"
LAYOUT_OF_PART = LAYOUTS + "test_compiled_code_reads_any_layout_of_a_part"
WRITTEN = LAYOUTS + "test_any_layout_is_written_and_known_again"
VERSIONS = ENGINE + "test_each_version_and_the_target_make_new_code"
TIES = QUANTIZE + "test_many_ties_are_equal_bit_for_bit"
TIES_SIMD = BITS + "test_ties_are_quantized_as_by_the_reference"
CHOICE = "unit/engines/test_choose.py::"
OF_OTHERS = "unit/engines/test_rowwise.py::test_kernels_of_others_are_given_all_that_a_model_has"
PORTIONS = BITS + "test_every_row_of_every_portion_is_its_own_product"
PASS_BUFFERS = SIZES + "test_buffers_of_a_pass_hold_what_it_takes"

INSIDE_THE_ENGINES = of(
    "llama2_fast/engines/numpy_engine.py",
    ("a cache grows to twice what it was", SIZES + "test_a_cache_has_room_for_what_is_stored[numpy]",
     {"min(2 * length, self._seq_len), width)":
      "min(max(2 * self._rows.shape[2], 2), self._seq_len), width)"}),
    ("a cache grows by what is asked for", SIZES + "test_a_cache_takes_no_more_than_twice_its_tokens[numpy]",
     {"min(2 * length, self._seq_len), width)": "min(length, self._seq_len), width)"}),
) + of(
    "llama2_fast/engines/simd/kv_cache.py",
    ("a cache grows to twice what it was", SIZES + "test_a_cache_has_room_for_what_is_stored[simd]",
     {"padded(min(2 * length, self.config.seq_len))":
      "padded(min(max(2 * self.room[2], 1), self.config.seq_len))"}),
    ("a cache begins with room for its context", SIZES + "test_a_cache_takes_no_more_than_twice_its_tokens[simd]",
     {"padded(min(2 * length, self.config.seq_len))": "padded(self.config.seq_len)"}),
    ("a cache that has grown is still where it was",
     SIZES + "test_buffers_of_a_pass_hold_what_it_takes_in_copied_caches",
     {"self._arrays, self.room = (keys, values), places":
      "self._arrays, self.room = (keys, values), self.room if self.room[2] else places"}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/job.py",
    ("room is made for one sequence of several", SIZES + "test_buffers_of_a_batch_hold_what_it_takes",
     {"max(cache.length + len(tokens) for _, tokens, cache, _ in pieces)":
      "max(cache.length + len(tokens) for _, tokens, cache, _ in pieces[:1])"}),
    ("threads have no rows of their own", PASS_BUFFERS + "[int8]", {"max(count, self._threads)": "count"}),
    ("scores have no room for the query", PASS_BUFFERS + "[None]",
     {"size = padded(self._config.head_size) + padded(self._positions)": "size = padded(self._positions)"}),
    ("scores have room for one thread", PASS_BUFFERS + "[None]",
     {"_aligned(self._threads * stride)": "_aligned(stride)"}),
    ("buffers stay as they were first", PASS_BUFFERS + "[None]",
     {"        if room <= self._room:\n": "        if self._room:\n"}),
    ("room for vectors is that of the smallest matrix", PASS_BUFFERS + "[int8]",
     {'strides["quants_stride"] = max(m': 'strides["quants_stride"] = min(m'}),
    ("only the last logits have a tap", PASS_BUFFERS + "[int4]",
     {'(c.n_layers, "logits"): (wanted, c.vocab_size)}': '(c.n_layers, "logits"): (1, c.vocab_size)}'}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/kernels/rows.py",
    ("compiled code quantizes by the reciprocal", TIES_SIMD + "[int8-16]",
     {" / splat(scale) + splat(_ROUND)": " * splat(_ONE / scale) + splat(_ROUND)"}),
    ("compiled code takes the scale by the reciprocal of 127", TIES_SIMD + "[int4-20]",
     {"scale = top / _Q_MAX": "scale = top * (_ONE / _Q_MAX)"}),
    ("compiled code rounds negative numbers to halves", TIES_SIMD + "[int8-40]",
     {"f32(1.5 * 2**23)": "f32(1.0 * 2**23)"}),
    needs="numba",
) + of(
    "llama2_fast/quantize.py",
    ("int8 is made by the reciprocal", TIES + "[quantize_int8-64]",
     {"np.rint(groups / divisor[..., None]).astype": "np.rint(groups * (np.float32(1) / divisor)[..., None]).astype"}),
    ("int8 is made by a division in float64", TIES + "[quantize_int8-32]",
     {"np.rint(groups / divisor[..., None]).astype": "np.rint(groups / np.float64(divisor)[..., None]).astype"}),
    ("the scale is made by the reciprocal of 127", TIES + "[quantize_int8-5]",
     {"peak / np.float32(Q_MAX))": "peak * np.float32(1 / Q_MAX))"}),
    ("int4 is made by the reciprocal", TIES + "[quantize_int4-16]",
     {"np.rint(groups / divisor[..., None]), INT4_MIN":
      "np.rint(groups * (np.float32(1) / divisor)[..., None]), INT4_MIN"}),
    ("int4 is made by the scale before it is float16", TIES + "[quantize_int4-64]",
     {"    divisor = np.where(scale == 0, np.float32(np.inf), scale)\n    q = np.clip":
      "    divisor = np.where(scale == 0, np.float32(np.inf), peak / np.float32(INT4_MIN))\n    q = np.clip"}),
) + of(
    "llama2_ref/quantize.py",
    ("quotients are not rounded to float32", TIES + "[quantize_int8-16]",
     {"q += [round(_float32(value / scale)) if scale else 0 for value in group]":
      "q += [round(value / scale) if scale else 0 for value in group]"}),
) + of(
    "llama2_fast/engines/choose.py",
    ("groups are compared in the first layer only", CHOICE + "test_every_layer_must_have_groups_of_one_size",
     {"for layer in range(len(weights.wq)):": "for layer in range(1):"}),
) + of(
    "llama2_fast/engines/rowwise.py",
    ("kernels of others get no offsets", OF_OTHERS + "[Q4_1]",
     {"(w_q, w_scale, *rows, *w_offset) for": "(w_q, w_scale, *rows) for"}),
    ("kernels of others get no scaling of RoPE", OF_OTHERS + "[Q4_0]",
     {"rope_table(int(position), *rope)": "rope_table(int(position), *rope[:2])"}),
    ("kernels of others have an eps of their own", OF_OTHERS + "[Q8_0]",
     {"self._kernels.rmsnorm(row, w, eps)": "self._kernels.rmsnorm(row, w, 1e-5)"}),
) + of(
    "llama2_fast/engines/simd/engine.py",
    ("one thread runs every model", ENGINE + "test_as_many_threads_as_cores_run_what_is_worth_it",
     {"1 if sum(m.bytes for m in matrices) < SMALL else available_cores()": "1"}),
    ("all cores run a small model", ENGINE + "test_as_many_threads_as_cores_run_what_is_worth_it",
     {"1 if sum(m.bytes for m in matrices) < SMALL else available_cores()": "available_cores()"}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/job.py",
    ("logits are overwritten by the next pass", ENGINE + "test_logits_and_taps_are_the_callers",
     {"self.logits = np.empty((wanted, padded(self._config.vocab_size)), np.float32)":
      "self.logits = self._buffers.setdefault(\n"
      "            f'{wanted}', np.empty((wanted, padded(self._config.vocab_size)), np.float32)\n"
      "        )"}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/compiler/library.py",
    ("the key of code is made of names and sizes", ENGINE + "test_a_byte_of_any_source_makes_new_code",
     {"[path.read_bytes() for path": "[f'{path.name} {path.stat().st_size}'.encode() for path"}),
    ("the key of code is made of names and times", ENGINE + "test_a_byte_of_any_source_makes_new_code",
     {"[path.read_bytes() for path": "[f'{path.name} {path.stat().st_mtime_ns}'.encode() for path"}),
    ("the key of code is made of first lines", ENGINE + "test_a_byte_of_any_source_makes_new_code",
     {"[path.read_bytes() for path": "[path.read_bytes()[:999] for path"}),
    ("the key of code leaves out a folder", ENGINE + "test_a_byte_of_any_source_makes_new_code",
     {"Path(__file__).parents[1].rglob": "Path(__file__).parent.rglob"}),
    ("the key of code runs files together", ENGINE + "test_text_that_moves_to_the_next_file_makes_new_code",
     {'b"\\0".join': 'b"".join'}),
    ("the key of code depends on the order of a folder",
     ENGINE + "test_the_order_in_which_files_are_found_makes_no_new_code",
     {'sorted(Path(__file__).parents[1].rglob("*.py"))': 'Path(__file__).parents[1].rglob("*.py")'}),
    ("code of another numba is taken", VERSIONS, {'version("numba"), ': ""}),
    ("code of another llvmlite is taken", VERSIONS, {"llvmlite.__version__, ": ""}),
    ("code of another Python is taken", VERSIONS, {"llvmlite.__version__, sys.version]": "llvmlite.__version__]"}),
    ("code of another system is taken", VERSIONS, {"llvm.get_process_triple(), ": ""}),
    ("code of a processor with other features is taken", VERSIONS, {"*processor(), ": "processor()[0], "}),
    ("code of another processor with these features is taken", VERSIONS, {"*processor(), ": "processor()[1], "}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/packing.py",
    ("columns that lie first are packed as rows", LAYOUT + "[columns first-F32]",
     {" or not w.flags.c_contiguous": ""}),
    ("rows that lie together in any order are packed as they lie", LAYOUT + "[columns first-F16]",
     {"not w.flags.c_contiguous": "not w.flags.forc"}),
    ("only the last axis must lie number by number", LAYOUT + "[a part of wider rows-BF16]",
     {"not w.flags.c_contiguous": "w.strides[-1] != w.itemsize"}),
    ("bytes of a small number may be in any order", LAYOUT + "[the other byte order-BF16]",
     {"np.asarray(matrix.bits, np.uint16)": "matrix.bits"}),
    ("a matrix of any float16 numbers is packed as it is", LAYOUT + "[the other byte order-F16]",
     {'return matrix if dtype == "float16" else': 'return matrix if getattr(matrix, "dtype", dtype) == ">f2" else',
      "FLOATS[numbers.dtype.name]": "FLOATS[numbers.dtype.newbyteorder('=').name]"}),
    ("integers are packed in the order in which they lie", LAYOUT + "[columns first-int8]",
     {"q[some].reshape(-1, groups, group)": 'q[some].reshape(-1, groups, group, order="A")'}),
    ("scales are packed in the order in which they lie", LAYOUT_OF_PART + "[columns first-scale]",
     {"np.stack([np.asarray(part, np.float32) for part in floats], axis=2)":
      'np.stack([np.asarray(part, np.float32).ravel(order="K").reshape(part.shape) for part in floats], axis=2)'}),
    ("offsets are packed in the order in which they lie", LAYOUT_OF_PART + "[columns first-offset]",
     {"np.stack([np.asarray(part, np.float32) for part in floats], axis=2)":
      "np.stack([np.asarray(part, np.float32) if part is floats[0] else np.asarray(part, np.float32)"
      '.ravel(order="K").reshape(part.shape) for part in floats], axis=2)'}),
    needs="numba",
) + of(
    "llama2_fast/quantize.py",
    ("numbers are grouped in the order in which they lie", LAYOUTS
     + "test_any_layout_is_quantized[columns first-F32-int8]",
     {"return x.reshape(*x.shape[:-1], -1, group_size)": 'return x.reshape(*x.shape[:-1], -1, group_size, order="A")'}),
    ("integers are widened in the order in which they lie", LAYOUTS
     + "test_numpy_keeps_its_bounds_with_any_layout[columns first-int8]",
     {"groups = w_q[block].reshape(-1, *vectors.shape[1:])":
      'groups = w_q[block].reshape(-1, *vectors.shape[1:], order="A")'}),
) + of(
    "llama2_fast/matrices/arrays.py",
    ("numbers are written in the order in which they lie", WRITTEN + "[columns first-F32]",
     {"yield part.tobytes()": 'yield part.tobytes("A")'}),
    ("scales are written in the order in which they lie", WRITTEN + "[columns first-Q8_0]",
     {"np.asarray(scale, np.float32).tobytes()": 'np.asarray(scale, np.float32).tobytes("A")'}),
) + of(
    "llama2_fast/engines/simd/kernels/float_products.py",
    ("rows left over take the vectors of the first portion", PORTIONS + "[1 and 3-None-133]",
     {"_times_vector(w, Rows(row, rows.last), row_at(x.floats, t), row_at(out, t))":
      "_times_vector(w, Rows(row, rows.last), row_at(x.floats, t - start), row_at(out, t))"}),
    ("rows left over of a later portion are put into the first one", PORTIONS + "[2 of w2-F16-251]",
     {"_times_vector(w, Rows(row, rows.last), row_at(x.floats, t), row_at(out, t))":
      "_times_vector(w, Rows(row, rows.last), row_at(x.floats, t), row_at(out, t - start))"}),
    ("rows left over begin with the first portion only", PORTIONS + "[3 and none-BF16-133]",
     {"            else:\n                for t in range(start, end):":
      "            elif start == 0:\n                for t in range(start, end):"}),
    ("vectors left over by threes are those of the first portion", PORTIONS + "[2 and 1-None-133]",
     {"_four_dots(w, row_at(x, t), row_at(out, t))": "_four_dots(w, row_at(x, t - start), row_at(out, t))"}),
    ("a portion ends with whole threes", PORTIONS + "[2 of rows wider than the cache-F16-29]",
     {"end = start + portion if start + portion < x.tokens else x.tokens":
      "end = start + portion if start + portion < x.tokens else start + (x.tokens - start) // 3 * 3"}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/kernels/rows.py",
    ("a bad number is sought in the first vector of a group", INDEX + "[int8-17]",
     {"for i in range(start, start + count):": "for i in range(start, start + (16 if count > 16 else count)):"}),
    ("only the last vector of a group must be finite", INDEX + "[int8-0]",
     {"difference = difference + (v - v)": "difference = v - v"}),
    ("the index of a bad number is that in its group", INDEX + "[int4-32]",
     {"put_int32(error, np.int32(i + 1))": "put_int32(error, np.int32(i - start + 1))"}),
    ("the last of several bad numbers is told", INDEX + "[int8-31]",
     {"if v - v != _ZERO and int32_at(error) == 0:": "if v - v != _ZERO:"}),
    ("the last group with a bad number is told", INDEX + "[int4-31]",
     {"    if int32_at(error) == 0:\n        for i":
      "    put_int32(error, np.int32(0))\n    if int32_at(error) == 0:\n        for i"}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/kernels/step.py",
    ("errors of wanted rows go to the first rows", SAME_WEIGHT + "[w2-int8]",
     {"_quantized(job, t + scratch), job.errors + row * WORD_BYTES)":
      "_quantized(job, t + scratch), job.errors + t * WORD_BYTES)"}),
    ("an error goes to the first row", WHERE + "test_the_token_whose_vector_overflows_is_told[wv]",
     {"_quantized(job, t + scratch), job.errors + t * WORD_BYTES)": "_quantized(job, t + scratch), job.errors)"}),
    needs="numba",
) + of(
    "llama2_fast/engines/simd/engine.py",
    ("errors of a sequence are those of the first one", SAME_WEIGHT + "[token_embedding_table-int8]",
     {"            row += len(tokens)\n        return logits": "        return logits"}),
    ("logits count from the first token of a prompt", SAME_WEIGHT + "[token_embedding_table-None]",
     {"first = len(tokens) - len(logits)": "first = 0"}),
    ("a cache counts tokens before they are checked", SAME_WEIGHT + "[rms_att_weight-int8]",
     {"            self._check(row, tokens, cache, logits[-1])\n            cache.length += len(tokens)":
      "            cache.length += len(tokens)\n            self._check(row, tokens, cache, logits[-1])"}),
    ("positions of errors begin with the pass", WHERE + "test_engines_say_the_same_in_chunks[w2-int8]",
     {"raise with_cause(NumericsError(reason), cache.length, cause)":
      "raise with_cause(NumericsError(reason), row + t, cause)"}),
    ("a bad number loses its sign", SAME_WEIGHT + "[w3-int8]",
     {"np.int32(error >> 32).view(np.float32)": "np.int32(error >> 32 & 0x7FFFFFFF).view(np.float32)"}),
    needs="numba",
) + of(
    "llama2_fast/engines/numpy_engine.py",
    ("a token of a prompt is blamed by its place in the chunk", WHERE + "test_engines_say_the_same_in_chunks[w2-None]",
     {"return with_cause(error, cache.length, first": "return with_cause(error, i, first"}),
    ("logits in the midst of a prompt are looked at", SAME_WEIGHT + "[token_embedding_table-None]",
     {"int(every or (last and i == len(tokens) - 1))": "1"}),
) + of(
    "llama2_ref/weights.py",
    ("scales are looked at before offsets", WHERE + "test_the_first_bad_number_of_a_matrix_is_told[Q4_1-nan]",
     {"return self.offset, self.scale": "return self.scale, self.offset"}),
)  # fmt: skip

BLOCKS = "unit/formats/test_ggml_blocks.py::"
BLOCKS_READ, BLOCKS_MADE = BLOCKS + "test_numbers_are_those_that", BLOCKS + "test_blocks_of_floats_are_those_that"
BLOCKS_KEPT, BLOCKS_BOTH = (
    BLOCKS + "test_integers_of_such_blocks",
    BLOCKS + "test_both_packages_make_equal_int8_of_them",
)
FILE_STARTS = BLOCKS + "test_the_start_of_a_file_is_as_the_gguf_package_writes_it"

GGML = of(
    "llama2_ref/formats/ggml_blocks.py",
    ("the fifth bits are those of the number before", BLOCKS_READ + "_the_gguf_package_finds[Q5_0]",
     {"(high >> i & 1) << 4": "(high >> max(i - 1, 0) & 1) << 4"}),
    ("minus is added", BLOCKS_READ + "_the_gguf_package_finds[Q4_K]",
     {"scale * integer - minus": "scale * integer + minus"}),
    ("the third bit is for 4 more", BLOCKS_READ + "_the_gguf_package_finds[Q3_K]",
     {"0 if high else 4": "4 if high else 0"}),
    ("scales of Q6_K have no sign", BLOCKS_READ + "_the_gguf_package_finds[Q6_K]", {'"<16b"': '"<16B"'}),
    ("the eighth sign is never set", BLOCKS_READ + "_the_gguf_package_finds[IQ2_XXS]",
     {"return bits | (bits.bit_count() & 1) << 7": "return bits"}),
    ("1/8 is always added", BLOCKS_READ + "_the_gguf_package_finds[IQ1_S]",
     {"delta = -0.125 if more & 0x8000 else 0.125": "delta = 0.125"}),
    ("halves are rounded to even", BLOCKS_MADE + "_the_gguf_package_makes[llama2_ref-Q8_0]",
     {"floor(abs(x) + 0.5)": "round(abs(x))"}),
    ("int4 of two halves of a block change places", BLOCKS_MADE + "_the_gguf_package_makes[llama2_ref-Q4_0]",
     {"bytes(low | high << 4 for": "bytes(high | low << 4 for"}),
    ("a quotient is not rounded before 8.5 is added", BLOCKS_MADE + "_the_gguf_package_makes[llama2_ref-Q4_0]",
     {"_float32(_float32(x * inverse) + 8.5)": "(x * inverse + 8.5)"}),
    ("infinity is written", BLOCKS + "test_what_no_block_can_hold_is_named[llama2_ref--inf-Q8_0]",
     {"if not all(map(isfinite, row)):": "if any(x != x for x in row):"}),
    ("an infinite inverse is used", BLOCKS + "test_numbers_that_are_nearly_none_become_zeros[llama2_ref-Q4_0]",
     {"return inverse if isfinite(inverse) else 0.0": "return min(inverse, 3.4e38)"}),
) + of(
    "llama2_fast/matrices/ggml.py",
    ("the last rows of other kinds are left out", GGUF + "test_many_rows_of_another_kind_are_converted_some_at_a_time",
     {"for start in range(0, rows, step))": "for start in range(0, rows - step, step))"}),
    ("halves are rounded to even", BLOCKS_MADE + "_the_gguf_package_makes[llama2_fast-Q8_0]",
     {"np.floor(np.abs(steps).astype(np.float64) + 0.5)": "np.rint(np.abs(steps))"}),
    ("the last of equals decides on the sign of a scale", BLOCKS_MADE + "_the_gguf_package_makes[llama2_fast-Q4_0]",
     {"first = np.abs(blocks).argmax(1, keepdims=True)":
      "first = 31 - np.abs(blocks)[:, ::-1].argmax(1, keepdims=True)"}),
    ("scales are rounded to float16 without a word", BLOCKS_KEPT + "_keep_every_bit[llama2_fast-Q8_0-Int8Matrix--127]",
     {"return np.array_equal(np.asarray(scale).astype(np.float16), scale)": "return True"}),
    ("integers of other groups are taken for blocks", BLOCKS_KEPT + "_keep_every_bit[llama2_fast-Q4_0-Int4Matrix--8]",
     {"known.group_size == BLOCK and": "known.group_size and"}),
    ("an infinite inverse is used", BLOCKS + "test_numbers_that_are_nearly_none_become_zeros[llama2_fast-Q4_0]",
     {"np.where(np.isfinite(inverse), inverse, np.float32(0))": "np.minimum(inverse, np.float32(3.4e38))"}),
) + of(
    "llama2_ref/formats/gguf_container.py",
    ("tensors that are written follow without a gap", FILE_STARTS,
     {"offset += padded(size)": "offset += size"}),
    ("dimensions are written rows first", FILE_STARTS,
     {"*reversed(shape))": "*shape)"}),
)  # fmt: skip

BUGS = [
    *ARITHMETIC, *TEXT, *CHECKPOINTS, *WHOLE_MODELS, *ENGINES, *MEASUREMENTS, *VERIFIERS, *JUDGES, *COMPILED_KERNELS,
    *AROUND_THE_KERNELS, *GGUF_FILES, *TOKENIZERS_OF_MODELS, *TEXTS_THAT_ARE_ASKED_FOR, *FOLDERS,
    *TOKENS_THAT_ARE_0, *KEYWORDS, *FLAGS_AT_ODD_VALUES, *WHAT_FORMATS_SHARE, *INSIDE_THE_ENGINES,
    *GGML,
]  # fmt: skip
