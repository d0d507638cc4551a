"""Mutations of `codec/model`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

EXACT = "model/test_exact.py"
EXTREMES = "model/test_extremes.py"
INVALID = "format/test_invalid.py"
STATES = "test_state.py::test_states"
WEIGHTS = "model/test_weights.py"

_POWERS = "if not bool((torch.frexp(entropy.scale)[0] == 0.5).all() and (entropy.scale >= 1).all()):"

MUTATIONS = [
    *of(
        "model/quantization.py",
        ("clamped symbols", "torch.round(values).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)",
         "torch.round(values)", EXTREMES),
    ),
    *of(
        "model/exact.py",
        ("proof of exactness", "if not largest < _EXACT_BELOW:", NEVER, EXACT),
        ("activations are clamped", "round_to_grid(x, ACTIVATION_BITS).clamp_(-LIMIT, LIMIT)",
         "round_to_grid(x, ACTIVATION_BITS)", EXTREMES),
        ("residuals are clamped", "return x.clamp_(-LIMIT, LIMIT) if", "return x if", EXTREMES),
    ),
    *of(
        "model/entropy_model.py",
        ("hyper-latents of a file", "self.up_32(z_hat.clamp(-LIMIT, LIMIT))", "self.up_32(z_hat)", EXTREMES),
        ("hyper-latents with quality", "hyper = to_grid(hyper) if self.frozen else hyper", "pass", EXTREMES),
        ("latents that the context sees", "return to_grid(x) if self.frozen else x", "return x", EXTREMES),
        ("tables of quality", "nn.Parameter(table.clamp(-LIMIT, LIMIT)", "nn.Parameter(table", EXACT),
    ),
    *of(
        "model/config.py",
        ("range of a configuration", "not 0 < value <= 4096", "value < 1", WEIGHTS),
        ("empty configuration", "not 0 < value <= 4096", "value > 4096", WEIGHTS),
        ("groups of latents", "if self.latents % 4:", NEVER, WEIGHTS),
        ("widths", "if self.width_8 > 192 or max(", "if max(", WEIGHTS),
        ("widths at 1/16", "self.width_8 > 192 or max(self.width_16, self.latents) > 4 * self.width_8",
         "self.width_8 > 192", WEIGHTS),
        ("unknown fields", "        if unknown:\n", "        if False:\n", WEIGHTS),
    ),
    *of(
        "model/weights.py",
        ("weights of 32 bits", "if not bool((x.abs() < 2**31).all()):", NEVER, WEIGHTS),
        ("only frozen models are written", "if not model.entropy_model.frozen:", NEVER, WEIGHTS),
        ("dead zone", "if not 0 <= dead_zone <= LARGEST_DEAD_ZONE:", NEVER, WEIGHTS),
        ("lambdas", "if not all(0 < value < math.inf for value in lambdas):", NEVER, WEIGHTS),
        ("architecture", 'if header["architecture"] != ARCHITECTURE:', NEVER, WEIGHTS),
        ("size of the model", "if needed > weights:", NEVER, WEIGHTS),
        ("scales are powers of two", _POWERS,
         "if not bool((entropy.scale >= 1).all()):", WEIGHTS),
        ("scales of 1 at least", _POWERS,
         "if not bool((torch.frexp(entropy.scale)[0] == 0.5).all()):", WEIGHTS),
        ("number of tables", "if len(tables) != SCALES + QUALITY_ANCHORS * model.config.hyper_latents:",
         NEVER, WEIGHTS),
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
