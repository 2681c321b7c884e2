"""How each scheme assigns patients and slices; the shares and folds of the project's own are in test_stratified.py."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_medsam.acdc.labels import GROUPS
from acdc_medsam.acdc.splits import PUBLISHED_SPLITS
from acdc_medsam.errors import ConfigError, DatasetError
from acdc_medsam.formats.files import Row, read_sealed, write_table
from acdc_medsam.layout import SLICE_COLUMNS
from acdc_medsam.stages.split import assign_splits, fold_of_patients, plan_split, split_dataset, split_patients
from acdc_medsam.stages.split_rule import SCHEMES, SplitRule, folds_of_scheme
from acdc_medsam.stages.stratified import assign_folds

RULES = [
    *(SplitRule(fold=fold) for fold in (None, *range(5))),
    SplitRule(unit="slice"),
    *(SplitRule(scheme, fold) for scheme, published in PUBLISHED_SPLITS.items() for fold in published.folds or [None]),
]
cohorts = st.dictionaries(
    st.integers(1, 100).map(lambda n: f"patient{n:03d}"), st.sampled_from(GROUPS), min_size=1, max_size=40
)


def slices_of(groups: dict[str, str], testing: tuple[str, ...] = ("patient101",)) -> list[Row]:
    """Two slices of each patient."""
    subsets = dict.fromkeys(groups, "training") | dict.fromkeys(testing, "testing")
    return [
        {"slice": f"{name}_{n}", "patient": name, "subset": subset, "group": groups.get(name, "NOR")}
        for name, subset in subsets.items()
        for n in range(2)
    ]


@given(cohorts, st.sampled_from(RULES))
def test_every_slice_has_a_split_and_no_patient_has_two(groups: dict[str, str], rule: SplitRule) -> None:
    slices = slices_of(groups)
    rows = assign_splits(slices, rule)
    assert [row["slice"] for row in rows] == [row["slice"] for row in slices]
    assert {row["scheme"] for row in rows} == {rule.name}
    assert {row["split"] for row in rows[:-2]} <= {"train", "val", "test"}
    assert {row["split"] for row in rows[-2:]} == ({"test"} if rule.has_testing else {""})
    if rule.unit == "patient":
        assert len({(row["slice"][:10], row["split"]) for row in rows}) == len(groups) + 1


@given(cohorts, st.sampled_from([rule for rule in RULES if rule.fold is not None]))
def test_val_is_the_fold_of_the_column(groups: dict[str, str], rule: SplitRule) -> None:
    rows = assign_splits(slices_of(groups), rule)
    assert all((row["split"] == "val") == (row["fold"] == str(rule.fold)) for row in rows[:-2])
    assert {row["fold"] for row in rows[-2:]} == {""}


@given(cohorts, st.sampled_from([rule for rule in RULES if rule.published]))
def test_a_patient_has_the_same_published_split_whoever_is_beside_it(groups: dict[str, str], rule: SplitRule) -> None:
    subsets = dict.fromkeys(groups, "training")
    together = split_patients(subsets, {}, rule)
    assert together == {name: split_patients({name: "training"}, {}, rule)[name] for name in groups}


@given(cohorts, st.sampled_from([rule for rule in RULES if rule.unit == "patient"]), st.randoms())
def test_the_order_of_patients_makes_no_difference(
    groups: dict[str, str], rule: SplitRule, random: st.DataObject
) -> None:
    shuffled = list(groups.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = (split_patients(dict.fromkeys(g, "training"), g, rule) for g in (groups, dict(shuffled)))
    assert first == second


@given(cohorts, st.integers(0, 99))
def test_stratified_folds_are_the_column_of_the_share(groups: dict[str, str], seed: int) -> None:
    subsets = dict.fromkeys(groups, "training")
    folds = fold_of_patients(subsets, groups, SplitRule(seed=seed))
    assert folds == assign_folds(groups, seed)
    for fold in folds_of_scheme("stratified"):
        splits = split_patients(subsets, groups, SplitRule(fold=fold, seed=seed))
        assert splits == {name: "val" if own == fold else "train" for name, own in folds.items()}


@given(st.dictionaries(st.sampled_from([f"patient{n:03d}" for n in range(1, 200)]), st.sampled_from(["train", "val"])))
def test_a_table_is_followed(listed: dict[str, str]) -> None:
    subsets = {patient: "training" if index % 2 else "testing" for index, patient in enumerate(listed)}
    assert split_patients(subsets, {}, SplitRule("file"), listed) == listed
    assert fold_of_patients(subsets, {}, SplitRule("file")) == {}


@pytest.mark.parametrize("scheme", PUBLISHED_SPLITS)
def test_patients_that_a_scheme_does_not_know_are_named(scheme: str) -> None:
    rule = SplitRule(scheme, min(PUBLISHED_SPLITS[scheme].folds, default=None))
    subsets = {"patient001": "training", "patient101": "training", "patient999": "training", "patient105": "testing"}
    with pytest.raises(ConfigError) as caught:
        split_patients(subsets, {}, rule)
    assert str(caught.value).startswith(
        f"split.scheme {scheme} does not know patient101, patient999: it divides ACDC's training patients 1 to 100."
    )
    assert "List these patients under 'exclude' in config.yaml, or choose another split.scheme." in str(caught.value)


def test_patients_missing_from_a_table_are_named() -> None:
    subsets = {"patient001": "training", "patient002": "training", "patient101": "testing"}
    with pytest.raises(ConfigError, match=r"split.file: my.tsv says nothing of patient002, patient101; add a line"):
        split_patients(subsets, {}, SplitRule("file", file="my.tsv"), {"patient001": "train"})


def test_a_split_is_planned_without_knowing_the_groups(tmp_path: Path) -> None:
    subsets = {"patient002": "training", "patient003": "training"}
    assert plan_split(SplitRule(), None, subsets, subsets) == {}
    assert plan_split(SplitRule("ssl4mis"), None, subsets, subsets) == {"patient002": "val", "patient003": "train"}

    table = tmp_path / "my.tsv"
    table.write_text("patient\tsplit\npatient002\ttrain\npatient003\ttest\npatient004\tval\n")
    rule = SplitRule("file", file="my.tsv")
    # A patient that is left out may stay in the table, but one that does not exist may not.
    known = {*subsets, "patient004"}
    assert plan_split(rule, table, subsets, known) == {"patient002": "train", "patient003": "test"}
    with pytest.raises(ConfigError, match=r"lists patients that are not in the raw folder: patient004 \(line 4\)"):
        plan_split(rule, table, subsets, subsets)


def table_of(folder: Path, slices: list[Row]) -> Path:
    path = folder / "slices.tsv"
    write_table(path, SLICE_COLUMNS, slices, sealed=True)
    return path


def test_the_stage_reads_the_table_that_was_planned_with(tmp_path: Path) -> None:
    own = tmp_path / "my.tsv"
    own.write_text("patient\tsplit\npatient001\ttest\npatient101\tval\n")
    tables = [table_of(tmp_path, slices_of({"patient001": "NOR"}))]
    rule = SplitRule("file", file="my.tsv", file_sha256=hashlib.sha256(own.read_bytes()).hexdigest())
    split_dataset(tables, tmp_path / "split.tsv", rule, own)
    rows = read_sealed(tmp_path / "split.tsv")
    assert [(row["split"], row["fold"], row["scheme"]) for row in rows] == [("test", "", "file")] * 2 + [
        ("val", "", "file")
    ] * 2

    own.write_text("patient\tsplit\npatient001\ttrain\npatient101\tval\n")
    with pytest.raises(DatasetError, match=r"my\.tsv changed while the run was at work"):
        split_dataset(tables, tmp_path / "split.tsv", rule, own)


def test_an_empty_side_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = [table_of(tmp_path, slices_of({"patient003": "DCM"}))]
    split_dataset(tables, tmp_path / "split.tsv", SplitRule("nnunet", 0))
    assert "train or val is empty: split.scheme nnunet:0 puts none of these patients there" in caplog.text


def test_a_dataset_of_patients_in_no_split_is_refused(tmp_path: Path) -> None:
    tables = [table_of(tmp_path, slices_of({}))]
    with pytest.raises(DatasetError, match=r"no slice is in any split: split\.scheme ssl4mis leaves out patients"):
        split_dataset(tables, tmp_path / "split.tsv", SplitRule("ssl4mis"))


@pytest.mark.parametrize("rule", [*RULES, SplitRule("file", file="my.tsv", file_sha256="0" * 64)])
def test_the_settings_of_a_rule_make_the_same_rule(rule: SplitRule) -> None:
    assert SplitRule(**rule.settings) == rule
    assert rule.scheme in SCHEMES and rule.describe()


def test_only_settings_that_the_split_depends_on_are_kept() -> None:
    assert SplitRule("nnunet", 2, seed=7).settings == {"scheme": "nnunet", "fold": 2}
    assert SplitRule(fold=2, seed=7).settings == {"scheme": "stratified", "fold": 2, "seed": 7}
