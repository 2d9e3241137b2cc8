"""Groups of parameters that make a model: network, train, sample."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.base.fields import chosen, described, ranged


@dataclass
class NetworkParams:
    """The transformer class that is both generator and discriminator."""

    width: int = ranged(48, 8, 4096, "model width; a multiple of heads")
    depth: int = ranged(1, 1, 64, "blocks")
    position: str = chosen(
        "random", ("random", "grid"), "first value of the learned positions of patches: random, waves on their grid"
    )
    heads: int = ranged(2, 1, 64, "attention heads; width/heads is the head dimension")
    mlp_ratio: float = ranged(2.0, 0.5, 8.0, "hidden width of the MLP / width")
    order: str = chosen(
        "categorical_first",
        ("categorical_first", "one_pass", "one_by_one"),
        "categories first and the rest given them (chain rule), every target in one pass, or one after the other",
    )
    category_network: str = chosen(
        "row",
        ("row", "both"),
        "what names the categories of categorical_first: a network over the row, or the body too",
    )
    choice_passes: int = ranged(1, 1, 256, "passes that share out the categories of categorical_first; 1: independent")
    convolution_channels: int = ranged(
        8, 0, 1024, "channels of convolutions over an image, beside its patches in both networks; 0: none"
    )
    dropout: float = ranged(0.0, 0.0, 0.9, "share of the generator's MLP activations dropped in training")
    noise_width: int = ranged(32, 1, 4096, "global noise dimensions; each target token gets its own of the same width")


@dataclass
class TrainParams:
    """train → data/models."""

    steps: int = ranged(5000, 1, 10**8, "optimiser steps of the generator")
    batch_size: int = ranged(64, 2, 65536, "rows a step over all processes")
    processes: int = ranged(2, 1, 64, "data-parallel CPU processes on this machine; a GPU run uses torchrun")
    threads: int = ranged(1, 1, 256, "intra-op threads of each process; small models are faster with one")
    sharding: str = chosen(
        "none", ("none", "optimiser"), "optimiser: processes share out Adam's moments and the average, to save memory"
    )
    device: str = chosen("auto", ("auto", "cpu", "cuda"), "auto: cuda when there is one")
    time_limit_s: float = ranged(
        0.0, 0.0, 1e7, "seconds after which training stops, its schedule following the clock; 0: none"
    )
    autocast: str = chosen("auto", ("auto", "none", "bfloat16"), "auto: bfloat16 on cuda, none on cpu")
    attention_backend: str = chosen("auto", ("auto", "reference", "triton"), "kernel of masked attention")
    compile: bool = described(
        False, "compile the blocks, with Triton attention the exact penalty too; for large models on a GPU"
    )
    cuda_graph: bool = described(True, "on one GPU, replay captured steps: a small model is bound by their launches")
    loss: str = chosen("relativistic", ("relativistic", "non_saturating", "hinge"), "adversarial loss")
    adversarial_weight: float = ranged(1.0, 0.0, 1e3, "weight of the adversarial losses; 0: likelihood alone")
    body_start: float = ranged(
        0.6,
        0.0,
        1.0,
        "share of the training in which the context network draws alone, the transformer resting: cheap steps",
    )
    adversarial_start: float = ranged(
        0.66, 0.0, 1.0, "share of the training in which the generator learns alone, without discriminator"
    )
    energy_weight: float = ranged(
        2.0,
        0.0,
        1e3,
        "weight of the energy score of two draws of the continuous targets; 0 and final 0: no second draw",
    )
    energy_final_weight: float = ranged(
        0.5, 0.0, 1e3, "weight that it falls to, linearly, from the adversarial start to the end"
    )
    communication_weight: float = ranged(0.0, 0.0, 1e3, "weight of the communication loss (method: eq. 6); 0: off")
    mismatch_weight: float = ranged(
        0.3, 0.0, 1e3, "weight of mismatched-source negatives at the first adversarial step"
    )
    mismatch_final_weight: float = ranged(0.0, 0.0, 1e3, "weight that it falls to, linearly")
    mismatch_decay_end: float = ranged(
        0.3, 0.0, 1.0, "share of the adversarial part after which it has fallen; 0: at once"
    )
    likelihood_weight: float = ranged(1.0, 0.0, 1e3, "weight of the likelihood route: cross-entropy, continuous error")
    category_sets: int = ranged(
        2, 0, 64, "further random parts of each row from which the network over the row learns its categories; 0: none"
    )
    continuous_likelihood_weight: float = ranged(0.0, 0.0, 1e3, "weight of the error of continuous targets in it")
    continuous_error: str = chosen(
        "absolute", ("absolute", "squared"), "that error: its optimum is the conditional median or mean"
    )
    ranked_weight: float = ranged(0.0, 0.0, 1e3, "weight of the ranked probability score of bins and categories in it")
    likelihood_source_share: float = ranged(0.0, 0.0, 1.0, "least share of sources for the likelihood terms")
    penalty: str = chosen("exact", ("exact", "approximate", "none"), "R1 and R2: exact double backward, or one draw")
    penalty_sigma: float = ranged(0.1, 1e-4, 10.0, "size of that draw, in feature units")
    penalty_weight: float = ranged(0.1, 0.0, 1e4, "γ of R1 and of R2")
    penalty_interval: int = ranged(4, 1, 1024, "steps between penalties; the weight is scaled by it")
    penalty_precision: str = chosen(
        "autocast", ("autocast", "float32"), "of the exact penalty; autocast: that of the rest of the step"
    )
    drift_weight: float = ranged(0.001, 0.0, 1e4, "weight of the mean squared logit, which keeps logits near 0")
    patch_logit: bool = described(True, "add the mean of a per-target-token logit to the CLS logit")
    minibatch_group: int = ranged(8, 1, 1024, "rows per group of the minibatch standard deviation; 1: off")
    straight_through: bool = described(False, "adversarial gradients pass the draw of categories")
    lr: float = ranged(2e-3, 0.0, 1.0, "Adam step size of the discriminator")
    generator_lr: float = ranged(3e-3, 0.0, 1.0, "Adam step size of the generator")
    beta1: float = ranged(0.0, 0.0, 0.999, "Adam first-moment decay; 0 suits adversarial losses, 0.9 likelihood alone")
    beta2: float = ranged(0.99, 0.0, 0.99999, "Adam second-moment decay")
    weight_decay: float = ranged(0.0, 0.0, 10.0, "decoupled weight decay of Adam, times the step size")
    warmup_steps: int = ranged(100, 0, 10**7, "linear warm-up")
    decay_start: float = ranged(0.75, 0.0, 1.0, "share of the steps after which lr falls linearly to zero")
    clip_norm: float = ranged(10.0, 0.0, 1e6, "gradient norm limit of each network; 0: none")
    ema_decay: float = ranged(0.998, 0.0, 1.0, "decay of the averaged generator per step")
    log_interval: int = ranged(50, 1, 10**7, "steps between metric lines")
    sample_interval: int = ranged(1000, 1, 10**8, "steps between saved sample grids")
    checkpoint_interval: int = ranged(500, 1, 10**8, "steps between checkpoints")
    deterministic: bool = described(
        False, "only algorithms whose sums have one order, so that a GPU repeats itself bit by bit; slower there"
    )
    seed_offset: int = ranged(0, 0, 10**6, "added to the seed: repeats of one experiment")


@dataclass
class SampleParams:
    """How samples are drawn from the trained generator."""

    batch_size: int = ranged(512, 1, 10**6, "rows per forward pass")
    device: str = chosen("auto", ("auto", "cpu", "cuda"), "where evaluate draws; auto: cuda when there is one")
