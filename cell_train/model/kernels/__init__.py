"""Implementations of the step: the definition in plain torch, C++ and Triton."""
