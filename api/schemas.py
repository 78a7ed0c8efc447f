"""The named schemas of the OpenAPI document that are not manifests: one registry for every resource.

`operation.Body` and `operation.Answer` name a schema by its key here, or by a manifest kind (``Volume``,
``VolumeList``): those, and ``Plan``, are made from the model in `api.openapi.schemas`.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}

LINE: Schema = {"type": "string", "maxLength": 256, "pattern": r"^[^\x00-\x1f\x7f]*$"}
SPAN: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 3_000_000_000},
        {"type": "string", "pattern": r"^(?=.*[1-9])(\d{1,3}d)?(\d{1,3}h)?(\d{1,3}m)?(\d{1,3}s)?$"},
    ],
    "examples": ["2h"],
}
"""A time that is more than nothing."""


def ref(name: str) -> Schema:
    """A reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema | str) -> Schema:
    """A list of these."""
    return {"type": "array", "items": ref(items) if isinstance(items, str) else items}


def nullable(schema: Schema | str) -> Schema:
    """This, or null."""
    return {"anyOf": [ref(schema) if isinstance(schema, str) else schema, {"type": "null"}]}


def thing(description: str, required: str = "", /, **properties: Schema | str) -> Schema:
    """An object; `required` are names with spaces between, and what has no schema is that of its name."""
    made: Schema = {"type": "object", "description": description}
    if required:
        made["required"] = required.split()
    made["properties"] = {
        name: ref(each) if isinstance(each, str) else each for name, each in properties.items()
    }
    return made


def listing(item: str) -> Schema:
    """A page of a list, with the token of the next one."""
    return thing(
        "A page of a list.",
        "items",
        items=array(item),
        **{"continue": {"type": "string", "description": "Give it as `continue` for the next page."}},
    )


SCHEMAS: dict[str, Schema] = {
    "Problem": thing(
        "What was wrong (RFC 9457), with every mistake of a bad body at once.",
        "type title status detail reason requestId",
        type={"type": "string", "format": "uri-reference"},
        title={"type": "string", "description": "The status in words."},
        status={"type": "integer", "minimum": 400, "maximum": 599},
        detail={"type": "string", "description": "What was wrong and where, for people."},
        reason={"type": "string", "description": "A CamelCase word for programs."},
        hint={"type": "string", "description": "What to do next."},
        errors=array("Mistake"),
        file={"type": "string", "description": "The file that stands in the way, relative to the source."},
        line={"type": "integer", "description": "1-based."},
        requestId={"type": "string", "description": "The same as in the server's log."},
    ),
    "Mistake": thing(
        "One mistake in a body or a query.",
        "path message",
        file=TEXT,
        line={"type": "integer", "description": "1-based; 0 when unknown."},
        column={"type": "integer", "description": "1-based; 0 when unknown."},
        path={"type": "string", "description": "Path to the field, such as `spec.interfaces[0].model`."},
        message=TEXT,
        object={"type": "string", "description": "`Kind/name` where known."},
    ),
    "MergePatch": {
        "type": "object",
        "description": "The fields to change, at their place in the object (RFC 7396): null removes one.",
        "examples": [{"spec": {"memory": "4Gi"}}],
    },
    "Condition": thing(
        "One aspect of an object at a time.",
        "type status reason",
        type=TEXT,
        status={"enum": ["True", "False", "Unknown"]},
        reason={"type": "string", "description": "A CamelCase word."},
        message=TEXT,
        lastTransitionTime=TIME,
        observedGeneration=NUMBER,
    ),
    "Grant": thing(
        "A role, perhaps only for some things.",
        "role",
        role={"enum": ["viewer", "operator", "admin"]},
        kinds={**array(TEXT), "description": "Only these kinds; none: all."},
        names={**array(TEXT), "description": "Only names that fit one of these shell patterns; none: all."},
        labels={**LABELS, "description": "Only what has all of these labels."},
    ),
    "Token": thing(
        "A token, without its secret.",
        "id name grants valid",
        id=TEXT,
        name=TEXT,
        grants=array("Grant"),
        mail=TEXT,
        made=TIME,
        madeBy=TEXT,
        expires=nullable(TIME),
        revoked=nullable(TIME),
        valid=FLAG,
        lastUsed=nullable({**TIME, "description": "To the minute."}),
        lastSource=TEXT,
    ),
    "Lease": thing(
        "Exclusive use of a machine for a time.",
        "id pool vm holder taken expires latest",
        id=TEXT,
        pool=TEXT,
        vm={"type": "string", "description": "The machine's name."},
        holder={"type": "string", "description": "Who has it."},
        by={"type": "string", "description": "Who took it: the holder, or somebody for them."},
        purpose=TEXT,
        taken=TIME,
        expires={**TIME, "description": "When it ends by itself."},
        latest={**TIME, "description": "Until when it can be extended."},
        addresses={**array(TEXT), "description": "Of the machine; not in lists."},
        status={**nullable({"type": "object"}), "description": "Of the machine; not in lists."},
    ),
    "LeaseList": listing("Lease"),
    "CheckoutWish": {
        **thing(
            "Who wants a machine, and for how long. All of it may be left out.",
            ttl={**SPAN, "description": "How long; as long as the pool lends by itself."},
            purpose={**LINE, "description": "Why, for people."},
            holder={**LINE, "description": "For whom; the caller."},
        ),
        "additionalProperties": False,
    },
    "LeaseChange": {
        **thing("How long a machine is kept, from now on.", "ttl", ttl=SPAN),
        "additionalProperties": False,
    },
    "TokenList": thing("Tokens.", "items", items=array("Token")),
    "NewToken": {
        **thing(
            "A token that is wished for: `grants`, or for short the `role` of one, with its scope beside it.",
            "name",
            name={"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}$"},
            grants={**array("Grant"), "minItems": 1, "maxItems": 100},
            role={"enum": ["viewer", "operator", "admin"]},
            kinds=array(TEXT),
            names=array(TEXT),
            labels=LABELS,
            mail=TEXT,
            ttl={
                "type": ["string", "number", "null"],
                "description": "How long it is valid: `90d`, `12h`, or seconds.",
            },
        ),
        "oneOf": [{"required": ["grants"]}, {"required": ["role"]}],
        "dependentRequired": {"kinds": ["role"], "names": ["role"], "labels": ["role"]},
        "additionalProperties": False,
    },
    "MadeToken": {
        "description": "A token, with its text: this is the only time that it is told.",
        "allOf": [ref("Token"), thing("Its text.", "token", token=TEXT)],
    },
    "SessionStart": thing("A token of ours.", "token", token=TEXT),
    "Session": thing(
        "A browser's session.",
        "csrfToken caller",
        csrfToken={"type": "string", "description": "For the header `X-CSRF-Token`."},
        caller="Caller",
    ),
    "Caller": thing(
        "Who asks, and what they may do.",
        "name via grants",
        name=TEXT,
        mail=TEXT,
        via={"enum": ["token", "basic", "session", "oidc", "certificate", "loopback"]},
        token={"type": "string", "description": "Id of the token, or empty."},
        grants=array("Grant"),
        expires=nullable(TIME),
    ),
    "AuditRecord": thing(
        "Something that somebody did, or tried to do.",
        "id time who method path status",
        id=NUMBER,
        time=TIME,
        who={"type": "string", "description": "Empty if nobody knows."},
        via=TEXT,
        token=TEXT,
        source=TEXT,
        method=TEXT,
        path=TEXT,
        action=TEXT,
        object=TEXT,
        status=NUMBER,
        requestId=TEXT,
        revision=TEXT,
        detail=TEXT,
    ),
    "AuditRecordList": thing("Records.", "items", items=array("AuditRecord")),
}
"""By name; what a resource answers with has its schema here."""
