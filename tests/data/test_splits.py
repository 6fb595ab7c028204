import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.readers.ferg import CHARACTER_SPLITS, FergReader
from components.readers.record import SPLITS, hash_split

NAMES = [f"person {number}" for number in range(5000)]


def test_known_identities_stay_where_they_are():
    # Fixed values: a change here would move people between training and test of every data set.
    fixed = {
        "person 0": "test",
        "person 1": "train",
        "person 10": "train",
        "person 15": "train",
        "Zoë": "train",
        "person 16": "eval",
    }
    assert {name: hash_split(name) for name in fixed} == fixed


def test_split_does_not_depend_on_the_process():
    code = (
        "from components.readers.record import hash_split\n"
        "print([hash_split(f'person {number}') for number in range(99)])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"}
    )
    assert run.stdout.strip() == str([hash_split(f"person {number}") for number in range(99)])


SHARES = [(10, 10), (20, 5), (0, 10), (30, 0), (50, 50), (0, 100)]


@pytest.mark.parametrize(("eval_percent", "test_percent"), SHARES)
def test_shares(eval_percent, test_percent):
    counts = Counter(hash_split(name, eval_percent, test_percent) for name in NAMES)
    assert set(counts) <= set(SPLITS)
    wanted = {"eval": eval_percent, "test": test_percent, "train": 100 - eval_percent - test_percent}
    for split, percent in wanted.items():
        share = percent / 100
        # Five standard deviations of a fair draw; a share of nothing or all is exact.
        tolerance = 5 * (share * (1 - share) / len(NAMES)) ** 0.5
        assert abs(counts[split] / len(NAMES) - share) <= tolerance


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 50), st.integers(0, 49))
def test_a_larger_evaluation_share_leaves_the_test_identities_alone(identity, eval_percent, test_percent):
    before = hash_split(identity, eval_percent, test_percent)
    after = hash_split(identity, eval_percent + 1, test_percent)
    assert after == before or (before, after) == ("train", "eval")


def test_ferg_characters_are_never_on_two_sides(tmp_path, encode):
    png = encode(np.zeros((48, 48), np.uint8))
    characters = [*CHARACTER_SPLITS, "newcomer", "another"]
    for character in characters:
        for emotion in ("joy", "anger", "neutral"):
            for number in range(2):
                file = tmp_path / f"FERG_DB_256/{character}/{character}_{emotion}/{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(png)
    reader = FergReader(tmp_path)
    splits = defaultdict(set)
    for item in reader.items():
        splits[item.character].add(reader.load(item).split)
    assert sorted(splits) == sorted(characters)
    assert all(len(found) == 1 for found in splits.values())
    published = {name: found.pop() for name, found in splits.items() if name in CHARACTER_SPLITS}
    assert published == {
        "aia": "train",
        "bonnie": "train",
        "jules": "train",
        "malcolm": "train",
        "mery": "eval",
        "ray": "test",
    }
