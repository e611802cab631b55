"""`graphfew annotate`: labels by hand on a local web page, next to the predictions of a graph.

Start with `service.AnnotationService`; `app.create_app` has the pages.
"""

from graphfew.labeling.annotation.actions import LabelItems
from graphfew.labeling.annotation.event_log import EventLog, describe_items
from graphfew.labeling.annotation.items import AnnotationItems
from graphfew.labeling.annotation.refinement import suggest_items
from graphfew.labeling.annotation.service import AnnotationService

__all__ = [
    "AnnotationItems",
    "AnnotationService",
    "EventLog",
    "LabelItems",
    "describe_items",
    "suggest_items",
]
