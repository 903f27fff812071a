"""Names as the contract derives them, worked out here a second time so that a wrong name in the program is noticed."""
import hashlib
import re


def short_hash(text, digits=12):
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def slug(policy):
    return re.sub(r"[^a-z0-9-]", "-", policy.lower()).strip("-")[:20]


def original_name(user, policy="default", context="default", prefix="terminals"):
    """The name that the original program gives."""
    parts = [prefix, short_hash(user)]
    if policy != "default":
        parts.append(slug(policy))
    if context != "default":
        parts.append(short_hash(context))
    return "-".join(parts)
