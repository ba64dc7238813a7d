"""The catalogue: everything that a spec can name, with its schema, source and what it supports.

Built from the spec's own models, so that what is listed is what is accepted.
"""

from core.specs.catalog.listing import FAMILIES, FIELD_OF, any_of, entries, kinds, models_of

__all__ = ["FAMILIES", "FIELD_OF", "any_of", "entries", "kinds", "models_of"]
