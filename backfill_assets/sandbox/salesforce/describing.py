"""What Salesforce tells about itself: versions, objects and their fields.

Here belongs how the schema is told; what is in it belongs to `schema.py`.
"""

from backfill_assets.sandbox.salesforce.schema import OBJECTS, Field, SObject
from backfill_assets.sandbox.selection import Json

VERSIONS = ("55.0", "56.0", "57.0", "58.0", "59.0", "60.0")
_LENGTHS = {"id": 18, "reference": 18, "string": 255, "picklist": 255, "textarea": 32_000, "email": 80, "phone": 40}
_SOAP_TYPES = {"id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "int": "xsd:int", "date": "xsd:date"}


def versions() -> list[Json]:
    """The versions of the interface."""
    return [{"label": f"API {each}", "url": f"/services/data/v{each}", "version": each} for each in VERSIONS]


def listed(version: str) -> Json:
    """Every object, shortly."""
    objects = [_about(sobject, version) for sobject in OBJECTS.values()]
    return {"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects}


def described(sobject: SObject, version: str) -> Json:
    """One object with its fields."""
    return {**_about(sobject, version), "fields": [_field(field) for field in sobject.fields.values()]}


def _about(sobject: SObject, version: str) -> Json:
    address = f"/services/data/v{version}/sobjects/{sobject.name}"
    return {
        "name": sobject.name,
        "label": sobject.name,
        "keyPrefix": sobject.prefix,
        "custom": False,
        "queryable": True,
        "retrieveable": True,
        "replicateable": True,
        "urls": {"sobject": address, "describe": f"{address}/describe", "rowTemplate": f"{address}/{{ID}}"},
    }


def _field(field: Field) -> Json:
    is_plain = field.type not in ("address", "textarea")
    return {
        "name": field.name,
        "label": field.name,
        "type": field.type,
        "soapType": _SOAP_TYPES.get(field.type, "urn:address" if field.type == "address" else "xsd:string"),
        "length": _LENGTHS.get(field.type, 0),
        "custom": False,
        "nillable": field.type not in ("id", "boolean"),
        "filterable": is_plain,
        "sortable": is_plain,
        "compoundFieldName": field.compound,
        "referenceTo": [field.target] if field.target else [],
    }
