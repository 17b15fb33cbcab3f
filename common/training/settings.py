"""Settings of training that benchmarks share, and the batch sizes that follow from them."""

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from common.config.settings import MAY_CHANGE, Settings
from common.errors import UserError
from common.keras.names import Precision

SILENCE_SECONDS = 30.0  # without a terminal, the longest time without a line in training and evaluation


class TrainingSettings(Settings):
    """The section `training`, as far as benchmarks share it."""

    local_batch_size: int = Field(
        32, gt=0, description="samples in one forward pass of one rank; the global batch is this x accumulation x ranks"
    )
    global_batch_size: int = Field(
        0, ge=0, description="samples in one weight update over all ranks; if set, local_batch_size follows from it"
    )
    gradient_accumulation_frequency: int = Field(1, gt=0, description="forward and backward passes per weight update")
    precision: Precision = Field(
        "float32",
        description="arithmetic of layers; weights stay float32: float32 | tf32 = GPUs from A100 on round the factors "
        "of products to 10 bits of mantissa | mixed_bfloat16 | mixed_float16",
    )
    xla: bool = Field(False, description="compile forward and backward pass with XLA")
    recompute: bool = Field(
        False,
        description="keep few activations for the backward pass and compute the others again: less memory, more time",
    )
    compress_allreduce: bool = Field(False, description="exchange gradients between ranks as float16")
    seed: int = Field(1234, ge=0, le=2**32 - 1, description="of initial weights and data order")
    deterministic: bool = Field(
        False, description="use only operations whose result never varies from run to run (slower)"
    )
    checkpoints: Literal["none", "end", "epoch", "steps"] = Field(
        "epoch",
        description="when the state is saved: none | end = after the last update | epoch = every save_frequency epochs "
        "| steps = every save_frequency updates, and at the end; a warned run always saves",
    )
    save_frequency: int = Field(
        0,
        ge=0,
        description="checkpoints: epoch, steps: epochs or updates between two; 0 is 1 epoch",
        json_schema_extra=MAY_CHANGE,
    )
    keep_checkpoints: int = Field(
        3,
        gt=0,
        description="newest checkpoints that are kept, and the best one beside them",
        json_schema_extra=MAY_CHANGE,
    )
    warmup_steps: int = Field(
        0, ge=0, description="updates on made-up samples before the timed run, after which every value is put back"
    )
    patience: int = Field(
        0, ge=0, description="stop after so many evaluations in a row without a better held-out score; 0 is never"
    )
    restore_best: bool = Field(
        False, description="end with the weights of the epoch with the best held-out score, not with the last ones"
    )
    logging_frequency: int = Field(
        10,
        ge=0,
        description="updates between records in metrics.jsonl and mlperf.log; 0 is one an epoch",
        json_schema_extra=MAY_CHANGE,
    )
    local_batch_size_validation: int = Field(
        0,
        ge=0,
        description="samples in one forward pass of one rank in evaluation; 0 is local_batch_size",
        json_schema_extra=MAY_CHANGE,
    )
    validation_frequency: int = Field(
        0, ge=0, description="updates between evaluations, and one after the last; 0 is one at each epoch's end"
    )
    max_validation_steps: int = Field(
        0, ge=0, description="batches of a rank that are evaluated at most, which no submission may have; 0 is all"
    )

    @model_validator(mode="after")
    def _checkpoints_fit(self):
        if self.checkpoints == "steps" and not self.save_frequency:
            raise ValueError("checkpoints: steps needs save_frequency, the updates between two")
        if self.save_frequency and self.checkpoints in ("none", "end"):
            raise ValueError(f"save_frequency has no meaning with checkpoints: {self.checkpoints}")
        every_epoch = self.checkpoints == "epoch" and self.save_frequency <= 1 and not self.validation_frequency
        if self.restore_best and not every_epoch:
            raise ValueError("restore_best needs checkpoints: epoch with save_frequency and validation_frequency 0")
        return self


class BatchSizes(NamedTuple):
    """Batch sizes in samples."""

    local: int  # a forward pass of a rank
    per_update: int  # the accumulated passes of a rank
    total: int  # the global batch: those of all ranks
    evaluation: int  # a forward pass of a rank in evaluation
    began_on: int = 0  # ranks that the run began on; 0: the present number


def batch_sizes(settings: TrainingSettings, ranks: int, began_on: int = 0) -> BatchSizes:
    """Derive the batch sizes on a number of ranks.

    Raises:
        UserError: if global_batch_size is set and cannot be divided evenly.
    """
    passes = settings.gradient_accumulation_frequency
    local = settings.local_batch_size
    if settings.global_batch_size:
        local, remainder = divmod(settings.global_batch_size, ranks * passes)
        if remainder:
            raise UserError(
                f"training.global_batch_size {settings.global_batch_size} cannot be divided evenly among {ranks} ranks "
                f"x {passes} accumulated passes: use a multiple of {ranks * passes}",
                on_all_ranks=True,
            )
    evaluation = settings.local_batch_size_validation or local
    return BatchSizes(local, local * passes, local * passes * ranks, evaluation, began_on)


def most_ranks(total: int, ranks: int) -> int:
    """Return the largest number of ranks, up to `ranks`, that divides the global batch `total` evenly."""
    return next(number for number in range(min(ranks, total), 0, -1) if total % number == 0)
