import numpy as np
import pytest

from tiny_network import SIZE, make_pixels

torch = pytest.importorskip("torch", reason="fine-tuning needs the extra 'finetune'")

from clownfish.training.finetune.augmentation import Augmenter  # noqa: E402
from clownfish.training.finetune.batches import ActivationSource, PhotoSource, load_batches, work_ahead  # noqa: E402
from clownfish.training.finetune.device import choose_device  # noqa: E402


def test_a_variant_depends_on_photo_epoch_and_seed_only() -> None:
    pixels, augmenter = make_pixels(2), Augmenter(SIZE, flip=True, seed=1)
    first = augmenter.draw(pixels[0], 1, 0)
    assert first.shape == (SIZE, SIZE, 3)
    assert first.dtype == torch.uint8
    assert not torch.equal(first, augmenter.draw(pixels[0], 2, 0))
    assert not torch.equal(first, augmenter.draw(pixels[0], 1, 1))
    assert not torch.equal(first, Augmenter(SIZE, flip=True, seed=2).draw(pixels[0], 1, 0))
    assert torch.equal(first, augmenter.draw(pixels[0], 1, 0))


def test_without_flip_no_photo_is_mirrored() -> None:
    ramp = np.repeat(np.linspace(0, 255, SIZE, dtype=np.uint8)[None, :, None], SIZE, axis=0).repeat(3, axis=2)

    def rises(flip: bool) -> set[bool]:
        augmenter = Augmenter(SIZE, flip=flip, seed=1)
        drawn = [augmenter.draw(ramp, 1, row).float().mean(dim=(0, 2)) for row in range(20)]
        return {bool(columns[-8:].mean() > columns[:8].mean()) for columns in drawn}

    assert rises(flip=True) == {True, False}
    assert rises(flip=False) == {True}


def test_batches_hold_every_row_in_order_whole_photos_without_an_epoch() -> None:
    pixels = make_pixels(7)
    source = PhotoSource(pixels, Augmenter(SIZE, flip=True, seed=1))
    batches = list(load_batches(source, np.array([6, 0, 3, 1, 2]), 2, None, choose_device("cpu")))
    assert [batch.rows.tolist() for batch in batches] == [[6, 0], [3, 1], [2]]
    np.testing.assert_array_equal(batches[0].inputs[0].numpy(), pixels[[6, 0]])


def test_cached_activations_are_those_of_the_photo_or_of_a_variant() -> None:
    activations = np.arange(5 * 3, dtype=np.float16).reshape(5, 3, 1, 1, 1)
    source = ActivationSource(activations, activations[..., 0, 0].astype(np.float32), seed=1)
    rows = np.array([4, 2])
    values, features = source.load(rows, None)
    assert values.flatten().tolist() == [12.0, 6.0]
    assert features.flatten().tolist() == [12.0, 6.0]
    drawn = {tuple(source.load(rows, epoch)[0].flatten().tolist()) for epoch in range(1, 30)}
    assert {first for first, _ in drawn} == {12.0, 13.0, 14.0}
    assert len(drawn) > 3


def test_what_fails_ahead_is_raised_where_it_is_used() -> None:
    def fail(chunk: np.ndarray) -> int:
        if chunk[0] == 2:
            raise ValueError("no photo 2")
        return int(chunk[0])

    results = work_ahead(fail, [np.array([1]), np.array([2])])
    assert next(results) == 1
    with pytest.raises(ValueError, match="no photo 2"):
        next(results)


def test_work_ahead_ends_when_nobody_wants_more() -> None:
    asked: list[int] = []
    results = work_ahead(lambda chunk: asked.append(int(chunk[0])), [np.array([number]) for number in range(1000)])
    next(results)
    results.close()
    assert len(asked) < 20
