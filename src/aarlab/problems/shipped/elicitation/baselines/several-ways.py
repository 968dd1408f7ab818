"""Ask known items in random ways, more often in those that do well; then all items in the best."""

PROGRAM = """
import random

STATE = {}


def answer(request):
    name = request["organism"]
    if name not in STATE:
        draw = random.Random(f"SEED {name}")
        ways = [[0] * request["switches"]]
        ways += [[int(draw.random() < 0.4) for _ in ways[0]] for _ in range(23)]
        known = list(request["known"].items())
        STATE[name] = request | {"ways": ways, "known": known, "points": {}, "asked": []}
    state = STATE[name]
    if state["asked"] is None:
        said = [odds.index(max(odds)) for odds in request["answers"]]
        return {"final": dict(zip(state["items"], said))}
    for (way, digit), odds in zip(state["asked"], request["answers"]):
        state["points"].setdefault(way, []).append(odds[digit])
    return {"ask": ask(state, request["left"] - len(state["items"]))}


def ask(state, left):
    points, known = state["points"], state["known"]
    means = {way: sum(found) / len(found) for way, found in points.items()}
    best = sorted(means, key=lambda way: (-means[way], way))
    tried = len(points[best[0]]) if best else 0
    # two known items in every way, two more in the better half, four more in the best
    some = {0: range(24), 2: best[:12], 4: best[:3]}.get(tried, ())
    few = known[tried : tried + (4 if tried == 4 else 2)]
    asked = [(way, item, digit) for way in some for item, digit in few]
    if not asked or len(asked) > left:
        state["asked"] = None
        return [[item, state["ways"][best[0]]] for item in state["items"]]
    state["asked"] = [(way, digit) for way, _, digit in asked]
    return [[item, state["ways"][way]] for way, item, _ in asked]
"""


def submit(public, inputs, out, seed):
    (out / "program.py").write_text(PROGRAM.replace("SEED", str(seed)))
