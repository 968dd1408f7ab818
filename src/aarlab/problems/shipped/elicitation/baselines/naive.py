PROGRAM = """
ITEMS = {}


def answer(request):
    name = request["organism"]
    if name not in ITEMS:
        ITEMS[name] = request["items"]
        return {"ask": [[item, [0] * request["switches"]] for item in request["items"]]}
    said = [odds.index(max(odds)) for odds in request["answers"]]
    return {"final": dict(zip(ITEMS[name], said))}
"""


def submit(public, inputs, out, seed):
    (out / "program.py").write_text(PROGRAM)
