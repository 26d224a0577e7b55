"""In the place of hypothesis where that is not installed: its tests are skipped, those beside them run."""

from __future__ import annotations

import sys
import types

import pytest


class Anything:
    """What a module makes of hypothesis when it is imported: strategies, settings, profiles."""

    def __getattr__(self, name):
        return self

    def __call__(self, *arguments, **options):
        return self

    def __or__(self, other):
        return self


def given(*strategies, **named):
    return pytest.mark.skip(reason="needs hypothesis")


class settings(Anything):
    def __init__(self, *arguments, **options):
        pass

    register_profile = load_profile = staticmethod(lambda *arguments, **options: None)

    def __call__(self, test):
        return test


def install():
    modules = [types.ModuleType(name) for name in ("hypothesis", "hypothesis.strategies", "hypothesis.extra.numpy")]
    for module in modules:
        module.given, module.settings, module.example = given, settings, settings
        module.__getattr__ = Anything().__getattr__
        sys.modules[module.__name__] = module
    root, root.strategies, extra = modules[0], modules[1], types.ModuleType("hypothesis.extra")
    extra.numpy = modules[2]
    sys.modules["hypothesis.extra"] = extra
