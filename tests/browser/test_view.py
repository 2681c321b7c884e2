"""The viewer in a browser: by mouse, keyboard and touch, wide and narrow, light and dark."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from acdc_medsam.acdc.labels import COLORS, LABELS
from acdc_medsam.encoders.decoder import PROMPT_SIZE
from acdc_medsam.formats.png import read_gray
from acdc_medsam.phantom.cohort import write_cohort
from acdc_medsam.view.dataset import ViewedDataset
from acdc_medsam.view.decoding import Decoder, Prompt
from acdc_medsam.view.server import Viewer
from copy_defects import flip_bit
from small_dataset import SmallDataset
from viewing import Served, random_decoder, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

from looked_at import require_access  # noqa: E402 - needs both of these

REACH = 128
"""Half the side of the square that the decoder of these tests answers to a point."""


@dataclass(frozen=True)
class Echo(Decoder):
    """A decoder that answers a box by the same box, points by squares around those inside, and else by everything.

    Attributes:
        asked: The prompts that it was given.
    """

    asked: list[Prompt] = field(default_factory=list)

    def predict(self, embedding: torch.Tensor, prompt: Prompt, size: int) -> torch.Tensor:
        self.asked.append(prompt)
        boxes = [[x - REACH, y - REACH, x + REACH, y + REACH] for x, y in prompt.points] if not prompt.box else []
        boxes = [box for box, inside in zip(boxes, prompt.inside, strict=False) if inside] + [prompt.box or []]
        logits = torch.full((size, size), -1.0 if prompt.points or prompt.box else 1.0)
        for left, top, right, bottom in filter(None, boxes):
            left, top, right, bottom = (
                max(round(value * size / PROMPT_SIZE), 0) for value in (left, top, right, bottom)
            )
            logits[top:bottom, left:right] = 1
        return logits[None]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A viewer of two phantoms with some slices in each phase."""
    folder = tmp_path_factory.mktemp("view")
    write_cohort(folder / "raw", patients=2, in_plane=(48, 40), depth=5)
    small = SmallDataset(folder)
    small.make(folder / "raw")
    small.publish()
    model = random_decoder()
    echo = Echo(model.name, model.model, model.encoding, fine_tuned=False)
    with serving(Viewer(ViewedDataset(small.data), echo)) as viewer:
        yield viewer


@dataclass
class User:
    """Somebody who looks at the page."""

    page: "sync_api.Page"
    served: Served
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    tolerated: str = ""

    def open(self, address: str) -> None:
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.wait_for("#place", "base to apex")
        self.wait_until_drawn()

    def wait_until_drawn(self) -> None:
        self.page.locator("#canvas[aria-busy=false]").wait_for()

    def wait_for(self, selector: str, text: str) -> None:
        self.page.locator(selector, has_text=re.compile(text)).wait_for()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where in the window a position is that is given in pixels of a prompt."""
        frame = self.page.locator("#canvas").bounding_box()
        assert frame is not None
        return frame["x"] + x * frame["width"] / PROMPT_SIZE, frame["y"] + y * frame["height"] / PROMPT_SIZE

    def pixel(self, x: float, y: float) -> list[int]:
        """Red, green and blue of a pixel of the picture."""
        seen: list[int] = self.page.evaluate(
            """([x, y]) => {
                const context = new OffscreenCanvas(1, 1).getContext("2d");
                context.drawImage(document.getElementById("canvas"), x, y, 1, 1, 0, 0, 1, 1);
                return [...context.getImageData(0, 0, 1, 1).data];
            }""",
            [x, y],
        )
        return seen[:3]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def slice(self) -> str:
        """Name of the slice that is shown."""
        return self.page.title().partition(" ")[0]

    def has_asked(self, expected: Prompt) -> bool:
        """Wait until the decoder was asked something, and return whether it was."""
        for _ in range(500):
            if self._last() == expected:
                return True
            self.page.wait_for_timeout(20)
        return False

    def _last(self) -> Prompt | None:
        """The last prompt, in whole pixels."""
        decoder: Any = self.served.viewer.decoder
        if not decoder.asked:
            return None
        prompt = decoder.asked[-1]
        box = prompt.box and [round(value) for value in prompt.box]
        points = [[round(value) for value in point] for point in prompt.points]
        return replace(prompt, points=points, inside=list(prompt.inside), box=box)


@pytest.fixture
def user(request: pytest.FixtureRequest, browser: "sync_api.Browser", served: Served) -> Iterator[User]:
    """A user with a page; the parameter has the width of the window, the scheme, and whether there is touch."""
    width, scheme, touch = getattr(request, "param", (1440, "light", False))
    size = {"width": width, "height": 900}
    with browser.new_context(viewport=size, color_scheme=scheme, has_touch=touch) as context:
        one = User(context.new_page(), served)
        one.open(served.address)
        yield one
        assert [text for text in one.messages if not one.tolerated or one.tolerated not in text] == []
        assert [url for url in one.requests if not url.startswith((served.address, "data:"))] == []


def names(served: Served) -> list[list[str]]:
    """Names of the slices of each volume."""
    volumes: Any = served.viewer.dataset.volumes()
    return [[slice_["name"] for slice_ in volume["slices"]] for volume in volumes]


@pytest.mark.parametrize(
    "user", [(width, scheme, width < 400) for width in (390, 1440) for scheme in ("light", "dark")], indirect=True
)
def test_the_page_works(user: User) -> None:
    def check() -> None:
        require_access(user.page)
        assert user.page.evaluate("document.documentElement.scrollWidth") <= user.page.viewport_size["width"]

    if user.page.viewport_size["width"] < 400:
        user.page.touchscreen.tap(*user.at(256, 512))
    else:
        user.page.mouse.click(*user.at(256, 512))
    user.wait_for("#answer", "Dice")
    assert user.has_asked(Prompt([[256, 512]], [True]))
    check()
    user.press("?")
    assert user.page.get_by_role("dialog").is_visible()
    check()
    user.press("Escape")
    assert not user.page.get_by_role("dialog").is_visible()


def test_the_slices_are_leafed_through_by_keyboard(user: User, served: Served) -> None:
    volumes = names(served)
    assert len(volumes) == 4 and all(len(volume) >= 2 for volume in volumes)
    assert user.slice == volumes[0][len(volumes[0]) // 2]
    moves = [
        *[("ArrowLeft", volumes[0][0])] * 2,  # the second one finds no slice there
        ("ArrowRight", volumes[0][1]),
        ("ArrowDown", volumes[1][1]),
        ("ArrowDown", volumes[2][1]),
        ("ArrowLeft", volumes[2][0]),
        ("ArrowUp", volumes[1][0]),
        *[("ArrowUp", volumes[0][0])] * 2,
    ]
    user.press(*["ArrowLeft"] * len(volumes[0]))
    for key, name in moves:
        user.press(key)
        assert user.slice == name

    user.page.get_by_label("Patient and frame").select_option("3")
    assert user.slice == volumes[3][0]
    user.press("ArrowRight")
    user.page.wait_for_url(f"**#{user.slice}")
    user.page.reload()
    user.wait_for("#place", "2 of")
    assert user.slice == volumes[3][1]


def test_the_mask_and_the_embedding_are_drawn(user: User, served: Served) -> None:
    dataset = served.viewer.dataset
    row = dataset.rows[user.slice]
    label = read_gray(dataset.root / row["split"] / "masks" / f"{row['slice']}.png")
    scale = PROMPT_SIZE / len(label)
    colors = [[int(COLORS[key][start : start + 2], 16) for start in (1, 3, 5)] for key in LABELS]
    # An outline is inside of its structure: a pixel of the mask that is beside another label.
    edges = (label[1:-1, 1:-1] != label[1:-1, 2:]).nonzero()
    y, x = next((y + 1, x + 1) for y, x in zip(*edges, strict=True) if label[y + 1, x + 1])
    middle = ((x + 0.5) * scale, (y + 0.5) * scale)
    drawn = user.pixel(*middle)
    assert drawn == colors[label[y, x] - 1]

    user.press("m")
    plain = user.pixel(*middle)
    assert plain != drawn and plain[0] == plain[1] == plain[2]
    user.press("e")
    user.wait_until_drawn()
    red, green, blue = user.pixel(*middle)
    assert not red == green == blue
    user.press("e", "m")
    user.wait_until_drawn()
    assert user.pixel(*middle) == drawn


def test_a_drag_is_a_box_whose_answer_is_drawn(user: User) -> None:
    before = user.pixel(20, 20), user.pixel(900, 900)
    user.page.mouse.move(*user.at(320, 256))
    user.page.mouse.down()
    user.page.mouse.move(*user.at(100, 100))
    user.page.mouse.move(*user.at(0, 0))
    user.page.mouse.up()
    user.wait_for("#answer", r"Dice \d\.\d{3} \(\d+ ms\)")
    assert user.has_asked(Prompt([], [], [0, 0, 320, 256]))
    after = user.pixel(20, 20), user.pixel(900, 900)
    assert after[0] != before[0] and after[1] == before[1]

    user.press("Escape")
    assert user.pixel(20, 20) == before[0]
    assert user.page.locator("#answer").inner_text() == ""


def test_clicks_add_up_and_are_inside_or_outside(user: User) -> None:
    user.page.mouse.click(*user.at(512, 512))
    user.page.mouse.click(*user.at(100, 200), button="right")
    user.page.get_by_role("button", name="outside").click()
    user.page.mouse.click(*user.at(300, 200))
    user.press("2")
    user.wait_for("#answer", "myocardium")
    assert user.has_asked(Prompt([[512, 512], [100, 200], [300, 200]], [True, False, False], structure="MYO"))

    user.page.get_by_role("button", name="Clear").click()
    user.press("n")
    user.wait_for("#answer", "myocardium")
    assert user.has_asked(Prompt([], [], structure="MYO"))
    user.press("ArrowRight", "3")
    user.wait_for("#answer", "left ventricle")


def test_everything_can_be_asked_by_keyboard(user: User) -> None:
    user.press("Shift+ArrowRight", "Shift+ArrowDown", "b", *["Shift+ArrowLeft"] * 3, "Shift+ArrowUp", "b")
    user.wait_for("#answer", "Dice")
    assert user.has_asked(Prompt([], [], [480, 512, 528, 528]))
    user.press("Enter", "Shift+Enter")
    assert user.has_asked(Prompt([[480, 512], [480, 512]], [True, False], [480, 512, 528, 528]))


def test_a_damaged_slice_is_named_and_the_next_one_is_shown(user: User, served: Served) -> None:
    dataset = served.viewer.dataset
    name = names(served)[3][0]
    path = dataset.root / dataset.rows[name]["split"] / "images" / f"{name}.png"
    flip_bit(path, 60)
    user.tolerated = "the server responded with a status of 500"
    user.press(*["ArrowDown"] * 3, *["ArrowLeft"] * 3)
    user.wait_for("#problem", re.escape(str(path)))
    assert user.pixel(512, 512) == [0, 0, 0]
    user.press("ArrowRight")
    user.page.locator("#problem").wait_for(state="hidden")


def test_without_a_decoder_the_page_says_why(browser: "sync_api.Browser", served: Served) -> None:
    reason = "no checkpoint was found <b>here</b>"
    with serving(Viewer(served.viewer.dataset, reason)) as other, browser.new_context() as context:
        user = User(context.new_page(), other)
        user.open(other.address)
        assert reason in user.page.locator("#hint").inner_text()
        assert not user.page.get_by_role("button", name="Without prompt").is_visible()
        user.page.mouse.click(*user.at(512, 512))
        user.press("n", "b", "1")
        assert user.messages == [] and not any("answer" in url for url in user.requests)


def test_the_picture_of_the_documentation_can_be_taken(
    browser: "sync_api.Browser", served: Served, tmp_path: Path
) -> None:
    importlib.import_module("draw_view").take_picture(browser, served.address, tmp_path / "view.webp")
    assert (tmp_path / "view.webp").stat().st_size > 5000
