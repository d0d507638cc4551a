"""Mutations of `codec/model`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

EXACT = "model/test_exact.py"
EXTREMES = "model/test_extremes.py"
INVALID = "format/test_invalid.py"
STATES = "test_state.py::test_states"
WEIGHTS = "model/test_weights.py"

CONFIGURATIONS = f"{WEIGHTS}::test_configurations_of_no_model"

_POWERS = "if not bool((torch.frexp(scale)[0] == 0.5).all() and (scale >= 1).all()):"

MUTATIONS = [
    *of(
        "model/quantization.py",
        ("clamped symbols", "torch.round(values).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)",
         "torch.round(values)", EXTREMES),
    ),
    *of(
        "model/exact.py",
        ("proof of exactness", "if not largest < EXACT_BELOW:", NEVER, EXACT),
        ("parameters that are NaN", "if not largest < EXACT_BELOW:", "if largest >= EXACT_BELOW:",
         f"{EXACT}::test_values_beyond_the_bounds_are_refused"),
        ("bound with biases", "* LIMIT + bias.abs()).max()", "* LIMIT).max()", EXACT),
        ("bound with what is added", ".max()) + added) * 2.0**bits", ".max())) * 2.0**bits", EXACT),
        ("activations are clamped", "F.leaky_relu(x, 0.125).clamp(-LIMIT, LIMIT)", "F.leaky_relu(x, 0.125)",
         f"{EXACT}::test_activations"),
        ("products in float32", "if not torch.equal(F.linear(x, x), (2**12 - 1) * x):", NEVER,
         f"{EXACT}::test_products_that_are_not_exact_are_refused"),
    ),
    *of(
        "model/scale_model.py",
        ("hyper-latents of a file", "z_hat.float().clamp(-LIMIT, LIMIT)", "z_hat.float()",
         f"{EXTREMES}::test_any_hyper_latents"),
        ("scale index", ".clamp_(0, SCALES - 1)", "", f"{EXTREMES}::test_any_hyper_latents"),
        ("bound with tables of quality", "self.spatial.freeze(quality,", "self.spatial.freeze(0.0,", EXACT),
        ("bound with offsets", "freeze(offset / INDEX_PER_UNIT,", "freeze(0.0,", EXACT),
        ("grid of scale indexes", "max(SUM_BITS, _TABLE_BITS + _INDEX_BITS)", "SUM_BITS", EXACT),
        ("tables on their grid", "round_to_grid(table.table.double(), ACTIVATION_BITS)",
         "table.table.double()", f"{EXACT}::test_frozen_and_trained_are_the_same"),
        ("autocast of the scale model", "with torch.autocast(z_hat.device.type, enabled=False):", "if True:",
         f"{EXACT}::test_settings_of_torch_have_no_effect"),
    ),
    *of(
        "model/mean_model.py",
        ("means in float32", "with torch.autocast(x.device.type, enabled=False):", "if True:",
         "model/test_mean_model.py::test_means_are_in_float32_under_autocast"),
    ),
    *of(
        "model/config.py",
        ("range of a configuration", "not lowest <= value <= 4096", "value < lowest", CONFIGURATIONS),
        ("empty configuration", "not lowest <= value <= 4096", "value > 4096", CONFIGURATIONS),
        ("groups of latents", "if self.latents % 4:", NEVER, CONFIGURATIONS),
        ("widths", "if of_8 > 192 or max(", "if max(", CONFIGURATIONS),
        ("widths at 1/16", "of_8 > 192 or max(of_16, self.latents) > 4 * of_8", "of_8 > 192",
         CONFIGURATIONS),
        ("unknown fields", "        if unknown:\n", "        if False:\n", CONFIGURATIONS),
    ),
    *of(
        "model/weights.py",
        ("weights of 32 bits", "if not bool((x.abs() < 2**31).all()):", NEVER, WEIGHTS),
        ("only frozen models are written", "if not model.scale_model.frozen:", NEVER, WEIGHTS),
        ("dead zone", "if not 0 <= dead_zone <= LARGEST_DEAD_ZONE:", NEVER, WEIGHTS),
        ("lambdas", "if not all(0 < value < math.inf for value in lambdas):", NEVER, WEIGHTS),
        ("architecture", 'if header["architecture"] != ARCHITECTURE:', NEVER, WEIGHTS),
        ("size of the model", "if needed > weights:", NEVER, WEIGHTS),
        ("scales are powers of two", _POWERS, "if not bool((scale >= 1).all()):", WEIGHTS),
        ("scales of 1 at least", _POWERS, "if not bool((torch.frexp(scale)[0] == 0.5).all()):", WEIGHTS),
        ("loaded weights are proven exact", "        scale_model.freeze()\n", "", WEIGHTS),
        ("skip index of the tables", "    if not 0 <= skip < SCALES:\n        raise InvalidWeights",
         "    if False:\n        raise InvalidWeights", f"{WEIGHTS}::test_the_skip_index_is_a_scale_index"),
        ("skip index of the encoder", "if not 0 <= skip < SCALES:\n            raise",
         "if False:\n            raise", f"{WEIGHTS}::test_descriptions_that_lie_are_refused"),
        ("number of tables",
         "if len(tables.tables) != SCALES + QUALITY_ANCHORS * model.config.hyper_latents:", NEVER, WEIGHTS),
        ("finite weights", "if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):", NEVER,
         WEIGHTS),
        ("tables cover their frequencies", "if ends[-1] != frequencies.size:", NEVER, WEIGHTS),
    ),
    *of(
        "model/registry.py",
        ("hash of shipped weights", "if hashlib.sha256(data).hexdigest() != self.sha256:", NEVER, WEIGHTS),
        ("model of a file", "if entry.id == model_id:", "if True:", INVALID),
    ),
    *of(
        "model/network.py",
        ("random state of the caller", "with torch.random.fork_rng(devices=[]):", "if True:", STATES),
        ("dtype of the networks", "return Model(config).float()", "return Model(config)", STATES),
    ),
]
