"""Compiled functions where they can and cannot be kept on disk."""

import numba

from cloudmask.compiled import compiled


def test_it_runs_where_nothing_compiled_can_be_kept(monkeypatch):
    """A read-only installation without a home: Numba then refuses to cache."""
    plain = numba.njit

    def refusing(*arguments, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'twice': no locator available")
        return plain(*arguments, **options)

    monkeypatch.setattr(numba, "njit", refusing)
    twice = compiled(lambda x: 2 * x)
    assert twice(21) == 42
    assert twice.nopython_signatures
