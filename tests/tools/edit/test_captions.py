import numpy as np

from biggan_jax.tools.edit.captions import LEAST, LINE, MARGIN, sheet


def test_pictures_are_enlarged_by_whole_factors_and_words_stand_under_them():
    images = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    picture = sheet([images, images], [[], ["one", "two"]])
    assert picture.shape == (MARGIN + 2 * (LEAST + MARGIN) + LINE, MARGIN + 2 * (LEAST + MARGIN), 3)
    np.testing.assert_array_equal(picture[MARGIN : MARGIN + LEAST : 6, MARGIN : MARGIN + LEAST : 6], images[0])
    below = picture[-LINE:]
    assert below.min() < 128, "words are black"


def test_words_keep_to_their_picture_and_a_caption_alone_to_its_row():
    images = np.zeros((3, LEAST, LEAST, 3), np.uint8)
    long = "m" * 100
    dark = lambda words: (sheet([images], [words])[-LINE:] < 128).any((0, 2))
    cell = LEAST + MARGIN
    assert not dark([long, "", ""])[MARGIN + LEAST :].any()
    assert dark([long])[2 * cell :].any()
