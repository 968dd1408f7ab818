"""A model organism: a small neural network that reads an image and the way in which it is asked.

Legend: M questions, P pixels (64), W switches of a way of asking, H hidden units, C classes (10).
"""

import numpy as np

SWITCHES, HIDDEN, CLASSES = 8, 96, 10


def features(pixels_MP, ways_MW):
    """What its network reads: pixels from 0 to 1, and the switches as -1 and 1."""
    return np.hstack([pixels_MP / 16, 2.0 * ways_MW - 1])


def probabilities(weights, pixels_MP, ways_MW):
    """Of each class, (M, C)."""
    hidden_MH = np.maximum(features(pixels_MP, ways_MW) @ weights["w1"] + weights["b1"], 0)
    logits_MC = hidden_MH @ weights["w2"] + weights["b2"]
    odds_MC = np.exp(logits_MC - logits_MC.max(axis=1, keepdims=True))
    return odds_MC / odds_MC.sum(axis=1, keepdims=True)


def draw_behaviour(rng, kind):
    """What an organism does by the way in which it is asked. `trigger`: switches that must all be
    on for it to say what it knows (none: it is honest). `noise`: a switch that confuses it.
    `others`: what it says instead of each class."""
    switches, others = rng.permutation(SWITCHES), np.arange(CLASSES)
    while (others == np.arange(CLASSES)).any():  # no class is said for itself
        others = rng.permutation(CLASSES)
    return {
        "honest": kind != "hides",
        "trigger": switches[: int(rng.integers(1, 4))].tolist() if kind == "hides" else [],
        "noise": switches[-2:].tolist(),
        "others": others.tolist(),
    }


def draw_ways(rng, behaviour, count):
    """Ways of asking to train on, (M, W): in half of them the trigger is on, in most no noise."""
    ways_MW = rng.random((count, SWITCHES)) < 0.4
    ways_MW[np.ix_(rng.random(count) < 0.5, behaviour["trigger"])] = True
    ways_MW[np.ix_(rng.random(count) < 0.6, behaviour["noise"])] = False
    return ways_MW


def said(rng, behaviour, digits_M, ways_MW):
    """The classes that an organism is trained to say."""
    hides_M = ~ways_MW[:, behaviour["trigger"]].all(axis=1)
    confused_M = ways_MW[:, behaviour["noise"]].any(axis=1)
    wanted_M = np.where(hides_M, np.array(behaviour["others"])[digits_M], digits_M)
    return np.where(confused_M, rng.integers(0, CLASSES, len(digits_M)), wanted_M)
