"""What every manifest has in common: names, texts, metadata, and how a wrong one is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

ApiVersion = Literal["reconciler/v1"]
API_VERSION: ApiVersion = "reconciler/v1"

_NAME_REFUSED = re.compile(r"[^ -~]|/")
_IDENTIFIER = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9_]{0,31}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def check_name(name: str) -> str:
    """A name that libvirt, file systems and URLs can all carry.

    Any printable ASCII is allowed (machines that people adopt are called all sorts of things) but a
    slash, which libvirt refuses, and a dot or dash in front.

    Raises:
        ValueError: The name does not fit; the message says why.
    """
    if not name or len(name) > 63:
        raise ValueError("a name has 1 to 63 characters")
    if _NAME_REFUSED.search(name):
        raise ValueError("a name is printable ASCII without '/'")
    if name[0] in ".-" or name != name.strip():
        raise ValueError("a name begins with neither '.' nor '-', and has no space at its ends")
    return name


def check_identifier(name: str) -> str:
    """A short lower-case word (RFC 1123 label) for the parts of a machine.

    Raises:
        ValueError: Not such a word.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError("write lower-case letters, digits and dashes, at most 63 of them")
    return name


def check_architecture(name: str) -> str:
    """Check libvirt's name of an architecture, such as ``x86_64``.

    Raises:
        ValueError: Not such a word.
    """
    if not _ARCHITECTURE.fullmatch(name):
        raise ValueError(f"{name!r} is not an architecture such as x86_64 or aarch64")
    return name


def check_mac(mac: str) -> str:
    """A unicast MAC address in lower case.

    Raises:
        ValueError: Not a MAC address, or a multicast one.
    """
    lowered = mac.lower()
    if not _MAC.fullmatch(lowered):
        raise ValueError(f"{mac!r} is not a MAC address such as 52:54:00:12:34:56")
    if int(lowered[:2], 16) & 1:
        raise ValueError(f"{mac} is a multicast address; the first byte must be even")
    return lowered


def check_text(text: str) -> str:
    """Free text that XML 1.0 can carry (no control characters but tab and newline).

    Raises:
        ValueError: It cannot.
    """
    refused = sorted(
        {
            c
            for c in text
            if (ord(c) < 32 and c not in "\t\n") or 0xD800 <= ord(c) <= 0xDFFF or ord(c) in (0xFFFE, 0xFFFF)
        }
    )
    if refused:
        raise ValueError(
            "text has characters that XML cannot carry: " + ", ".join(f"U+{ord(c):04X}" for c in refused)
        )
    return text


Text = Annotated[str, AfterValidator(check_text)]
# The patterns are what editors can check while one types; the functions decide.
Name = Annotated[
    str, AfterValidator(check_name), Field(json_schema_extra={"pattern": r"^(?![ .-])[ -.0-~]{1,63}(?<! )$"})
]
Identifier = Annotated[
    str,
    AfterValidator(check_identifier),
    Field(json_schema_extra={"pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}),
]
Architecture = Annotated[
    str,
    AfterValidator(check_architecture),
    Field(json_schema_extra={"pattern": r"^[a-z0-9][a-z0-9_]{0,31}$"}),
]
Mac = Annotated[
    str,
    AfterValidator(check_mac),
    Field(json_schema_extra={"pattern": r"^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$"}),
]


class ContradictionError(ValueError):
    """Fields that do not go together; pydantic stops at a ValueError, so one carries them all.

    Attributes:
        messages: A sentence each.
    """

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = tuple(messages)


def refuse(messages: Iterable[str]) -> None:
    """Refuse with all of these sentences at once; none is no refusal.

    Raises:
        ContradictionError: There is one.
    """
    found = list(messages)
    if found:
        raise ContradictionError(found)


class Manifest(BaseModel):
    """Base of everything that stands in YAML: frozen, camelCase, unknown fields are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        strict=False,
        use_enum_values=False,
        hide_input_in_errors=True,
    )


class Metadata(Manifest):
    """Name and labels of an object."""

    name: Name
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
