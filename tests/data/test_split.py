"""Laws of the split into rows for training, validation and test, and of rows of a file."""

from pathlib import Path

import numpy as np
import pytest
from conftest import parabola

from mlpfit.data.datamodule import ReplicaData
from mlpfit.data.split import Split
from mlpfit.data.table import Table
from mlpfit.errors import ConfigError

CSV = {"file": "rows.csv", "x": ("a", "b"), "y": "c", "classes": None, "separator": ","}
CSV |= {"observed": None, "standardise": False, "float32": False}


def table(folder: Path, text: str, **changes: object) -> Table:
    (folder / "rows.csv").write_text(text)
    return Table(**{**CSV, **changes}).within(folder)


def rows_of(data: ReplicaData, k: int) -> dict[str, set[tuple[float, ...]]]:
    """The rows of each part of replica k."""
    parts = {"train": ("x", "y"), "val": ("val_x", "val_y"), "test": ("test_x", "test_y")}
    arrays = data.arrays
    return {
        part: {tuple(row) for row in np.hstack([arrays[x][k], arrays[y][k]])}
        for part, (x, y) in parts.items()
    }


def test_parts_are_disjoint_and_together_all_observed_rows():
    data = ReplicaData(parabola(observed=21), [5, 6], validation=0.2, test=4, dtype="float64")
    whole = ReplicaData(parabola(observed=21), [5, 6], dtype="float64")
    for k in range(2):
        parts = rows_of(data, k)
        assert [len(part) for part in parts.values()] == [12, 5, 4]  # 4.2 rounded up
        together = set.union(*parts.values())
        assert together == {tuple(row) for row in np.hstack([whole.arrays[n][k] for n in "xy"])}
    assert rows_of(data, 0)["test"] != rows_of(data, 1)["test"]


def test_a_replica_has_the_same_split_in_any_company():
    many, alone = (ReplicaData(parabola(), s, test=0.5, validation=3) for s in ([1, 7], [7]))
    for name, values in alone.arrays.items():
        np.testing.assert_array_equal(many.arrays[name][1], values[0])


@pytest.mark.parametrize("use, name", [("validation", "val"), ("test", "test")])
def test_a_part_that_is_not_split_off_is_of_fresh_rows(use: str, name: str):
    data = ReplicaData(parabola(), [2], **{use: 10}, fresh_rows=50)
    assert data.other(use)[0]["x"].shape == (1, 10, 1)
    other = {"validation": "test", "test": "validation"}[use]
    assert data.other(other)[0]["x"].shape == (1, 50, 1)


def test_training_rows_are_standardised_and_the_others_alike():
    data = ReplicaData(parabola(standardise=True), [4], validation=6, test=6, dtype="float64")
    arrays = {name: values[0] for name, values in data.arrays.items()}
    np.testing.assert_allclose([arrays["x"].mean(), arrays["y"].mean()], 0, atol=1e-14)
    np.testing.assert_allclose([arrays["x"].std(ddof=1), arrays["y"].std(ddof=1)], 1)
    raw = ReplicaData(parabola(), [4], validation=6, test=6, dtype="float64").arrays
    for name in ("val_x", "test_x"):
        np.testing.assert_allclose(
            arrays[name] * arrays["scale"][0] + arrays["center"][0], raw[name][0]
        )


def test_an_epoch_has_every_training_row_once_and_a_shorter_last_batch():
    data = ReplicaData(parabola(), [3], order="shuffle", batch_size=10, validation=7)
    assert data.batches_per_epoch == 3
    batches = [data.batch(number)["x"][0, :, 0] for number in range(3)]
    assert [len(batch) for batch in batches] == [10, 10, 3]
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.sort(data.x[0, :, 0]))


@pytest.mark.parametrize(
    "split, message",
    [
        (Split(0.5, 15), "validation=0.5 and test=15: leave no row of 30"),
        (Split(1.5), "validation=1.5: must be a number of rows from 1 on, or a share"),
        (Split(test=0), "test=0: must be"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(split: Split, message: str):
    with pytest.raises(ConfigError, match=message):
        ReplicaData(parabola(), [0], validation=split.validation, test=split.test)


def test_a_table_has_the_columns_of_its_file(tmp_path: Path):
    text = "b, c,a\n1,10,0.1\n2,20,0.2\n3,30,0.3\n"
    rows = ReplicaData(table(tmp_path, text), [0, 1], dtype="float64", test=1)
    pool = rows.arrays["pool_x"][0]
    np.testing.assert_array_equal(pool, [[0.1, 1], [0.2, 2], [0.3, 3]])
    np.testing.assert_array_equal(rows.arrays["pool_y"][1, :, 0], [10, 20, 30])
    assert rows.test_dataloader()[0]["x"].shape == (2, 1, 2)
    assert len(rows.val_dataloader()) == 0


def test_names_of_classes_are_numbered_in_alphabetical_order(tmp_path: Path):
    target = table(tmp_path, "a;b;c\n1;1;small\n2;2;big\n3;3;mid\n", classes=3, separator=";")
    assert ReplicaData(target, [0]).arrays["y"][0, :, 0].tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "text, changes, message",
    [
        ("a,b,d\n1,2,3\n", {}, "target.y: rows.csv has no column c; "),
        ("a,b,c\n1,2,3\n1,two,3\n", {}, "row 2, column b: 'two' is no finite number"),
        ("a,b,c\n1,nan,3\n", {}, "row 1, column b: 'nan' is no finite number"),
        ("a,b,c\n1,2,3\n1,,3\n", {}, "row 2, column b: is empty"),
        ("a,b,c\n1,2\n", {}, "row 1, column c: is empty"),
        ("a,b,c\n", {}, "has no rows below its header"),
        ("", {}, "is no CSV file"),
        ("a,b,c\n1,2,3\n", {"classes": 3}, "y = 3 is none of the 3 classes"),
        ("a,b,c\n1,2,u\n1,2,v\n", {"classes": 3}, "column c of rows.csv has 2, u, v"),
        ("a,b,c\n1,2,3\n", {"x": ("a", "c")}, "name c twice"),
        ("a,b,c\n1,2,3\n1,2,4\n", {"standardise": True}, "input 1 has the same value"),
        ("a,b,c\n1,2,3\n", {"observed": 2}, "must be at most the 1 rows of rows.csv"),
        ("a,b,c\n1,2,3\n", {"file": "none.csv"}, "No such file"),
        ("a,b,c\n1,2,3\n", {"file": "."}, "is a folder"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, text: str, changes: dict[str, object], message: str
):
    with pytest.raises(ConfigError) as refused:
        ReplicaData(table(tmp_path, text, **changes), [0])
    assert message in str(refused.value) and "\n" not in str(refused.value)
