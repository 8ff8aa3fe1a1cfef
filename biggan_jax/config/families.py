"""The keys of `config.model`, by family of GANs. docs/config_keys.md is made from their comments."""

from collections.abc import Callable
from typing import Any

from biggan_jax.config.keys import Key, choice, choose, fraction, non_negative, positive
from biggan_jax.errors import UserError

Section = Callable[[], dict[str, Any]]
SECTIONS: dict[str, Section] = {}
"""{family: its section}. A section returns {key: default}, with a Key in place of a default to restrict its values."""


def register(family: str, section: Section) -> None:
    """Add a family's keys: `section` returns a dict display, with a comment above or behind each key."""
    SECTIONS[family] = section


def section_of(family: str, where: str = "model.family") -> Section:
    """Return a family's section. Raises UserError, which calls the key `where`, for an unknown family."""
    try:
        return choose(SECTIONS, where, family)
    except UserError as error:
        raise UserError(f"{error}; for a family of your own, import its file first") from None


def biggan() -> dict[str, Any]:
    """Return the keys of BigGAN and BigGAN-deep (Brock et al. 2019)."""
    return {
        "resolution": Key(128, auto=True),  # Image height and width in pixels: a row of models.tables.WIDTHS.
        "num_classes": non_negative(1000, at_most=2**24, auto=True),  # Classes of the data; 0: unconditional.
        # Channel multiplier. In the paper 96 for BigGAN, 128 for BigGAN-deep.
        "ch": positive(96, at_most=2**12, auto=True),
        "g_ch": non_negative(0, at_most=2**12),  # Channel multiplier of G; 0: ch.
        "d_ch": non_negative(0, at_most=2**12),  # Channel multiplier of D; 0: ch.
        # Length of z. With skip_z it must be a multiple of the number of chunks (G's blocks + 1).
        "dim_z": positive(120, at_most=2**16, auto=True),
        "shared_dim": positive(128, at_most=2**16),  # Length of G's class embedding.
        # One class embedding for all of G's batch norms; False: one per batch norm (SA-GAN), needs skip_z=False.
        "shared_embedding": True,
        "skip_z": True,  # Split z into chunks, one per block (BigGAN). BigGAN-deep ignores it: each block gets all of z.
        "depth": positive(2, at_most=64),  # Blocks per resolution, BigGAN-deep only.
        "g_attention": Key((64,), auto=True),  # Sizes in pixels of G's feature maps that self-attention follows.
        "d_attention": Key((64,), auto=True),  # Sizes in pixels of D's feature maps that self-attention follows.
        "d_wide": True,  # D's blocks change channels at the first convolution; False: at the second (SN-GAN).
        "d_skip_relu": False,  # D's skip connections see the ReLU of their input, as in StudioGAN, whose ReLU is in place.
        # Multiples of ch by resolution: the paper's, or StudioGAN's: half of them in G at 64 and in D at 32 pixels, where
        # attention follows only the first block of a size.
        "widths": choice("paper", "studiogan"),
        # G's last convolution has ch filters and the image is the first 3, as in the released BigGAN-deep.
        "pad_rgb": False,
        # Distribution of z: names in latents.PRIORS; a*b is the product, a|b gives each half of z.
        "prior": "normal",
        "init": "orthogonal",  # Initialization of weights: orthogonal (the paper's), xavier, normal.
        "bn_eps": positive(1e-4),  # Added to batch norm's variances (paper).
        "bn_out_eps": non_negative(0.0),  # eps of G's last batch norm; 0: bn_eps. BigGAN-PyTorch always uses 1e-5.
        "bn_momentum": fraction(0.9),  # Weight of the old running statistics in batch norm's moving average.
        # Images that batch norm normalises together in training, as a GPU without synchronisation does; 0: a whole
        # microbatch. It must divide batch_size / microbatches.
        "bn_group": non_negative(0),
        "spectral_eps": positive(1e-4),  # Smallest norm a power iteration divides by (paper).
        "spectral_iterations": positive(1, at_most=1000),  # Power iterations per update.
        # Singular vectors in evaluation: step (one more power iteration, then discarded) or stored (Hugging Face).
        "spectral_eval": choice("step", "stored"),
        "g_spectral_norm": True,  # Spectral normalization of G's weights; False: SN-GAN.
        "d_spectral_norm": True,  # Spectral normalization of D's weights; without it use a penalty such as R1.
    }


def dense() -> dict[str, Any]:
    """Return the keys of the first GAN (Goodfellow et al. 2014)."""
    return {
        "image_shape": Key((28, 28, 1), entries=int),  # (height, width, channels), or (n,) for vectors.
        "num_classes": non_negative(0, at_most=0),  # This family is unconditional.
        "dim_z": positive(100, at_most=2**16),  # Length of z.
        "prior": "uniform_unit",  # Distribution of z: names in latents.PRIORS.
        "hidden": positive(1200, at_most=2**16),  # Units of G's layers.
        "units": positive(240, at_most=2**16),  # Units of D's maxout layers.
        "pieces": positive(5, at_most=64),  # Dense layers whose largest output a maxout layer takes.
    }


def conditional_dense() -> dict[str, Any]:
    """Return the keys of the conditional GAN (Mirza & Osindero 2014)."""
    return {
        "image_shape": Key((28, 28, 1), entries=int),  # (height, width, channels), or (n,) for vectors.
        "num_classes": non_negative(0, at_most=2**24),  # Classes of the data.
        "condition_dim": non_negative(0, at_most=2**16),  # Instead: length of a condition of real numbers.
        "dim_z": positive(100, at_most=2**16),  # Length of z.
        "prior": "uniform_01",  # Distribution of z: names in latents.PRIORS.
        "hidden": positive(1200, at_most=2**16),  # Units of G's layers.
        "units": positive(240, at_most=2**16),  # Units of D's maxout layers.
        "g_dropout": fraction(0.5),  # Share of G's hidden units that training drops; 0 leaves all variety to z.
        "d_dropout": fraction(0.5),  # Share of D's hidden units that training drops.
    }


def convolutional() -> dict[str, Any]:
    """Return the keys of DCGAN (Radford et al. 2016)."""
    return {
        "image_shape": Key((64, 64, 3), entries=int),  # (height, width, channels).
        "form": choice("torch", "paper", "conditional", "deep_conv"),  # Which of the published networks.
        "num_classes": non_negative(0, at_most=2**24),  # Classes of the data; 0: unconditional.
        "condition_dim": non_negative(0, at_most=2**16),  # Length of a condition of real numbers; 0: none.
        "ch": positive(64, at_most=2**12),  # Channel multiplier: 64, with form paper 128.
        "dim_z": positive(100, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
        "g_spectral_norm": False,  # Spectral normalization of G's weights.
        "d_spectral_norm": False,  # Spectral normalization of D's weights; deep_conv then has no batch norm in D.
        "spectral_eps": positive(1e-12),  # Smallest norm a power iteration divides by.
        "spectral_iterations": positive(1, at_most=1000),  # Power iterations per update.
        # Singular vectors in evaluation: step (one more power iteration, then discarded) or stored (PyTorch's).
        "spectral_eval": choice("step", "stored"),
    }


def wgan() -> dict[str, Any]:
    """Return the keys of WGAN (Arjovsky et al. 2017)."""
    return {
        "image_shape": Key((64, 64, 3), entries=int),  # (height, width, channels), or (n,) for vectors.
        "network": choice("dcgan", "mlp"),  # DCGAN's networks (form torch), or dense ones.
        "num_classes": non_negative(0, at_most=0),  # WGAN is unconditional.
        "ch": positive(64, at_most=2**12),  # Channel multiplier of dcgan.
        "hidden": positive(512, at_most=2**16),  # Units of the layers of mlp.
        "dim_z": positive(100, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
        "warm_up": True,  # The critic takes 100 steps at first and at each 500th step of G.
    }


def wgan_gp() -> dict[str, Any]:
    """Return the keys of WGAN-GP (Gulrajani et al. 2017)."""
    return {
        "image_shape": Key((32, 32, 3), entries=int),  # (height, width, channels), or (n,) for vectors.
        "form": choice("cifar", "good", "toy"),  # Which of the published networks.
        "num_classes": non_negative(0, at_most=2**24),  # Classes of the data; 0: unconditional.
        "ch": positive(128, at_most=2**12),  # Channels of cifar (128), multiplier of good (64), units of toy (512).
        "dim_z": positive(128, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
    }


def resnet() -> dict[str, Any]:
    """Return the keys of SNGAN (Miyato et al. 2018) and SAGAN (Zhang et al. 2019)."""
    return {
        "image_shape": Key(
            (32, 32, 3), entries=int
        ),  # (height, width, channels); height: a row of models.sngan.WIDTHS.
        "num_classes": non_negative(0, at_most=2**24),  # Classes of the data; 0: unconditional.
        "condition_dim": non_negative(0, at_most=2**16),  # Length of a condition of real numbers; 0: none.
        "ch": positive(64, at_most=2**12),  # Channel multiplier.
        "g_ch": non_negative(0, at_most=2**12),  # Channel multiplier of G; 0: ch.
        "d_ch": non_negative(0, at_most=2**12),  # Channel multiplier of D; 0: ch.
        "dim_z": positive(128, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
        # Initialization of weights: glorot (SNGAN's, with sqrt 2 for 3x3 convolutions), xavier (SAGAN's), orthogonal, normal.
        "init": "glorot",
        "d_wide": True,  # D's blocks change channels at the first convolution; False: at the second (SNGAN at 128 pixels).
        "d_bias": False,  # D's last layer has a bias.
        "d_skip_relu": False,  # D's skip connections see the ReLU of their input, as in StudioGAN, whose ReLU is in place.
        "d_batch_norm": False,  # D has batch norm, as StudioGAN's without spectral norm.
        "g_attention": Key((), entries=int),  # Heights of G's feature maps that are followed by self-attention.
        "d_attention": Key((), entries=int),  # Heights of D's feature maps that are followed by self-attention.
        "bn_eps": positive(2e-5),  # Added to batch norm's variances.
        "bn_momentum": fraction(0.9),  # Weight of the old running statistics in batch norm's moving average.
        "g_spectral_norm": False,  # Spectral normalization of G's weights (SAGAN).
        "g_spectral_tables": False,  # It includes the weights of conditional batch norm, as in StudioGAN.
        "d_spectral_norm": True,  # Spectral normalization of D's weights.
        "spectral_eps": positive(1e-12),  # Smallest norm a power iteration divides by.
        "spectral_iterations": positive(1, at_most=1000),  # Power iterations per update.
        # Singular vectors in evaluation: step (one more power iteration, then discarded) or stored (PyTorch's).
        "spectral_eval": choice("step", "stored"),
    }


def attention_resnet() -> dict[str, Any]:
    """Return the keys of SAGAN: SNGAN's, with its own defaults."""
    return resnet() | {
        "image_shape": Key((128, 128, 3), entries=int),
        "init": "xavier",
        "d_bias": True,
        "g_attention": (32,),
        "d_attention": (32,),
        "bn_eps": positive(1e-5),
        "bn_momentum": fraction(0.999),
        "g_spectral_norm": True,
    }


def r3gan() -> dict[str, Any]:
    """Return the keys of R3GAN (Huang et al. 2024)."""
    return {
        "image_shape": Key((32, 32, 3), entries=int),  # (height, width, channels).
        "num_classes": non_negative(0, at_most=2**24),  # Classes of the data; 0: unconditional.
        "condition_dim": non_negative(0, at_most=2**16),  # Length of a condition of real numbers; 0: none.
        # Channels of the stages, from the smallest feature map up; each next stage doubles height and width.
        "widths": Key((768, 768, 768, 768), entries=int),
        "groups": Key(
            (96, 96, 96, 96), entries=int
        ),  # Groups of their 3x3 convolutions, which have expansion x width channels.
        "blocks": Key((2, 2, 2, 2), entries=int),  # Their residual blocks.
        "d_widths": Key((), entries=int),  # Channels of D's stages, from the smallest feature map up; empty: widths.
        "d_groups": Key((), entries=int),  # Groups in D's stages; empty: groups.
        "d_blocks": Key((), entries=int),  # Blocks of D's stages; empty: blocks.
        "expansion": positive(2, at_most=64),  # Channels within a block, in multiples of its width.
        "d_expansion": non_negative(0, at_most=64),  # The same of D; 0: expansion.
        "dim_z": positive(64, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
        "embed_dim": positive(64, at_most=2**16),  # Length of G's embedding of the condition.
        "d_embed_dim": non_negative(0, at_most=2**16),  # Length of D's; 0: the width of D's last stage.
        # Stages of the largest feature maps that compute in bfloat16; dtype=bfloat16 makes it all of them.
        "bfloat16_stages": non_negative(0, at_most=64),
    }


def growing() -> dict[str, Any]:
    """Return the keys of networks that grow, stage by stage; each next stage doubles height and width."""
    return {
        "start_size": positive(4, at_most=2**16),  # Height of the images of the first step, in pixels.
        "train_images": non_negative(600_000),  # Images for which a stage trains before the next one fades in.
        "fade_images": non_negative(600_000),  # Images for which a stage fades in.
        # Batch sizes of the stages, from the smallest images up; further stages have batch_size.
        "batch_sizes": Key((), entries=int),
        "lr_factors": Key((), entries=float),  # Factors of both learning rates, in the same way; further stages have 1.
    }


def progan() -> dict[str, Any]:
    """Return the keys of ProGAN (Karras et al. 2018)."""
    return growing() | {
        "image_shape": Key((32, 32, 3), entries=int),  # (height, width, channels).
        "num_classes": non_negative(0, at_most=2**24),  # Classes of the data; 0: unconditional.
        "fmap_base": positive(8192, at_most=2**20),  # Stage s of G has fmap_base / 2^(s + 1) channels,
        "fmap_max": positive(512, at_most=2**14),  # but at most these.
        "stddev_group": non_negative(4, at_most=2**16),  # Images per group of the minibatch deviation; 0: D has none.
        # D averages 2x2 pixels within a convolution, before its bias and activation, as in the authors' code; False: after.
        "fused_scale": True,
        "dim_z": positive(512, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
    }


def stylegan() -> dict[str, Any]:
    """Return the keys of StyleGAN (Karras et al. 2019)."""
    return growing() | {
        "start_size": positive(8, at_most=2**16),  # Height of the images of the first step, in pixels.
        "image_shape": Key((256, 256, 3), entries=int),  # (height, width, channels).
        "num_classes": non_negative(0, at_most=2**24),  # Classes of the data; 0: unconditional.
        "dim_z": positive(512, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
        "dim_w": positive(512, at_most=2**16),  # Length of w.
        "fmap_base": positive(8192, at_most=2**20),  # Stage s has fmap_base / 2^(s + 1) channels,
        "fmap_max": positive(512, at_most=2**14),  # but at most these.
        "stddev_group": non_negative(4, at_most=2**16),  # Images per group of the minibatch deviation; 0: D has none.
        "mapping_layers": positive(8, at_most=64),  # Dense layers from z to w.
        "mapping_dim": non_negative(0, at_most=2**16),  # Units of those before the last; 0: dim_w.
        "mapping_lr": positive(0.01),  # Factor of their learning rate.
        "noise": True,  # G adds noise after each 3x3 convolution and the constant.
        "w_decay": fraction(0.995),  # Decay of the moving mean of w, per update.
        # Share of images with two w's.
        "style_mixing": Key(0.9, rule=("at least 0 and at most 1", lambda value: 0 <= value <= 1)),
    }


def stylegan2() -> dict[str, Any]:
    """Return the keys of StyleGAN2 and StyleGAN2-ADA (Karras et al. 2020)."""
    return {
        # (height, width, channels); the shorter side: 8, 16, 32, ...
        "image_shape": Key((256, 256, 3), entries=int),
        "num_classes": non_negative(0, at_most=2**24),  # Classes of the data; 0: unconditional.
        "condition_dim": non_negative(0, at_most=2**16),  # Length of a condition of real numbers; 0: none.
        "dim_z": positive(512, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
        "dim_w": positive(512, at_most=2**16),  # Length of w.
        # Channels at a size: channel_base / size, at most channel_max. 32768 is the paper's config F, 16384 half of it.
        "channel_base": positive(32_768, at_most=2**24),
        "channel_max": positive(512, at_most=2**16),  # Largest number of channels.
        "d_channel_base": non_negative(0, at_most=2**24),  # The same of D; 0: channel_base.
        "d_channel_max": non_negative(0, at_most=2**16),  # The same of D; 0: channel_max.
        # G sums images of all sizes, or features of neighbouring sizes, or neither.
        "g_architecture": choice("skip", "resnet", "orig"),
        # D has skips of features, or reads the image at all sizes, or neither.
        "d_architecture": choice("resnet", "skip", "orig"),
        "mapping_layers": positive(8, at_most=64),  # Dense layers from z to w.
        "mapping_dim": non_negative(0, at_most=2**16),  # Units of those before the last; 0: dim_w.
        "mapping_lr": positive(0.01),  # Factor of their learning rate.
        "embed_dim": non_negative(0, at_most=2**16),  # Length of the embedding of the condition in G; 0: dim_w.
        "d_mapping_layers": positive(8, at_most=64),  # Dense layers of the condition in D.
        "d_mapping_dim": non_negative(0, at_most=2**16),  # Their units; 0: the channels at 4 pixels.
        # Images of a group of the minibatch standard deviation; 0: all.
        "d_stddev_group": non_negative(4, at_most=2**16),
        "d_stddev_maps": non_negative(1, at_most=2**16),  # Channels of the minibatch standard deviation; 0: without it.
        "noise": True,  # G adds noise after each 3x3 convolution.
        "clamp": non_negative(0.0),  # Bound of activations, for bfloat16 (StyleGAN2-ADA: 256); 0: none.
        # Stages of the largest feature maps that compute in bfloat16, but that of 4 pixels; dtype=bfloat16 makes it all.
        "bfloat16_stages": non_negative(0, at_most=64),
        # Modulated convolutions make a kernel for each image. Equal up to rounding; slow on TPUs.
        "per_sample_kernels": False,
        "w_decay": fraction(0.995),  # Decay of the moving mean of w, per update.
        # Share of images with two w's.
        "style_mixing": Key(0.9, rule=("at least 0 and at most 1", lambda value: 0 <= value <= 1)),
        "path_length": non_negative(2.0),  # Strength of the penalty of path lengths; 0: none.
        # Steps per update of that penalty. Adam's rate and betas in G are corrected for it, also with path_length=0, as in
        # StyleGAN2-ADA; those in D for regularizer.every.
        "path_every": positive(4, at_most=10_000),
        "path_decay": fraction(0.01),  # Share of a new mean of lengths in their moving mean.
        "path_shrink": positive(2, at_most=1000),  # Its batch is smaller than batch_size by this factor.
    }


def translation() -> dict[str, Any]:
    """Return the keys of families that translate images of a domain A to a domain B."""
    return {
        "image_shape": Key((256, 256, 3), entries=int),  # (height, width, channels) of images of B.
        "input_channels": positive(3, at_most=4096),  # Channels of images of A.
        "num_classes": non_negative(0, at_most=0),  # These families have no classes.
        # Height and width in pixels to which images are resized before a region of image_shape is cut at random; the authors'
        # 286 for 256. 0: images are resized to image_shape.
        "load_size": non_negative(0, at_most=2**16),
        "generator": choice("resnet", "unet"),  # Residual blocks between two halvings and two doublings; or a U-Net.
        "ch": positive(64, at_most=2**12),  # Channels of G's first layer.
        "blocks": positive(9, at_most=1000),  # Residual blocks of resnet; the authors: 9 from 256 pixels on, 6 for 128.
        # How often unet halves the image, at most; 0: as often as its sides allow, up to 8.
        "halvings": non_negative(0, at_most=8),
        "g_norm": choice("instance", "batch"),  # G's normalisation.
        "g_dropout": fraction(0.0),  # Share of values that G drops: in its blocks, or in the inner doublings of unet.
        "d_ch": positive(64, at_most=2**12),  # Channels of D's first layer.
        "d_layers": positive(3, at_most=8),  # D's halvings; with 3 each logit sees 70 x 70 pixels, with 1 16 x 16.
        "d_norm": choice("instance", "batch"),  # D's normalisation.
    }


def cogan() -> dict[str, Any]:
    """Return the keys of CoGAN (Liu & Tuzel 2016)."""
    return {
        "image_shape": Key((28, 28, 1), entries=int),  # (height, width, channels) of images of A, and of B.
        "num_classes": non_negative(0, at_most=0),  # CoGAN is unconditional.
        # Height and width in pixels to which images are resized before 28 x 28 are cut at random; 0: to image_shape.
        "load_size": non_negative(0, at_most=2**16),
        "ch": positive(128, at_most=2**12),  # Channels of the last layer that G's domains share.
        "dim_z": positive(100, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
    }


def cyclegan() -> dict[str, Any]:
    """Return the keys of CycleGAN (Zhu et al. 2017)."""
    return translation() | {
        "cycle_a": non_negative(10.0),  # Strength of the distance of A from A over B to A.
        "cycle_b": non_negative(10.0),  # Strength of the distance of B from B over A to B.
        # Strength, times the cycle's, of the change that a generator makes of an image of its own target domain.
        "identity": non_negative(0.5),
        "pool": non_negative(50, at_most=2**20),  # Generated images kept for each discriminator; 0: it sees the newest.
    }


def pix2pix() -> dict[str, Any]:
    """Return the keys of pix2pix (Isola et al. 2017)."""
    return translation() | {
        "generator": choice("unet", "resnet"),  # A U-Net; or residual blocks between two halvings and two doublings.
        "g_norm": choice("batch", "instance"),  # G's normalisation.
        "g_dropout": fraction(0.5),  # Share of values that G drops: in the inner doublings of unet, or in its blocks.
        "d_norm": choice("batch", "instance"),  # D's normalisation.
        "l1": non_negative(100.0),  # Strength of the distance from the other image of the pair.
        # AtoB: the first image of a pair is translated to the second; BtoA: the second to the first.
        "direction": choice("AtoB", "BtoA"),
    }


def vgan() -> dict[str, Any]:
    """Return the keys of VGAN (Vondrick et al. 2016)."""
    return {
        "image_shape": Key(
            (64, 64, 3), entries=int
        ),  # (height, width, channels) of a frame; the shorter side: 8, 16, 32, ...
        "frames": positive(32, at_most=2**12),  # Frames of a clip: a multiple of a quarter of the shorter side.
        "num_classes": non_negative(0, at_most=0),  # VGAN is unconditional.
        "ch": positive(64, at_most=2**12),  # Channels of G's last hidden layer in each stream, and of D's first.
        "dim_z": positive(100, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
        "mask_l1": non_negative(0.1),  # Strength of the mean of G's mask in its loss.
        "first_frame": False,  # G makes a clip of its first frame, which an encoder reads in place of z; no mask_l1 then.
        "frame_l1": non_negative(
            10.0
        ),  # With first_frame: strength of the distance of G's first frame from the given one.
    }


def text_to_image() -> dict[str, Any]:
    """Return the keys of text to image (Reed et al. 2016)."""
    return {
        "image_shape": Key((64, 64, 3), entries=int),  # (height, width, channels).
        "num_classes": non_negative(0, at_most=0),  # Captions take the place of classes.
        # Length of the embeddings that come with the data; 0: the data have captions, which an encoder of the model reads.
        "condition_dim": non_negative(0, at_most=2**16),
        "captions": positive(1, at_most=64),  # Captions of an image, or embeddings, that are averaged; the paper: 4.
        "ch": positive(128, at_most=2**12),  # Channels of G's last layer but one; 196 for COCO.
        "d_ch": positive(64, at_most=2**12),  # Channels of D's first layer, and of the image encoder's; 196 for COCO.
        "text_dim": positive(128, at_most=2**12),  # Length to which G and D project an embedding.
        "dim_z": positive(100, at_most=2**16),  # Length of z.
        "prior": "normal",  # Distribution of z: names in latents.PRIORS.
        # Share of real images with wrong captions in D's loss of what is not real (GAN-CLS); 0: none.
        "wrong": fraction(0.5),
        "interpolated": non_negative(1.0),  # Weight of G's loss of embeddings between two captions (GAN-INT); 0: none.
        "text_length": positive(
            201, at_most=4096
        ),  # Bytes of a caption that the text encoder reads; longer ones are cut.
        "embed_dim": positive(1024, at_most=2**16),  # Length of the text encoder's embeddings.
        "text_ch": positive(256, at_most=2**12),  # Channels of the text encoder.
        "text_lr": positive(2e-4),  # Learning rate of the text encoder and of the image encoder that it learns with.
        "text_steps": non_negative(0),  # Steps in which these two are trained; 0: all.
    }


register("biggan", biggan)
register("biggan_deep", biggan)
register("gan", dense)
register("cgan", conditional_dense)
register("dcgan", convolutional)
register("wgan", wgan)
register("wgan_gp", wgan_gp)
register("sngan", resnet)
register("sagan", attention_resnet)
register("r3gan", r3gan)
register("progan", progan)
register("stylegan", stylegan)
register("stylegan2", stylegan2)
register("cogan", cogan)
register("cyclegan", cyclegan)
register("pix2pix", pix2pix)
register("vgan", vgan)
register("text_to_image", text_to_image)
