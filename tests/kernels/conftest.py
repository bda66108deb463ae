"""What makes Triton's interpreter, which the tests of its kernels run in, three times as fast."""

import dataclasses
import os

if os.environ.get("TRITON_INTERPRET") == "1":
    from triton.runtime import interpreter

    patch, patched = interpreter._patch_lang, set()

    def patch_once(function):
        """Half of the time goes into patching Triton's own library at each call of it."""
        if (
            not function.__module__.startswith("triton.")
            or function.__module__ not in patched
        ):
            patched.add(function.__module__)
            return patch(function)

    interpreter._patch_lang = patch_once
    # a quarter goes into checking each sum of indices, none of which is large in these tests
    builder = interpreter.interpreter_builder
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)
