"""The mutations that `mutations.py` tries: at least one of everything that computes a number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One change of the source.

    Attributes:
        name: What is broken.
        file: File to change, from the root.
        old: A text that stands exactly once in it.
        new: What takes its place.
        tests: Words for pytest: files, and options that choose among their tests.
        survives_because: Why no test can or should notice; "" if one must.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str
    survives_because: str = ""


SRC = "src/nanosae/"
MUTATIONS: list[Mutation] = []


def add(file: str, tests: str, *changes: tuple[str, str, str]) -> None:
    """Add mutations of one file: each a name, the old text and the new one."""
    for name, old, new in changes:
        MUTATIONS.append(Mutation(name, SRC + file, old, new, tests))


# ---- training
OBJECTIVES = "tests/trainable/test_objectives.py -k dense_formulas"
add(
    "trainable/objectives.py",
    OBJECTIVES,
    ("objective: L1 unit", "L1_UNIT = 12.0", "L1_UNIT = 10.0"),
    ("objective: tanh scale", "TANH_SCALE = 4.0", "TANH_SCALE = 2.0"),
    ("objective: pre-act coefficient", "3e-6", "3e-5"),
    (
        "objective: gate learns the decoder",
        'params["W_dec"].detach()',
        'params["W_dec"]',
    ),
    (
        "objective: jump without gradient",
        "(is_active - is_active.detach())",
        "(is_active * 0)",
    ),
    (
        "objective: matryoshka sums prefixes",
        "stack(errors).mean()",
        "stack(errors).sum()",
    ),
    (
        "objective: error halved",
        "return squared_error(",
        "return 0.5 * squared_error(",
    ),
    ("objective: pre-act of all entries", "(everywhere - active)", "everywhere"),
)
add(
    "kernels/squares.py",
    OBJECTIVES,
    (
        "squared error: gradient",
        "ctx.difference.mul_(2 * grad)",
        "ctx.difference.mul_(grad)",
    ),
)
add(
    "kernels/jump.py",
    OBJECTIVES,
    ("objective: window doubled", "ctx.width / 2", "ctx.width"),
)
add(
    "trainable/auxk.py",
    "tests/trainable/test_objectives.py tests/train/test_step.py -k auxk",
    ("auxk: weight not shared by micro-batches", "(1 / config.accumulate)", "1"),
    (
        "auxk: of the target, not the residual",
        "(fitted, residual)",
        "(fitted, target[:n_rows])",
    ),
    (
        "auxk: revived latents take part",
        "bias.masked_fill_(revived, -math.inf)",
        "pass",
    ),
)
add(
    "trainable/sizes.py",
    "tests/trainable/test_sizes.py",
    ("sizes: once, without training", "COPIES * FLOAT32_BYTES", "FLOAT32_BYTES"),
    ("sizes: of the first SAE alone", "sum(_largest_share(", "max(_largest_share("),
    ("sizes: rounded down", "-(-hidden_size // n_parts)", "hidden_size // n_parts"),
    ("sizes: encoder only", "(data.width + output_size)", "data.width"),
)
add(
    "memory.py",
    "tests/test_memory.py",
    ("memory: of the group alone", "folder, *folder.parents", "folder,"),
    ("memory: of the machine alone", ", *_limits_of_groups()]", "]"),
)
add(
    "distributed.py",
    "tests/test_distributed.py",
    (
        "ranks: start from their own rows",
        "initial_threshold(thresholds, k, n_rows)",
        "initial_threshold(thresholds, k, len(x))",
    ),
    (
        "ranks: a quarter of their own rows",
        "n_own = len(self.own_rows(torch.arange(n_first)))",
        "n_own = math.ceil(len(rows) / divisor)",
    ),
)
add(
    "train/forward.py",
    "tests/test_distributed.py",
    (
        "ranks: dense by their own latents",
        "DENSE_SHARE * state.config.hidden_size",
        "DENSE_SHARE * state.n_latents",
    ),
)
STEP = "tests/train/test_step.py"
add(
    "train/step.py",
    STEP,
    (
        "step: clip at another norm",
        "(norm + 1e-6) / limit",
        "(norm + 1e-6) / (2 * limit)",
    ),
    ("step: clip lengthens gradients", ".clamp_min(1.0)", ".clamp_min(0.0)"),
    (
        "step: silence counted in steps",
        "state.silent_rows += n_rows",
        "state.silent_rows += 1",
    ),
    (
        "step: silence never ends",
        "masked_fill_(active_rows > 0, 0)",
        "masked_fill_(active_rows > 9e9, 0)",
    ),
    (
        "step: micro-batch is a whole step",
        "n_elements = len(batch) * state",
        "n_elements = len(batch) // state.config.accumulate * state",
    ),
    (
        "step: last learning rate",
        "state.optimizer.lr = schedule.learning_rate(config, counters)",
        "pass",
    ),
    ("step: decoder rows grow", "    state.normalise_decoder()\n", ""),
)
add(
    "trainable/noise.py",
    "tests/train/test_step.py",
    ("noise: of the seed alone", "TRAINING_NOISE, step)", "TRAINING_NOISE, 0)"),
    ("noise: of the step alone", "mixed_seed(config.seed,", "mixed_seed(0,"),
)
add(
    "trainable/nesting.py",
    "tests/trainable/test_nesting.py",
    ("nesting: the same in each step", "NESTING, step))", "NESTING, 0))"),
    ("nesting: the same for each seed", "(config.seed, NESTING", "(0, NESTING"),
    ("nesting: k too small", "FEWEST, MOST = 0.25, 2.0", "FEWEST, MOST = 0.1, 2.0"),
    ("nesting: long prefixes only", "SHORTEST = 1 / 64", "SHORTEST = 1 / 8"),
    (
        "nesting: uniform",
        "math.exp(generator.uniform(math.log(low), math.log(high)))",
        "generator.uniform(low, high)",
    ),
)
add(
    "trainable/objectives.py",
    "tests/trainable/test_objectives.py",
    ("nested: a quarter's weight", "weight * squares", "squares"),
)
add(
    "train/forward.py",
    "tests/trainable/test_objectives.py",
    (
        "nested: k of the config",
        "config.expected_l0 if nesting is None else nesting.k",
        "config.expected_l0",
    ),
)
add(
    "trainable/batch.py",
    "tests/trainable/test_objectives.py",
    (
        "nested: prefix too long",
        "sae.latents.start < prefix",
        "sae.latents.start <= prefix",
    ),
)
add(
    "trainable/refit.py",
    "tests/trainable/test_refit.py",
    ("refit: no ridge", "penalty = ridge *", "penalty = 1e-6 *"),
    ("refit: towards the shrunk decoder", "return scale * decoder", "return decoder"),
    (
        "refit: the bias is the mean",
        "self._mean_target - self._mean_acts @ decoder",
        "self._mean_target",
    ),
    (
        "refit: blocks pull to zero",
        "(decoder[block] - self._prior[block])",
        "decoder[block]",
    ),
    ("refit: never refuses", "if error < lowest_error", "if True"),
    (
        "refit: the later blocks see the first residual",
        "residual -= acts @ change - self._mean_acts[block] @ change",
        "pass",
    ),
    ("refit: gram not centred", "acts.shape[0] * np.outer", "0 * np.outer"),
)
add(
    "model/snapshots.py",
    "tests/model/test_snapshots.py -k plane",
    (
        "snapshots: the smallest axes of wide rows",
        "(rows @ rows.T).eigenvectors[:, -2:]",
        "(rows @ rows.T).eigenvectors[:, :2]",
    ),
    (
        "snapshots: the smallest axes of narrow rows",
        "(rows.T @ rows).eigenvectors[:, -2:]",
        "(rows.T @ rows).eigenvectors[:, :2]",
    ),
    (
        "snapshots: axes of any length",
        "axes /= axes.norm(dim=0)",
        "axes /= 2 * axes.norm(dim=0)",
    ),
)
add(
    "train/state.py",
    STEP,
    (
        "state: no weight decay",
        "weight_decay=config.weight_decay",
        "weight_decay=0.0",
    ),
    (
        "state: dead one row late",
        "self.silent_rows > self.config.dead_after",
        "self.silent_rows >= 2 * self.config.dead_after",
    ),
)
add(
    "train/state.py",
    "tests/train/test_state.py",
    (
        "resume: silence forgotten",
        'self.silent_rows = own["silent_rows"]',
        'self.silent_rows = own["silent_rows"] * 0',
    ),
    (
        "resume: moments forgotten",
        'value.copy_(own[f"adam.{moment}.{name}"])',
        "pass",
    ),
    ("resume: counters forgotten", "self.counters = Counters(**numbers)", "pass"),
    (
        "best: the last weights",
        "best = self.best_params if self.best_params else self.params",
        "best = self.params",
    ),
)
SCHEDULE = "tests/train/test_schedule.py"
add(
    "train/schedule.py",
    SCHEDULE,
    (
        "schedule: final learning rate",
        "fall = (end - counters.step)",
        "fall = (end + 1 - counters.step)",
    ),
    (
        "schedule: warm-up a step late",
        "rise = (counters.step + 1) / warmup_steps",
        "rise = counters.step / warmup_steps",
    ),
    (
        "schedule: decay's share",
        "counters.decay_start / (1 - config.decay)",
        "counters.decay_start * (1 + config.decay)",
    ),
    ("schedule: 5 % rule", "CANDIDATE_ERROR = 0.05", "CANDIDATE_ERROR = 0.5"),
    (
        "schedule: held-out gap ignored",
        "config.k) + counters.heldout_excess",
        "config.k)",
    ),
    (
        "schedule: held-out gap not smoothed",
        "0.5 * (excess - counters.heldout_excess)",
        "(excess - counters.heldout_excess)",
    ),
    (
        "schedule: integral gain",
        "INTEGRAL_GAIN, PROPORTIONAL_GAIN = 0.02, 0.5",
        "INTEGRAL_GAIN, PROPORTIONAL_GAIN = 0.04, 0.5",
    ),
    (
        "schedule: proportional gain",
        "INTEGRAL_GAIN, PROPORTIONAL_GAIN = 0.02, 0.5",
        "INTEGRAL_GAIN, PROPORTIONAL_GAIN = 0.02, 0.25",
    ),
    (
        "schedule: patience one more",
        "evaluations_since_best >= config.patience",
        "evaluations_since_best > config.patience",
    ),
)
# ---- command line
add(
    "__main__.py",
    "tests/cli/test_waiting.py",
    (
        "waiting: a policy is overruled",
        'if "OMP_WAIT_POLICY" not in os.environ:',
        "if True:",
    ),
)
# ---- kernels
add(
    "kernels/cpu/selection.py",
    "tests/kernels/test_kernels.py -k selection",
    (
        "kernel: selection without bias",
        "marks[column] = pre_acts[column] + offset[column] > threshold",
        "marks[column] = pre_acts[column] > threshold",
    ),
)
add(
    "kernels/batchtopk.py",
    "tests/kernels/test_kernels.py -k selection",
    (
        "kernel: batch ties all kept",
        "keep[ties[: max(0, n_ties)]] = True",
        "keep[ties] = True",
    ),
)
add(
    "kernels/cpu/topk.py",
    "tests/kernels/test_kernels.py -k selection",
    (
        "kernel: ties all dropped",
        "(value == threshold and n_ties > 0)",
        "(value == threshold and n_ties > 1)",
    ),
)
add(
    "kernels/cpu/screening.py",
    "tests/kernels/test_screening.py",
    (
        "screening: without the latents' rests",
        "+ code_length * latents.rests[latent]",
        "+ 0 * latents.rests[latent]",
    ),
    (
        "screening: without the rows' rests",
        "rest * latents.lengths[latent]",
        "0 * latents.lengths[latent]",
    ),
    (
        "screening: rounding of the bias forgotten",
        "ROUNDING_OF_BIAS = 2.0**-21",
        "ROUNDING_OF_BIAS = -(2.0**-21)",
    ),
    (
        "screening: of bounds however wide",
        "_typical_error(rows, latents) > LARGEST_ERROR",
        "_typical_error(rows, latents) > 9 * LARGEST_ERROR",
    ),
    (
        "screening: one of equal ones too many",
        "value > threshold and n_ties > 0",
        "value > threshold and n_ties >= 0",
    ),
    (
        "screening: a lower bound that is none",
        "middle - error + lower_bias[latent]",
        "middle + error + lower_bias[latent]",
    ),
)
add(
    "kernels/cpu/rounding.py",
    "tests/kernels/test_screening.py",
    (
        "rounding: NaN is lost",
        "largest_bits = self.magnitudes.view(torch.int32).max()",
        "largest_bits = self.magnitudes.view(torch.int32).min()",
    ),
    (
        "rounding: lengths rounded down",
        "UPWARDS = 1 + 1e-6",
        "UPWARDS = 1 - 1e-6",
    ),
    (
        "rounding: what is lost counts half",
        "rest = entry - rounded_entry",
        "rest = 0.5 * (entry - rounded_entry)",
    ),
    (
        "rounding: a sign taken for a magnitude",
        "bits[j] & np.int32(0x7FFFFFFF)",
        "bits[j]",
    ),
)
GRADIENTS = "tests/kernels/test_kernels.py -k gradient"
add(
    "kernels/cpu/products.py",
    GRADIENTS,
    (
        "kernel: value gradients of a frozen decoder with a bias",
        "pre_activations(pairs, grad, weight, weight.new_zeros(len(weight)))",
        "pre_activations(pairs, grad, weight, weight.new_ones(len(weight)))",
    ),
    (
        "kernel: bias gradient",
        "grad_bias[latent] += value",
        "grad_bias[latent] = value",
    ),
    (
        "kernel: encoder gradient",
        "grad_weight[latent, j] += value * x[row, j]",
        "grad_weight[latent, j] += x[row, j]",
    ),
    (
        "kernel: value gradient",
        "dot += grad[row, j] * weight[latent, j]",
        "dot += grad[row, j]",
    ),
    ("kernel: decoder bias", "out[row, j] = bias[j]", "out[row, j] = 0"),
)
add(
    "kernels/cpu/products.py",
    "tests/kernels/test_kernels.py -k blocks",
    (
        "kernel: blocks of latents without their last",
        "cols[pair] < first + block:\n                    if values",
        "cols[pair] < first + block - 1:\n                    if values",
    ),
)
add(
    "kernels/autograd.py",
    GRADIENTS,
    (
        "kernel: decoder bias gradient",
        "returned, grad.sum(0), None",
        "returned, grad.mean(0), None",
    ),
)
# ---- data
add(
    "data/order.py",
    "tests/data/test_dataset.py -k epoch",
    ("data: every epoch alike", "seed, 1, epoch]", "seed, 1, 0]"),
    (
        "data: rows not permuted",
        "order = rng.permutation(len(rows))",
        "order = np.arange(len(rows))",
    ),
    (
        "data: held-out rows dealt",
        'return rows + np.searchsorted(self._n_before_heldout, rows, side="right")',
        "return rows",
    ),
)
add(
    "data/dataset.py",
    "tests/data/test_dataset.py -k 'resumed or epoch'",
    (
        "data: short batch dropped",
        "            partial = buffer[order[stop:]]",
        "            partial = buffer[order[:0]]",
    ),
)
add(
    "data/normalisation.py",
    "tests/data/test_dataset.py -k centred",
    (
        "data: scale of unit length",
        "(variance.size / variance.sum())",
        "(1 / variance.sum())",
    ),
)
add(
    "data/heldout.py",
    "tests/data/test_heldout.py",
    (
        "data: held out by place",
        "np.lexsort((_seeded(groups.hashes, seed), is_too_large))",
        "np.lexsort((_seeded(np.arange(len(groups.sizes), dtype=np.uint64), seed), is_too_large))",
    ),
)
add(
    "data/heldout.py",
    "tests/data/test_dataset.py -k 'side or hash'",
    (
        "data: copies on both sides",
        "turn = turn_of_group[groups.group]",
        "turn = np.random.default_rng(seed).permutation(len(groups.group))",
    ),
    (
        "data: rows by hash in their own order",
        "return rows[first]",
        "return rows[np.sort(first)]",
    ),
)
add(
    "trainable/optimizer.py",
    "tests/trainable/test_optimizer.py",
    (
        "adam: weight decay of all",
        'self._update([name for name in names if name != "W_enc"], 0.0)',
        'self._update([name for name in names if name != "W_enc"], self._weight_decay)',
    ),
    ("adam: gradients not divided", "grad_scale=self.grad_scale", "grad_scale=None"),
    ("adam: changes by infinity", "found_inf=self.found_inf", "found_inf=None"),
    ("adam: another beta", "BETAS = (0.9, 0.999)", "BETAS = (0.9, 0.99)"),
    ("adam: a larger epsilon", "EPSILON = 1e-8", "EPSILON = 1e-4"),
)
# ---- model
add(
    "trainable/export.py",
    "tests/train/test_trainer.py -k last_metrics",
    (
        "export: scale of rows",
        "/ np.float32(data.scale) + data.mean\n    if",
        "+ data.mean\n    if",
    ),
)
add(
    "model/folding.py",
    "tests/model/test_model.py tests/model/test_transcoder.py -k folding",
    (
        "fold: norm forgotten in biases",
        "(trained[name] + bias_shift) * norm / out_scale",
        "(trained[name] + bias_shift) / out_scale",
    ),
    ("fold: mean forgotten", "out_mean + trained", "0 * out_mean + trained"),
    (
        "fold: threshold scale",
        'trained["threshold"] * norm / out_scale',
        'trained["threshold"] * norm',
    ),
    ("fold: skip connection", '"b_dec"] -= folded', '"b_dec"] += folded'),
)
add(
    "model/measures.py",
    "tests/model/test_measures.py",
    (
        "measure: FVU around zero",
        "self.squares - squared_sums / max(self.n_rows, 1)",
        "self.squares",
    ),
    (
        "measure: L0 of zeros",
        "torch.bincount(rows, minlength=len(x))",
        "torch.bincount(rows, minlength=len(x)).clamp(max=1)",
    ),
)
add(
    "model/weights.py",
    "tests/model/test_weights.py",
    (
        "weights: threshold kept",
        "acts[acts <= self.threshold]",
        "acts[acts < 0.5 * self.threshold]",
    ),
    (
        "weights: ties to the higher index",
        "ties[k - n_larger :]",
        "ties[: len(ties) - k + n_larger]",
    ),
    ("weights: gate's magnitude", "np.exp(self.r_mag)", "self.r_mag"),
    ("weights: input bias", "x = x - self.b_dec", "pass"),
)
# ---- codes
add(
    "codes/shard_files.py",
    "tests/codes/test_writer.py -k lost",
    (
        "codes: activations round to zero",
        "SMALLEST = np.float16(2.0**-24)",
        "SMALLEST = np.float16(0)",
    ),
    ("codes: scale too small", "max(exponent - 15, -125)", "max(exponent - 25, -125)"),
)
# ---- labels
add(
    "analysis/names/keywords.py",
    "tests/analysis/names/test_keywords.py tests/analysis/names/test_labels.py",
    ("labels: without hard inactive texts", "z = (z_all + z_hard) / 2", "z = z_all"),
    ("labels: prior", "PRIOR = 20.0", "PRIOR = 10.0"),
    (
        "labels: log-odds without the rest",
        "has * other_lacks / (lacks * other_has)",
        "has / other_has",
    ),
)
add(
    "text/words.py",
    "tests/text/test_words.py",
    (
        "words: neighbours of other clauses",
        "pair_numbers[is_in_clause]",
        "pair_numbers",
    ),
    (
        "words: beginnings of one word",
        "MOST_OF_BEGINNING = 0.5",
        "MOST_OF_BEGINNING = 1.0",
    ),
    ("words: pieces of words", "WHOLE = 0.5", "WHOLE = 0.0"),
    ("words: whole in all places", "WHOLE = 0.5", "WHOLE = 0.9"),
    ("words: neighbours that are less usual", "USUAL = 0.8", "USUAL = 0.6"),
)
add(
    "text/unspaced.py",
    "tests/text/test_unspaced.py tests/text/test_words.py",
    (
        "words: Katakana in pieces",
        'TOKEN = re.compile(f"[{KATAKANA}]+|',
        'TOKEN = re.compile(f"[{KATAKANA}]|',
    ),
    (
        "words: Japanese without Kana is Chinese",
        "if KANA.search(text):",
        "if KANA.search(run):",
    ),
    (
        "words: one model for Chinese",
        'return "zh-hans" if _is_simplified(run) else "zh-hant"',
        'return "zh-hans"',
    ),
)
SCORING = "tests/analysis/names/test_scoring.py"
add(
    "analysis/names/scoring.py",
    SCORING,
    ("scores: interval", "z2 = Z95**2 / size", "z2 = Z95 / size"),
    (
        "scores: copies are texts",
        "deviations = np.bincount(group, values - values.mean())",
        "deviations = values - values.mean()",
    ),
    (
        "scores: ties win",
        "(n_below + n_below_or_equal) / 2",
        "n_below_or_equal",
    ),
    (
        "scores: words of training texts",
        "n_predicted = int((has_word & held).sum())",
        "n_predicted = int((has_word & ~held).sum())",
    ),
    (
        "scores: of rows that chose the label",
        "is_unseen and has_enough",
        "has_enough",
    ),
    (
        "scores: precision for F1",
        "2 * n_found / max(n_predicted + n_active, 1)",
        "n_found / max(n_predicted, 1)",
    ),
)
add(
    "analysis/names/scoring.py",
    "tests/analysis/names/test_labels.py",
    ("scores: no label is doubtful", "return not is_sure", "return False"),
    (
        "scores: words of few strongest texts are sure",
        "share_of_strongest < SURE_SHARE and f1 < SURE_F1",
        "False",
    ),
    (
        "scores: a low F1 is doubtful",
        "share_of_strongest < SURE_SHARE and f1 < SURE_F1",
        "f1 < SURE_F1",
    ),
    (
        "scores: unscored labels are sure",
        "return not is_sure",
        "return auc_low < SURE_AUC or recall == 0",
    ),
    (
        "scores: labels without their words in any text are sure",
        "auc_low >= SURE_AUC and recall > 0",
        "auc_low >= SURE_AUC",
    ),
)
add(
    "runs/tables.py",
    "tests/runs/test_tables.py",
    (
        "tables: doubts of labels that others replace",
        'doubtful -= set(table["feature"][is_labelled])',
        "doubtful -= set()",
    ),
    (
        "tables: doubts of people's names",
        "for feature in doubtful} - names.keys()",
        "for feature in doubtful}",
    ),
)
add(
    "analysis/names/keywords.py",
    "tests/analysis/names/test_naming.py -k common_word_names",
    (
        "labels: common words say nothing",
        "SPECIFIC_SHARE = 0.25",
        "SPECIFIC_SHARE = 1.0",
    ),
)
add(
    "analysis/names/keywords.py",
    "tests/analysis/names/test_keywords.py -k forms",
    ("labels: grammar is a form", "EVERYWHERE = 0.1", "EVERYWHERE = 1.0"),
    (
        "labels: forms of few",
        "_forms_in(words, count, n / 2)",
        "_forms_in(words, count, 1)",
    ),
    ("labels: forms of a third", " or _forms_in(words, count, n / 3)", ""),
)
add(
    "analysis/names/naming.py",
    "tests/analysis/names/test_naming.py",
    (
        "names: phrases with loose ends",
        "for candidates in (tidy, loose):",
        "for candidates in (of_form,):",
    ),
    (
        "names: all texts count alike",
        "weights_of_rows(own.activations)[is_train]",
        "1",
    ),
    (
        "names: a form must find twice as much",
        "BETTER_FORM_ADVANTAGE = 1.2 ",
        "BETTER_FORM_ADVANTAGE = 2.0 ",
    ),
    (
        "names: a form need not fit better",
        "if finds_more and fits_better and is_single",
        "if finds_more and is_single",
    ),
    (
        "names: beginnings of one word",
        "return bool(weight_of_forms > ONE_WORD * weight_of_all)",
        "return False",
    ),
)
add(
    "analysis/names/word_forms.py",
    "tests/analysis/names/test_naming.py",
    (
        "names: short words have no inflections",
        "return word in (without_ending, stem(without_ending))",
        "return False",
    ),
    ("names: letters are spelled alone", "if share > MOST:", "if False:"),
    (
        "names: words are one for two letters",
        "two in other and not TWO_LETTERS.fullmatch(two)",
        "two in other",
    ),
)
add(
    "analysis/names/name_terms.py",
    "tests/analysis/names/test_naming.py",
    (
        "names: stop words name",
        "if len(word_list) < MIN_STOP_WORDS and all(map(words.is_stop_word, word_list)):",
        "if False:",
    ),
    (
        "names: only phrases are of form",
        "return not has_content(corpus, term)",
        "return False",
    ),
    (
        "names: cut before the next word",
        "if is_cut_before or is_cut_after:",
        "if is_cut_before:",
    ),
    (
        "names: cut behind a word",
        "if is_cut_before or is_cut_after:",
        "if is_cut_after:",
    ),
    (
        "names: articles are part of names",
        'before != "" and corpus.says_something(before)',
        'before != ""',
    ),
    (
        "names: particles are part of names",
        "if has_loose_end(words.terms[term]):",
        "if False:",
    ),
    ("names: any words are joined", "JOINED = 0.25", "JOINED = 0.0"),
)
add(
    "analysis/names/name_search.py",
    "tests/analysis/names/test_naming.py -k generic",
    (
        "labels: further terms of all kinds of texts",
        "return is_specific & (n_new >= least)",
        "return n_new >= least",
    ),
)
add(
    "analysis/groups/topic_words.py",
    "tests/analysis/groups/test_topics.py -k copies",
    (
        "topics: named by copies",
        "is_left_out = has_topic & is_copy & ~is_of_copies[topic]",
        "is_left_out = has_topic & is_copy & is_of_copies[topic]",
    ),
)
add(
    "analysis/comparisons/sentences.py",
    "tests/analysis/comparisons/test_sentences.py -k uncertain",
    (
        "findings: certain at the far end",
        "scale(low if effect > 0 else high)",
        "scale(high if effect > 0 else low)",
    ),
)
add(
    "sources/kinds.py",
    "tests/sources/test_roles.py -k however_late",
    (
        "roles: by the first rows",
        "values.slice(start, SAMPLE_BLOCK)",
        "values.slice(0, SAMPLE_BLOCK)",
    ),
)
add(
    "analysis/names/name_search.py",
    "tests/analysis/names/test_naming.py",
    ("names: siblings share no term", "self.shared = [place]", "self.shared = []"),
    ("names: no discount", "FURTHER_DISCOUNT = 2 ", "FURTHER_DISCOUNT = 0 "),
    (
        "names: copies count for further terms",
        "distinct = by_strength[np.sort(first_places)]",
        "distinct = by_strength",
    ),
    ("names: terms of weak texts", "STRONGEST_SHARE = 0.15", "STRONGEST_SHARE = 0.0"),
    ("names: terms of another meaning", "STRONGEST_AUC = 0.8 ", "STRONGEST_AUC = 0.0 "),
    (
        "names: texts speak for their own terms",
        "is_without = ~self.corpus.words.have_terms(rows, self.candidates)",
        "is_without = np.ones((len(rows), len(self.candidates)), bool)",
    ),
    ("names: phrases cost nothing", "PHRASE_LOSS = 0.1 ", "PHRASE_LOSS = 0.0 "),
    ("names: a small discount", "FURTHER_DISCOUNT = 2 ", "FURTHER_DISCOUNT = 1 "),
)
add(
    "analysis/names/meaning.py",
    "tests/analysis/names/test_meaning.py",
    ("meaning: noise is about texts", "SURE_Z = 4.0", "SURE_Z = 0.0"),
    (
        "meaning: the difference of means alone",
        "unit(differences @ self.precision)",
        "unit(differences)",
    ),
    (
        "meaning: terms are not centred",
        "unit(embeddings - embeddings.mean(axis=0))",
        "unit(embeddings)",
    ),
)
add(
    "analysis/names/labels.py",
    "tests/analysis/names/test_labels.py",
    (
        "labels: scored by their terms",
        "if encode is not None and meaning is not None:",
        "if False:",
    ),
)
add(
    "analysis/llm/answers.py",
    "tests/analysis/llm/test_answers.py",
    ("answers: a name as good as yes", "not f1 > f1_of_all", "not f1 >= f1_of_all"),
    ("answers: no minus", "-magnitude if minus", "magnitude if minus"),
    ("answers: a range is its first text", "int(last or first)", "int(first)"),
    ("answers: a dash behind words is a minus", r"|(?<!\w)[", "|[{MINUS}]\\s*|["),
    ("answers: one line of matches", "takewhile(NUMBERED.match, below)", "[]"),
)
add(
    "data/cache.py",
    "tests/data/test_cache.py -k deviation",
    (
        "cache: equal rows have a deviation",
        "if are_equal else variance",
        "if 0 else 1e-9",
    ),
)
add(
    "pipeline/stages.py",
    "tests/pipeline/test_stages.py",
    ("stages: nothing is forgotten", "del self.stages[name]", "pass"),
)
add(
    "analysis/evaluation/evaluate.py",
    "tests/analysis/evaluation/test_evaluate.py -k few_classes",
    ("evaluate: intervals beyond a measure", "(0.0, 1.0))", "(-9.0, 9.0))"),
)
add(
    "sources/csv_files.py",
    "tests/sources/test_metadata.py -k codes_keep",
    ("csv: signs are those of telephones", "and not _any_matches(cells, NEGATIVE)", ""),
    ("csv: codes of large files", "pa.string() if is_code or", "pa.string() if"),
)
# ---- contrast
add(
    "analysis/comparisons/hypotheses.py",
    "tests/analysis/comparisons/test_contrast.py tests/analysis/comparisons/test_inference.py"
    " tests/analysis/comparisons/test_compared.py",
    (
        "contrast: p instead of q",
        "is_found = q <= FALSE_DISCOVERY_RATE",
        "is_found = found.p <= FALSE_DISCOVERY_RATE",
    ),
    (
        "contrast: topics weigh no more than features",
        "_q_values(p / weight, n_tested)",
        "_q_values(p, n_tested)",
    ),
    (
        "contrast: a weight makes a finding of any p",
        "p = np.where(found.p <= MAX_P, found.p, 1)",
        "p = found.p",
    ),
    (
        "contrast: only candidates count as tests",
        "np.ones(n_tested - len(p))",
        "np.ones(0)",
    ),
    (
        "contrast: copies are evidence",
        "weight = 1 / group_sizes[duplicate_group]",
        "weight = np.ones(len(numbers))",
    ),
    (
        "contrast: rare features tested",
        "n_active >= options.min_active",
        "n_active >= 1",
    ),
    (
        "contrast: small groups tested",
        "n_minority >= options.min_active",
        "n_minority >= 0",
    ),
    (
        "contrast: the smallest of many groups",
        'np.argsort(-n_minority[large], kind="stable")',
        'np.argsort(n_minority[large], kind="stable")',
    ),
    (
        "contrast: worst first",
        "(-difference, ~is_found)",
        "(difference, ~is_found)",
    ),
    (
        "contrast: no adjustment for selection",
        "effect = found.effect * centre / z",
        "effect = found.effect",
    ),
    (
        "contrast: rare effects shrink beyond 0",
        "effect = found.effect * centre / z",
        "effect = found.effect - error * (z - centre)",
    ),
)
add(
    "analysis/comparisons/selection.py",
    "tests/analysis/comparisons/test_selection.py",
    (
        "selection: one tail forgotten",
        "np.logaddexp(log_below, log_above)",
        "log_above",
    ),
    ("selection: intervals of 90 %", "TAIL = 0.025", "TAIL = 0.05"),
    (
        "selection: cutoff of the largest p",
        "threshold = max(step_up_threshold, largest_rejected)",
        "threshold = largest_rejected",
    ),
)
add(
    "analysis/groups/topics.py",
    "tests/analysis/groups/test_topics.py",
    (
        "topics: told apart by a single word",
        "<= len(naming) / 2",
        "<= len(naming)",
    ),
)
add(
    "analysis/comparisons/periods.py",
    "tests/analysis/comparisons/test_periods.py",
    ("trend: starts of periods", "width * (period + 0.5)", "width * (period + 0.0)"),
    (
        "trend: sentinels stay",
        "is_outlier |= _beyond_gap(sign * times",
        "is_outlier & _beyond_gap(sign * times",
    ),
    (
        "trend: milliseconds stay",
        "is_outlier |= _beyond_gap(sign * logs",
        "is_outlier & _beyond_gap(sign * logs",
    ),
    ("trend: the shortest unit", "nunique() >= MIN_PERIODS", "nunique() >= 1"),
    ("trend: nearer outliers", "FAR = 10", "FAR = 1"),
)
add(
    "analysis/comparisons/overview.py",
    "tests/analysis/comparisons/test_overview.py",
    ("overview: every text repeats", "(sizes - 1).sum()", "sizes.sum()"),
    (
        "overview: the nearest instead of the sixth",
        "ascending[0], ascending[1]",
        "ascending[-2], ascending[-1]",
    ),
    (
        "overview: a text is near itself",
        "ascending[0], ascending[1]",
        "ascending[1], ascending[1]",
    ),
    (
        "overview: rows near enough in a part are furthest",
        "candidates = np.flatnonzero(at_least <= nth + ROUNDING)",
        "candidates = likely",
    ),
    (
        "overview: shares of all instead of the others",
        "share - other_share,\n    }",
        "share + other_share,\n    }",
    ),
    (
        "overview: the partner's share of all texts",
        "(counts[other] - n_shared) / n_others",
        "counts[other] / n_others",
    ),
    ("overview: any kind", "with_root >= MOST * counts", "with_root >= 0 * counts"),
    ("overview: duplicates are pairs", "rows[first_of_each(text_group)]", "rows"),
)
add(
    "analysis/comparisons/effects.py",
    "tests/analysis/comparisons/test_contrast.py -k fitted_in_blocks",
    (
        "contrast: the first block again and again",
        "features = candidates.features[start:stop]",
        "features = candidates.features[: len(candidates.targets[start:stop])]",
    ),
)
add(
    "analysis/comparisons/effects.py",
    "tests/analysis/comparisons/test_contrast.py -k share_of_no_rows",
    ("contrast: rounding is a share", "ROUNDING = 1e-9", "ROUNDING = -1"),
)
add(
    "analysis/comparisons/feature_sums.py",
    "tests/analysis/comparisons/test_explain.py -k strata_decide",
    ("score: rounding over nothing", "np.where(variance > 0, score, 0)", "score"),
    (
        "score: nothing within strata",
        "n_inactive > ROUNDING * n_rows",
        "n_inactive > -1",
    ),
)
add(
    "sources/number_text.py",
    "tests/sources/test_number_text.py",
    ("numbers: brackets are below zero", 'BELOW_ZERO = r"[(−]', 'BELOW_ZERO = r"[−]'),
    ("numbers: 45k is 45 of the unit k", "unit in TIMES and", "False and"),
    ("numbers: 45 kelvins are 45,000", " and written >= MEASURED_SHARE", ""),
    (
        "numbers: empty stars count",
        'count_substring_regex(cells, "[★⭐]")',
        "utf8_length(cells)",
    ),
)
add(
    "sources/number_text.py",
    "tests/sources/test_roles.py -k units_and_ranges",
    ("ranges: their low ends", "pc.add(low, high)", "pc.add(low, low)"),
    (
        "durations: two numbers are hours and minutes",
        'r"0:\\1"',
        'r"\\1:0"',
    ),
)
add(
    "analysis/comparisons/repeated.py",
    "tests/analysis/comparisons/test_repeated.py",
    ("repeated: copies count once", "{}, copies=True", "{}, copies=False"),
    (
        "repeated: words with digits are words",
        '"0" if not word.isalpha() and DIGIT.search(word) else word',
        'DIGIT.sub("0", word)',
    ),
    (
        "repeated: the rarest",
        "np.lexsort((first, -n_copies))",
        "np.lexsort((first, n_copies))",
    ),
)
add(
    "text/tokens.py",
    "tests/text/test_words.py -k pictures",
    ("words: emojis are none", "(?:{further})*|[{EMOJI}]", "(?:{further})*"),
)
add(
    "pipeline/run.py",
    "tests/pipeline/test_copies.py",
    ("run: copies are trained on", "return array[np.sort(first)]", "return rows"),
)
add(
    "sources/paragraphs.py",
    "tests/sources/test_line_files.py",
    ("verses: any number of single lines", "max(n_single, n_unusual)", "0"),
    ("paragraphs: of short lines", "length >= WRAPPED_SHARE * width", "length >= 0"),
)
add(
    "sources/local_dates.py",
    "tests/sources/test_local_dates.py -k first_day",
    ("dates: weeks begin on Sunday", '"%G-W%V-%u"', '"%Y-W%W-%w"'),
    ("dates: the last day of a quarter", r'r"\1\2-04-01"', r'r"\1\2-06-30"'),
)
add(
    "sources/dates.py",
    "tests/sources/test_roles.py -k counts_of",
    ("dates: Excel's days from 1900", '"1899-12-30"', '"1900-01-01"'),
    (
        "dates: milliseconds as seconds",
        "MILLISECONDS = 10**11",
        "MILLISECONDS = 10**14",
    ),
)
add(
    "analysis/comparisons/over_time.py",
    "tests/analysis/comparisons/test_over_time.py",
    ("trend: collections never change", "MOVED = 0.5", "MOVED = 5"),
    ("trend: kinds never move", "MOST = 0.8", "MOST = 8"),
    (
        "trend: shares of copies",
        "one_hot(level).multiply(weight[:, None])",
        "one_hot(level)",
    ),
)
add(
    "analysis/comparisons/strata.py",
    "tests/analysis/comparisons/test_strata.py tests/analysis/comparisons/test_contrast.py",
    ("contrast: no strata", "return one_hot(stratum)", "return one_hot(stratum * 0)"),
    ("contrast: each length apart", "LENGTH_STEPS = 8", "LENGTH_STEPS = 800"),
    ("contrast: wider bins", "ROWS_PER_BIN = 100", "ROWS_PER_BIN = 1000"),
)
add(
    "analysis/regression.py",
    "tests/analysis/test_regression.py tests/analysis/comparisons/test_joint_model.py",
    (
        "joint model: strata without training rows are 0",
        "penalty[0] = CONSTANT_RIDGE",
        "penalty[0] = 1e9",
    ),
    (
        "joint model: the constant is that of the mean columns",
        "constant = beta[0] - centre @ beta[1:]",
        "constant = beta[0]",
    ),
)
add(
    "analysis/comparisons/joint_model.py",
    "tests/analysis/comparisons/test_joint_model.py",
    (
        "joint model: candidates do not depend on strata",
        "x_squares = all_squares - of_strata",
        "x_squares = all_squares",
    ),
    (
        "joint model: chosen on all rows for its score",
        "places = _choose(training.of_columns(candidates), n_select)",
        "places = _choose(data.of_columns(candidates), n_select)",
    ),
    (
        "joint model: any number of features",
        "n_most = min(n_select, len(products))",
        "n_most = len(products)",
    ),
    (
        "joint model: strata ignored",
        "products = x @ (weight * data.target) - x_sum @ (y_sum / n_rows)",
        "products = x @ (weight * data.target)",
    ),
    (
        "joint model: chosen ones are not taken out",
        "residual = covariances(best) - explained",
        "residual = covariances(best)",
    ),
    (
        "joint model: sides not balanced",
        "np.where(self.target > 0, of_class, of_rest)",
        "1.0",
    ),
)
add(
    "analysis/comparisons/effects.py",
    "tests/analysis/comparisons/test_contrast.py tests/analysis/comparisons/test_explain.py"
    " tests/analysis/comparisons/test_over_time.py",
    ("contrast: AUC for Cliff's δ", "2 * auc - 1", "auc"),
    (
        "explain: parts of a text determine themselves",
        "leverage = largest_part * (",
        "leverage = 1 * (",
    ),
    (
        "explain: scores end where p-values underflow",
        "np.where(p > TINY, exact, approximate)",
        "exact",
    ),
    (
        "explain: HC0",
        "scale = x / np.maximum(1 - leverage, MIN_ONE_MINUS_LEVERAGE)",
        "scale = x",
    ),
    (
        "explain: z for Welch's t",
        "error = student_error * student_quantile / Z95",
        "error = student_error",
    ),
    (
        "explain: without the score test",
        "p = np.maximum(welch_p, score_p)",
        "p = welch_p",
    ),
    ("trend: change per unit", "return slope * np.ptp(times)", "return slope"),
)
add(
    "analysis/comparisons/log_odds.py",
    "tests/analysis/comparisons/test_log_odds.py",
    (
        "contrast: half a row less",
        "added_per_level = 2 / len(levels)",
        "added_per_level = 1 / len(levels)",
    ),
    (
        "contrast: likelihood ratio halved",
        "likelihood_ratio = 2 * (end - start)",
        "likelihood_ratio = end - start",
    ),
)
add(
    "analysis/statistics.py",
    "tests/analysis/comparisons/test_joint_model.py -k candidates",
    ("statistics: interval of 90 %", "Z95 = 1.959964", "Z95 = 1.644854"),
)
add(
    "analysis/statistics.py",
    "tests/analysis/test_statistics.py",
    ("statistics: one-sided p", "return 2 * ndtr(", "return ndtr("),
    (
        "statistics: clusters ignored",
        "cluster_influence = one_hot(cluster).T @ influence.mean(1)",
        "cluster_influence = influence.mean(1)",
    ),
)
# ---- evaluate
PROBES = "tests/analysis/evaluation/test_probes.py"
add(
    "analysis/evaluation/probes.py",
    PROBES,
    ("evaluate: sparse ridge ×100", "SPARSE_RIDGE = 1.0", "SPARSE_RIDGE = 100.0"),
    ("evaluate: dense ridge ×100", "DENSE_RIDGE = 10.0", "DENSE_RIDGE = 1000.0"),
    ("evaluate: dense intercept penalised", "    ridge[0] = 0\n", ""),
    (
        "evaluate: features by raw difference",
        "(mean_with - mean_without) / deviation",
        "(mean_with - mean_without)",
    ),
    (
        "evaluate: probe fitted on all rows",
        "truth[:, class_], rows.training)",
        "truth[:, class_], rows.training | True)",
    ),
    (
        "evaluate: F1 where p is above 0.6",
        "f1_scores(held_scores >= 0,",
        "f1_scores(held_scores >= 0.5,",
    ),
    (
        "evaluate: accuracy where p is above 0.5",
        "exceeds_prior = held_scores >= prior_log_odds",
        "exceeds_prior = held_scores >= 0",
    ),
    (
        "evaluate: not one to one",
        "assigned, class_ = linear_sum_assignment(-scores.f1)",
        "class_ = np.arange(scores.f1.shape[1])\n    assigned = scores.f1.argmax(0)",
    ),
    ("evaluate: AUC of the best F1", "np.nanargmax(scores.auc, 0)", "best"),
)
add(
    "analysis/evaluation/baselines.py",
    "tests/analysis/evaluation/test_baselines.py",
    ("evaluate: no feature of below", "np.maximum(-x, 0)", "np.maximum(x, 0)"),
    ("evaluate: all components", "axes[:, : max(1, round(l0))]", "axes"),
    (
        "evaluate: random SAE with twice the L0",
        "1 - l0 / n_features",
        "1 - 2 * l0 / n_features",
    ),
    (
        "evaluate: random SAE not scaled",
        "decoded *= projection / max(square_norm, 1e-12)",
        "decoded *= 1.0",
    ),
)
add(
    "analysis/classification.py",
    "tests/analysis/test_classification.py",
    ("evaluate: F1 threshold", "2 * n_hits / (n_above", "n_hits / (n_above"),
    ("evaluate: AUC of ties", "(larger + above) / 2", "above"),
    (
        "contrast: copies in Cliff's δ",
        "np.cumsum(weight[entries.row])",
        "np.cumsum(weight[entries.row] > 0)",
    ),
)
add(
    "analysis/evaluation/measures.py",
    "tests/analysis/evaluation/test_measures.py",
    ("evaluate: FVU around zero", "((x - x.mean(0)) ** 2)", "(x**2)"),
    (
        "evaluate: intruder is nearest",
        "similarity <= least + ROUNDING",
        "similarity > least + ROUNDING",
    ),
    (
        "evaluate: intruders lose ties",
        "is_least[:, 4] / is_least.sum(axis=1)",
        "similarity.argmin(axis=1) == 4",
    ),
    ("evaluate: a row is its own neighbour", "own[own != row]", "own"),
    (
        "evaluate: intruders from the first rows",
        "rng.permutation(inactive)[:QUESTIONS]",
        "inactive[:QUESTIONS]",
    ),
)
# ---- describe, families, topics, search, steering
add(
    "analysis/describe.py",
    "tests/analysis/test_describe.py -k centre_is_the_mean",
    (
        "describe: a mean of blocks' means",
        "return total / max(n_known, 1)",
        "return np.mean([v.mean(0) for _, v in codes.scan()], axis=0)",
    ),
)
add(
    "analysis/describe.py",
    "tests/analysis/test_describe.py -k equal_texts",
    (
        "describe: copies of inactive rows",
        "InactiveRows(codes, distinct,",
        "InactiveRows(codes, codes.n_rows,",
    ),
    (
        "describe: copies in the lists",
        "active_rows[first_of_each(text_group[active_rows])]",
        "active_rows",
    ),
)
add(
    "analysis/coactivation.py",
    "tests/analysis/test_coactivation.py",
    (
        "describe: lift without lift",
        "together * codes.n_rows / (count * other_count)",
        "together / count",
    ),
    ("describe: partners' minimum", "MIN_SHARED_ROWS = 5", "MIN_SHARED_ROWS = 1"),
)
add(
    "codes/writer.py",
    "tests/model/test_corpus.py -k parts_of_one_file",
    (
        "codes: rows of other parts move the embeddings",
        'if self.manifest["draft"]["origin"]["data"] is None:',
        "if True:",
    ),
)
add(
    "codes/sampling.py",
    "tests/codes/test_sampling.py",
    ("sample: added rows count as random", "place_in_order[rows] < n", "rows >= 0"),
    ("sample: rare features are left", "n_active < least", "n_active < 0"),
    ("sample: rare features without end", "most_added=n)", "most_added=10**9)"),
    ("sample: rows of the corpus", "self._rows[rows], read", "rows, read"),
)
add(
    "analysis/names/labels.py",
    "tests/analysis/names/test_labels.py",
    ("labels: scored on added rows", "held &= is_random", "held = held"),
    (
        "labels: the weakest texts choose",
        "largest_places(activations, TOP_ROWS)",
        "largest_places(-activations, TOP_ROWS)",
    ),
)
add(
    "analysis/names/label_scorer.py",
    "tests/analysis/names/test_labels.py tests/analysis/names/test_label_scorer.py",
    (
        "labels: answers of the first rows",
        "self.weights[strongest] @",
        "self.weights[:len(strongest)] @",
    ),
    (
        "labels: areas of sampled rows alone",
        "max(n_sampled, LEAST_ACTIVE)",
        "n_sampled",
    ),
)
add(
    "runs/tables.py",
    "tests/runs/test_results.py",
    (
        "tables: of no model are lost",
        "features-{model or UNKNOWN}.parquet",
        "features-{model}.parquet",
    ),
)
add(
    "analysis/groups/family_edges.py",
    "tests/analysis/groups/test_families.py",
    (
        "families: chance not taken off",
        "expected = n_parent * n_child / max(codes.n_rows, 1)",
        "expected = 0 * of_parent",
    ),
    ("families: rare pairs as sure", "- expected + SHRINKAGE)", "- expected)"),
)
add(
    "analysis/groups/families.py",
    "tests/analysis/groups/test_families.py",
    ("families: block ratio", "inside / (size - 1)", "inside / size"),
)
add(
    "analysis/groups/topics.py",
    "tests/analysis/groups/test_topics.py",
    (
        "topics: not centred",
        "directions = directions_from(vectors, self.centre)",
        "directions = directions_from(vectors, 0)",
    ),
    ("topics: without neighbours", "projection += _means_of", "_means_of"),
    ("topics: no steps", "STEPS = 3", "STEPS = 0"),
    ("topics: fewer smoothings", "SMOOTHINGS = 8", "SMOOTHINGS = 7"),
    (
        "topics: neighbours in the first rows of the sample",
        "neighbours[block] = tree_rows[places]",
        "neighbours[block] = places",
    ),
    (
        "topics: sampled rows without neighbours outside of the tree",
        "neighbours[sampled] = near\n",
        "neighbours[sampled] = near % len(tree_rows)\n",
    ),
    ("topics: second topics", "kept < SHARE * furthest", "kept < 0.1 * furthest"),
    (
        "topics: features by sums",
        "residual = (pairs.data - expected) / np.sqrt(expected)",
        "residual = pairs.data",
    ),
)
add(
    "analysis/groups/topic_words.py",
    "tests/analysis/groups/test_topic_words.py",
    ("topic words: by numbers of texts", "if not n_elsewhere", "if n_elsewhere"),
    (
        "topic words: least telling first",
        "np.argsort(-(f1 + auc)",
        "np.argsort((f1 + auc)",
    ),
    ("topic words: rare ones, too", "MIN_SHARE = 0.02", "MIN_SHARE = 0.01"),
    ("topic words: phrases never", "if is_usual and", "if not is_usual and"),
    (
        "topic words: words are one for a letter",
        "meaningful_parts(term) & meaningful_parts(other)",
        "set(term) & set(other)",
    ),
    ("topic words: of other sides", "total[terms] - count", "total[terms]"),
)
add(
    "analysis/groups/clustering.py",
    "tests/analysis/groups/test_clustering.py",
    ("clustering: hubs count more", "scale @ links @ scale", "scale @ links"),
    (
        "clustering: one direction",
        "directed + directed.T + itself",
        "directed + itself",
    ),
    ("clustering: squares", "np.sqrt(distance, out=distance)", "pass"),
)
add(
    "text/tokens.py",
    "tests/text/test_tokens.py",
    ("tokens: a swap costs two", "two_before[j - 1] + 1", "two_before[j - 1] + 2"),
    ("tokens: accents of every script", "(?<=[a-z\\u0370-\\u03ff])", ""),
)
add(
    "text/vocabulary.py",
    "tests/text/test_vocabulary.py",
    ("vocabulary: strict filter", "LOST_PAIRS = 3", "LOST_PAIRS = 1"),
)
add(
    "analysis/search/label_search.py",
    "tests/analysis/search/test_label_search.py",
    ("labels: all words count alike", "rarity * likeness", "likeness"),
    ("labels: long ones first", "(1 - penalty)", "(1 + lost)"),
)
add(
    "analysis/ranking.py",
    "tests/analysis/test_ranking.py",
    (
        "search: places from 0",
        "np.arange(1, len(ranking) + 1)",
        "np.arange(len(ranking)) * 40",
    ),
    ("ranking: bounds too high", "scores.shape[1] - n", "scores.shape[1] - n + n // 3"),
)
add(
    "analysis/search/text_index.py",
    "tests/analysis/search/test_text_index.py",
    ("index: old format", "(codes.checksum, FORMAT)", "(codes.checksum, made_from[1])"),
    (
        "index: runs are words",
        "characters(word) if is_unspaced(word) else [word]",
        "[word]",
    ),
)
add(
    "analysis/search/search.py",
    "tests/analysis/search/test_search.py",
    ("search: longer rows first", "= products / norms", "= products"),
    ("search: finds itself", "scores[made.row] = -np.inf", "pass"),
    ("search: every hit strong", "cosines <= _chance_cosine(codes)", "cosines < -2"),
    ("search: copies of no text", '& (texts != "")', ""),
)
add(
    "analysis/search/feature_query.py",
    "tests/analysis/search/test_feature_query.py",
    ("search: words without lift", "mean * log_lift", "mean"),
    ("search: texts with any word", "every=all_are_known)", "every=False)"),
    ("search: labels always", "exact=has_all_words)", "exact=False)"),
)
add(
    "analysis/search/steering.py",
    "tests/analysis/search/test_steering.py",
    ("steering: scale halved", "scale = 1.0", "scale = 0.5"),
    ("steering: half the edit", "x + (target - acts) @", "x + 0.5 * (target - acts) @"),
)
add(
    "analysis/near_rows.py",
    "tests/analysis/test_near_rows.py",
    ("near rows: pairs without end", "< MOST_NEAR", "< 10**9"),
    (
        "near rows: one order again and again",
        "rng.permutation(N_BITS)",
        "np.arange(N_BITS)",
    ),
    ("near rows: hardly any bits differ", "N_BITS * share + SURE", "0 * share + 0"),
    ("near rows: cosines of neighbours", "x[other[block]]", "x[one[block]]"),
    ("near rows: nothing left of a row", "np.maximum(squares_left, 0)", "0 * squares"),
    ("near rows: candidates are near", "x, one, other) > bound", "x, one, other) > 0"),
    ("near rows: a tile with itself", "x[tile] @ x[other_tile]", "x[tile] @ x[tile]"),
)
add(
    "analysis/splits.py",
    "tests/analysis/test_splits.py",
    (
        "splits: groups divided",
        "return group_held[duplicate_group]",
        "return np.random.default_rng(seed).random(len(duplicate_group)) < share",
    ),
    (
        "splits: all that fits beside a giant group",
        "round(share * n_that_fit)",
        "round(share * n_rows)",
    ),
    (
        "splits: features get their strongest rows at random",
        "growth_if_held < 0",
        "growth_if_held < np.inf",
    ),
    (
        "splits: only a group's own rows count",
        "(2 * excess[features] + n_rows)",
        "(excess[features] + n_rows)",
    ),
    (
        "splits: small groups first",
        "np.argsort(-n_strongest,",
        "np.argsort(n_strongest,",
    ),
    ("splits: hashes of numbers", "else hash(repr(key))", "else hash(key)"),
    ("splits: near copies apart", "MIN_COSINE = 0.95", "MIN_COSINE = 0.9999"),
    ("splits: not centred", "mean.astype(np.float32))", "0 * mean.astype(np.float32))"),
    (
        "splits: a giant row decides the mean",
        "projected = unit(vectors)",
        "projected = vectors",
    ),
    (
        "splits: the width is ignored",
        "return max(MIN_COSINE, by_chance)",
        "return MIN_COSINE",
    ),
    (
        "splits: one dimension more",
        "max(dimension - 1, 1e-3) / 2",
        "max(dimension, 1e-3) / 2",
    ),
    ("splits: chains are kept", "if is_cut.any():", "if False:"),
    (
        "splits: rows in two stars",
        "near[is_free[near]]",
        "near",
    ),
)
add(
    "analysis/matching.py",
    "tests/analysis/test_matching.py",
    (
        "matching: one side",
        'match_of_match == matches["feature"]',
        "match_of_match >= 0",
    ),
)
# ---- pages
add(
    "view/explorer/rows.py",
    "tests/view/explorer/test_rows.py",
    ("export: header of each block", "header=start == 0", "header=True"),
    ("export: tags joined otherwise", '"|".join(tags)', '",".join(tags)'),
    (
        "export: days in some blocks",
        "return _as_days if are_days",
        "return _as_days if True",
    ),
    ("rows: page without end", "rows[at : at + PAGE]", "rows[at:]"),
    ("rows: whole texts in lists", "texts[i][:MAX_TEXT]", "texts[i]"),
)
add(
    "view/explorer/features.py",
    "tests/view/explorer/test_features.py",
    ("features: page without end", "features[at : at + PAGE]", "features[at:]"),
    ("features: partners by chance", "together < MIN_TOGETHER", "together < 1"),
    ("features: other corpus' misses", 'line.get("n_active") == n', "True"),
    ("features: bands of few texts", "if n > EXAMPLES:", "if n:"),
)
add(
    "view/explorer/columns.py",
    "tests/view/explorer/test_columns.py",
    ("columns: keys", "len(column.names) > IDS * len(known)", "False"),
    ("columns: days as years", "if column.is_date else", "if False else"),
    ("columns: missing values count", "column.values >= 0", "column.values > -2"),
)
add(
    "view/explorer/corpus.py",
    "tests/view/explorer/test_columns.py",
    ("days: the one before", "days + DAY_ERROR", "days - DAY_ERROR"),
    ("days: of the next evening", "DAY_ERROR = 1e-6", "DAY_ERROR = 0.05"),
    ("columns: infinity as a class", 'values.dtype.kind == "f"', "False"),
)
add(
    "view/plots/findings.py",
    "tests/view/plots/test_findings.py",
    ("forest: digits for ratios", "if span < 8:", "if span < 30:"),
)
add(
    "view/explorer/features.py",
    "tests/view/explorer/test_glance.py",
    ("features: no doubt", "feature in doubtful,", "False,"),
    (
        "features: stale scores",
        'if column in table.attrs.get("stale", {}):',
        "if False:",
    ),
)
add(
    "runs/results.py",
    "tests/view/explorer/test_glance.py",
    (
        "results: stale values",
        "None if result is None or result.stale else",
        "None if result is None else",
    ),
)
add(
    "view/explorer/glance.py",
    "tests/view/explorer/test_glance.py",
    ("glance: first topics", 'nlargest(TOPICS, "Count")', "head(TOPICS)"),
)
add(
    "view/explorer/evidence.py",
    "tests/view/explorer/test_evidence.py",
    (
        "evidence: what is kept",
        "1 - activations[1:] / whole",
        "activations[1:] / whole",
    ),
    ("evidence: one sentence alone", "text[:start] + text[stop:]", "text[start:stop]"),
)
add(
    "view/explorer/prepare.py",
    "tests/view/explorer/test_prepare.py",
    ("prepare: least axes", "axes[:, ::-1][:, :2]", "axes[:, :2]"),
    ("prepare: not centred", "x - x.mean(axis=0)", "x"),
    ("prepare: common leaders", "density > COMMON", "density > 2"),
    (
        "prepare: dead features in the plane",
        "directions[codes.counts > 0]",
        "directions",
    ),
)
add(
    "view/explorer/selections.py",
    "tests/view/explorer/test_selections.py",
    (
        "lasso: outside",
        "is_inside[candidates] = is_odd",
        "is_inside[candidates] = ~is_odd",
    ),
    ("lasso: ray to the corner", "(x < x_at_height)", "(x < x1)"),
    ("lasso: rows that none leads", "value), False)", "value), True)"),
    (
        "selection: any feature",
        "partial(np.intersect1d, a",
        "partial(np.setxor1d, a",
    ),
)
add(
    "view/web.py",
    "tests/view/explorer/test_server.py tests/view/test_web.py",
    (
        "web: any token",
        "secrets.compare_digest(given.encode(), token.encode())",
        "bool(given)",
    ),
    (
        "web: no token",
        "if self._token and not _knows_token",
        "if False and not _knows_token",
    ),
    ("web: any host", "if self._is_local and host", "if False and host"),
    (
        "web: no headers",
        "MutableHeaders(scope=message).update(self._headers)",
        "MutableHeaders(scope=message).update({})",
    ),
    ("web: any length", "if len(body) > most:", "if False:"),
    (
        "web: endless patience",
        "                self.transport.close()",
        "                pass",
    ),
    (
        "web: impatience",
        "if is_answering or self.cycle is not last_request",
        "if is_answering",
    ),
)
add(
    "view/explorer/server.py",
    "tests/view/explorer/test_server.py",
    ("server: any file", "if name not in FILES:", 'if "." not in name:'),
    ("server: cookie for scripts", "httponly=True", "httponly=False"),
)
add(
    "view/explorer/routes.py",
    "tests/view/explorer/test_routes.py",
    ("routes: any origin", "if origin and origin", "if False and origin"),
    ("routes: negative numbers", "not 0 <= value <= MAX_NUMBER", "value > MAX_NUMBER"),
    ("routes: askers that left", "if await request.is_disconnected():", "if False:"),
    (
        "routes: endless numbers",
        "if not -MAX_SIZE <= value <= MAX_SIZE:",
        "if value != value:",
    ),
    (
        "routes: halves of characters",
        '"\\ud800" <= character',
        '"\\uffff" <= character',
    ),
)
add(
    "view/explorer/points.py",
    "tests/view/explorer/test_points.py",
    ("points: selection last", "[: MAX_POINTS - len(marked_first)]", "[:MAX_POINTS]"),
    (
        "points: density upside down",
        "row * width + column",
        "(height - 1 - row) * width + column",
    ),
)
add(
    "view/report/cards.py",
    "tests/view/report/test_cards.py",
    ("cards: always widest", "<= TEXT_BYTES", "<= 1e99"),
    ("cards: texts not cut", "if len(data) <= most:", "if True:"),
    ("cards: no end", "if size > CARD_BYTES:", "if False:"),
)
add(
    "view/pages.py",
    "tests/view/test_pages.py tests/view/report/test_render.py",
    (
        "pages: markup in data",
        'for char in "<\\u2028\\u2029":',
        'for char in "\\u2028\\u2029":',
    ),
    ("pages: title not escaped", "{html.escape(title)}", "{title}"),
)
add(
    "view/plots/base.py",
    "tests/view/plots/test_base.py",
    (
        "plots: texts not escaped",
        "return html.escape(text, quote=False)",
        "return text",
    ),
    (
        "plots: short texts not escaped",
        "escape(_cut(text, length))",
        "_cut(text, length)",
    ),
    (
        "plots: hover not escaped",
        "escape(line) for line in lines",
        "line for line in lines",
    ),
    ("plots: titles not escaped", '"text": escape(title)', '"text": title'),
)
add(
    "view/plots/findings.py",
    "tests/view/plots/test_base.py",
    ("plots: axis not escaped", "escape(_effect_axis(", "str(_effect_axis("),
    ("plots: column not escaped", "escape(str(axis))", "str(axis)"),
)
# ---- other libraries' files
FORMATS = "tests/model/formats"
add(
    "model/formats/sae_lens.py",
    FORMATS,
    (
        "sae_lens: norms not folded",
        'if cfg.get("rescale_acts_by_decoder_norm"):\n        tensors',
        "if False:\n        tensors",
    ),
    (
        "sae_lens: transcoders subtract the bias of their targets",
        'cfg["apply_b_dec_to_input"] = False',
        "pass",
    ),
    ("sae_lens: log_threshold as it is", "np.exp(tensors.pop(", "abs(tensors.pop("),
)
add(
    "model/formats/common.py",
    FORMATS,
    (
        "formats: threshold scaled twice",
        'folded["threshold"] = tensors["threshold"]',
        'folded["threshold"] = folded["threshold"]',
    ),
    (
        "formats: bias moved the wrong way",
        "if not subtract:\n        shift = -shift",
        "if subtract:\n        shift = -shift",
    ),
    (
        "formats: magnitudes' bias not scaled",
        'shift * np.exp(tensors["r_mag"].astype(np.float64))',
        "shift",
    ),
    (
        "formats: rows scaled, decoder not",
        'tensors["W_dec"] / np.float32(scale)',
        'tensors["W_dec"]',
    ),
)
add(
    "model/formats/dictionary_learning.py",
    FORMATS,
    (
        "dictionary_learning: unset threshold",
        "np.maximum(np.broadcast_to(array, hidden_size), 0)",
        "abs(np.broadcast_to(array, hidden_size))",
    ),
    (
        "dictionary_learning: norm factor forgotten",
        "tensors[name] * np.float32(norm_factor)",
        "tensors[name]",
    ),
    (
        "dictionary_learning: decoder not normalised",
        "tensors = with_unit_decoder(tensors)",
        "pass",
    ),
)
add(
    "model/formats/llama_scope.py",
    FORMATS,
    (
        "llama scope: decoder scaled by the output alone",
        "(scale_in / scale_out)",
        "(1 / scale_out)",
    ),
    (
        "llama scope: thresholds of activations without the norms",
        "tensors = ordered_by_norm(tensors)",
        "pass",
    ),
)
add(
    "model/sae.py",
    FORMATS,
    ("sae: rows not put back", "recon * deviation + mean", "recon * deviation"),
)
SPLICE = "tests/text/test_splice.py"
add(
    "text/splice.py",
    SPLICE,
    (
        "splice: special tokens replaced",
        "kept = ~torch.isin(self._ids, special).to(x.device)",
        "kept = kept & True",
    ),
    (
        "splice: long vectors replaced",
        "return kept & (norms <= max_norm * norms[kept].nanmedian())",
        "return kept",
    ),
    (
        "splice: error dropped when steering",
        "return x + recon - sae.in_units_of(x, sae.decode(acts))",
        "return recon",
    ),
    (
        "splice: attribution without activation",
        "contributions = acts * (",
        "contributions = (acts > 0) * (",
    ),
    (
        "splice: special tokens attributed",
        "contributions[~is_replaced] = 0",
        "contributions[:0] = 0",
    ),
)
add(
    "text/recovered.py",
    SPLICE,
    (
        "recovered: divergence the other way",
        "plain.exp() * (plain - spliced)",
        "spliced.exp() * (spliced - plain)",
    ),
    (
        "recovered: share of the loss",
        "(loss_zeroed - loss_spliced) / cost_of_zeros",
        "(loss_zeroed - loss_spliced) / loss_zeroed",
    ),
)
add(
    "text/provenance.py",
    SPLICE,
    (
        "splice: limit of the norm not read",
        'config.get("max_norm", DEFAULT_',
        "config.get(DEFAULT_",
    ),
    ("splice: no word of another layer", "if trained_on != given:", "if False:"),
)
FINE_TUNING = "tests/trainable/test_fine_tuning.py"
add(
    "trainable/fine_tuning.py",
    FINE_TUNING,
    (
        "init: encoder's bias without the mean",
        "(arrays[name] + shift) * data",
        "arrays[name] * data",
    ),
    (
        "init: thresholds not scaled",
        '(arrays["threshold"] * data.scale)',
        '(arrays["threshold"] * 1.0)',
    ),
    ("init: magnitudes without the gain", "shift * gain) * data", "shift) * data"),
    (
        "init: decoder's bias not centred",
        '(arrays["b_dec"] - data.mean)',
        'arrays["b_dec"]',
    ),
)
add(
    "export/stores.py",
    "tests/export/test_stores.py",
    ("stores: sparsevec counts from 0", "{feature + 1}:", "{feature}:"),
    ("stores: COPY not escaped", '.replace("\\\\", "\\\\\\\\")', ""),
    ("stores: partial collection kept", "client.delete_collection(name)", "pass"),
)
add(
    "text/activation_cache.py",
    "tests/text/test_activation_cache.py",
    ("cache: shards without rows", "if len(block.table)", "if True"),
)
add(
    "export/onnx.py",
    "tests/export/test_onnx.py",
    ("onnx: deviation of n", "np.float32(width - 1)", "np.float32(width)"),
    (
        "onnx: negative entries of top-k",
        'kept = graph.node("Relu", values)',
        "kept = values",
    ),
)
add(
    "model/measures.py",
    "tests/train/test_sklearn.py",
    ("measures: score is FVU", "return 1.0 - pool.fvu", "return pool.fvu"),
    (
        "measures: rows of later blocks",
        "self.n_rows += len(x)",
        "self.n_rows = len(x)",
    ),
)

add(
    "analysis/comparisons/summary.py",
    "tests/analysis/comparisons/test_sentences.py",
    (
        "one comparison of many as if it were the only one",
        "FALSE_DISCOVERY_RATE * n_with_findings / max(len(comparisons), 1)",
        "FALSE_DISCOVERY_RATE",
    ),
    (
        "findings in the order of strength alone",
        '"side": 0.5',
        '"side": 1.0',
    ),
    (
        "a feature as telling in every column",
        '"feature": 0.5',
        '"feature": 1.0',
    ),
    (
        "two features with one label",
        "or label_of_side in seen",
        "",
    ),
    (
        "a topic beside a feature that says the same",
        "size >= SAME * other_size",
        "size >= 2 * other_size",
    ),
)
add(
    "text/windows.py",
    "tests/text/test_activations.py -k packed_windows",
    (
        "packing: no separator",
        "ids += [self._separator, *own]",
        "ids += [own[0], *own]",
    ),
    (
        "packing: no begin token",
        "texts_of_tokens, head + own_ids,",
        "texts_of_tokens, [5] * n_head + own_ids,",
    ),
    (
        "packing: texts shifted",
        "[first_text + number] * (1 + len(own))",
        "[first_text] * (1 + len(own))",
    ),
)
add(
    "text/chats.py",
    "tests/text/test_activations.py -k chats",
    (
        "chats: two begin tokens",
        'formatted.removeprefix(tokenizer.bos_token or "")',
        "formatted",
    ),
)
