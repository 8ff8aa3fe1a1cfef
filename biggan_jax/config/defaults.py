"""Owns the defaults: each setting's value, meaning, unit and source, and which of them a run may change. Must not judge values.

docs/config_keys.md is made of this file: of a key's assignment, and of the comment above or behind it.
"""

import ml_collections


def base() -> ml_collections.ConfigDict:
    """The defaults, in the paper's manner (Brock et al. 2019). A config file calls this and changes what differs."""
    c = ml_collections.ConfigDict()
    c.seed = 0  # Of weights, latents and data order.
    c.num_steps = 150_000  # Rounds: each is d_steps updates of D and one of G.
    c.batch_size = 2048  # Global: real images for one D update, over all devices of all hosts.
    c.d_steps = 2  # D updates for each G update.
    c.init_from = ""  # A checkpoint whose weights and optimisers a new run starts with; see configs/finetune.py.
    c.dtype = "float32"  # Of activations: float32 or bfloat16. Weights, moments, losses are always float32.
    c.loss = "hinge"  # A name in losses.LOSSES: hinge, non_saturating, wasserstein, least_squares.
    # Parts in which an update works through its batch, to save memory; batch norm sees one part at a time.
    c.microbatches = 1
    # Parts in which D works through a microbatch, to save memory: the same result, but for rounding and augmentation's draws.
    c.d_chunks = 1
    # Activations computed again for the gradient, to save memory: none, those inside blocks, or full: all.
    c.remat = "none"
    # Attention as one kernel where there is one: TPU v4 and later, bfloat16. Equal but for rounding.
    c.fused_attention = True
    # Power steps once an update, or once a microbatch, as BigGAN-PyTorch's accumulation does.
    c.spectral_advance = "update"

    c.model = ml_collections.ConfigDict()
    c.model.family = "biggan"  # A name in models.FAMILIES.
    c.model.resolution = 128  # Pixels: a row of models.tables.WIDTHS.
    c.model.num_classes = 1000  # 0: unconditional.
    c.model.ch = 96  # Channel multiplier. The paper's: 96 for BigGAN, 128 for BigGAN-deep.
    c.model.g_ch = 0  # Overrides ch in G; 0: same as ch.
    c.model.d_ch = 0  # Overrides ch in D; 0: same as ch.
    c.model.dim_z = 120  # Length of z; with skip_z a multiple of the number of chunks (G's blocks + 1).
    c.model.shared_dim = 128  # Length of G's class embedding.
    # False: each of G's batch norms has its own tables of classes (SA-GAN); with skip_z=False.
    c.model.shared_embedding = True
    c.model.skip_z = True  # BigGAN: z in chunks, one for each block. BigGAN-deep always feeds all of z everywhere.
    c.model.depth = 2  # BigGAN-deep: blocks a stage.
    c.model.g_attention = (64,)  # Pixels: sizes of G's feature maps that self-attention follows.
    c.model.d_attention = (64,)  # Likewise in D.
    c.model.d_wide = True  # False: D's blocks change channels at their second convolution (SN-GAN).
    # G's last convolution keeps ch filters, the first 3 are the image: the released BigGAN-deep.
    c.model.pad_rgb = False
    c.model.prior = "normal"  # Of z: names in latents.PRIORS; a*b multiplies, a|b gives each half of the entries.
    c.model.init = "orthogonal"  # Of weights: orthogonal (the paper's), xavier, normal.
    c.model.bn_eps = 1e-4  # Added to variances. The paper's.
    c.model.bn_out_eps = 0.0  # That of G's last batch norm; 0: same as bn_eps. BigGAN-PyTorch's is always 1e-5.
    c.model.bn_momentum = 0.9  # Share of the old running moments that a training pass keeps.
    c.model.spectral_eps = 1e-4  # Least norm by which a power iteration's vector is divided. The paper's.
    c.model.spectral_iterations = 1  # Power iterations an update.
    # In evaluation one power step that is discarded, or the vectors as stored (Hugging Face).
    c.model.spectral_eval = "step"
    c.model.g_spectral_norm = True  # False: only D is normalised (SN-GAN).
    c.model.d_spectral_norm = True  # False: D is not normalised; some penalty should then bound it.

    c.mesh = ml_collections.ConfigDict()
    c.mesh.data = -1  # Devices over which the batch is split; -1: all that fsdp leaves.
    c.mesh.fsdp = 1  # Devices over which, besides the batch, weights, their moments and averages are kept in parts.
    # Weights are kept and updated in parts over data, too: less memory and work, more gathering.
    c.mesh.shard_update = True

    c.regularizer = ml_collections.ConfigDict()
    c.regularizer.g_ortho = 0.0  # Strength of the orthogonal penalty on G's weights. The paper's: 1e-4.
    c.regularizer.d_ortho = 0.0  # Likewise on D's.
    c.regularizer.ortho_factor = 4.0  # Of its gradient: 4 is the exact one of the paper's formula, 2 BigGAN-PyTorch's.
    c.regularizer.r1 = 0.0  # Strength of R1, the zero-centred gradient penalty on real images; Brock et al. tried 10.

    c.optimizer = ml_collections.ConfigDict()
    c.optimizer.g_lr = 5e-5  # The paper's.
    c.optimizer.d_lr = 2e-4  # The paper's.
    c.optimizer.b1 = 0.0  # Adam's. The paper's.
    c.optimizer.b2 = 0.999  # Adam's. The paper's.
    c.optimizer.eps = 1e-6  # Adam's. BigGAN-PyTorch's; the paper gives none.

    c.ema = ml_collections.ConfigDict()
    c.ema.decay = 0.9999  # Of the average of G's weights, a round. The paper's.
    c.ema.start = 0  # Rounds; before, the average is a copy of the weights.

    c.augment = ml_collections.ConfigDict()
    c.augment.policy = ()  # DiffAugment: colour, translation, cutout, in order. For small data sets.

    c.data = ml_collections.ConfigDict()
    c.data.name = "fake"  # A name in data.SOURCES.
    c.data.dataset = ""  # With name tfds: the builder, such as imagenet2012; empty: dir is one prepared set.
    c.data.dir = ""  # With name tfds: the folder of prepared data, local or gs://; empty: TFDS's default.
    c.data.flip = False  # Mirrors half of the images, drawn anew each epoch.
    c.data.crop = "center"  # Of the square along the long edge: center (the paper's), or random, drawn anew each epoch.
    # How to resize: area (the paper's), or Pillow's bilinear, bicubic, lanczos. FID depends on it.
    c.data.resize = "area"
    c.data.draft = False  # Lets the JPEG decoder shrink first: faster, blurs a little; docs/data.md has figures.
    # Shuffling: grain (its index_shuffle), or feistel, which is what a stored config without this key means.
    c.data.order = "grain"
    c.data.workers = 0  # Processes that read ahead; 0: threads of the training process.
    c.data.threads = 0  # Threads that decode, in each of these processes; 0: all cores among them.
    c.data.unreadable_limit = 100  # Records. More that cannot be read stop the run; for each, the next one stands in.

    c.stability = ml_collections.ConfigDict()
    c.stability.every = 100  # Rounds between looks at what foretells a collapse: docs/stability.md; 0: none.
    c.stability.on_collapse = "stop"  # Or rollback: goes on from before it with new latents and data order; or ignore.
    c.stability.rollbacks = 3  # At most so many of them; the next collapse stops.
    c.stability.rollback_d_lr = 1.0  # D's learning rate is multiplied by this at each of them.
    c.stability.rollback_d_steps = 0  # So many more D updates a round after each of them.
    # So many more rounds with an update that was not finite, so not applied, than rounds without stop the run.
    c.stability.nonfinite_limit = 10
    c.stability.expected = ""  # "300:600,600:200": from these rounds on a run that learns has had a score below these.

    c.score = ml_collections.ConfigDict()
    c.score.every = 0  # Rounds between scores in training, by which the best checkpoint is kept; 0: none.
    # What sees the images, a name in evaluation.networks.NETWORKS; it needs no download.
    c.score.network = "classifier"
    c.score.inception = ""  # With network inception-2015: the weights' file, or download.
    c.score.num = 1000  # Samples, and at most ten times as many real images.

    c.log_every = 100  # Rounds between lines of metrics.
    c.sample_every = 1000  # Rounds between sample grids; 0: none.
    c.checkpoint_every = 1000  # Rounds between checkpoints; one is always written at the end.
    c.checkpoint_keep = 3  # Newest checkpoints kept.
    c.checkpoint_keep_every = 0  # Besides, those of each multiple of so many rounds are kept for good; 0: none.
    c.profile_steps = ""  # "100:105" writes a jax.profiler trace of these rounds.
    c.wandb_project = ""  # Logs to this Weights & Biases project, if wandb is installed.
    return c


SAFE_TO_CHANGE = (
    "d_chunks",
    "data.dir",
    "data.workers",
    "data.threads",
    "data.unreadable_limit",
    "mesh.data",
    "mesh.fsdp",
    "mesh.shard_update",
    "remat",
    "fused_attention",
    "num_steps",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "checkpoint_keep",
    "checkpoint_keep_every",
    "profile_steps",
    "wandb_project",
    "stability.every",
    "stability.on_collapse",
    "stability.rollbacks",
    "stability.nonfinite_limit",
    "stability.expected",
    "stability.rollback_d_lr",
    "stability.rollback_d_steps",
    "score.every",
)
"""Keys that a run may change when it goes on: none of them touches what is computed (but for rounding, by d_chunks for which
numbers augmentation draws, and by stability.rollback_* after a rollback, for what they are for)."""
