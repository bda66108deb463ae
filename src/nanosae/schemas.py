"""The common schema of Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns of all schemas, each with a type that its types can be cast to.

    Integers and fractions become fractions, and incompatible types become text.
    """
    types: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            types.setdefault(field.name, []).append(field.type)
    fields = [(name, _common_type(found)) for name, found in types.items()]
    return pa.schema(fields)


def _common_type(types: list[pa.DataType]) -> pa.DataType:
    if all(kind == types[0] for kind in types):
        return types[0]
    single = [pa.schema([("column", kind)]) for kind in types]
    try:
        return pa.unify_schemas(single, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return pa.string()
