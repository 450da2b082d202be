"""Ids: a prefix and a UUIDv7 in hex, so that sorting by id sorts by creation."""

import uuid_utils


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid_utils.uuid7().hex}"
