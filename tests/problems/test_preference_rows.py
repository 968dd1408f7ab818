"""Preference data in the forms in which they are published."""

import pytest

from aarlab.problems.preference_rows import NO_PROMPT, Preference, preference_of


def says(*messages):
    """A conversation, the user first."""
    roles = ("user", "assistant") * len(messages)
    return [{"role": r, "content": c} for r, c in zip(roles, messages, strict=False)]


def answer(text):
    """A conversation without its prompt."""
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
            Preference("Why?", "So.", "No.", False),
        ),
        (
            {"system": "", "question": "Why?", "chosen": "So.", "rejected": "No."},
            Preference("Why?", "So.", "No.", False),
        ),
        (
            {"prompt": None, "instruction": "Why?", "chosen": "So.", "rejected": "No."},
            Preference("Why?", "So.", "No.", False),
        ),
        (
            {"instruction": "Add.", "input": "1 and 1", "chosen": "Two", "rejected": "Three"},
            Preference("Add.\n\n1 and 1", "Two", "Three", False),
        ),
        (
            {"instruction": "Why?", "input": "", "chosen": "So.", "rejected": "No."},
            Preference("Why?", "So.", "No.", False),
        ),
        # one text for a conversation: the prompt ends with the assistant's turn
        (
            {
                "chosen": "\n\nHuman: Hi\n\nAssistant: I am well",
                "rejected": "\n\nHuman: Hi\n\nAssistant: I am ill",
            },
            Preference("Human: Hi\n\nAssistant:", "I am well", "I am ill", True),
        ),
        (
            {"chosen": "Add 1 and 1.\nTwo", "rejected": "Add 1 and 1.\nThree"},
            Preference("Add 1 and 1.", "Two", "Three", True),
        ),
        # what both begin with is no line: they are compared whole
        (
            {"chosen": "The sky is blue.", "rejected": "The sky is green."},
            Preference(NO_PROMPT, "The sky is blue.", "The sky is green.", None),
        ),
        (
            {
                "prompt": says("Why?"),
                "chosen": answer("So."),
                "rejected": answer("No."),
            },
            Preference("Why?", "So.", "No.", False),
        ),
        (
            {"prompt": "Why?", "chosen": says("Why?", "So."), "rejected": says("Why?", "No.")},
            Preference("Why?", "So.", "No.", True),
        ),
        (
            {
                "chosen": says("Hi", "Hello", "Why?", "So."),
                "rejected": says("Hi", "Hello", "Why?", "No."),
            },
            Preference("user: Hi\n\nassistant: Hello\n\nuser: Why?", "So.", "No.", True),
        ),
        (
            {
                "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "So."}]}],
                "rejected": answer("No."),
            },
            Preference(NO_PROMPT, "So.", "No.", None),
        ),
        # an answer that is the other one's beginning keeps a message
        (
            {"chosen": says("Why?", "So."), "rejected": says("Why?", "So.", "Really?")},
            Preference("Why?", "So.", "assistant: So.\n\nuser: Really?", True),
        ),
        ({"chosen": "a"}, None),
        ({"chosen": "a", "rejected": None}, None),
    ],
)
def test_a_row_is_read_in_each_published_form(row, expected):
    assert preference_of(row) == expected


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"chosen": {"a": 1}, "rejected": "b"}, "chosen: .* is neither a text nor a list"),
        ({"chosen": [{"role": "user"}], "rejected": says("b")}, "a list must hold messages"),
        (
            {"chosen": [{"role": "user", "content": [{"type": "image"}]}], "rejected": says("b")},
            "a part of type 'image'",
        ),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "prompt: 3 is neither"),
    ],
)
def test_what_is_no_text_is_named(row, words):
    with pytest.raises(ValueError, match=words):
        preference_of(row)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "chosen": says("Why?", "So."), "rejected": says("Why?", "No.")},
        {"chosen": says("Hi", "Ho", "Why?", "So."), "rejected": says("Hi", "Ho", "Why?", "No.")},
        {"prompt": says("Why?"), "chosen": answer("So."), "rejected": answer("No.")},
    ],
)
def test_conversations_are_cut_where_trl_cuts_them(row):
    from trl.data_utils import maybe_extract_prompt  # imports torch

    theirs, ours = maybe_extract_prompt(row), preference_of(row)
    assert ours.chosen == "".join(m["content"] for m in theirs["chosen"])
    assert ours.rejected == "".join(m["content"] for m in theirs["rejected"])
    for message in theirs["prompt"]:
        assert message["content"] in ours.prompt
