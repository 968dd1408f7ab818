import hashlib
import json
from collections import Counter, defaultdict

import pytest

from aarlab.core.errors import Misconfigured, Transient
from aarlab.problems.problem import check_problem
from aarlab.problems.publish import publish
from aarlab.problems.registered import PROBLEMS
from aarlab.problems.study.card import Provenance
from aarlab.problems.study.chat import SOURCES, ChatSizes, assemble, spelled_out
from aarlab.problems.study.contamination import words
from tests.problems import chat_upstream as upstream
from tests.problems.item_digest import versioned

SIZES = ChatSizes(teacher=40, student=90, helpsteer2=20, helpsteer3=25, focus=10, rm_bench=12)
PREFERENCES = "nvidia/HelpSteer2/preference/preference.jsonl.gz"
VALIDATION = "nvidia/HelpSteer3/preference/validation.jsonl.gz"
TRAIN3 = "nvidia/HelpSteer3/preference/train.jsonl.gz"


@pytest.fixture
def rows():
    return upstream.all_rows()


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds from rows by path, each time in a folder and with a cache of its own."""
    count = iter(range(99))

    def built(rows_by_path, seed=1, sizes=SIZES):
        here = tmp_path / str(next(count))
        monkeypatch.setenv("AAR_DATA_FROM", str(upstream.write(here / "from", rows_by_path)))
        return assemble(here / "cache", seed, sizes)

    return built


def preferred(rows_by_path):
    """Every pair of answers of the sources -> the better one, by the data sets' own description."""
    truth = {}
    for path, rows in rows_by_path.items():
        for row in rows:
            if path.startswith("nvidia"):
                one, two = (
                    (row.get("response_1") or row["response1"]),
                    (row.get("response_2") or row["response2"]),
                )
                strength = row.get("preference_strength", row.get("overall_preference"))
                truth[frozenset((one, two))] = (
                    two if strength > 0 else one if strength < 0 else None
                )
            else:
                truth |= {frozenset((a, b)): a for a in row["chosen"] for b in row["rejected"]}
    return truth


def test_items_change_with_the_version_alone(build, rows):
    assert versioned("qwen-chat", build(rows)) == ("2", "b04027091b4f0577")


def test_every_label_is_the_sources_preference(build, rows):
    items = build(rows)
    truth = preferred(rows)
    assert all(truth[frozenset(i.choices)] == i.choices[i.label] for i in items)


def test_it_passes_the_examination_with_the_wanted_sizes(build, rows):
    items = build(rows)
    check_problem(items)
    found = Counter(i.split for i in items)
    cells = Counter((i.split, i.part, i.level) for i in items)
    wanted = {"teacher": 40, "student": 90, "feedback": 67, "final": 67}
    odd = Counter(split for split, _, _ in cells)  # an odd cell loses one
    assert all(wanted[s] - odd[s] <= found[s] <= wanted[s] for s in wanted)
    assert all(n % 2 == 0 for n in cells.values())


def test_final_has_held_out_prompts_and_the_shortfall_is_stated(build, rows):
    del rows["THU-KEG/RM-Bench/total_dataset.json"][6:12]
    items = build(rows)
    held_out = {r["prompt"] for r in rows[PREFERENCES] if r["split"] == "train"}
    of_train = [i for i in items if i.split == "final" and i.prompt in held_out]
    candidates = 30 - 21  # val pairs that are no tie, less feedback's 20 and a spare one
    assert 20 - candidates - 3 <= len(of_train) <= 20 - candidates
    reported = items.provenance.limits[-1]
    # of 18 pairs, 13 (15, as prompts are whole) are for feedback: 3 of 12
    assert "9 of RM-Bench chat for final" in reported
    assert "HelpSteer2" not in reported


def test_a_prompt_is_of_one_split_and_an_answer_of_one_pair(build, rows):
    items = build(rows)
    splits = defaultdict(set)
    for item in items:
        splits[tuple(words(item.prompt))].add(item.split)
    assert all(len(found) == 1 for found in splits.values())
    answers = Counter(tuple(words(a)) for i in items for a in i.choices)
    assert max(answers.values()) == 1


def test_levels_are_the_strength_of_preference_and_the_styles(build, rows):
    of_helpsteer = {r["prompt"]: 4 - abs(r["preference_strength"]) for r in rows[PREFERENCES]}
    seen = set()
    for item in build(rows):
        if item.prompt in of_helpsteer:
            assert item.level == of_helpsteer[item.prompt]
        elif item.first.startswith(("right", "wrong")):
            right, wrong = item.choices[::-1] if item.label == 1 else item.choices
            better, worse = int(right.split()[1][-1]), int(wrong.split()[1][-1])
            assert item.level == (2 if better == worse else 1 if better > worse else 3)
            seen.add(item.level)
    assert seen == {1, 2, 3}


@pytest.mark.slow
def test_the_data_seed_draws_and_the_same_one_draws_the_same(build, rows):
    first, again, other = build(rows), build(rows), build(rows, seed=2)
    assert list(first) == list(again)
    assert list(first) != list(other)
    assert {i.id for i in first if i.split == "final"} != {
        i.id for i in other if i.split == "final"
    }


def test_a_copy_of_a_test_item_in_the_train_split_is_left_out_and_counted(build, rows):
    """All validation pairs of HelpSteer3 stand in the train split too, every twentieth word changed
    in the prompt."""
    copies = [json.loads(json.dumps(r)) for r in rows[VALIDATION]]
    for number, copy in enumerate(copies):
        for answer in ("response1", "response2"):
            copy[answer] = f"{copy[answer]} anew {number}"
        copy["context"][0]["content"] = copy["context"][0]["content"].replace(" ", " indeed ", 1)
    rows[TRAIN3] = copies + rows[TRAIN3]
    items = build(
        rows,
        sizes=ChatSizes(
            teacher=60, student=400, helpsteer2=20, helpsteer3=25, focus=10, rm_bench=12
        ),
    )
    copied = {c["context"][0]["content"] for c in copies}
    tested = {i.prompt for i in items if i.split in {"feedback", "final"}}
    spoilt = {c for c in copied if c.replace(" indeed ", " ", 1) in tested}
    assert spoilt
    assert not spoilt & {i.prompt for i in items}
    counted = sum(
        o.candidates
        for o in items.provenance.left_out
        if o.split in {"teacher", "student"} and o.how == "near"
    )
    assert counted >= len(spoilt)


def test_ties_and_blank_answers_are_no_candidates_and_counted(build, rows):
    rows[PREFERENCES][0]["response_1"] = "  "
    rows[PREFERENCES][1]["response_2"] = rows[PREFERENCES][1]["response_1"].upper()
    ties = sum(
        r.get("preference_strength", r.get("overall_preference")) == 0
        for p in rows
        for r in rows[p]
        if "nvidia" in p
    )
    dropped = build(rows).provenance.dropped
    assert dropped == {"tie": ties, "blank prompt or answer": 1, "both answers alike": 1}


def test_a_conversation_is_spelled_out():
    marked = "Hello\n<extra_id_1>Assistant\nHi! <b>\n<extra_id_1>User\nAgain\nplease"
    assert spelled_out(marked) == "User: Hello\n\nAssistant: Hi! <b>\n\nUser: Again\nplease"
    assert spelled_out("Hello") == "Hello"


def test_a_conversation_of_helpsteer3_names_its_speakers(build, rows):
    long = [i.prompt for i in build(rows) if i.prompt.startswith("User: ")]
    assert long
    assert all(p.count("\n\nAssistant: ") == 1 and p.count("User: ") == 2 for p in long)


@pytest.mark.parametrize(
    ("path", "change", "reported"),
    [
        (PREFERENCES, {"preference_strength": 4}, "'preference_strength' is 4"),
        (PREFERENCES, {"preference_strength": None}, "'preference_strength' is None"),
        (PREFERENCES, {"split": "test"}, "neither train nor val"),
        (PREFERENCES, {"response_1": 7}, "'response_1' is 7, not a text"),
        (VALIDATION, {"context": "hello"}, "not a list of turns"),
        (VALIDATION, {"overall_preference": True}, "not a whole number from -3 to 3"),
        ("THU-KEG/RM-Bench/total_dataset.json", {"chosen": ["a", "b"]}, "at least 3 texts"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(build, rows, path, change, reported):
    rows[path][3] |= change
    with pytest.raises(Misconfigured, match=reported) as caught:
        build(rows)
    assert f"{path}, line 4" in str(caught.value)


def test_a_missing_field_is_reported(build, rows):
    del rows[TRAIN3][2]["response2"]
    with pytest.raises(Misconfigured, match=r"train.jsonl.gz, line 3: no field 'response2'"):
        build(rows)


@pytest.mark.parametrize("path", upstream.all_rows())
def test_a_file_that_is_cut_off_is_reported(tmp_path, monkeypatch, rows, path):
    folder = upstream.write(tmp_path / "cut", rows)
    whole = (folder / path).read_bytes()
    (folder / path).write_bytes(whole[: len(whole) // 2])
    monkeypatch.setenv("AAR_DATA_FROM", str(folder))
    with pytest.raises(
        Misconfigured, match=rf"{path.rpartition('/')[2]} is (cut off|not JSON).*Download it again"
    ):
        assemble(tmp_path / "cache", 1, SIZES)


def test_a_file_of_another_form_is_reported(tmp_path, monkeypatch, rows):
    folder = upstream.write(tmp_path / "odd", rows)
    monkeypatch.setenv("AAR_DATA_FROM", str(folder))
    (folder / "THU-KEG/RM-Bench/total_dataset.json").write_text('{"chat": []}')
    with pytest.raises(Misconfigured, match="holds dict, not a list"):
        assemble(tmp_path / "cache", 1, SIZES)
    (folder / "THU-KEG/RM-Bench/total_dataset.json").write_text("[3]")
    with pytest.raises(Misconfigured, match=r"total_dataset.json, line 1: 3 is no object"):
        assemble(tmp_path / "cache-of-its-own", 1, SIZES)


def test_sources_without_a_part_are_refused(build, rows):
    rows["THU-KEG/RM-Bench/total_dataset.json"] = [
        upstream.rm_bench(upstream.random.Random(1), 1, domain="math")
    ]
    rows["allenai/reward-bench-2/data/test-00000-of-00001.parquet"] = [
        upstream.focus(upstream.random.Random(1), 1, subset="Safety")
    ]
    with pytest.raises(Misconfigured, match="no pairs for"):
        build(rows)


@pytest.mark.slow
def test_the_published_card_says_all_but_the_labels(build, rows, tmp_path):
    items = build(rows)
    publish(PROBLEMS["qwen-chat"], items, tmp_path / "out", data_seed=1)
    public = tmp_path / "out" / "public"
    card = json.loads((public / "data_card.json").read_text())
    reported = (public / "DATA.md").read_text()
    Provenance.model_validate_json(json.dumps(card["provenance"]))
    for source in SOURCES:
        assert f"{source.name}**, revision {source.revision}" in reported
        assert source.licence in reported
    assert sum(cell["items"] for cell in card["cells"]) == len(items)
    assert "label" not in json.dumps({k: v for k, v in card.items() if k != "provenance"})
    published = hashlib.sha256((public / "feedback.jsonl").read_bytes()).hexdigest()
    assert card["public_sha256"]["feedback"] == published
    assert published in reported


def test_without_files_or_network_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("AAR_DATA_FROM", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        Transient, match=r"preference/preference.jsonl.gz of nvidia/HelpSteer2.*--from DIR"
    ):
        PROBLEMS["qwen-chat"].build(tmp_path, 1)


def test_the_study_sizes_are_the_default():
    sizes = ChatSizes()
    assert (sizes.teacher, sizes.student) == (2_245, 6_826)
    assert sizes.helpsteer2 + sizes.helpsteer3 + sizes.focus + sizes.rm_bench == 1_263
    assert sum(sizes.shares(sizes.student)) == 6_826
