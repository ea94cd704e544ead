"""What Camtrap DP 1.0.2 asks of its tables, as Table Schemas, written down from https://camtrap-dp.tdwg.org/data."""

from typing import Any

TIME = {"type": "datetime", "format": "%Y-%m-%dT%H:%M:%S%z"}
SHARE = {"type": "number", "constraints": {"minimum": 0, "maximum": 1}}
POSITIVE = {"type": "number", "constraints": {"minimum": 0}}
FLAG = {"type": "boolean"}


def choose(*values: str) -> dict[str, Any]:
    return {"type": "string", "constraints": {"enum": list(values)}}


def limit(kind: str, low: float, high: float) -> dict[str, Any]:
    return {"type": kind, "constraints": {"minimum": low, "maximum": high}}


def make_schema(columns: str, required: str, kinds: dict[str, dict[str, Any]], **keys: Any) -> dict[str, Any]:
    fields = []
    for name in columns.split():
        field = {"name": name, "type": "string", **kinds.get(name, {})}
        if name in required.split():
            field["constraints"] = {**field.get("constraints", {}), "required": True}
        fields.append(field)
    return {"fields": fields, "missingValues": ["", "NA", "NaN", "nan"], **keys}


def refer(column: str, table: str) -> dict[str, Any]:
    return {"fields": column, "reference": {"resource": table, "fields": column}}


SCHEMAS = {
    "deployments": make_schema(
        "deploymentID locationID locationName latitude longitude coordinateUncertainty deploymentStart deploymentEnd"
        " setupBy cameraID cameraModel cameraDelay cameraHeight cameraDepth cameraTilt cameraHeading detectionDistance"
        " timestampIssues baitUse featureType habitat deploymentGroups deploymentTags deploymentComments",
        "deploymentID latitude longitude deploymentStart deploymentEnd",
        {
            "latitude": limit("number", -90, 90),
            "longitude": limit("number", -180, 180),
            "coordinateUncertainty": {"type": "integer", "constraints": {"minimum": 1}},
            "deploymentStart": TIME,
            "deploymentEnd": TIME,
            "cameraDelay": {"type": "integer", "constraints": {"minimum": 0}},
            "cameraHeight": POSITIVE,
            "cameraDepth": POSITIVE,
            "cameraTilt": limit("integer", -90, 90),
            "cameraHeading": limit("integer", 0, 360),
            "detectionDistance": POSITIVE,
            "timestampIssues": FLAG,
            "baitUse": FLAG,
            "featureType": choose(
                *("roadPaved", "roadDirt", "trailHiking", "trailGame", "roadUnderpass", "roadOverpass", "roadBridge"),
                *("culvert", "burrow", "nestSite", "carcass", "waterSource", "fruitingTree"),
            ),
        },
        primaryKey="deploymentID",
    ),
    "media": make_schema(
        "mediaID deploymentID captureMethod timestamp filePath filePublic fileName fileMediatype exifData favorite"
        " mediaComments",
        "mediaID deploymentID timestamp filePath filePublic fileMediatype",
        {
            "captureMethod": choose("activityDetection", "timeLapse"),
            "timestamp": TIME,
            "filePath": {"constraints": {"pattern": r"^(?=^[^./~])(^((?!\.{2}).)*$).*$"}},
            "filePublic": FLAG,
            "fileMediatype": {"constraints": {"pattern": "^(image|video|audio)/.*$"}},
            "exifData": {"type": "any"},
            "favorite": FLAG,
        },
        primaryKey="mediaID",
        foreignKeys=[refer("deploymentID", "deployments")],
    ),
    "observations": make_schema(
        "observationID deploymentID mediaID eventID eventStart eventEnd observationLevel observationType"
        " cameraSetupType scientificName count lifeStage sex behavior individualID individualPositionRadius"
        " individualPositionAngle individualSpeed bboxX bboxY bboxWidth bboxHeight classificationMethod classifiedBy"
        " classificationTimestamp classificationProbability observationTags observationComments",
        "observationID deploymentID eventStart eventEnd observationLevel observationType",
        {
            "eventStart": TIME,
            "eventEnd": TIME,
            "observationLevel": choose("media", "event"),
            "observationType": choose("animal", "human", "vehicle", "blank", "unknown", "unclassified"),
            "cameraSetupType": choose("setup", "calibration"),
            "count": {"type": "integer", "constraints": {"minimum": 1}},
            "lifeStage": choose("adult", "subadult", "juvenile"),
            "sex": choose("female", "male"),
            "individualPositionRadius": POSITIVE,
            "individualPositionAngle": limit("number", -90, 90),
            "individualSpeed": POSITIVE,
            "bboxX": SHARE,
            "bboxY": SHARE,
            "bboxWidth": SHARE,
            "bboxHeight": SHARE,
            "classificationMethod": choose("human", "machine"),
            "classificationTimestamp": TIME,
            "classificationProbability": SHARE,
        },
        primaryKey="observationID",
        foreignKeys=[refer("deploymentID", "deployments"), refer("mediaID", "media")],
    ),
}
