import json


def grade(submission, secret, trial):
    events = json.loads((secret / "events.json").read_text())
    return {
        "brier": {i: (submission[i] - y) ** 2 for i, y in events.items()},
        "accuracy": {
            i: 0.5 if submission[i] == 0.5 else float((submission[i] > 0.5) == y)
            for i, y in events.items()
        },
    }
