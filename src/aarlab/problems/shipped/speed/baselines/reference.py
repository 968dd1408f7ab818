import shutil


def submit(public, inputs, out, seed):
    shutil.copy(public / "nearest.py", out / "program.py")
