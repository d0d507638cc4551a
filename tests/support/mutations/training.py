"""Mutations of `codec/training`."""

from __future__ import annotations

from tests.support.mutations.mutation import NEVER, of

STEPS = "training/test_steps.py"
TRAINING = "training/test_training.py"

DEEPER = f"{TRAINING}::test_a_deeper_model_starts_where_the_trained_one_is"
LAST_PHASE = f"{TRAINING}::test_the_last_phase_trains_what_a_decoder_runs"
NUMBERS = f"{TRAINING}::test_values_that_are_no_numbers"
PHASES = f"{TRAINING}::test_phases_that_are_none"
RESUMES = f"{TRAINING}::test_only_the_same_training_resumes"

MUTATIONS = [
    *of(
        "training/config.py",
        ("dead zone in the last phase", "if self.dead_zone and not self.frozen_encoder:", NEVER, PHASES),
        ("finite settings", "return math.isfinite(float(value))", "return True", NUMBERS),
    ),
    *of(
        "training/loop.py",
        ("checkpoints of other layers", 'if state["model"].keys() != self.model.state_dict().keys():', NEVER,
         RESUMES),
        ("checkpoints of another training", "if getattr(saved, name) != getattr(self.config, name):", NEVER,
         RESUMES),
        ("a decay for another budget", "if trainer.decay_budget not in (None, budget):", NEVER,
         f"{TRAINING}::test_where_a_run_resumes"),
        ("weights of the last phase", "if config.frozen_encoder and (init is None or", "if False and (",
         f"{TRAINING}::test_the_last_phase_needs_trained_weights"),
        ("frozen analysis", "            self.model.analysis.requires_grad_(False)\n", "", LAST_PHASE),
        ("steps without a finite gradient", "if not torch.isfinite(norm):", NEVER, STEPS),
        ("a training that diverged", "if self.skipped > 100:", NEVER, STEPS),
    ),
    *of(
        "training/data.py",
        ("pictures that are held out", "[path for path in files if path not in chosen] or files", "files",
         f"{TRAINING}::test_the_split_is_stable"),
    ),
    *of(
        "training/initialisation.py",
        ("layers that a model lacks", "    if unknown:", "    if False:", DEEPER),
        ("layers of other widths", "    if wrong:", "    if False:", DEEPER),
    ),
]
