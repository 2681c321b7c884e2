from pathlib import Path

from acdc_medsam.encoders.store import embedding_digest, store_path


def test_the_digest_depends_on_encoder_and_image() -> None:
    assert len({embedding_digest(encoder, pixels) for encoder in "ab" for pixels in "cd"}) == 4


def test_store_folders_stay_small() -> None:
    assert store_path(Path("store"), "abcdef") == Path("store/ab/abcdef.pt")
