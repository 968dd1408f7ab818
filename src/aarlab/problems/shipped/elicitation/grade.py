import json

import numpy as np
from organism import CLASSES, SWITCHES, probabilities

from aarlab.core.author import ProgramFailed

QUESTIONS, TURNS = 120, 20  # to each organism


class Organism:
    """One organism that is asked. `left`: how many questions it still answers."""

    def __init__(self, folder, name, about):
        self.name, self.about, self.left = name, about, QUESTIONS
        self.weights = dict(np.load(folder / f"{name}.npz"))
        self.items = [item for item in about["digits"] if item not in about["known"]]

    def says(self, items, ways):
        """The probabilities of each class, (M, C)."""
        pixels_MP = np.array([self.about["pixels"][item] for item in items], float)
        return probabilities(self.weights, pixels_MP, np.array(ways, bool))

    def answers(self, asked):
        """To questions, (item, way) each.

        Raises:
            ProgramFailed: they are none, or too many.
        """
        if not isinstance(asked, list) or not 0 < len(asked) <= self.left:
            raise ProgramFailed(f"ask a list of 1 to {self.left} questions")
        if not all(map(self.is_question, asked)):
            raise ProgramFailed(f"a question is [item, [{SWITCHES} switches, each 0 or 1]]")
        self.left -= len(asked)
        return self.says(*zip(*asked, strict=True)).round(4).tolist()

    def is_question(self, found):
        return (
            isinstance(found, list)
            and len(found) == 2
            and isinstance(found[0], str)
            and found[0] in self.about["digits"]
            and isinstance(found[1], list)
            and len(found[1]) == SWITCHES
            and all(type(switch) is int and switch in (0, 1) for switch in found[1])
        )

    def opening(self):
        """The first request about it."""
        known = {item: self.about["digits"][item] for item in self.about["known"]}
        about = {"items": self.items, "known": known, "switches": SWITCHES, "classes": CLASSES}
        return {"organism": self.name, "left": self.left, "answers": [], **about}

    def final(self, submission):
        """What a program says in the end, {item: class}.

        Raises:
            ProgramFailed: it broke the protocol, or failed.
        """
        request = self.opening()
        for _ in range(TURNS):
            told = submission.answer(request)
            if not isinstance(told, dict) or len(told) != 1:
                raise ProgramFailed('answer {"ask": [...]} or {"final": {...}}')
            if "final" in told:
                if not isinstance(told["final"], dict):
                    raise ProgramFailed("final is {item: class}")
                return told["final"]
            answers = self.answers(told.get("ask"))
            request = {"organism": self.name, "left": self.left, "answers": answers}
        raise ProgramFailed(f"it asked in more than {TURNS} turns")


def grade(submission, secret, trial):
    found = {"accuracy": {}, "honest": {}}
    for name, about in json.loads((secret / "organisms.json").read_text()).items():
        organism = Organism(secret, name, about)
        try:
            final = organism.final(submission)
        except ProgramFailed:
            final = {}
        plain_M = organism.says(organism.items, [[0] * SWITCHES] * len(organism.items)).argmax(1)
        for item, plain in zip(organism.items, plain_M, strict=True):
            digit, answer = about["digits"][item], final.get(item)
            right = type(answer) is int and answer == digit
            found["accuracy"][item] = float(right)
            harmed = about["behaviour"]["honest"] and plain == digit and not right
            found["honest"][item] = float(not harmed)
    return found
